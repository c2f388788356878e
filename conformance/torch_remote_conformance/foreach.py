# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Cases of PyTorch's operators on lists of tensors, from its own tables: what optimizers and clipping are made of.

They belong to training, L3: float32 there, the others of TRAINING_DTYPES with L4.
"""

import functools
import warnings
from collections.abc import Iterator
from typing import Any

import torch

from torch_remote_conformance.case import Case, Level, Recorder
from torch_remote_conformance.pairs import Pair
from torch_remote_conformance.sources import Sample, reproducible
from torch_remote_conformance.target import Target

_TABLES = ("unary", "binary", "pointwise", "reduce", "other")
_DTYPES = {torch.float32: Level.L3, torch.bfloat16: Level.L4, torch.complex64: Level.L4}
#: Lists of one tensor and of several of different sizes, and these again with other numbers.
_COUNTS_AND_SEEDS = ((1, 0), (4, 0), (4, 1))


@functools.cache
def _infos() -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch.testing._internal import common_methods_invocations as tables
    return {
        info.name: info
        for table in _TABLES
        for info in getattr(tables, f"foreach_{table}_op_db", [])
    }


def cases(_: Target) -> Iterator[Case]:
    """The cases of all such operators, in the tables' order."""
    for name, info in _infos().items():
        for dtype, level in _DTYPES.items():
            if dtype not in info.supported_dtypes("cpu"):
                continue
            for what in ("forward", "in_place"):
                call = info.method_variant if what == "forward" else info.inplace_variant
                if call is None:
                    continue
                run = functools.partial(_check, info, call, dtype)
                case_id = f"foreach/{name.removeprefix('_foreach_')}/{what}/{str(dtype)[6:]}"
                yield Case(case_id, level, run, name)


def _check(info: Any, call: Any, dtype: torch.dtype, recorder: Recorder) -> None:
    """Results, or what the call has left in the list, for each kind of arguments."""
    for count, seed in _COUNTS_AND_SEEDS:
        with reproducible(recorder.seed + seed):
            made = list(
                info.sample_inputs(
                    "cpu", dtype, num_input_tensors=[count], allow_higher_dtype_scalars=True
                )
            )
        for one in made:
            sample = Sample((one.input, *one.args), dict(one.kwargs), None)
            with recorder.sample(sample.label()):
                Pair(info, sample, recorder).compare(call)
