# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""The parts of PyTorch around tensors that name CUDA: autocast, profiler, distributed, DataParallel, accelerator."""

import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch
import torch.accelerator
import torch.nn.parallel.data_parallel
import torch.profiler
from torch.utils import _pytree as pytree

from torch_remote._after_import import call_after_import
from torch_remote._cuda_names.arguments import named_device, remote_type
from torch_remote._cuda_names.patches import Patches
from torch_remote._names import is_remote, remote_index


def install(patches: Patches, _indices: list[int]) -> None:
    """Replaces what asks for CUDA by its name in C++."""
    _install_autocast(patches)
    _install_profiler(patches)
    _install_accelerator(patches)
    _install_data_parallel(patches)
    call_after_import(
        {"torch._dynamo.device_interface": functools.partial(_install_compiler, patches)}
    )
    if torch.distributed.is_available():
        patches.wrap(torch.distributed, "init_process_group", _refusing_nccl)
        patches.wrap(torch.distributed.distributed_c10d, "init_process_group", _refusing_nccl)


# ---- autocast ----


def _install_autocast(patches: Patches) -> None:
    """torch.autocast and GradScaler are Python and stay; the flags that they set are in C++."""
    for name in ("set_autocast_dtype", "get_autocast_dtype", "is_autocast_available"):
        patches.wrap(torch, name, _with_remote_type)
    patches.wrap(torch._C, "_is_autocast_available", _with_remote_type)
    patches.wrap(torch, "is_autocast_enabled", _is_enabled)
    patches.wrap(torch, "set_autocast_enabled", _set_enabled)
    patches.wrap(
        torch, "get_autocast_gpu_dtype", lambda _: lambda: torch.get_autocast_dtype("cuda")
    )
    patches.wrap(
        torch,
        "set_autocast_gpu_dtype",
        lambda _: lambda dtype: torch.set_autocast_dtype("cuda", dtype),
    )


def _with_remote_type(function: Callable[..., Any]) -> Callable[..., Any]:
    """The device type comes first, or by its name."""

    @functools.wraps(function)
    def wrapper(*arguments: Any, **options: Any) -> Any:
        if arguments:
            arguments = (remote_type(arguments[0]), *arguments[1:])
        if "device_type" in options:
            options["device_type"] = remote_type(options["device_type"])
        return function(*arguments, **options)

    return wrapper


