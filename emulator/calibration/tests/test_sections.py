# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""The sections on the CPU, and their CUDA paths on a stand-in for torch.cuda."""

import base64
import contextlib
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from fake_cuda import FakeCuda, MakeSession
from gpu_measurements import (
    allocator_scripts,
    device,
    launch_costs,
    memory,
    operator_time,
    random_numbers,
    random_operators,
    steps,
    temporaries,
    temporary_cases,
    temporary_module_cases,
)
from gpu_measurements.allocator_scripts import SETTINGS, make_program
from gpu_measurements.programs import PROGRAMS
from gpu_measurements.recording import read_records
from gpu_measurements.timing import Item, Timer

# Convolutions in half precision take seconds on a CPU.
SLOW_ON_CPU = {"resnet50_amp_channels_last", "resnet18_fp32"}


def records_of(folder: Path, name: str, kind: str) -> list[dict[str, Any]]:
    return [record for record in read_records(folder, name) if record["kind"] == kind]


@pytest.mark.parametrize("name", sorted(set(PROGRAMS) - SLOW_ON_CPU))
def test_programs_repeat_and_learn(name: str) -> None:
    """The same program gives the same results each time, whatever ran before."""
    first = [PROGRAMS[name](torch.device("cpu"), True)() for _ in range(2)]
    assert first[0] == first[1]
    assert first[0] == first[0]  # not NaN


