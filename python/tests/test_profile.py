# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""torch_remote.profile(): its table, its trace, and that torch.profiler says the same."""

import gzip
import inspect
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch_remote
from programs import output_of
from torch.profiler import ProfilerActivity, record_function

Maker = Callable[..., torch.device]


@pytest.fixture(scope="module")
def measured() -> Iterator[torch.device]:
    """A device whose times are measured: an executor on the CPU."""
    with torch_remote.LocalExecutor() as executor:
        device = torch_remote.connect(executor.endpoint, num_threads=1)
        yield device
        torch_remote.machine(device).stop()


@pytest.fixture(params=["modelled", "measured"])
def either(request: pytest.FixtureRequest, make_emulator: Maker) -> torch.device:
    if request.param == "modelled":
        return make_emulator("H100")
    made: torch.device = request.getfixturevalue("measured")
    return made


def compute(device: torch.device) -> None:
    x = torch.ones(300, 300, device=device)
    for _ in range(4):
        x = x @ x
        x = x / 300
    x.sum().item()


# ---- results ----


def test_operations_are_those_of_the_program(either: torch.device) -> None:
    with torch_remote.profile() as prof:
        x = torch.ones(200, 200, device=either)
        x @ x
        line = inspect.currentframe().f_lineno - 1  # type: ignore[union-attr]
        x.cpu()
    assert not prof.errors
    assert [one.name for one in prof.operations] == [
        "aten::fill_.Scalar",
        "aten::mm",
        "Memcpy DtoH (Device -> Pageable)",
    ]
    _, product, copy = prof.operations
    assert product.called_at.startswith(f"{__file__}:{line} in ")
    assert product.kind == "operator"
    assert product.stream == 0
    assert product.size_bytes == 0
    assert copy.kind == "copy from device"
    assert copy.size_bytes == 160_000
    for one in prof.operations:
        assert one.device_index == either.index
        assert one.host_start_ns <= one.host_end_ns
        assert one.start_ns <= one.end_ns
    assert product.end_ns <= copy.end_ns


def test_memory_is_that_after_the_call(either: torch.device) -> None:
    torch.remote.synchronize(either)
    before = torch_remote.stats(either).allocated_bytes
    with torch_remote.profile() as prof:
        x = torch.ones(1000, device=either)
        y = x + 1
        del x
        y.neg_()
    assert [one.allocated_bytes - before for one in prof.operations] == [4000, 8000, 4000]


def test_summary_and_table(either: torch.device) -> None:
    with torch_remote.profile() as prof:
        compute(either)
    rows = {row.name: row for row in prof.summary()}
    assert rows["aten::mm"].calls == 4
    assert rows["aten::div.Tensor"].calls == 4
    assert sum(row.gpu_share for row in rows.values()) == pytest.approx(1)
    assert [row.gpu_time_us for row in prof.summary()] == sorted(
        (row.gpu_time_us for row in rows.values()), reverse=True
    )
    of_products = [one for one in prof.operations if one.name == "aten::mm"]
    assert rows["aten::mm"].gpu_time_us == pytest.approx(
        sum(one.end_ns - one.start_ns for one in of_products) / 1e3
    )
    assert rows["aten::mm"].host_time_us > 0
    assert [row.name for row in prof.summary(sort_by="name")] == sorted(rows)
    assert prof.summary(sort_by="calls")[0].calls == 4
    text = str(prof)
    assert text.splitlines()[0].startswith(f"remote:{either.index} (")
    assert text.splitlines()[1].split() == [
        *("operator", "calls", "GPU", "time", "share", "host", "time", "called", "at"),
    ]
    assert "aten::mm" in text
    assert f"{Path(__file__).name}:" in text
    assert "more" in prof.table(row_limit=1).splitlines()[-1]
    with pytest.raises(ValueError, match="gpu_time_us"):
        prof.summary(sort_by="time")


def test_rows_by_line(make_emulator: Maker) -> None:
    x = torch.ones(100, device=make_emulator())
    with torch_remote.profile() as prof:
        for _ in range(2):
            x + 1
        x + 2
    assert len(prof.summary()) == 1
    by_line = prof.summary(by_line=True, sort_by="calls")
    assert [row.calls for row in by_line] == [2, 1]
    assert by_line[0].called_at != by_line[1].called_at


def test_devices_have_a_table_each(make_emulator: Maker) -> None:
    fast, slow = make_emulator("H100"), make_emulator("T4")
    with torch_remote.profile() as prof:
        compute(fast)
        compute(slow)
    assert prof.duration_us(slow) > 0 < prof.duration_us(fast)
    products = {index: prof.summary(index)[0] for index in (fast.index, slow.index)}
    assert products[slow.index].gpu_time_us > products[fast.index].gpu_time_us
    assert {one.device_index for one in prof.operations} == {fast.index, slow.index}
    assert f"remote:{fast.index} (H100, modelled)" in str(prof)
    assert f"remote:{slow.index} (T4, modelled)" in str(prof)
    assert sum(row.calls for row in prof.summary(slow)) == len(prof.operations) / 2


def test_nothing_called_is_an_empty_table() -> None:
    with torch_remote.profile() as prof:
        torch.ones(3) + 1
    assert prof.operations == ()
    assert prof.duration_us() == 0
    assert str(prof).startswith("nothing")


# ---- the trace ----


def read_trace(prof: torch_remote.Profile, path: Path) -> list[dict[str, Any]]:
    prof.export_chrome_trace(path)
    return list(json.loads(path.read_text())["traceEvents"])


