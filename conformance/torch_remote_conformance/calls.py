# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""One operator with one set of arguments, on CPU and on the target, in each way that it can be called."""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils import _pytree as pytree

from torch_remote_conformance import sources
from torch_remote_conformance.case import Recorder, Skip
from torch_remote_conformance.pairs import (
    Pair,
    attempt,
    check_ownership,
    compare_gradients,
    weights_with_gaps,
)
from torch_remote_conformance.placing import placed, tensors
from torch_remote_conformance.sources import Sample, reproducible

#: Where more of an operator's samples would tell no more.
_FEW_SAMPLES = 4


def check_forward(info: Any, dtype: torch.dtype, recorder: Recorder) -> None:
    """The results, what they share with the arguments, and that these are as CPU leaves them."""
    made = sources.samples_twice(info, dtype, recorder.seed, requires_grad=False)
    for index, sample in enumerate(made):
        with recorder.sample(sample.label()):
            pair = Pair(info, sample, recorder)
            results = pair.compare(info.op)
            if results is not None and index < _FEW_SAMPLES:
                check_ownership(pair, pair.remote, pair.local, results[0])


def check_noncontiguous(info: Any, dtype: torch.dtype, recorder: Recorder) -> None:
    """Arguments with gaps between their elements."""
    for sample in _noncontiguous(info, dtype, recorder.seed):
        with recorder.sample(sample.label()):
            Pair(info, sample, recorder).compare(info.op)


def check_noncontiguous_in_place(info: Any, dtype: torch.dtype, recorder: Recorder) -> None:
    """The variant that writes into its first argument, where that has gaps."""
    for sample in itertools.islice(_noncontiguous(info, dtype, recorder.seed), _FEW_SAMPLES):
        with recorder.sample(sample.label()):
            Pair(info, sample, recorder).compare(info.inplace_variant)


def check_noncontiguous_backward(info: Any, dtype: torch.dtype, recorder: Recorder) -> None:
    """Gradients of arguments with gaps, from gradients of results with gaps."""
    for sample in itertools.islice(
        _noncontiguous(info, dtype, recorder.seed, requires_grad=True), _FEW_SAMPLES
    ):
        with recorder.sample(sample.label()):
            pair = Pair(info, sample, recorder)
            results = pair.compare(_differentiable(info.op, sample))
            if results is not None:
                # A gradient's own strides follow from those that it is made of.
                how = pair.comparison(is_random=pair.is_random)
                compare_gradients(pair, *results, how, weigh=weights_with_gaps)


def check_in_place(info: Any, dtype: torch.dtype, recorder: Recorder) -> None:
    """The variant that writes into its first argument."""
    for sample in sources.samples_twice(info, dtype, recorder.seed, requires_grad=False):
        with recorder.sample(sample.label()):
            Pair(info, sample, recorder).compare(info.inplace_variant)


def check_out(info: Any, dtype: torch.dtype, recorder: Recorder) -> None:
    """out= arguments: empty ones, which get their shape, and ones that fit and have gaps."""
    for sample in sources.samples(info, dtype, recorder.seed, requires_grad=False):
        for make in (_empty_like, _with_gaps_like):
            with recorder.sample(f"{make.__name__.strip('_')}: {sample.label()}"):
                _check_out(info, sample, recorder, make)


def check_errors(info: Any, dtype: torch.dtype, recorder: Recorder) -> None:  # noqa: ARG001
    """What CPU refuses is refused, with the same kind of exception."""
    refused = _refused(info, "cpu", recorder.seed)
    if not recorder.target.computes_as_cpu:
        # What depends on values ends all work on a GPU, so the table names it for CPU alone.
        there = {one.label() for one in _refused(info, str(recorder.target.device), recorder.seed)}
        refused = [one for one in refused if one.label() in there]
    for sample in refused:
        with recorder.sample(sample.label()):
            Pair(info, sample, recorder).compare(info.op)


def _refused(info: Any, device: str, seed: int) -> list[Sample]:
    with reproducible(seed):
        refused = [one.sample_input for one in info.error_inputs(device)]
    return [Sample((one.input, *one.args), dict(one.kwargs), None) for one in refused]