def _is_enabled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Without an argument PyTorch means CUDA."""

    @functools.wraps(function)
    def wrapper(device_type: str = "cuda") -> Any:
        return function(remote_type(device_type))

    return wrapper


def _set_enabled(function: Callable[..., Any]) -> Callable[..., Any]:
    """With one argument PyTorch means CUDA."""

    @functools.wraps(function)
    def wrapper(*arguments: Any) -> Any:
        device_type, enabled = arguments if len(arguments) == 2 else ("cuda", *arguments)
        return function(remote_type(device_type), enabled)

    return wrapper


# ---- profiler ----


def _install_profiler(patches: Patches) -> None:
    cuda = torch.profiler.ProfilerActivity.CUDA
    remote = torch.profiler.ProfilerActivity.PrivateUse1
    module = torch.profiler.profiler
    supported: Callable[[], set[Any]] = module.supported_activities

    def mapped(one: Any) -> Any:
        if isinstance(one, dict):
            return {remote if key == cuda else key: value for key, value in one.items()}
        return remote if one == cuda else one

    def with_remote_activities(make: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(make)
        def wrapper(
            self: Any, *, activities: Any = None, use_cuda: bool | None = None, **others: Any
        ) -> None:
            if activities is None:
                activities = {torch.profiler.ProfilerActivity.CPU, remote}
            activities = [mapped(one) for one in activities]
            if use_cuda and remote not in activities:
                activities.append(remote)
            make(self, activities=activities, **others)

        return wrapper

    patches.set(
        module._KinetoProfile, "__init__", with_remote_activities(module._KinetoProfile.__init__)
    )
    patches.set(module.profile, "__init__", with_remote_activities(module.profile.__init__))
    patches.set(torch.profiler, "supported_activities", lambda: {*supported(), cuda})
    patches.wrap(torch.autograd.profiler.profile, "__init__", _with_remote_profile)


def _with_remote_profile(make: Callable[..., None]) -> Callable[..., None]:
    """The older torch.autograd.profiler: use_cuda=True and use_device="cuda"."""

    @functools.wraps(make)
    def wrapper(self: Any, enabled: bool = True, *, use_cuda: bool = False, **options: Any) -> None:
        device = "cuda" if use_cuda else options.pop("use_device", None)
        make(self, enabled, use_device=remote_type(device), **options)

    return wrapper


# ---- torch.accelerator, which passes CUDA's numbers to C++ ----


def _install_accelerator(patches: Patches) -> None:
    def with_remote_index(index_of: Callable[..., int]) -> Callable[..., int]:
        @functools.wraps(index_of)
        def wrapper(device: Any, optional: bool = False) -> int:
            found = named_device(device)
            index = remote_index(found) if is_remote(found) else None
            if index is not None:
                return index
            # PyTorch's own messages; and the current device, which C++ knows by its own number.
            index_of(device, optional)
            return int(torch._C._accelerator_getDeviceIndex())

        return wrapper

    def shown(index_of: Callable[[], int]) -> Callable[[], int]:
        return lambda: int(torch.device("remote", index_of()).index)

    for module in (torch.accelerator, torch.accelerator.memory):
        patches.wrap(module, "_get_device_index", with_remote_index)
    for name in ("current_device_index", "current_device_idx"):
        patches.wrap(torch.accelerator, name, shown)
    patches.wrap(torch.accelerator, "device_count", lambda _: lambda: torch.cuda.device_count())


# ---- the compiler ----


def _install_compiler(patches: Patches, device_interface: ModuleType) -> None:
    """What it asks about "cuda" is answered by the remote device; it may be imported long after the others."""
    if patches.ended:
        return
    interfaces: Any = device_interface.device_interfaces
    # Not by registering, which PyTorch forbids for a name that it has; the first look makes its own list.
    device_interface.get_registered_device_interfaces()
    for name in ("cuda", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))):
        patches.item(interfaces, name, interfaces["remote"])


# ---- several devices ----


def _install_data_parallel(patches: Patches) -> None:
    """With one device it only moves its inputs there, which it would do by functions that CUDA alone has."""
    parallel = torch.nn.DataParallel
    make: Callable[..., None] = getattr(parallel.__init__, "__wrapped__", parallel.__init__)

    def make_for_one(
        self: Any, module: Any, device_ids: Any = None, *others: Any, **options: Any
    ) -> None:
        count = torch.cuda.device_count() if device_ids is None else len(device_ids)
        if count > 1:
            raise NotImplementedError(
                f"DataParallel copies a model to {count} CUDA devices by functions of CUDA's, which remote devices "
                "don't have; give it one: device_ids=[0]"
            )
        make(
            self,
            module,
            [torch.cuda.current_device()] if device_ids is None else device_ids,
            *others,
            **options,
        )

    def scatter(self: Any, inputs: Any, kwargs: Any, _device_ids: Any) -> tuple[Any, Any]:
        def moved(leaf: Any) -> Any:
            return leaf.to(self.src_device_obj) if isinstance(leaf, torch.Tensor) else leaf

        return (pytree.tree_map(moved, inputs),), (pytree.tree_map(moved, kwargs),)

    patches.set(parallel, "__init__", make_for_one)
    patches.set(parallel, "scatter", scatter)


def _refusing_nccl(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(backend: Any = None, *arguments: Any, **options: Any) -> Any:
        if backend is None or "nccl" in str(backend).lower():
            raise NotImplementedError(
                "torch.distributed has no backend for remote devices yet, and NCCL needs CUDA's: run the program "
                "as one process without it; backend='gloo' works for tensors on CPU"
            )
        return function(backend, *arguments, **options)

    return wrapper
