# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Cases of every operator in PyTorch's own table: forward, backward, in place, out=, and what it refuses.

The levels: L2 has forward in the dtypes of inference, L3 gradients in the dtypes of training, L4 all
dtypes that the table names for the target.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import torch

from torch_remote_conformance import reproducing, sources
from torch_remote_conformance.calls import (
    check_backward,
    check_double_backward,
    check_errors,
    check_forward,
    check_forward_mode,
    check_in_place,
    check_noncontiguous,
    check_noncontiguous_backward,
    check_noncontiguous_in_place,
    check_out,
)
from torch_remote_conformance.case import Case, Level, Recorder
from torch_remote_conformance.numbers import check_numbers, takes_numbers
from torch_remote_conformance.orders import check_orders
from torch_remote_conformance.shapes import check_shapes, check_shapes_backward, takes_any_shape
from torch_remote_conformance.target import Target

INFERENCE_DTYPES = frozenset({torch.float32, torch.bfloat16, torch.int64, torch.bool})
TRAINING_DTYPES = frozenset({torch.float32, torch.float64, torch.bfloat16, torch.complex64})

Check = Callable[[Any, torch.dtype, Recorder], None]


def cases(target: Target) -> Iterator[Case]:
    """The cases of all operators, in the table's order."""
    for name, info in sources.operators().items():
        yield from _cases_of(name, info, target)


def _cases_of(name: str, info: Any, target: Target) -> Iterator[Case]:
    dtypes = sources.dtypes_of(info, target.claims)
    if not dtypes:
        return  # an operator of other devices
    gradients = sources.backward_dtypes_of(info, target.claims)
    for dtype in dtypes:
        level = Level.L2 if dtype in _or_all(INFERENCE_DTYPES, dtypes) else Level.L4
        yield _case(name, "forward", check_forward, info, dtype, level)
    for dtype in (dtype for dtype in dtypes if dtype in gradients):
        level = Level.L3 if dtype in _or_all(TRAINING_DTYPES, gradients) else Level.L4
        yield _case(name, "backward", check_backward, info, dtype, level)
    one = _first(dtypes, torch.float32)
    has_gaps = not name.startswith("sparse.")  # such tensors have none
    if has_gaps:
        yield _case(name, "noncontiguous", check_noncontiguous, info, one, Level.L2)
    if has_gaps and info.inplace_variant is not None:
        what = "noncontiguous_in_place"
        yield _case(name, what, check_noncontiguous_in_place, info, one, Level.L2)
    if has_gaps:
        yield _case(name, "orders", check_orders, info, one, Level.L2)
    if takes_any_shape(info):
        yield _case(name, "shapes", check_shapes, info, one, Level.L2)
    if takes_numbers(info):
        yield _case(name, "numbers", check_numbers, info, one, Level.L2)
    if info.inplace_variant is not None:
        yield _case(name, "in_place", check_in_place, info, one, Level.L2)
    if info.supports_out:
        yield _case(name, "out", check_out, info, one, Level.L2)
    if info.error_inputs_func is not None:
        yield _case(name, "errors", check_errors, info, one, Level.L2)
    if not gradients:
        return
    if has_gaps:
        usual = _first(sorted(gradients, key=str), torch.float32)
        what = "noncontiguous_backward"
        yield _case(name, what, check_noncontiguous_backward, info, usual, Level.L3)
    if takes_any_shape(info):
        usual = _first(sorted(gradients, key=str), torch.float32)
        yield _case(name, "shapes_backward", check_shapes_backward, info, usual, Level.L3)
    smooth = _first(sorted(gradients, key=str), torch.float64)
    if info.supports_forward_ad:
        yield _case(name, "forward_mode", check_forward_mode, info, smooth, Level.L3)
    if info.supports_gradgrad:
        yield _case(name, "double_backward", check_double_backward, info, smooth, Level.L3)


def _or_all(
    wanted: frozenset[torch.dtype], there: "list[torch.dtype] | set[torch.dtype]"
) -> frozenset[torch.dtype]:
    """The wanted ones; all, for an operator that has none of them."""
    return wanted & frozenset(there) or frozenset(there)


def _first(dtypes: list[torch.dtype], preferred: torch.dtype) -> torch.dtype:
    return preferred if preferred in dtypes else dtypes[0]


def _case(
    name: str, direction: str, check: Check, info: Any, dtype: torch.dtype, level: Level
) -> Case:
    return Case(
        id=f"op/{name}/{direction}/{sources.dtype_name(dtype)}",
        level=level,
        run=functools.partial(check, info, dtype),
        subject=name,
        reproduce=functools.partial(reproducing.operator_script, name, direction, dtype),
    )
