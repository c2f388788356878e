# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Weights of LSTM, GRU and RNN modules in one buffer, where the device has cuDNN's operator for them.

PyTorch's modules do it for CUDA tensors alone. Without it each call would copy the weights, and say so.
"""

import functools
from typing import Any

import torch
from torch.backends import cudnn

from torch_remote._names import is_remote, remote_index

_MODES = {"RNN_RELU": 0, "RNN_TANH": 1, "LSTM": 2, "GRU": 3}  # cuDNN's numbers


def install() -> None:
    """Modules on a device that stands for a GPU flatten their parameters as on CUDA."""
    flatten = torch.nn.RNNBase.flatten_parameters

    @functools.wraps(flatten)
    def wrapper(self: torch.nn.RNNBase) -> None:
        flatten(self)
        if _suits(self):
            _flatten(self)

    setattr(torch.nn.RNNBase, "flatten_parameters", wrapper)  # noqa: B010 (mypy: a method)


def _suits(module: torch.nn.RNNBase) -> bool:
    """PyTorch's conditions for CUDA."""
    weights: list[Any] = module._flat_weights
    if not weights or len(weights) != len(module._flat_weights_names):
        return False
    if not all(_has_memory(weight) for weight in weights):
        return False
    first = weights[0]
    return (
        is_remote(first.device)
        and cudnn.enabled
        and first.dtype in cudnn.CUDNN_TENSOR_DTYPES
        and all(w.device == first.device and w.dtype == first.dtype for w in weights)
        and len({weight.data_ptr() for weight in weights}) == len(weights)
        and _has_cudnn_networks(first.device)
    )


def _has_memory(weight: Any) -> bool:
    """Neither a subclass, as fake tensors are, nor what torch.func's transforms hand in."""
    return type(weight) in (torch.Tensor, torch.nn.Parameter) and not (
        torch._C._functorch.is_functorch_wrapped_tensor(weight)
    )


def _has_cudnn_networks(device: torch.device) -> bool:
    from torch_remote._loading import ensure_loaded  # it installs this module

    extension = ensure_loaded()
    index = remote_index(device)
    return bool(
        extension.has_recurrent_networks(extension.current_device() if index is None else index)
    )


def _flatten(module: torch.nn.RNNBase) -> None:
    per_cell = (4 if module.bias else 2) + (1 if module.proj_size > 0 else 0)
    with torch.no_grad():
        torch._cudnn_rnn_flatten_weight(
            module._flat_weights,  # type: ignore[arg-type]
            per_cell,
            module.input_size,
            _MODES[module.mode],
            module.hidden_size,
            module.proj_size,
            module.num_layers,
            module.batch_first,
            bool(module.bidirectional),
        )