def test_trace(make_emulator: Maker, tmp_path: Path) -> None:
    device = make_emulator("H100")
    stream = torch.Stream(device)
    with torch_remote.profile() as prof:
        x = torch.ones(50_000).to(device)
        with stream:
            x + 1
        x.sum().item()
    events = read_trace(prof, tmp_path / "trace.json")
    assert {event["ph"] for event in events} == {"M", "X", "s", "f", "C"}
    assert all(event["pid"] == device.index for event in events)
    names = {event["name"]: event["args"] for event in events if event["ph"] == "M"}
    assert names["process_name"] == {"name": f"remote:{device.index} (H100, modelled)"}
    rows = {
        event["args"]["name"]: event["tid"] for event in events if event["name"] == "thread_name"
    }
    assert set(rows) == {"host", "stream 0", f"stream {stream.stream_id}"}
    kernels = [event for event in events if event.get("cat") == "kernel"]
    assert [(event["name"], event["tid"]) for event in kernels] == [
        ("aten::add.Tensor", rows[f"stream {stream.stream_id}"]),
        ("aten::sum.dim_IntList", rows["stream 0"]),
    ]
    upload, download = [event for event in events if event.get("cat") == "gpu_memcpy"]
    assert upload["args"]["bytes"] == 200_000
    assert download["args"]["bytes"] == 4
    calls = [event for event in events if event.get("cat") == "host"]
    assert [event["name"] for event in calls] == [one.name for one in prof.operations]
    assert {event["tid"] for event in calls} == {rows["host"]}
    assert min(event["ts"] for event in events if "ts" in event) == 0
    for kernel in kernels:
        assert kernel["args"]["called at"].startswith(__file__)
        assert kernel["dur"] > 0
    # One arrow from each call to its work.
    begins = {event["id"]: event for event in events if event["ph"] == "s"}
    ends = {event["id"]: event for event in events if event["ph"] == "f"}
    assert begins.keys() == ends.keys()
    assert all(begins[number]["ts"] < ends[number]["ts"] for number in begins)
    memory = [event["args"]["bytes"] for event in events if event["ph"] == "C"]
    assert memory[0] == 200_000
    assert len(memory) == len(prof.operations)


def test_a_trace_of_a_measured_device(measured: torch.device, tmp_path: Path) -> None:
    with torch_remote.profile() as prof:
        compute(measured)
    events = read_trace(prof, tmp_path / "trace.json")
    assert "measured" in next(event for event in events if event["ph"] == "M")["args"]["name"]
    assert len([event for event in events if event.get("cat") == "host"]) == len(prof.operations)


def test_a_compressed_trace(make_emulator: Maker, tmp_path: Path) -> None:
    with torch_remote.profile() as prof:
        compute(make_emulator())
    plain = read_trace(prof, tmp_path / "trace.json")
    prof.export_chrome_trace(str(tmp_path / "trace.json.gz"))
    packed = gzip.decompress((tmp_path / "trace.json.gz").read_bytes())
    assert json.loads(packed)["traceEvents"] == plain


# ---- with torch.profiler ----


def test_torch_profiler_has_the_same_times(make_emulator: Maker) -> None:
    # Made before: making a device tries its autograd.
    first, second = make_emulator("A100-80GB"), make_emulator("A100-80GB")
    with torch_remote.profile() as prof:
        compute(first)
    both = [ProfilerActivity.CPU, ProfilerActivity.PrivateUse1]
    with torch.profiler.profile(activities=both) as torchs, record_function("all"):
        compute(second)
    of_device = torch.autograd.DeviceType.PrivateUse1
    theirs = {
        row.key: row.self_device_time_total
        for row in torchs.key_averages()
        if row.device_type == of_device and row.key != "all"
    }
    ours = {row.name: row.gpu_time_us for row in prof.summary()}
    assert theirs == pytest.approx(ours, abs=0.01)


def test_only_one_profile_at_a_time(make_emulator: Maker) -> None:
    x = torch.ones(3, device=make_emulator())
    with torch_remote.profile() as prof:
        with pytest.raises(RuntimeError, match="already"), torch_remote.profile():
            pass
        x + 1
    assert len(prof.operations) == 1
    with (
        torch.profiler.profile(activities=[ProfilerActivity.PrivateUse1]),
        pytest.raises(RuntimeError, match="already"),
        torch_remote.profile(),
    ):
        pass
    with pytest.raises(RuntimeError, match="once"), prof:
        pass
    with torch_remote.profile() as again:
        x + 1
        with pytest.raises(RuntimeError, match="no results before"):
            again.summary()
    assert len(again.operations) == 1


def test_an_error_within_ends_the_profile(make_emulator: Maker) -> None:
    x = torch.ones(3, device=make_emulator())
    prof = torch_remote.profile()

    def fail() -> None:
        with prof:
            x + 1
            raise ValueError("the program's own")

    with pytest.raises(ValueError, match="own"):
        fail()
    assert len(prof.operations) == 1
    with torch_remote.profile() as again:
        x + 1
    assert len(again.operations) == 1


def test_a_profile_that_is_never_ended_ends_with_the_process() -> None:
    program = (
        "import torch, torch_remote\n"
        "x = torch.ones(3, device=torch_remote.emulate('T4'))\n"
        "prof = torch_remote.profile().__enter__()\n"
        "x + 1\n"
        "print('done')\n"
    )
    assert output_of(program) == "done"
