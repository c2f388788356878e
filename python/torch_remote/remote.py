# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""`torch.remote`: the functions of `torch.cuda` that have a meaning on a remote device."""

import atexit
import contextlib
import os
import secrets
import struct
from collections.abc import Sequence
from typing import Any

import torch

from torch_remote import _loading, memory
from torch_remote._devices import device_index, device_properties
from torch_remote._gpus import GpuProperties
from torch_remote._loading import ensure_loaded
from torch_remote._streams import (
    Event,
    Stream,
    StreamContext,
    current_stream,
    default_stream,
    set_stream,
    stream,
)
from torch_remote.memory import *  # noqa: F403 (its __all__ is the list of memory's functions)

__all__ = [
    "Event",
    "Stream",
    "StreamContext",
    "current_device",
    "current_stream",
    "default_stream",
    "device",
    "device_count",
    "get_amp_supported_dtype",
    "get_device_capability",
    "get_device_name",
    "get_device_properties",
    "get_rng_state",
    "get_rng_state_all",
    "init",
    "initial_seed",
    "is_available",
    "is_bf16_supported",
    "is_initialized",
    "is_tf32_supported",
    "manual_seed",
    "manual_seed_all",
    "memory",
    "seed",
    "seed_all",
    "set_device",
    "set_rng_state",
    "set_rng_state_all",
    "set_stream",
    "stream",
    "synchronize",
]
__all__ += memory.__all__

_DeviceArgument = torch.device | str | int | None
_in_bad_fork = False


def _after_fork() -> None:
    """In a child: it can't use the devices of its parent, if there are any."""
    global _in_bad_fork
    if _loading._extension is not None:
        _in_bad_fork = bool(_loading._extension.disown_devices())
        atexit.register(_leave_autograd_alone)


def _leave_autograd_alone() -> None:
    """Autograd's threads are in the parent; the child's end would wait ten seconds for theirs."""
    os.environ.setdefault("TORCH_AUTOGRAD_SHUTDOWN_WAIT_LIMIT", "0")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _is_in_bad_fork() -> bool:
    return _in_bad_fork


def _lazy_init() -> None:
    """Called by PyTorch before the first tensor is made on the device."""
    if _in_bad_fork:
        raise RuntimeError(
            "Cannot use a remote device in a forked process: its connection belongs to the parent. Use the "
            "'spawn' start method of multiprocessing, and make the device in the child."
        )
    ensure_loaded()


def init() -> None:
    """Loads the extension; nothing else needs it to be called."""
    _lazy_init()


def is_initialized() -> bool:
    """Whether there is a device that can be used."""
    return is_available()


def __getattr__(name: str) -> Any:
    """`_initialized` is what torch.utils.checkpoint asks before it keeps the device's random state."""
    if name == "_initialized":
        return is_initialized()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def is_available() -> bool:
    """Whether there is a device that can be used."""
    extension = ensure_loaded()
    return any(extension.is_running(index) for index in range(extension.device_count()))


def device_count() -> int:
    """One more than the largest index that a device of this process has, or had and may have again."""
    return int(ensure_loaded().device_count())


def current_device() -> int:
    """The index of this thread's current device."""
    return int(ensure_loaded().current_device())


def set_device(device: _DeviceArgument) -> None:
    """Makes a device this thread's current one."""
    ensure_loaded().exchange_device(device_index(device))


class device:  # noqa: N801 (as torch.cuda.device)
    """Context manager that changes the current device."""

    def __init__(self, device: _DeviceArgument) -> None:
        self.idx = device_index(device)
        self.prev_idx = -1

    def __enter__(self) -> None:
        self.prev_idx = int(ensure_loaded().exchange_device(self.idx))

    def __exit__(self, *_: Any) -> None:
        ensure_loaded().exchange_device(self.prev_idx)


def synchronize(device: _DeviceArgument = None) -> None:
    """Waits until a device has done everything; raises the first error that nobody has seen yet.

    Without an argument and without any device there is nothing to wait for.
    """
    if device is None and device_count() == 0:
        return
    ensure_loaded().synchronize(device_index(device))


