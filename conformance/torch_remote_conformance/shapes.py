# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Elementwise operators of one tensor: PyTorch's samples have one dimension, so the same numbers come in several here."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import torch

from torch_remote_conformance import sources
from torch_remote_conformance.case import Recorder
from torch_remote_conformance.pairs import Pair, compare_gradients
from torch_remote_conformance.sources import Sample

#: Of a tensor with one dimension, of even size.
_SHAPES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "two dimensions": lambda one: one.reshape(2, -1),
    # Where activations bend: the table's numbers are mostly beyond that.
    "small numbers": lambda one: (one / 8 if one.is_floating_point() else one).reshape(2, -1),
    "transposed": lambda one: one.reshape(2, -1).t(),
    "three dimensions in another order": lambda one: one.reshape(2, 2, -1).permute(1, 2, 0),
}


def takes_any_shape(info: Any) -> bool:
    """Whether the operator is elementwise and of one tensor."""
    from torch.testing._internal.opinfo.core import UnaryUfuncInfo

    return isinstance(info, UnaryUfuncInfo)


def check_shapes(info: Any, dtype: torch.dtype, recorder: Recorder) -> None:
    """Several dimensions, and the same in place."""
    for what, sample in _shaped(info, dtype, recorder.seed, requires_grad=False):
        with recorder.sample(f"{what}: {sample.label()}"):
            Pair(info, sample, recorder).compare(info.op)
        if info.inplace_variant is not None:
            with recorder.sample(f"{what}, in place: {sample.label()}"):
                Pair(info, sample, recorder).compare(info.inplace_variant)


def check_shapes_backward(info: Any, dtype: torch.dtype, recorder: Recorder) -> None:
    """Their gradients."""
    for what, sample in _shaped(info, dtype, recorder.seed, requires_grad=True):
        with recorder.sample(f"{what}: {sample.label()}"):
            pair = Pair(info, sample, recorder)
            results = pair.compare(info.op)
            if results is not None:
                compare_gradients(pair, *results, pair.comparison(is_random=pair.is_random))


def _shaped(
    info: Any, dtype: torch.dtype, seed: int, *, requires_grad: bool
) -> Iterator[tuple[str, Sample]]:
    for sample in sources.samples(info, dtype, seed, requires_grad=requires_grad):
        first = sample.positional[0]
        if not isinstance(first, torch.Tensor) or first.dim() != 1 or first.numel() % 4 != 0:
            continue
        for what, shape in _SHAPES.items():
            made = shape(first.detach()).requires_grad_(requires_grad)
            yield what, dataclasses.replace(sample, positional=(made, *sample.positional[1:]))
        return
