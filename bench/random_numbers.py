# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""What CUDA's random numbers cost on an emulated GPU, against CPU's own generator in the same run."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from measure import BASELINE, Place, Report, Sample, alternate, make_parser, open_places, take

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

ROUNDS = 11
QUICK_ROUNDS = 2
SIZES = (1_000_000, 10_000_000)
#: At least half of CPU's speed.
LIMIT = 2.0

DRAWS: dict[str, Callable[[Tensor], object]] = {
    "uniform_": lambda x: x.uniform_(),
    "normal_": lambda x: x.normal_(),
    "bernoulli_": lambda x: x.bernoulli_(0.5),
    "native_dropout": lambda x: torch.native_dropout(x, 0.5, True),
    "exponential_": lambda x: x.exponential_(),
    "random_": lambda x: x.random_(0, 1000),
}


def main() -> int:
    options = make_parser(__doc__).parse_args()
    torch.set_num_threads(1)
    report = Report(
        "Draws of floats, one thread, nanoseconds an element; below 1 is faster than CPU"
    )
    with open_places(["emulator"]) as (emulator,):
        for size in SIZES[:1] if options.quick else SIZES:
            tensors = {
                place.name: torch.ones(size, device=place.device) for place in (BASELINE, emulator)
            }

            def side(place: Place, draw: Callable[[Tensor], object], _: int) -> Sample:
                return take(place, partial(draw, tensors[place.name]))  # noqa: B023

            for name, draw in DRAWS.items():
                taken = alternate(
                    {place.name: partial(side, place, draw) for place in (BASELINE, emulator)},
                    QUICK_ROUNDS if options.quick else ROUNDS,
                )
                ratio = taken["emulator"].ratio(taken["cpu"], "wall")
                report.add(
                    draw=name,
                    elements=size,
                    cpu=taken["cpu"].median("wall") * 1e9 / size,
                    emulator=taken["emulator"].median("wall") * 1e9 / size,
                    ratio=ratio,
                )
                report.limit(f"{name} of {size:,} elements, ratio to CPU", ratio, LIMIT)
    return report.finish(options)


if __name__ == "__main__":
    raise SystemExit(main())
