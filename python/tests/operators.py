# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""PyTorch's own table of operators with sample arguments, as tests use it."""

import itertools
import warnings
from collections.abc import Iterator
from typing import Any

import hypothesis
import torch
from comparing import to_device
from torch.testing._internal.common_methods_invocations import op_db
from torch.testing._internal.opinfo.core import OpInfo
from torch.utils import _pytree as pytree

# PyTorch's test utilities have just made a profile of their own the current one.
hypothesis.settings.load_profile("torch_remote")

Arguments = tuple[tuple[Any, ...], dict[str, Any]]

OPERATORS: dict[str, OpInfo] = {
    f"{info.name}.{info.variant_test_name}" if info.variant_test_name else info.name: info
    for info in op_db
}


def samples(
    info: OpInfo, dtype: torch.dtype, count: int, *, requires_grad: bool = False
) -> Iterator[Arguments]:
    """The first samples: positional and keyword arguments, on CPU."""
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = info.sample_inputs("cpu", dtype, requires_grad=requires_grad)
        for sample in itertools.islice(made, count):
            yield (sample.input, *sample.args), dict(sample.kwargs)


def placed(arguments: Arguments, device: torch.device | str) -> Arguments:
    """Copies of the arguments as leaves on a device; a device argument is changed as well."""

    positional, keywords = to_device(arguments, device)
    if "device" in keywords:
        keywords["device"] = device
    return positional, keywords


def tensors(structure: Any) -> list[torch.Tensor]:
    """The tensors in a structure, in order."""
    return [leaf for leaf in pytree.tree_leaves(structure) if isinstance(leaf, torch.Tensor)]
