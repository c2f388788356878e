# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Methods and types of tensors that name CUDA: .cuda(), is_cuda, torch.cuda.FloatTensor."""

import functools
from collections.abc import Callable
from typing import Any, NoReturn

import torch

from torch_remote._cuda_names.arguments import named_device, taking_device_first
from torch_remote._cuda_names.patches import Patches
from torch_remote._names import is_remote

_LEGACY_DTYPES = {
    "BFloat16Tensor": torch.bfloat16,
    "BoolTensor": torch.bool,
    "ByteTensor": torch.uint8,
    "CharTensor": torch.int8,
    "DoubleTensor": torch.float64,
    "FloatTensor": torch.float32,
    "HalfTensor": torch.float16,
    "IntTensor": torch.int32,
    "LongTensor": torch.int64,
    "ShortTensor": torch.int16,
}


def install(patches: Patches, indices: list[int]) -> None:
    """Replaces them on torch.Tensor, and the types of torch.cuda."""
    method_names = ("to", "cuda", "pin_memory", "is_pinned")
    before = {name: getattr(torch.Tensor, name) for name in method_names}
    for name in ("to", "pin_memory", "is_pinned"):
        patches.set(torch.Tensor, name, taking_device_first(before[name], place=1))
    patches.set(torch.Tensor, "cuda", _cuda)
    _allow_in_lazy_modules(patches, before)
    patches.set(torch.Tensor, "is_cuda", property(lambda tensor: tensor.device.type == "cuda"))
    patches.set(torch.Tensor, "is_remote", property(lambda tensor: is_remote(tensor.device)))
    patches.set(torch.Tensor, "__cuda_array_interface__", property(_refuse_address))
    if indices != list(range(len(indices))):  # else they are CUDA's numbers as they are
        patches.set(torch.Tensor, "get_device", _get_device)
    types = {name: _legacy_type(name, dtype) for name, dtype in _LEGACY_DTYPES.items()}
    for name, made in types.items():
        patches.set(torch.cuda, name, made)
    patches.wrap(torch.Tensor, "type", functools.partial(_typed, types))
    patches.wrap(torch, "set_default_tensor_type", functools.partial(_defaulting, types))


def _cuda(
    self: torch.Tensor,
    device: Any = None,
    non_blocking: bool = False,
    memory_format: torch.memory_format = torch.preserve_format,
) -> torch.Tensor:
    """Tensor.cuda: the tensor itself where it is there already."""
    device = torch.device("cuda") if device is None else named_device(device)
    moved: torch.Tensor = self.to(device, non_blocking=non_blocking, memory_format=memory_format)
    return moved


def _allow_in_lazy_modules(patches: Patches, before: dict[str, Any]) -> None:
    """Parameters without a shape take a few methods, known by their identity."""
    allowed: list[Any] = vars(torch.nn.parameter)["UninitializedTensorMixin"]._allowed_methods
    for name, method in before.items():
        if method in allowed:
            patches.element(allowed, allowed.index(method), getattr(torch.Tensor, name))


def _refuse_address(tensor: torch.Tensor) -> NoReturn:
    """An AttributeError, as tensors without memory of CUDA's raise it, which hasattr understands."""
    raise AttributeError(
        f"a tensor on {tensor.device} has no memory in this process whose address could be given"
    )


def _get_device(self: torch.Tensor) -> int:
    return -1 if self.device.index is None else self.device.index


# ---- torch.cuda.FloatTensor ----


class _LegacyType(type):
    """Of a class that is called for tensors of one dtype on CUDA, as before there were dtypes."""

    dtype: torch.dtype

    def __instancecheck__(cls, instance: object) -> bool:
        return (
            isinstance(instance, torch.Tensor)
            and instance.dtype == cls.dtype
            and is_remote(instance.device)
        )

    def __call__(cls, *arguments: Any, **options: Any) -> torch.Tensor:
        """Sizes, or values: what torch.FloatTensor would take."""
        options.pop("device", None)
        made: torch.Tensor = getattr(torch, cls.__name__)(*arguments, **options)
        return made.cuda()

    @property
    def is_cuda(cls) -> bool:
        return True

    def __repr__(cls) -> str:
        return f"<class 'torch.cuda.{cls.__name__}'>"


def _legacy_type(name: str, dtype: torch.dtype) -> type:
    return _LegacyType(name, (), {"dtype": dtype, "__module__": "torch.cuda"})


def _typed(types: dict[str, type], original: Callable[..., Any]) -> Callable[..., Any]:
    """Tensor.type, which says "torch.cuda.FloatTensor" and takes it."""

    @functools.wraps(original)
    def wrapper(self: torch.Tensor, dtype: Any = None, *arguments: Any, **options: Any) -> Any:
        if dtype is None and not arguments and not options:
            name: str = original(self)
            return name.replace("torch.remote.", "torch.cuda.")
        wanted = _named_type(types, dtype)
        if wanted is not None:
            return self.cuda().to(wanted.dtype)
        return original(self, dtype, *arguments, **options)

    return wrapper


def _defaulting(types: dict[str, type], original: Callable[..., Any]) -> Callable[..., Any]:
    """torch.set_default_tensor_type of a type of torch.cuda: its dtype and its device."""

    @functools.wraps(original)
    def wrapper(t: Any) -> None:
        wanted = _named_type(types, t)
        if wanted is None:
            torch.set_default_device(None)
            original(t)
        else:
            torch.set_default_dtype(wanted.dtype)
            torch.set_default_device("cuda")

    return wrapper


def _named_type(types: dict[str, type], wanted: Any) -> Any:
    if isinstance(wanted, str) and wanted.startswith("torch.cuda."):
        return types.get(wanted.removeprefix("torch.cuda."))
    return wanted if isinstance(wanted, _LegacyType) else None
