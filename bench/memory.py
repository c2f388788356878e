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


def resident_bytes() -> int:
    """Memory of this process that is in use now."""
    pages = Path("/proc/self/statm")
    if pages.exists():
        return int(pages.read_text().split()[1]) * resource.getpagesize()
    kilobytes = subprocess.check_output(["ps", "-o", "rss=", "-p", str(os.getpid())])
    return 1024 * int(kilobytes)


def synchronize(device: torch.device) -> None:
    if device.type != META:
        torch.get_device_module(device).synchronize(device)


def make(device: torch.device, side: int, count: int) -> list[torch.Tensor]:
    return [torch.empty(side, side, device=device) for _ in range(count)]


def live_cost(device: torch.device, side: int, count: int) -> float:
    """Bytes a tensor, once the first fifth has taken what is only needed once."""
    first = make(device, side, count // 5)
    synchronize(device)
    before = resident_bytes()
    more = make(device, side, count)
    synchronize(device)
    cost = (resident_bytes() - before) / count
    del first, more
    return cost


def dropped_growth(device: torch.device, side: int, count: int) -> float:
    """Bytes that remain of tensors that were made and dropped, after as many before them."""

    def make_and_drop() -> None:
        for _ in range(count):
            torch.empty(side, side, device=device)
        synchronize(device)

    make_and_drop()
    before = resident_bytes()
    make_and_drop()
    return resident_bytes() - before


FIGURES = {"live": live_cost, "dropped": dropped_growth}


def measure_here(options: argparse.Namespace) -> None:
    """In a process of its own: one figure of one device, printed for the parent."""
    gc.disable()
    if options.endpoint == META:
        device = torch.device(META)
    else:
        device = torch_remote.connect(options.endpoint, num_threads=1)
    figure = FIGURES[options.child](device, options.side, options.count)
    left = 0
    if device.type != META:
        synchronize(device)
        left = torch.get_device_module(device).memory_allocated(device)
    print(json.dumps({"figure": figure, "left": left}))


def measure(figure: str, endpoint: str, side: int, count: int) -> tuple[float, int]:
    """The figure, and the bytes that the device still has allocated when nothing is live."""
    arguments = ["--child", figure, "--endpoint", endpoint]
    arguments += ["--side", str(side), "--count", str(count)]
    output = subprocess.check_output([sys.executable, __file__, *arguments], text=True)
    answer = json.loads(output.splitlines()[-1])
    return float(answer["figure"]), int(answer["left"])


def main() -> int:
    parser = make_parser(__doc__)
    parser.add_argument("--child", choices=list(FIGURES), help=argparse.SUPPRESS)
    parser.add_argument("--endpoint", help=argparse.SUPPRESS)
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
        places = {META: META, "remote": executor.endpoint}
        for side in SIDES:
            costs: dict[str, list[float]] = {name: [] for name in places}
            growths: dict[str, list[float]] = {name: [] for name in places}
            left = 0
            for number in range(rounds):
                progress(f"{side}x{side}, round {number + 1}")
                for name, endpoint in places.items():
                    costs[name].append(measure("live", endpoint, side, count)[0])
                    growth, left = measure("dropped", endpoint, side, count)
                    growths[name].append(growth)
            live = {name: statistics.median(figures) for name, figures in costs.items()}
            ratio = live["remote"] / live[META]
            growth = statistics.median(growths["remote"])
            report.add(
                tensor=f"{side}x{side} float32",
                meta_live=live[META],
                remote_live=live["remote"],
                ratio=ratio,
                meta_left=statistics.median(growths[META]),
                remote_left=growth,
                executor_left=left,
            )
            title = f"{side}x{side}"
            report.limit(
                f"{title}: live, of a meta tensor", live["remote"] / live[META], LIVE_LIMIT
            )
            report.limit(f"{title}: bytes left in this process", growth, GROWTH_LIMIT)
            report.limit(f"{title}: bytes left on the executor", left, 0)
    return report.finish(options)


if __name__ == "__main__":
    sys.exit(main())
