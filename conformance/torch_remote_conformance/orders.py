# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Calls in which one tensor after the other lies in memory in another order of its dimensions."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils import _pytree as pytree

from torch_remote_conformance import sources
from torch_remote_conformance.case import Recorder
from torch_remote_conformance.pairs import Pair
from torch_remote_conformance.sources import Sample

_SAMPLES = 2


def check_orders(info: Any, dtype: torch.dtype, recorder: Recorder) -> None:
    """The operator, and the variant that writes into its first argument."""
    made = sources.samples(info, dtype, recorder.seed, requires_grad=False)
    calls: dict[str, Callable[..., Any]] = {"": info.op}
    if info.inplace_variant is not None:
        calls["in place, "] = info.inplace_variant
    for sample in itertools.islice(filter(_has_order, made), _SAMPLES):
        for which, changed in _reordered(sample):
            for what, call in calls.items():
                with recorder.sample(f"{what}tensor {which}: {changed.label()}"):
                    Pair(info, changed, recorder).compare(call)


def _has_order(sample: Sample) -> bool:
    return any(map(_can_lie_otherwise, pytree.tree_leaves((sample.positional, sample.keywords))))


def _can_lie_otherwise(leaf: Any) -> bool:
    return (
        isinstance(leaf, torch.Tensor)
        and leaf.layout == torch.strided
        and sum(size > 1 for size in leaf.shape) > 1
        and leaf.is_contiguous()
    )


def _reordered(sample: Sample) -> Iterator[tuple[int, Sample]]:
    leaves, structure = pytree.tree_flatten((sample.positional, sample.keywords))
    for which, leaf in enumerate(leaves):
        if not _can_lie_otherwise(leaf):
            continue
        backwards = tuple(reversed(range(leaf.dim())))
        changed = list(leaves)
        changed[which] = leaf.detach().permute(backwards).contiguous().permute(backwards)
        positional, keywords = pytree.tree_unflatten(changed, structure)
        yield which, dataclasses.replace(sample, positional=positional, keywords=keywords)