@pytest.mark.slow
@pytest.mark.parametrize("name", PROGRAMS)
def test_shapes_of_programs_at_full_size(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is computed: the meta device shows whether the shapes of a full-size step fit together."""
    monkeypatch.setattr(torch.Tensor, "item", lambda _: 1.0)
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())
    if name in ("adamw_fused", "adamw_foreach"):
        pytest.skip("PyTorch has no such optimizer for the meta device")
    monkeypatch.setattr(torch.amp, "GradScaler", UnscaledGradients)
    assert PROGRAMS[name](torch.device("meta"), False)() == 1.0


class UnscaledGradients:
    """A gradient scaler that does not scale."""

    def __init__(self, _: str) -> None:
        pass

    def scale(self, loss: torch.Tensor) -> torch.Tensor:
        return loss

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        optimizer.step()

    def update(self) -> None:
        pass


@pytest.mark.slow
@pytest.mark.parametrize("group", [name for name, _, _ in operator_time.GROUPS])
def test_shapes_of_items_at_full_size(group: str) -> None:
    target: Any = SimpleNamespace(device=torch.device("meta"), is_cuda=False)
    session: Any = SimpleNamespace(target=target, is_tiny=False)
    (items,) = (items for name, _, items in operator_time.GROUPS if name == group)
    for item in items(session):
        if group == "copies" and item.parameters["bytes"] > 1 << 20:
            continue
        try:
            item.make()()
        except NotImplementedError:
            continue  # what depends on values has no meta kernel
        except RuntimeError as error:
            assert "fused=True" in str(error) or "foreach API on meta" in str(error)  # noqa: PT017


def test_device_reports(fake_cuda: FakeCuda, make_session: MakeSession, tmp_path: Path) -> None:
    device.run(make_session("device"))
    # A CPU build has no NCCL; all else works.
    assert {record["what"] for record in records_of(tmp_path, "device", "error")} <= {"nccl"}
    (state,) = records_of(tmp_path, "device", "random_state")
    assert state["states"]["seed 1"] == "01" + 30 * "0"
    (properties,) = records_of(tmp_path, "device", "properties")
    assert properties["attributes"]["multi_processor_count"] == 2
    assert properties["random_grid_threads"] == 2 * 2048
    assert len(records_of(tmp_path, "device", "memory")) >= 9
    assert fake_cuda.trace is None


def test_random_numbers_keep_windows_and_arrays(
    make_session: MakeSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = [op for op in random_operators.OPERATORS if op.name in ("rand", "randn")]
    monkeypatch.setattr(random_numbers, "OPERATORS", wanted)
    random_numbers.run(make_session("random_numbers"))
    (randn,) = (
        record
        for record in records_of(tmp_path, "random_numbers", "random")
        if (record["operator"], record["dtype"], record["size"], record["seed"])
        == ("randn", "float32", 1000, 0)
    )
    torch.manual_seed(0)
    expected = torch.randn(1000)
    values = torch.frombuffer(bytearray(base64.b64decode(randn["base64"])), dtype=torch.float32)
    assert torch.equal(values, expected)
    first = [int(text, 16) for text in randn["windows"]["0"].split()]
    assert first == [bits & 0xFFFFFFFF for bits in expected[:8].view(torch.int32).tolist()]
    assert list(randn["windows"]) == ["0", "992"]


def test_random_numbers_start_at_the_offset_asked_for(
    fake_cuda: FakeCuda,
    make_session: MakeSession,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wanted = [op for op in random_operators.OPERATORS if op.name == "rand"]
    monkeypatch.setattr(random_numbers, "OPERATORS", wanted)
    random_numbers.run(make_session("random_numbers"))
    starts = {
        (record["seed"], record["offset_before"])
        for record in records_of(tmp_path, "random_numbers", "random")
    }
    assert starts == {(0, 0), (1, 24), (2**40 + 3, 0)}
    assert fake_cuda.seed == 2**40 + 3


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (3, [(0, 3)]),
        (12, [(0, 8), (8, 12)]),
        (101, [(0, 8), (93, 101)]),
        (103, [(0, 8), (95, 99), (99, 103)]),
        (401, [(0, 8), (96, 104), (196, 204), (393, 401)]),
    ],
)
def test_windows_do_not_overlap(count: int, expected: list[tuple[int, int]]) -> None:
    covered: set[int] = set()
    for start, stop in random_numbers.windows(count, 100):
        assert not covered & set(range(start, stop))
        covered |= set(range(start, stop))
    assert covered == {place for start, stop in expected for place in range(start, stop)}


def test_memory_writes_counters_and_events(
    fake_cuda: FakeCuda, make_session: MakeSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(_: torch.device, __: bool) -> Any:
        fake_cuda.allocate(512)
        return lambda: fake_cuda.allocate(1024) or 1.0

    monkeypatch.setitem(PROGRAMS, "two_allocations", build)
    memory.run(make_session("memory", "two_allocations"))
    counters = records_of(tmp_path, "memory", "counters")
    assert [record["after"] for record in counters] == ["set-up", "step 0", "step 1", "step 2"]
    events = [
        event for record in records_of(tmp_path, "memory", "events") for event in record["events"]
    ]
    assert [event[0] for event in events].count("s") == 1 + memory.STEPS
    assert events[:4] == [["A", 512, 0], ["a", 512, 0, 0, 0], ["x", 0], ["s"]]
    assert events[4:7] == [["A", 1024, 0], ["a", 1024, 0, 1, 0], ["x", 1]]


def test_compact_trace_of_streams_and_pages() -> None:
    base = 0x7F0000000000
    trace = memory.CompactTrace()
    trace.add_all(
        [
            {"action": "segment_map", "addr": base, "size": 20, "stream": 77},
            {"action": "alloc", "addr": base + 8, "size": 5, "stream": 77},
            {"action": "segment_alloc", "addr": base + 512, "size": 1024, "stream": 0},
            {"action": "alloc", "addr": base + 1024, "size": 6, "stream": 0},
            {"action": "free_requested", "addr": base + 1024, "size": 6, "stream": 0},
            {"action": "alloc", "addr": base + 512, "size": 7, "stream": 0},
            {"action": "free_completed", "addr": base + 1024, "size": 6, "stream": 0},
            {"action": "segment_free", "addr": base + 512, "size": 1024, "stream": 0},
            {"action": "oom", "size": 9, "device_free": 3, "stream": 0},
        ]
    )
    assert trace.events == [
        ["M", 20, 0, 0],
        ["a", 5, 0, -1, 8],
        ["A", 1024, 1],
        ["a", 6, 1, 0, 512],
        ["f", 1],
        ["a", 7, 1, 0, 0],
        ["c", 1],
        ["F", 0],
        ["o", 9],
    ]


@pytest.mark.parametrize("name", SETTINGS)
def test_allocator_programs_are_sound(name: str) -> None:
    setting = SETTINGS[name]
    program = make_program(name, setting)
    state = random.getstate()
    assert program == make_program(name, setting)
    assert random.getstate() == state
    live: set[int] = set()
    for step in program:
        match step:
            case ["a", int(key), int(size), int(stream)]:
                assert size > 0
                assert 0 <= stream < setting.streams
                live.add(key)
            case ["f", int(key)]:
                live.remove(key)
            case ["u", int(key), int()]:
                assert key in live
            case _:
                assert step in (["e"], ["y"])
    assert len(program) == setting.steps


def test_allocator_records_what_ran_out(
    fake_cuda: FakeCuda, make_session: MakeSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = torch.empty

    def empty(size: int, **options: Any) -> torch.Tensor:
        if size > 20 << 20:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")
        fake_cuda.allocate(size)
        return real(1, **options)

    monkeypatch.setattr(torch, "empty", empty)
    allocator_scripts.run(make_session("allocator", "out_of_memory"))
    assert records_of(tmp_path, "allocator", "limit")[0]["fraction"] == repr(16.0)
    failed = records_of(tmp_path, "allocator", "out_of_memory")
    assert failed
    assert all("out of memory" in record["message"] for record in failed)
    stats = records_of(tmp_path, "allocator", "stats")
    assert len(stats) >= 4
    assert len(stats[0]["stats"]) == 1  # counters at zero have not changed
    assert not stats[1]["stats"]
    assert records_of(tmp_path, "allocator", "events")[0]["events"]


def test_temporaries_of_cases(
    fake_cuda: FakeCuda, make_session: MakeSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken_family(*_: Any) -> Any:
        yield "scratch", {"n": 1}, lambda: lambda: fake_cuda.allocate(4096)
        raise RuntimeError("a family that breaks off")

    families = (broken_family, temporary_cases.matrix_cases, temporary_module_cases.optimizer_cases)
    monkeypatch.setattr(temporaries, "FAMILIES", families)
    temporaries.run(make_session("temporaries"))
    written = records_of(tmp_path, "temporaries", "temporary")
    assert written[0]["runs"][0]["events"] == [4096, -4096]
    assert written[0]["runs"][0]["peak_above_bytes"] == 4096
    assert len(written) > 20
    (error,) = records_of(tmp_path, "temporaries", "error")
    assert "breaks off" in error["message"]


@pytest.mark.slow
@pytest.mark.parametrize("family", temporaries.FAMILIES, ids=lambda family: family.__name__)
def test_every_case_of_temporaries_runs(
    family: temporaries.Family, make_session: MakeSession, tmp_path: Path
) -> None:
    temporaries.run_family(make_session("temporaries"), family)
    assert not records_of(tmp_path, "temporaries", "error")
    assert records_of(tmp_path, "temporaries", "temporary")


@pytest.mark.parametrize("group", [name for name, _, _ in operator_time.GROUPS])
def test_every_item_of_time_runs(
    group: str, make_session: MakeSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpu_measurements.timing.TIME_PER_ITEM_S", 0.0)
    session = make_session("time")
    (items,) = (items for name, _, items in operator_time.GROUPS if name == group)
    Timer(session).measure(group, items(session), session.budget)
    assert not records_of(tmp_path, "time", "error")
    written = [record for record in records_of(tmp_path, "time", "time") if "cold" not in record]
    assert written
    assert all(record["call_us"] > 0 and record["host_us"] > 0 for record in written)


def test_kernels_of_items(fake_cuda: FakeCuda, make_session: MakeSession, tmp_path: Path) -> None:
    session = make_session("time")
    items = [
        Item("warm", {"n": 1}, lambda: lambda: None),
        Item("breaks", {}, lambda: 1 / 0),  # type: ignore[arg-type,return-value]
        Item("cold", {"n": 2}, lambda: lambda: None, is_cold=True),
    ]
    Timer(session).measure("group", items, session.budget)
    warm, cold = records_of(tmp_path, "time", "time")
    texts = records_of(tmp_path, "time", "text")
    assert [text["text"] for text in texts] == ["work_kernel<float>(float*)"]
    assert warm["kernels"] == cold["kernels"] == [[0, 1, 1.5]]
    assert warm["gpu_us"] == 1.5
    assert "call_us" in warm
    assert cold["cold"] is True
    assert "call_us" not in cold
    (error,) = records_of(tmp_path, "time", "error")
    assert error["error"] == "ZeroDivisionError"
    assert fake_cuda.profile is None


def test_items_are_timed_without_markers(
    fake_cuda: FakeCuda, make_session: MakeSession, tmp_path: Path
) -> None:
    fake_cuda.loses_markers = True
    session = make_session("time")
    Timer(session).measure("group", [Item("i", {}, lambda: lambda: None)], session.budget)
    (skip,) = records_of(tmp_path, "time", "skipped")
    assert "markers" in skip["reason"]
    (record,) = records_of(tmp_path, "time", "time")
    assert "kernels" not in record
    assert record["call_us"] > 0


def test_costs_of_launching(
    fake_cuda: FakeCuda, make_session: MakeSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = make_session("time")
    launch_costs.host_costs(session)
    launch_costs.waiting_costs(session)
    assert not records_of(tmp_path, "time", "error")
    assert len(records_of(tmp_path, "time", "host_cost")) > 15
    assert len(records_of(tmp_path, "time", "waiting")) > 10
    real_add = torch.Tensor.add_

    def add_as_kernel(x: torch.Tensor, *arguments: Any) -> torch.Tensor:
        fake_cuda.sleep(1)
        return real_add(x, *arguments)

    monkeypatch.setattr(torch.Tensor, "add_", add_as_kernel)
    launch_costs.launch_gaps(session)
    gaps = records_of(tmp_path, "time", "launch_gap")
    assert [gap["name"] for gap in gaps] == ["full queue", "host-bound"]
    assert gaps[0]["gap_us"] == 2.5


def test_steps_and_their_kernels(
    fake_cuda: FakeCuda, make_session: MakeSession, tmp_path: Path
) -> None:
    steps.run(make_session("steps", "adamw_for_loop"))
    (step,) = records_of(tmp_path, "steps", "steps")
    assert step["median_ms"] > 0
    assert step["peak_allocated_bytes"] == 4096
    (kernels,) = records_of(tmp_path, "steps", "step_kernels")
    assert kernels["kernel_count"] == 1
    assert kernels["kernels"] == [[0, 1, 1.5]]
    assert fake_cuda.trace is None


def test_sections_end_with_their_budget(make_session: MakeSession, tmp_path: Path) -> None:
    for name, run in {
        "random_numbers": random_numbers.run,
        "temporaries": temporaries.run,
        "steps": steps.run,
    }.items():
        run(make_session(name, budget_s=0))
        reasons = [record["reason"] for record in records_of(tmp_path, name, "skipped")]
        assert any("budget" in reason for reason in reasons)
