# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""The strides of attention's gradients, for PyTorch's fake tensors: those that an executor on CPU gives.

PyTorch's meta function knows accelerators' alone, and a compiled graph relies on what it was told.
core/client/attention_rules.cpp plans the same.
"""

from types import ModuleType
from typing import Any

import torch

from torch_remote._loading import ensure_loaded
from torch_remote._names import is_remote, remote_index


def adapt(fake_impls: ModuleType) -> None:
    """fake_impls: torch._subclasses.fake_impls, as soon as it is imported."""
    operator = torch.ops.aten._scaled_dot_product_fused_attention_overrideable_backward.default
    known = getattr(fake_impls, "op_implementations_dict", None)
    if known is not None and operator not in known:
        fake_impls.register_op_impl(operator)(_infer)


def _infer(
    mode: Any,
    _: Any,
    gradient: torch.Tensor,  # noqa: ARG001 (the operator's arguments)
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *others: Any,  # noqa: ARG001
    **options: Any,  # noqa: ARG001
) -> Any:
    if query.dim() != 4 or not _computes_on_cpu(query.device):
        return NotImplemented
    with mode:
        return (*[_laid_out_by_length(source) for source in (query, key, value)], None)


def _computes_on_cpu(device: torch.device) -> bool:
    if not is_remote(device):
        return False
    extension = ensure_loaded()
    index = remote_index(device)
    description = extension.description(extension.current_device() if index is None else index)
    return bool(description) and "allocator" not in description


def _laid_out_by_length(source: torch.Tensor) -> torch.Tensor:
    """[batch, heads, length, width], in memory [batch, length, heads, width]."""
    _, heads, length, width = source.shape
    strides = (length * heads * width, width, heads * width, 1)
    return torch.empty_strided(source.shape, strides, dtype=source.dtype, device=source.device)
