# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""PyTorch's profilers show what the executor measured, and disturb nothing."""

import inspect
import itertools
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch_remote
from comparing import Counting, assert_same
from programs import run_python
from torch.profiler import ProfilerActivity, profile, record_function, schedule

BOTH = [ProfilerActivity.CPU, ProfilerActivity.PrivateUse1]

needs_traces = pytest.mark.skipif(
    not (Path(torch.__file__).parent / "include" / "kineto").exists(),
    reason="this torch is built without Kineto",
)


def rows(prof: Any) -> dict[str, Any]:
    """The averages of what the device did, by name."""
    of_device = torch.autograd.DeviceType.PrivateUse1
    return {row.key: row for row in prof.key_averages() if row.device_type == of_device}


def calls(prof: Any) -> dict[str, Any]:
    """The averages of what the program called, by name."""
    of_cpu = torch.autograd.DeviceType.CPU
    return {row.key: row for row in prof.key_averages() if row.device_type == of_cpu}


def trace(prof: Any, folder: Path) -> list[dict[str, Any]]:
    path = folder / "trace.json"
    prof.export_chrome_trace(str(path))
    return list(json.loads(path.read_text())["traceEvents"])


def of_kind(events: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [event for event in events if event.get("cat") == kind]


def synchronized(device: torch.device) -> torch.Tensor:
    """A tensor whose products take a while."""
    x = torch.rand(200, 200, device=device)
    x @ x
    torch.remote.synchronize(device)
    return x


# ---- torch.profiler ----


@needs_traces
def test_device_time_by_operator(device: torch.device) -> None:
    x = synchronized(device)
    with profile(activities=BOTH) as prof:
        for _ in range(3):
            x @ x
        x + x
    assert calls(prof)["aten::mm"].count == 3
    assert calls(prof)["aten::mm"].device_time_total > 0
    assert calls(prof)["aten::mm"].self_device_time_total == pytest.approx(
        rows(prof)["aten::mm"].self_device_time_total
    )
    assert rows(prof)["aten::mm"].count == 3
    assert rows(prof)["aten::add.Tensor"].count == 1
    table = prof.key_averages().table(sort_by="self_device_time_total")
    assert "Self REMOTE" in table
    assert table.index("aten::mm") < table.index("aten::add")


@needs_traces
def test_time_is_that_of_the_executor(device: torch.device) -> None:
    x = torch.rand(700, 700, device=device)
    start, end = (torch.Event("remote", enable_timing=True) for _ in range(2))
    with torch.remote.device(device), profile(activities=BOTH) as prof:
        start.record()
        x @ x
        end.record()
        end.synchronize()
    measured_us = start.elapsed_time(end) * 1000
    profiled_us = rows(prof)["aten::mm"].self_device_time_total
    assert 0 < profiled_us <= measured_us


@needs_traces
def test_nobody_waits_while_a_profile_is_taken(device: torch.device) -> None:
    x = synchronized(device)
    source = torch.ones(100_000).pin_memory()
    with profile(activities=BOTH) as prof:
        with Counting(device) as counting:
            y = x
            for _ in range(10):
                y = y @ x
            y.sum()
            source.to(device, non_blocking=True)
            x.to("cpu", non_blocking=True)
        torch.remote.synchronize(device)
    assert counting.round_trips == 0
    assert rows(prof)["aten::mm"].count == 10


@needs_traces
def test_values_are_those_without_a_profile(device: torch.device) -> None:
    def compute() -> torch.Tensor:
        torch.manual_seed(5)
        x = torch.rand(30, 30, device=device)
        return torch.nn.functional.dropout(x @ x).relu().cpu()

    expected = compute()
    with profile(activities=BOTH):
        actual = compute()
    assert_same(actual, expected)
    x = torch.ones(4, device=device)

    def bytes_sent() -> int:
        torch.remote.synchronize(device)
        with Counting(device) as counting:
            for _ in range(100):
                x + 1
            torch.remote.synchronize(device)
        return counting.bytes_sent

    # How many messages they go in depends on when they are sent; a range of a trace takes more bytes an operation.
    few = 100 * 8
    before = bytes_sent()
    with profile(activities=BOTH):
        if torch_remote.modelled_time(device) is None:
            assert bytes_sent() > before + few
        else:
            assert bytes_sent() <= before + few
    assert bytes_sent() <= before + few


@needs_traces
def test_a_trace_has_the_devices_work(device: torch.device, tmp_path: Path) -> None:
    x = synchronized(device)
    with profile(activities=BOTH) as prof:
        x @ x
        line = inspect.currentframe().f_lineno - 1  # type: ignore[union-attr]
        (x + 1).sum().item()
    events = trace(prof, tmp_path)
    kernels = of_kind(events, "kernel")
    assert [kernel["name"] for kernel in kernels] == [
        "aten::mm",
        "aten::add.Tensor",
        "aten::sum.dim_IntList",
    ]
    assert {(kernel["pid"], kernel["tid"]) for kernel in kernels} == {(device.index, 0)}
    assert kernels[0]["args"]["called at"].startswith(f"{__file__}:{line} in ")
    for one, following in itertools.pairwise(kernels):
        assert one["ts"] + one["dur"] <= following["ts"] + 0.01
    operators = {event["args"]["External id"]: event for event in of_kind(events, "cpu_op")}
    for kernel in kernels:
        operator = operators[kernel["args"]["External id"]]
        assert kernel["name"].startswith(operator["name"])
        # The two clocks are compared by a round trip.
        assert kernel["ts"] > operator["ts"] - 50_000
    names = [event["args"] for event in events if event.get("name") == "process_name"]
    assert {"name": str(device)} in names


@needs_traces
def test_copies(device: torch.device, tmp_path: Path) -> None:
    pageable, pinned = torch.ones(1000), torch.ones(50_000).pin_memory()
    with profile(activities=BOTH) as prof:
        pageable.to(device)
        there = pinned.to(device, non_blocking=True)
        there.to("cpu", non_blocking=True)
        there[:10].cpu()
        torch.remote.synchronize(device)
    copies = of_kind(trace(prof, tmp_path), "gpu_memcpy")
    assert [(copy["name"], copy["args"]["bytes"]) for copy in copies] == [
        ("Memcpy HtoD (Pageable -> Device)", 4000),
        ("Memcpy HtoD (Pinned -> Device)", 200_000),
        ("Memcpy DtoH (Device -> Pinned)", 200_000),
        ("Memcpy DtoH (Device -> Pageable)", 40),
    ]


@needs_traces
def test_streams_have_their_rows(device: torch.device, tmp_path: Path) -> None:
    x = synchronized(device)
    stream = torch.Stream(device)
    with profile(activities=BOTH) as prof:
        x @ x
        with stream:
            x + 1
        x * 2
    kernels = of_kind(trace(prof, tmp_path), "kernel")
    assert {kernel["name"]: kernel["tid"] for kernel in kernels} == {
        "aten::mm": 0,
        "aten::add.Tensor": stream.stream_id,
        "aten::mul.Tensor": 0,
    }


@needs_traces
def test_annotations_and_the_backward_pass(device: torch.device, tmp_path: Path) -> None:
    x = torch.rand(50, 50, device=device, requires_grad=True)
    with profile(activities=BOTH) as prof:
        with record_function("forward"):
            y = (x @ x).sum()
        y.backward()
    events = trace(prof, tmp_path)
    (annotation,) = of_kind(events, "gpu_user_annotation")
    kernels = of_kind(events, "kernel")
    assert annotation["name"] == "forward"
    assert annotation["ts"] == pytest.approx(kernels[0]["ts"], abs=0.01)
    assert annotation["ts"] + annotation["dur"] == pytest.approx(
        kernels[1]["ts"] + kernels[1]["dur"], abs=0.01
    )
    backward = calls(prof)["MmBackward0"]
    assert backward.device_time_total > 0
    assert rows(prof)["aten::mm"].count == 3


@needs_traces
def test_an_operator_whose_result_only_the_executor_knows(device: torch.device) -> None:
    x = torch.arange(100.0, device=device)
    with profile(activities=BOTH) as prof:
        assert len(x.nonzero()) == 99
    assert rows(prof)["aten::nonzero"].count == 1


@needs_traces
def test_more_operations_than_the_executor_keeps_events(device: torch.device) -> None:
    x = torch.ones(2, device=device)
    with profile(activities=[ProfilerActivity.PrivateUse1]) as prof:
        for _ in range(40_000):
            x.neg_()
        assert x.tolist() == [1, 1]
    events = prof.profiler.kineto_results.events()  # what key_averages would look at, for long
    kernels = [event for event in events if event.name() == "aten::neg_"]
    assert len(kernels) == 40_000
    assert all(kernel.duration_ns() >= 0 for kernel in kernels)


@needs_traces
def test_profiles_one_after_another(device: torch.device) -> None:
    x = synchronized(device)
    counts: list[int] = []
    with profile(
        activities=BOTH,
        schedule=schedule(wait=1, warmup=1, active=2, repeat=2),
        on_trace_ready=lambda prof: counts.append(rows(prof)["aten::mm"].count),
    ) as prof:
        for _ in range(8):
            x @ x
            prof.step()
    assert counts == [2, 2]


@needs_traces
def test_a_device_made_meanwhile_and_one_stopped(
    device: torch.device, make_emulator: Callable[..., torch.device], tmp_path: Path
) -> None:
    x = synchronized(device)
    stopped = make_emulator()
    with torch.remote.device(device), profile(activities=BOTH) as prof:
        torch.ones(3, device=stopped) + 1
        torch_remote.machine(stopped).stop()
        late = make_emulator()
        torch.ones(3, device=late) + 1
        x @ x
    kernels = of_kind(trace(prof, tmp_path), "kernel")
    assert "aten::mm" in {event["name"] for event in kernels if event["pid"] == device.index}


@needs_traces
def test_two_devices(emulator: torch.device, tcp: torch.device, tmp_path: Path) -> None:
    x, y = synchronized(emulator), synchronized(tcp)
    with profile(activities=BOTH) as prof:
        x @ x
        y + 1
    kernels = of_kind(trace(prof, tmp_path), "kernel")
    assert {(kernel["pid"], kernel["name"]) for kernel in kernels} == {
        (emulator.index, "aten::mm"),
        (tcp.index, "aten::add.Tensor"),
    }


@needs_traces
def test_other_threads_work_goes_on(device: torch.device) -> None:
    x = synchronized(device)
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            x.sin()
            torch.remote.synchronize(device)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for _ in range(5):
            with profile(activities=BOTH) as prof:
                x @ x
            assert rows(prof)["aten::mm"].count == 1
    finally:
        stop.set()
        thread.join()


@needs_traces
def test_an_error_is_raised_where_it_would_be(device: torch.device, null: torch.device) -> None:
    with profile(activities=BOTH) as prof:
        failed = torch.zeros(2, device=device)[torch.tensor([7], device=device)]
        with pytest.raises(IndexError, match="out of bounds"):
            failed.cpu()
        torch.ones(2, device=device) + 1
    assert rows(prof)["aten::add.Tensor"].count == 1
    torch.zeros(2, device=device)[torch.tensor([7], device=device)]
    # A profile ends in a synchronize of the current device; of others it asks for no errors.
    with torch.remote.device(null), profile(activities=BOTH):
        pass
    with pytest.raises(IndexError, match="out of bounds"):
        torch.remote.synchronize(device)


def test_without_the_devices_activity_nothing_is_asked_of_it(device: torch.device) -> None:
    x = synchronized(device)
    with Counting(device) as counting, profile(activities=[ProfilerActivity.CPU]) as prof:
        x @ x
    assert counting.round_trips == 0
    assert not rows(prof)
    assert calls(prof)["aten::mm"].count == 1


# ---- torch.autograd.profiler ----


def test_the_older_profiler(device: torch.device) -> None:
    x = synchronized(device)
    with torch.remote.device(device):
        with (
            torch.autograd.profiler.profile(use_device="remote") as prof,
            Counting(device) as counting,
        ):
            for _ in range(5):
                torch.nn.functional.linear(x, x)
        assert counting.round_trips == 0
        with Counting(device) as counting:
            mm = calls(prof)["aten::mm"]
    assert counting.round_trips == 1  # for all of them
    assert mm.count == 5
    assert mm.self_device_time_total > 0
    assert calls(prof)["aten::linear"].device_time_total >= mm.device_time_total
    assert "Self REMOTE" in prof.key_averages().table(sort_by="self_device_time_total")


@needs_traces
def test_the_older_profiler_with_traces(device: torch.device) -> None:
    x = synchronized(device)
    with (
        torch.remote.device(device),
        torch.autograd.profiler.profile(use_device="remote", use_kineto=True) as prof,
    ):
        x @ x
    assert rows(prof)["aten::mm"].self_device_time_total > 0


def test_the_older_profiler_and_many_operations(device: torch.device) -> None:
    x = torch.ones(2, device=device)
    with (
        torch.remote.device(device),
        torch.autograd.profiler.profile(use_device="remote") as prof,
    ):
        for _ in range(6000):
            x.neg_()
    assert prof.kineto_results is not None
    events = [event for event in prof.kineto_results.events() if event.name() == "aten::neg_"]
    assert len(events) == 6000
    assert all(event.privateuse1_elapsed_us() >= 0 for event in events)
    assert x.tolist() == [1, 1]


def test_the_older_profiler_without_a_device() -> None:
    program = (
        "import torch, torch_remote\n"
        "with torch.autograd.profiler.profile(use_device='remote') as prof:\n"
        "    torch.ones(3) + 1\n"
        "assert prof.key_averages()\n"
    )
    done = run_python(program)
    assert done.returncode == 0, done.stderr
