# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Shapes that grow by one each call, as a KV cache makes them, against calls of one shape."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

import torch
from measure import (
    BASELINE,
    Place,
    Report,
    Sample,
    alternate,
    chosen_places,
    make_parser,
    progress,
    take,
)
from torch import Tensor
from torch.nn import functional

HEADS = 4
WIDTH = 16
CALLS = 256
QUICK_CALLS = 32
RANGES = 4
QUICK_RANGES = 2
ROUNDS = 5
QUICK_ROUNDS = 3
LIMIT = 5.0

Call = Callable[[], object]


@dataclass(frozen=True)
class Operation:
    """Makes the call for one length of the cache.

    A shape is only new once, so every round has another variant: another dimension, one that
    hardly changes the cost.
    """

    name: str
    make: Callable[[torch.device, int, int], Call]


def cache(device: torch.device, length: int, variant: int) -> Tensor:
    return torch.ones(1, HEADS, length, WIDTH + variant, device=device)


def scores(device: torch.device, length: int, variant: int) -> Tensor:
    return torch.ones(1, HEADS + variant, 1, length, device=device)


def make_cat(device: torch.device, length: int, variant: int) -> Call:
    old, new = cache(device, length, variant), cache(device, 1, variant)
    return lambda: torch.cat((old, new), dim=-2)


def make_add(device: torch.device, length: int, variant: int) -> Call:
    left, right = scores(device, length, variant), scores(device, length, variant)
    return lambda: torch.add(left, right)


def make_matmul(device: torch.device, length: int, variant: int) -> Call:
    query, keys = cache(device, 1, variant), cache(device, length, variant).transpose(-1, -2)
    return lambda: torch.matmul(query, keys)


def make_softmax(device: torch.device, length: int, variant: int) -> Call:
    values = scores(device, length, variant)
    return lambda: torch.softmax(values, -1)


def make_attention(device: torch.device, length: int, variant: int) -> Call:
    query, keys = cache(device, 1, variant), cache(device, length, variant)
    values = cache(device, length, variant)
    return lambda: functional.scaled_dot_product_attention(query, keys, values)


OPERATIONS = (
    Operation("cat", make_cat),
    Operation("add", make_add),
    Operation("matmul", make_matmul),
    Operation("softmax", make_softmax),
    Operation("attention", make_attention),
)


def growing(place: Place, operation: Operation, lengths: range, variant: int) -> Sample:
    calls = [operation.make(place.device, length, variant) for length in lengths]
    return run(place, calls)


def cached(place: Place, operation: Operation, lengths: range, variant: int) -> Sample:
    call = operation.make(place.device, lengths[len(lengths) // 2], variant)
    call()
    return run(place, [call] * len(lengths))


def run(place: Place, calls: list[Call]) -> Sample:
    def work() -> None:
        for call in calls:
            call()

    return take(place, work)


Kind = Callable[[Place, Operation, range, int], Sample]


def side(
    kind: Kind, place: Place, operation: Operation, lengths: range, first_variant: int
) -> Callable[[int], Sample]:
    return lambda number: kind(place, operation, lengths, first_variant + number)


def main() -> int:
    options = make_parser(__doc__, ["emulator", "null"]).parse_args()
    calls = QUICK_CALLS if options.quick else CALLS
    rounds = QUICK_ROUNDS if options.quick else ROUNDS
    ranges = QUICK_RANGES if options.quick else RANGES
    report = Report(
        f"{calls} calls, each one longer than the last, against as many of the middle length; "
        "microseconds a call"
    )
    with chosen_places(options) as places, torch.no_grad():
        for index, place in enumerate(places):
            largest = {"calls": 0.0, "wall": 0.0}
            for operation in OPERATIONS:
                for part in range(ranges):
                    lengths = range(1 + part * calls, 1 + (part + 1) * calls)
                    progress(f"{operation.name} {lengths[0]}-{lengths[-1]} on {place.name}")
                    sides = {
                        f"{kind.__name__} {where.name}": side(
                            kind, where, operation, lengths, index * (rounds + 1)
                        )
                        for where in dict.fromkeys((BASELINE, place))
                        for kind in (growing, cached)
                    }
                    samples = alternate(sides, rounds)
                    new, old = samples[f"growing {place.name}"], samples[f"cached {place.name}"]
                    ratios = {
                        "calls": new.ratio(old, "calls"),
                        "wall": new.ratio(old, "wall"),
                    }
                    largest = {name: max(largest[name], ratios[name]) for name in ratios}
                    report.add(
                        device=place.name,
                        operation=operation.name,
                        lengths=f"{lengths[0]}-{lengths[-1]}",
                        cpu_growing=samples["growing cpu"].median("wall", per=calls * 1e-6),
                        cpu_cached=samples["cached cpu"].median("wall", per=calls * 1e-6),
                        growing_calls=new.median("calls", per=calls * 1e-6),
                        cached_calls=old.median("calls", per=calls * 1e-6),
                        calls_ratio=ratios["calls"],
                        growing_wall=new.median("wall", per=calls * 1e-6),
                        cached_wall=old.median("wall", per=calls * 1e-6),
                        wall_ratio=ratios["wall"],
                        growing_all_threads=new.median("cpu", per=calls * 1e-6),
                    )
            for name, title in (("wall", "end to end"), ("calls", "until the last call returned")):
                report.limit(f"{place.name}: largest ratio, {title}", largest[name], LIMIT)
    return report.finish(options)


if __name__ == "__main__":
    sys.exit(main())
