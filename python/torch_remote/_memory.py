# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""The memory functions of `torch.remote`, under the names that torch.cuda gives them.

An executor on a GPU has an allocator of its own, which is asked: a round trip each, for the numbers
of all its clients together. Elsewhere the client's own counts are the answer, and nothing is cached.
"""

import torch

from torch_remote._devices import device_index
from torch_remote._emulation.questions import FREE_MEMORY, note_question
from torch_remote._loading import ensure_loaded

_DeviceArgument = torch.device | str | int | None


def memory_stats(device: _DeviceArgument = None) -> dict[str, int]:
    """Counters by PyTorch's names, such as "allocated_bytes.all.peak".

    With "free_bytes" and "total_bytes" where these are known. An executor without an allocator of
    its own has only some of PyTorch's names.
    """
    return dict(ensure_loaded().memory_statistics(device_index(device)))


def memory_allocated(device: _DeviceArgument = None) -> int:
    """Bytes of live tensors."""
    return memory_stats(device).get("allocated_bytes.all.current", 0)


def max_memory_allocated(device: _DeviceArgument = None) -> int:
    """The most bytes of live tensors since the start or the last reset."""
    return memory_stats(device).get("allocated_bytes.all.peak", 0)


def memory_reserved(device: _DeviceArgument = None) -> int:
    """Bytes that the allocator holds: the same as memory_allocated where nothing is cached."""
    return memory_stats(device).get("reserved_bytes.all.current", 0)


def max_memory_reserved(device: _DeviceArgument = None) -> int:
    """The most bytes that the allocator held since the start or the last reset."""
    return memory_stats(device).get("reserved_bytes.all.peak", 0)


def mem_get_info(device: _DeviceArgument = None) -> tuple[int, int]:
    """Free and total bytes; (0, 0) where the executor has no GPU, real or emulated, and no such bound."""
    note_question(FREE_MEMORY)
    numbers = memory_stats(device)
    return numbers.get("free_bytes", 0), numbers.get("total_bytes", 0)


def reset_peak_memory_stats(device: _DeviceArgument = None) -> None:
    """Starts the peaks anew."""
    index = device_index(device)
    if not ensure_loaded().is_pending(index):  # which has none yet, and needn't start for that
        ensure_loaded().reset_peak(index)


def reset_accumulated_memory_stats(device: _DeviceArgument = None) -> None:
    """Starts the counts of what was ever allocated and freed anew."""
    ensure_loaded().reset_accumulated(device_index(device))


def empty_cache() -> None:
    """Executors give back what their allocators hold and no tensor uses, on all devices."""
    extension = ensure_loaded()
    for index in range(extension.device_count()):
        if extension.is_running(index):
            extension.empty_cache(index)
