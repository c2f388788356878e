# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a live remote tensor costs this process, and what tensors leave behind once dropped."""

from __future__ import annotations

import argparse
import gc
import json
import os
import resource
import statistics
import subprocess
import sys
from pathlib import Path

import torch
import torch_remote
from measure import Report, make_parser, progress

COUNT = 100_000
QUICK_COUNT = 10_000
ROUNDS = 3
SIDES = (1, 256)
LIVE_LIMIT = 1.15
GROWTH_LIMIT = 1e6
META = "meta"


def resident_bytes(pid: int) -> int:
    """Memory of a process that is in use now."""
    pages = Path(f"/proc/{pid}/statm")
    if pages.exists():
        return int(pages.read_text().split()[1]) * resource.getpagesize()
    kilobytes = subprocess.check_output(["ps", "-o", "rss=", "-p", str(pid)])
    return 1024 * int(kilobytes)


def synchronize(device: torch.device) -> None:
    if device.type != META:
        torch.get_device_module(device).synchronize(device)


def make(device: torch.device, side: int, count: int) -> list[torch.Tensor]:
    return [torch.empty(side, side, device=device) for _ in range(count)]


def live_cost(device: torch.device, side: int, count: int, _: list[int]) -> list[float]:
    """Bytes a tensor, once the first fifth has taken what is only needed once."""
    first = make(device, side, count // 5)
    synchronize(device)
    before = resident_bytes(os.getpid())
    more = make(device, side, count)
    synchronize(device)
    cost = (resident_bytes(os.getpid()) - before) / count
    del first, more
    return [cost]


def dropped_growth(
    device: torch.device, side: int, count: int, processes: list[int]
) -> list[float]:
    """Bytes that remain in each process of tensors that were made and dropped, after as many before."""

    def make_and_drop() -> None:
        for _ in range(count):
            torch.empty(side, side, device=device)
        synchronize(device)

    make_and_drop()
    before = [resident_bytes(pid) for pid in processes]
    make_and_drop()
    return [resident_bytes(pid) - held for pid, held in zip(processes, before, strict=True)]


FIGURES = {"live": live_cost, "dropped": dropped_growth}


def measure_here(options: argparse.Namespace) -> None:
    """In a process of its own: one figure of one device, printed for the parent."""
    gc.disable()
    if options.endpoint == META:
        device = torch.device(META)
    else:
        device = torch_remote.connect(options.endpoint, num_threads=1)
    processes = [os.getpid(), *([options.executor] if options.executor else [])]
    figures = FIGURES[options.child](device, options.side, options.count, processes)
    left = 0
    if device.type != META:
        synchronize(device)
        left = torch.get_device_module(device).memory_allocated(device)
    print(json.dumps({"figures": figures, "left": left}))


def measure(figure: str, place: tuple[str, int], side: int, count: int) -> tuple[list[float], int]:
    """The figures, and the bytes that the client counts as allocated when nothing is live."""
    endpoint, executor = place
    arguments = ["--child", figure, "--endpoint", endpoint, "--executor", str(executor)]
    arguments += ["--side", str(side), "--count", str(count)]
    output = subprocess.check_output([sys.executable, __file__, *arguments], text=True)
    answer = json.loads(output.splitlines()[-1])
    return [float(number) for number in answer["figures"]], int(answer["left"])


def main() -> int:
    parser = make_parser(__doc__)
    parser.add_argument("--child", choices=list(FIGURES), help=argparse.SUPPRESS)
    parser.add_argument("--endpoint", help=argparse.SUPPRESS)
    parser.add_argument("--executor", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--side", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        measure_here(options)
        return 0

    count = QUICK_COUNT if options.quick else COUNT
    rounds = 1 if options.quick else ROUNDS
    report = Report(f"{count:,} tensors: bytes a live one, and bytes left once all are dropped")
    with torch_remote.LocalExecutor(device="null") as executor:
        places = {META: (META, 0), "remote": (executor.endpoint, executor.process.pid)}
        for side in SIDES:
            costs: dict[str, list[float]] = {name: [] for name in places}
            growths: dict[str, list[list[float]]] = {name: [] for name in places}
            left = 0
            for number in range(rounds):
                progress(f"{side}x{side}, round {number + 1}")
                for name, place in places.items():
                    costs[name] += measure("live", place, side, count)[0]
                    growth, left_now = measure("dropped", place, side, count)
                    growths[name].append(growth)
                    left = max(left, left_now)
            live = {name: statistics.median(figures) for name, figures in costs.items()}
            ratio = live["remote"] / live[META]
            here, there = (
                statistics.median(figures) for figures in zip(*growths["remote"], strict=True)
            )
            report.add(
                tensor=f"{side}x{side} float32",
                meta_live=live[META],
                remote_live=live["remote"],
                ratio=ratio,
                meta_left=statistics.median(figure for (figure,) in growths[META]),
                remote_left=here,
                executor_left=there,
                counted_left=left,
            )
            title = f"{side}x{side}"
            report.limit(
                f"{title}: live, of a meta tensor", live["remote"] / live[META], LIVE_LIMIT
            )
            report.limit(f"{title}: bytes left in this process", here, GROWTH_LIMIT)
            report.limit(f"{title}: bytes left in the executor's process", there, GROWTH_LIMIT)
            report.limit(f"{title}: bytes that the client still counts", left, 0)
    return report.finish(options)


if __name__ == "__main__":
    sys.exit(main())
