# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""torch.backends.cuda and cudnn, torch.version: what a build of PyTorch for CUDA says of itself.

Their flags are PyTorch's own and can be set in any build; here they change nothing, since an executor decides by
itself how it computes.
"""

from typing import Any

import torch

from torch_remote import remote
from torch_remote._cuda_names.patches import Patches

#: Of PyTorch's wheel from PyPI; an executor on a GPU may have others.
CUDA_VERSION = "13.0"
CUDNN_VERSION = 91900


def install(patches: Patches, indices: list[int]) -> None:
    """Makes torch say that it was built for CUDA."""
    patches.set(torch.version, "cuda", CUDA_VERSION)
    patches.set(torch.backends.cuda, "is_built", lambda: True)
    patches.set(torch.backends.cuda, "is_flash_attention_available", _has_tensor_cores_of_ampere)
    for name in (
        "can_use_flash_attention",
        "can_use_efficient_attention",
        "can_use_cudnn_attention",
    ):
        patches.wrap(torch.backends.cuda, name, lambda _: _can_use_fused_attention)
    patches.set(torch.backends.cuda, "cufft_plan_cache", _PlanCaches(len(indices)))
    cudnn: Any = torch.backends.cudnn  # a module-like object, whose functions are its module's
    patches.set(cudnn.m, "is_available", lambda: True)
    patches.set(cudnn.m, "version", lambda: CUDNN_VERSION)
    patches.set(cudnn.m, "is_acceptable", _is_acceptable)
    patches.set(cudnn.m, "set_flags", _without_limit(cudnn.m.set_flags, cudnn))


def _has_tensor_cores_of_ampere() -> bool:
    return remote.get_device_capability()[0] >= 8


def _can_use_fused_attention(params: Any, debug: bool = False) -> bool:  # noqa: ARG001 (as PyTorch's)
    return remote.get_device_capability()[0] >= 8


def _is_acceptable(tensor: torch.Tensor) -> bool:
    """As cuDNN's: tensors of CUDA whose dtype it has, where it is switched on."""
    known = (torch.float16, torch.float32, torch.float64, torch.bfloat16)
    return bool(torch.backends.cudnn.enabled) and tensor.is_cuda and tensor.dtype in known


def _without_limit(set_flags: Any, cudnn: Any) -> Any:
    """benchmark_limit is asked for where cuDNN is there, by a function that only such a build has."""

    def wrapper(*arguments: Any, **options: Any) -> Any:
        available = cudnn.m.is_available
        cudnn.m.is_available = lambda: False
        try:
            return set_flags(*arguments, **options)
        finally:
            cudnn.m.is_available = available

    return wrapper


class _PlanCache:
    """A device's cache of cuFFT's plans: the executor keeps its own."""

    def __init__(self) -> None:
        self.max_size = 4096

    @property
    def size(self) -> int:
        return 0

    def clear(self) -> None:
        """There is nothing to clear."""


class _PlanCaches(_PlanCache):
    """torch.backends.cuda.cufft_plan_cache: the current device's, and by index each one's."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self._caches = [_PlanCache() for _ in range(count)]

    def __getitem__(self, device: Any) -> _PlanCache:
        index = torch.device(device).index
        return self._caches[torch.cuda.current_device() if index is None else index]