def check_backward(info: Any, dtype: torch.dtype, recorder: Recorder) -> None:
    """Results that know their gradient, and the gradients of all arguments that want one."""
    made = sources.samples_twice(info, dtype, recorder.seed, requires_grad=True)
    for index, sample in enumerate(made):
        with recorder.sample(sample.label()):
            pair = Pair(info, sample, recorder)
            results = pair.compare(_differentiable(info.op, sample))
            if results is not None:
                how = pair.comparison(is_random=pair.is_random)
                compare_gradients(pair, *results, how, write=index < _FEW_SAMPLES)


def check_double_backward(info: Any, dtype: torch.dtype, recorder: Recorder) -> None:
    """Gradients of gradients: within a tolerance.

    Autograd adds up gradients in the order of numbers that it gives to the nodes of each thread, and a
    device's backward has a thread of its own, so the order is not CPU's. The first addend's strides are
    those of the sum.
    """
    for sample in sources.samples(info, dtype, recorder.seed, requires_grad=True):
        with recorder.sample(sample.label()):
            pair = Pair(info, sample, recorder)
            results = pair.compare(_differentiable(info.op, sample))
            if results is None:
                continue
            how = pair.comparison(is_random=pair.is_random)
            how = dataclasses.replace(how, exact=False, strides=False)
            gradients = compare_gradients(pair, *results, how, create_graph=True)
            if gradients is not None:
                compare_gradients(pair, *gradients, how)


def check_forward_mode(info: Any, dtype: torch.dtype, recorder: Recorder) -> None:
    """Tangents, by forward mode."""
    for sample in sources.samples(info, dtype, recorder.seed, requires_grad=True):
        with recorder.sample(sample.label()):
            Pair(info, sample, recorder).compare(functools.partial(_tangents, info.op, sample))


def _differentiable(op: Callable[..., Any], sample: Sample) -> Callable[..., Any]:
    """The operator, and of its results those that have a defined gradient."""
    return lambda *positional, **keywords: sample.differentiable(op(*positional, **keywords))


def _check_out(
    info: Any, sample: Sample, recorder: Recorder, make: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    # The call may change its arguments: it gets others.
    arguments = placed((sample.positional, sample.keywords), torch.device("cpu"))
    expected = attempt(info.op, arguments, None)
    is_one = isinstance(expected, torch.Tensor)
    results = list(expected) if isinstance(expected, (tuple, list)) else [expected]
    if not all(isinstance(one, torch.Tensor) for one in results):
        raise Skip  # an exception, which the forward case has, or nothing that out= could hold
    outs = [make(one) for one in results]
    keywords = {**sample.keywords, "out": outs[0] if is_one else tuple(outs)}
    with_out = dataclasses.replace(sample, keywords=keywords)
    Pair(info, with_out, recorder).compare(info.op)


def _empty_like(result: torch.Tensor) -> torch.Tensor:
    return torch.empty(0, dtype=result.dtype)


def _with_gaps_like(result: torch.Tensor) -> torch.Tensor:
    return torch.zeros((*result.shape, 2), dtype=result.dtype)[..., 0]


def _noncontiguous(
    info: Any, dtype: torch.dtype, seed: int, *, requires_grad: bool = False
) -> Iterator[Sample]:
    with reproducible(seed):
        made = [
            one.noncontiguous()
            for one in info.sample_inputs("cpu", dtype, requires_grad=requires_grad)
        ]
    for one in made:
        yield Sample((one.input, *one.args), dict(one.kwargs), one.output_process_fn_grad)


def _tangents(
    op: Callable[..., Any], sample: Sample, *positional: Any, **keywords: Any
) -> list[torch.Tensor | None]:
    from torch.autograd import forward_ad

    seed = iter(range(1, 1000))

    def dual(leaf: Any) -> Any:
        if not isinstance(leaf, torch.Tensor) or not leaf.requires_grad:
            return leaf
        generator = torch.Generator().manual_seed(next(seed))
        tangent = torch.randn(leaf.shape, generator=generator, dtype=leaf.dtype)
        return forward_ad.make_dual(leaf.detach(), tangent.to(leaf.device))

    with forward_ad.dual_level():
        result = op(*pytree.tree_map(dual, positional), **pytree.tree_map(dual, keywords))
        result = sample.differentiable(result)
        return [forward_ad.unpack_dual(tensor).tangent for tensor in tensors(result)]
