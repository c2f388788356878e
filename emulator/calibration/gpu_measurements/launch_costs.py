# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Costs of launching, waiting and copying, for the section `time`; and the clocks during long work."""

import itertools
import statistics
import subprocess
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from gpu_measurements.calls import Call
from gpu_measurements.kernels import KernelTrace, time_on_host
from gpu_measurements.target import Session
from gpu_measurements.timing import Item

SMI_FIELDS = "clocks.sm,clocks.mem,power.draw,temperature.gpu,pstate"
KIB, MIB = 1 << 10, 1 << 20


def median_us(function: Callable[[], object], repeats: int) -> dict[str, float]:
    """Median, and the 10th and 90th of a hundred, of the host's time for single calls."""
    times = sorted(time_on_host(function, 1, time.perf_counter) * 1e6 for _ in range(repeats))
    return {
        "median_us": statistics.median(times),
        "p10_us": times[len(times) // 10],
        "p90_us": times[len(times) * 9 // 10],
    }


def host_costs(session: Session) -> None:
    """Host time of one operator in a loop that doesn't wait: what limits a program of small tensors."""
    device = session.target.device
    x = torch.ones(16, device=device)
    a = torch.ones(16, 16, device=device)
    leaf = torch.ones(16, device=device, requires_grad=True)
    layer = nn.Linear(16, 16).to(device)
    optimizer_parameters = [nn.Parameter(torch.ones(16, device=device)) for _ in range(10)]
    for parameter in optimizer_parameters:
        parameter.grad = torch.ones_like(parameter)
    adam = torch.optim.Adam(optimizer_parameters, foreach=True)

    def with_autocast() -> object:
        with torch.autocast(device.type, dtype=torch.bfloat16):
            return a @ a

    calls: dict[str, Call] = {
        "torch.add": lambda: torch.add(x, x),
        "add_": lambda: x.add_(1),
        "add_ without gradient mode": torch.no_grad()(lambda: x.add_(1)),
        "torch.empty": lambda: torch.empty(16, device=device),
        "torch.zeros": lambda: torch.zeros(16, device=device),
        "view": lambda: a.view(-1),
        "transpose": lambda: a.t(),
        "mm": lambda: a @ a,
        "linear with gradient": lambda: layer(a),
        "softmax": lambda: torch.softmax(a, 1),
        "layer_norm": lambda: functional.layer_norm(a, (16,)),
        "sum": lambda: x.sum(),
        "cat": lambda: torch.cat([x, x]),
        "index_select": lambda: a.index_select(0, torch.arange(2, device=device)),
        "mul with gradient": lambda: leaf * 2,
        "forward and backward of mul": lambda: (leaf * 2).sum().backward(),
        "forward and backward of linear": lambda: layer(a).sum().backward(),
        "mm under autocast": with_autocast,
        "Adam step, 10 tensors": adam.step,
        "dropout": lambda: functional.dropout(x, 0.1),
        "to(float16)": lambda: x.to(torch.float16),
    }
    for name, call in calls.items():
        session.recorder.attempt(name, partial(host_cost, session, name, call))


def host_cost(session: Session, name: str, call: Call) -> None:
    count, rounds = (5, 2) if session.is_tiny else (300, 5)
    time_on_host(call, 20, time.perf_counter)
    times = []
    for _ in range(rounds):
        session.target.synchronize()
        times.append(time_on_host(call, count, time.perf_counter) * 1e6 / count)
    session.target.synchronize()
    session.recorder.write(
        "host_cost", name=name, host_us=statistics.median(times), least_us=min(times)
    )


def waiting_costs(session: Session) -> None:
    """Synchronize, item, events and streams, on an idle device and after a tiny kernel."""
    device = session.target.device
    x = torch.ones(1, device=device)
    calls: dict[str, Call] = {
        "item": x.item,
        "add_ and item": lambda: x.add_(1).item(),
        "add_ and cpu": lambda: x.add_(1).cpu(),
    }
    if session.target.is_cuda:
        event, timed = torch.cuda.Event(), torch.cuda.Event(enable_timing=True)
        stream, other = torch.cuda.current_stream(), torch.cuda.Stream()

        def add_and_wait() -> None:
            x.add_(1)
            torch.cuda.synchronize()

        def record_and_wait() -> None:
            x.add_(1)
            event.record()
            event.synchronize()

        calls |= {
            "synchronize, idle": torch.cuda.synchronize,
            "stream.synchronize, idle": stream.synchronize,
            "add_ and synchronize": add_and_wait,
            "event.record": lambda: event.record(),
            "event.record(timing)": lambda: timed.record(),
            "event.query": event.query,
            "add_, record and event.synchronize": record_and_wait,
            "stream.wait_event": lambda: other.wait_event(event),
            "Stream()": torch.cuda.Stream,
            "mem_get_info": torch.cuda.mem_get_info,
            "memory_stats": torch.cuda.memory_stats,
            "memory_allocated": torch.cuda.memory_allocated,
        }
    for name, call in calls.items():

        def measure(name: str = name, call: Call = call) -> None:
            median_us(call, 5)
            session.target.synchronize()
            session.recorder.write(
                "waiting", name=name, **median_us(call, 5 if session.is_tiny else 100)
            )

        session.recorder.attempt(name, measure)


def launch_gaps(session: Session) -> None:
    """Gaps between the executions of dependent tiny kernels, with a full queue and as the host keeps up."""
    if not session.target.is_cuda:
        session.recorder.skip("gaps between kernels", "no CUDA device")
        return
    x = torch.ones(16, device=session.target.device)
    for name, head_start_cycles in {"full queue": 20_000_000, "host-bound": 0}.items():
        trace = KernelTrace()
        with trace:
            if head_start_cycles:
                torch.cuda._sleep(head_start_cycles)
            for _ in range(400):
                x.add_(1)
        kernels = [k for k in trace.kernels if "spin_kernel" not in k.name][50:-10]
        gaps_us = sorted(
            (after.start_ns - before.end_ns) / 1000 for before, after in itertools.pairwise(kernels)
        )
        session.recorder.write(
            "launch_gap",
            name=name,
            kernels=len(kernels),
            kernel_us=statistics.median(k.duration_ns for k in kernels) / 1000,
            gap_us=statistics.median(gaps_us),
            p10_us=gaps_us[len(gaps_us) // 10],
            p90_us=gaps_us[len(gaps_us) * 9 // 10],
        )
    trace = KernelTrace()
    with trace:
        for _ in range(50):
            torch.cuda._sleep(0)
    durations = [k.duration_ns / 1000 for k in trace.kernels]
    session.recorder.write("empty_kernel", median_us=statistics.median(durations))


def copy_items(session: Session) -> list[Item]:
    """Copies between host and device, pageable and pinned, and within the device."""
    device = session.target.device
    sizes = (
        [4 * KIB, MIB]
        if session.is_tiny
        else [4 * KIB, 64 * KIB, MIB, 16 * MIB, 128 * MIB, 1 << 30]
    )

    def host_copy(size: int, to_device: bool, pinned: bool) -> Call:
        host = torch.ones(size, dtype=torch.uint8, pin_memory=pinned)
        there = torch.ones(size, dtype=torch.uint8, device=device)
        target, source = (there, host) if to_device else (host, there)
        # From pinned memory as programs do it: without waiting.
        return lambda: target.copy_(source, non_blocking=pinned)

    def device_copy(size: int) -> Call:
        x = torch.ones(size, dtype=torch.uint8, device=device)
        y = torch.empty_like(x)
        return lambda: y.copy_(x)

    items = []
    for size in sizes:
        for pinned in (True, False) if session.target.is_cuda else (False,):
            for to_device in (True, False):
                parameters = {"bytes": size, "pinned": pinned}
                name = "host to device" if to_device else "device to host"
                items.append(Item(name, parameters, partial(host_copy, size, to_device, pinned)))
        items.append(Item("device to device", {"bytes": size}, partial(device_copy, size)))
    return items


def cache_items(session: Session) -> list[Item]:
    """Repeated reads and updates of 1 to 256 MiB: the bandwidth of the L2 cache, then of DRAM."""
    device = session.target.device

    def read(size: int) -> Call:
        x = torch.ones(size // 4, device=device)
        return lambda: x.sum()

    def update(size: int) -> Call:
        x = torch.ones(size // 4, device=device)
        return lambda: x.add_(1)

    items = []
    for mib in [1] if session.is_tiny else [1, 2, 4, 8, 12, 16, 24, 32, 40, 48, 64, 96, 128, 256]:
        items.append(Item("read", {"mib": mib}, partial(read, mib * MIB)))
        items.append(Item("update", {"mib": mib}, partial(update, mib * MIB)))
    return items


def clocks_during_work(session: Session) -> None:
    """Clocks and power while large products run for about two seconds, and the rate of each."""
    if not session.target.is_cuda:
        session.recorder.skip("clocks during work", "no CUDA device")
        return
    n = 8192
    for dtype in (torch.bfloat16, torch.float32):
        x = torch.randn(n, n, device=session.target.device, dtype=dtype)
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        _ = x @ x
        torch.cuda.synchronize()
        sampler = start_sampler()
        start_s = time.perf_counter()
        rates: list[float] = []
        while time.perf_counter() - start_s < 1.5:
            begin.record()
            for _ in range(10):
                _ = x @ x
            end.record()
            end.synchronize()
            rates.append(10 * 2 * n**3 / (begin.elapsed_time(end) / 1000) / 1e12)
        session.recorder.write(
            "clocks",
            work=f"mm {n} {dtype}",
            fields=SMI_FIELDS.split(","),
            samples=stop_sampler(sampler),
            tflop_per_s=rates[:: max(len(rates) // 20, 1)],
        )


def start_sampler() -> Any:
    try:
        return subprocess.Popen(
            [
                "nvidia-smi",
                f"--query-gpu={SMI_FIELDS}",
                "--format=csv,noheader,nounits",
                "--loop-ms=100",
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    except OSError:
        return None


def stop_sampler(sampler: Any) -> list[str]:
    """The lines that the sampler printed; none where nvidia-smi is missing."""
    if sampler is None:
        return []
    sampler.terminate()
    output, _ = sampler.communicate(timeout=10)
    return str(output).splitlines()[:30]
