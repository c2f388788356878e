# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Device arguments of programs that say "cuda".

torch.device("cuda") is a remote device already (device_names.h). What is left are texts and numbers that PyTorch
would read in C++.
"""

import functools
from collections.abc import Callable
from typing import Any

import torch

from torch_remote._names import is_remote, remote_index

_Device = torch.device

# Beyond what any device has: where device_names.h puts CUDA devices that aren't there.
_NOWHERE = 64

# torch 2.11 has it; it is a RuntimeError.
_error: type[RuntimeError] = getattr(torch, "AcceleratorError", RuntimeError)


def named_device(device: Any) -> Any:
    """The torch.device that a text or a number names; everything else as it is."""
    kind = device.__class__
    if kind is not str and kind is not int:
        return device
    return checked_ordinal(_Device(device))


def checked_ordinal(device: torch.device) -> torch.device:
    """The device. Raises what CUDA raises for one that isn't there."""
    if is_remote(device) and (remote_index(device) or 0) >= _NOWHERE:
        raise _error(
            f"CUDA error: invalid device ordinal: there is no {device}, but {torch.cuda.device_count()} device(s)"
        )
    return device


def taking_device(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, whose argument "device" may say "cuda"."""

    @functools.wraps(function)
    def wrapper(*arguments: Any, **options: Any) -> Any:
        device = options.get("device")
        if device is not None and device.__class__ is not _Device:
            options["device"] = named_device(device)
        return function(*arguments, **options)

    return wrapper


def taking_device_first(function: Callable[..., Any], place: int = 0) -> Callable[..., Any]:
    """The same for one that also takes the device by its place, as Tensor.to does after self."""

    @functools.wraps(function)
    def wrapper(*arguments: Any, **options: Any) -> Any:
        if len(arguments) > place:
            first = arguments[place]
            kind = first.__class__
            if kind is str or kind is int:
                arguments = (*arguments[:place], named_device(first), *arguments[place + 1 :])
        if "device" in options:
            options["device"] = named_device(options["device"])
        return function(*arguments, **options)

    return wrapper


def remote_type(device_type: Any) -> Any:
    """The name of a device type that PyTorch's C++ side knows."""
    return "remote" if device_type == "cuda" else device_type
