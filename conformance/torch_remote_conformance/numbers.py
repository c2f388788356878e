# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Operators of two operands, one of which is a Python number: they have kernels and overloads of their own."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import torch

from torch_remote_conformance import sources
from torch_remote_conformance.case import Recorder
from torch_remote_conformance.pairs import Pair
from torch_remote_conformance.sources import Sample

_SAMPLES = 3


def takes_numbers(info: Any) -> bool:
    """Whether PyTorch's table says that one operand may be a number."""
    return bool(getattr(info, "supports_rhs_python_scalar", False))


def check_numbers(info: Any, dtype: torch.dtype, recorder: Recorder) -> None:
    """A number on the right, on the left, and on the right of the variant that writes into its first argument."""
    made = sources.samples(info, dtype, recorder.seed, requires_grad=False)
    both = [one for one in made if isinstance(one.positional[1], torch.Tensor)]
    wide = [one for one in both if _dimensions_of_first(one) > 1]
    for sample in wide[:1]:
        changed = _transposed(sample, _numbers(dtype)[0])
        with recorder.sample(f"a number beside a transposed tensor: {changed.label()}"):
            Pair(info, changed, recorder).compare(info.op)
    for sample in both[:_SAMPLES]:
        for what, call, changed in _calls(info, sample, dtype):
            with recorder.sample(f"{what}: {changed.label()}"):
                Pair(info, changed, recorder).compare(call)


def _calls(
    info: Any, sample: Sample, dtype: torch.dtype
) -> Iterator[tuple[str, Callable[..., Any], Sample]]:
    first, second, *others = sample.positional
    for number in _numbers(dtype):
        right = dataclasses.replace(sample, positional=(first, number, *others))
        left = dataclasses.replace(sample, positional=(number, second, *others))
        yield "a number on the right", info.op, right
        if info.inplace_variant is not None:
            yield "in place", info.inplace_variant, right
        if getattr(info, "supports_one_python_scalar", False):
            yield "a number on the left", info.op, left


def _dimensions_of_first(sample: Sample) -> int:
    first = sample.positional[0]
    return first.dim() if isinstance(first, torch.Tensor) else 0


def _transposed(sample: Sample, number: Any) -> Sample:
    first, _, *others = sample.positional
    return dataclasses.replace(sample, positional=(first.mT.contiguous().mT, number, *others))


def _numbers(dtype: torch.dtype) -> tuple[Any, ...]:
    if dtype == torch.bool:
        return (True, False)
    if dtype.is_complex:
        return (complex(1.5, -0.5), complex(-0.25, 2.0))
    # Two of one type: a second number goes into a plan that is there.
    return (1.5, -0.25, 2) if dtype.is_floating_point else (3, 2)