def get_device_properties(device: _DeviceArgument = None) -> GpuProperties:
    """What a program can know of a device."""
    return device_properties(device)


def get_device_name(device: _DeviceArgument = None) -> str:
    """The name that CUDA would report."""
    return device_properties(device).name


def get_device_capability(device: _DeviceArgument = None) -> tuple[int, int]:
    """Major and minor compute capability; (0, 0) where the executor has no GPU."""
    properties = device_properties(device)
    return properties.major, properties.minor


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """Whether the current device computes in bfloat16, as torch.cuda.is_bf16_supported says it.

    Below compute capability 8.0 float32 units do; that counts where including_emulation is true.
    """
    return including_emulation or get_device_capability()[0] >= 8


def is_tf32_supported() -> bool:
    """Whether the current device has tensor cores for float32, from compute capability 8.0 on."""
    return get_device_capability()[0] >= 8


def get_amp_supported_dtype() -> list[torch.dtype]:
    """The dtypes that autocast may use."""
    return [torch.float16, torch.bfloat16]


def manual_seed(seed: int) -> None:
    """Seeds the current device's generator."""
    if device_count() > 0:
        ensure_loaded().manual_seed(current_device(), int(seed) & (2**64 - 1))


def manual_seed_all(seed: int) -> None:
    """Seeds the generator of every device; those made later begin with torch.initial_seed()."""
    extension = ensure_loaded()
    for index in range(extension.device_count()):
        if extension.is_running(index):
            # One whose executor is gone says so at its next operation; torch.manual_seed is for all.
            with contextlib.suppress(RuntimeError):
                extension.manual_seed(index, int(seed) & (2**64 - 1))


def seed_all() -> None:
    """Seeds every device's generator with one random number."""
    manual_seed_all(secrets.randbits(64))  # torch.seed() would seed the CPU as well


def seed() -> None:
    """Seeds the current device's generator with a random number."""
    manual_seed(secrets.randbits(64))


def initial_seed(device: _DeviceArgument = None) -> int:
    """The seed of a device's generator."""
    return int(ensure_loaded().initial_seed(device_index(device)))


def get_rng_state(device: _DeviceArgument = "remote") -> torch.Tensor:
    """The state of a device's generator, a uint8 tensor on CPU.

    Of a device whose machine has not been started it is the seed that it will begin with, as CUDA has it.
    """
    extension = ensure_loaded()
    index = device_index(device)
    state = _first_state() if extension.is_pending(index) else extension.generator_state(index)
    return torch.frombuffer(bytearray(state), dtype=torch.uint8)


def _first_state() -> bytes:
    """That of CUDA's generator before it has drawn anything: the seed, and how much was drawn."""
    return struct.pack("<QQ", torch.initial_seed() & (2**64 - 1), 0)


def set_rng_state(new_state: torch.Tensor, device: _DeviceArgument = "remote") -> None:
    """Sets what get_rng_state gave. It starts a machine only where that would begin with another state."""
    if new_state.dtype != torch.uint8:
        raise TypeError(
            f"a generator's state is a uint8 tensor, as get_rng_state() gave it, not {new_state.dtype}"
        )
    extension = ensure_loaded()
    index, state = device_index(device), bytes(new_state.flatten().tolist())
    if not extension.is_pending(index) or state != _first_state():
        extension.set_generator_state(index, state)


def get_rng_state_all() -> list[torch.Tensor]:
    """The states of all devices' generators; empty for one that does not run."""
    is_running = ensure_loaded().is_running
    nothing = torch.empty(0, dtype=torch.uint8)
    return [get_rng_state(i) if is_running(i) else nothing for i in range(device_count())]


def set_rng_state_all(new_states: Sequence[torch.Tensor]) -> None:
    """Sets what get_rng_state_all gave."""
    for index, state in enumerate(new_states):
        if state.numel() > 0:
            set_rng_state(state, index)
