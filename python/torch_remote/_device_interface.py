# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""What PyTorch's compiler asks of a device: imported with the compiler, never before (_compiler.py)."""

from typing import Any

import torch
from torch._dynamo.device_interface import DeviceInterface, register_interface_for_device

from torch_remote import _C, remote
from torch_remote._devices import device_index
from torch_remote._loading import ensure_loaded


def register() -> None:
    """Makes the interface known for the device type and for each device that there can be."""
    register_interface_for_device("remote", RemoteInterface)
    for index in range(_C.DEVICE_COUNT_MAX):  # not by ensure_loaded: this may be a part of loading
        register_interface_for_device(f"remote:{index}", RemoteInterface)


class RemoteInterface(DeviceInterface):
    """The functions of torch.remote under the names that the compiler has for them."""

    device = remote.device
    Event = torch.Event
    Stream = remote.Stream

    current_device = staticmethod(remote.current_device)
    set_device = staticmethod(remote.set_device)
    device_count = staticmethod(remote.device_count)
    is_available = staticmethod(remote.is_available)
    stream = staticmethod(remote.stream)
    current_stream = staticmethod(remote.current_stream)
    set_stream = staticmethod(remote.set_stream)
    synchronize = staticmethod(remote.synchronize)
    memory_allocated = staticmethod(remote.memory_allocated)

    class Worker:
        """As inductor's processes ask, which have no device of their own."""

        @staticmethod
        def set_device(device: int) -> None:
            remote.set_device(device)

        @staticmethod
        def current_device() -> int:
            return remote.current_device()

        @staticmethod
        def get_device_properties(device: Any = None) -> Any:
            return remote.get_device_properties(device)

    @staticmethod
    def exchange_device(device: int) -> int:
        return int(ensure_loaded().exchange_device(device))

    @staticmethod
    def maybe_exchange_device(device: int) -> int:
        """As exchange_device; a negative index changes nothing."""
        extension = ensure_loaded()
        return int(extension.current_device() if device < 0 else extension.exchange_device(device))

    @staticmethod
    def _set_stream_by_id(stream_id: int, device_index: int, device_type: int) -> None:
        remote.set_stream(
            torch.Stream(stream_id=stream_id, device_index=device_index, device_type=device_type)
        )

    @staticmethod
    def get_raw_stream(device_idx: int) -> int:
        return int(ensure_loaded().current_stream(device_index(device_idx)))

    @staticmethod
    def get_compute_capability(device: Any = None) -> Any:
        major, minor = remote.get_device_capability(device)
        return 10 * major + minor

    @staticmethod
    def is_bf16_supported(including_emulation: bool = False) -> bool:  # noqa: ARG004 (the name is torch's)
        return True
