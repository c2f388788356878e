# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""What replaced names cost: calls with and without `torch_remote.replace_cuda`, in turns.

The device is the null executor, which computes nothing, so that the client's own time is what is left: the CPU time of all
threads, on which other programs of the machine have little influence.
"""

from __future__ import annotations

import sys
from functools import partial
from itertools import repeat
from typing import TYPE_CHECKING

import torch
import torch_remote
from measure import Report, Sample, alternate, geometric_mean, make_parser, open_places, take

if TYPE_CHECKING:
    from collections.abc import Callable

CALLS = 5_000
QUICK_CALLS = 500
ROUNDS = 31
QUICK_ROUNDS = 2
#: Operators are not touched at all; what is above 1 is the machine's noise.
OPERATIONS_LIMIT = 1.05
#: Of functions that take a device, which look at it, nanoseconds more a call.
DEVICES_LIMIT_NS = 500


def operations(tensor: torch.Tensor) -> dict[str, Callable[[], object]]:
    return {
        "x + x": lambda: tensor + tensor,
        "x.add_(1)": lambda: tensor.add_(1),
        "x @ x": lambda: tensor @ tensor,
    }


def calls_with_a_device(tensor: torch.Tensor) -> dict[str, Callable[[], object]]:
    device = tensor.device
    return {
        "torch.empty(16, device=device)": lambda: torch.empty(16, device=device),
        "x.to(device), already there": lambda: tensor.to(device),
        "x.is_cuda": lambda: tensor.is_cuda,
        "x.device.type": lambda: tensor.device.type,
    }


def main() -> int:
    options = make_parser(__doc__).parse_args()
    torch.set_num_threads(1)
    count = QUICK_CALLS if options.quick else CALLS
    report = Report("Calls on the null executor, nanoseconds of CPU time each")
    with open_places(["null"]) as (place,):
        tensor = torch.empty(16, 16, device=place.device)

        def side(call: Callable[[], object], _: int) -> Sample:
            def loop() -> None:
                for _ in repeat(None, count):
                    call()

            return take(place, loop)

        def replaced_side(call: Callable[[], object], number: int) -> Sample:
            with torch_remote.replace_cuda(place.device):
                return side(call, number)

        def compare(name: str, call: Callable[[], object]) -> tuple[float, float]:
            """The ratio, and the nanoseconds that are added."""
            taken = alternate(
                {"without": partial(side, call), "replaced": partial(replaced_side, call)},
                QUICK_ROUNDS if options.quick else ROUNDS,
            )
            without, replaced = (
                taken[which].median("cpu", per=count * 1e-9) for which in ("without", "replaced")
            )
            ratio = taken["replaced"].ratio(taken["without"], "cpu")
            report.add(call=name, without=without, replaced=replaced, ratio=ratio)
            return ratio, (ratio - 1) * without

        ratios = [compare(name, call)[0] for name, call in operations(tensor).items()]
        report.limit("operations, mean ratio", geometric_mean(ratios), OPERATIONS_LIMIT)
        added = [compare(name, call)[1] for name, call in calls_with_a_device(tensor).items()]
        report.limit("calls with a device, most nanoseconds added", max(added), DEVICES_LIMIT_NS)
    return report.finish(options)


if __name__ == "__main__":
    sys.exit(main())
