# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""100,000 small operations ending in synchronize, against the same on CPU tensors."""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import repeat

import torch
from measure import (
    BASELINE,
    Place,
    Report,
    Sample,
    alternate,
    chosen_places,
    geometric_mean,
    make_parser,
    progress,
    take,
)

OPERATIONS = 100_000
QUICK_OPERATIONS = 5_000
ROUNDS = 5
SIZE = 16
MEAN_LIMITS = {"emulator": 1.1, "null": 0.9}
EACH_LIMIT = 1.5

Loop = Callable[[], None]


def repeated(function: Callable[..., object], *arguments: object) -> Callable[[int], Loop]:
    def with_count(count: int) -> Loop:
        def loop() -> None:
            for _ in repeat(None, count):
                function(*arguments)

        return loop

    return with_count


def add_with_changing_alpha(left: torch.Tensor, right: torch.Tensor) -> Callable[[int], Loop]:
    def with_count(count: int) -> Loop:
        def loop() -> None:
            for number in range(count):
                left.add_(right, alpha=number * 1e-9)

        return loop

    return with_count


def loops(device: torch.device) -> dict[str, Callable[[int], Loop]]:
    left, right = (torch.rand(SIZE, SIZE).to(device) for _ in range(2))
    weight, bias = (torch.rand(SIZE).to(device) for _ in range(2))
    return {
        "add": repeated(torch.add, left, right),
        "mm": repeated(torch.mm, left, right),
        "relu": repeated(torch.relu, left),
        "softmax": repeated(torch.softmax, left, -1),
        "layer_norm": repeated(torch.layer_norm, left, (SIZE,), weight, bias),
        "add_ (alpha changes)": add_with_changing_alpha(left.clone(), right),
    }


def side(place: Place, loop: Loop) -> Callable[[int], Sample]:
    return lambda _: take(place, loop)


def main() -> int:
    options = make_parser(__doc__, ["emulator", "null"]).parse_args()
    count = QUICK_OPERATIONS if options.quick else OPERATIONS
    report = Report(
        f"{count:,} operations on {SIZE}x{SIZE} float32 ending in synchronize, "
        "microseconds an operation"
    )
    with chosen_places(options) as places, torch.no_grad():
        baseline = loops(BASELINE.device)
        for place in places:
            place_loops = loops(place.device)
            ratios = []
            for name, with_count in baseline.items():
                progress(f"{name} on {place.name}")
                samples = alternate(
                    {
                        "cpu": side(BASELINE, with_count(count)),
                        "place": side(place, place_loops[name](count)),
                    },
                    ROUNDS,
                )
                ratios.append(samples["place"].ratio(samples["cpu"], "wall"))
                report.add(
                    device=place.name,
                    operation=name,
                    cpu_wall=samples["cpu"].median("wall", per=count * 1e-6),
                    wall=samples["place"].median("wall", per=count * 1e-6),
                    ratio=ratios[-1],
                    calls=samples["place"].median("calls", per=count * 1e-6),
                    cpu_all_threads=samples["cpu"].median("cpu", per=count * 1e-6),
                    all_threads=samples["place"].median("cpu", per=count * 1e-6),
                )
            mean_limit = MEAN_LIMITS.get(place.name)
            if mean_limit is not None:
                report.limit(f"{place.name}: mean ratio", geometric_mean(ratios), mean_limit)
            if place.name == "emulator":
                report.limit(f"{place.name}: largest ratio", max(ratios), EACH_LIMIT)
    return report.finish(options)


if __name__ == "__main__":
    sys.exit(main())
