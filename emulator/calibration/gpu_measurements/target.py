# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""The device that is measured, and the little that differs between a CUDA GPU and the CPU of a test."""

import contextlib
import ctypes
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from gpu_measurements.recording import Budget, Recorder

TRACE_ENTRIES_LIMIT = 400_000


class Target:
    """One device. On the CPU, what only CUDA has is absent: callers ask `is_cuda` and record a skip."""

    def __init__(self, device: str) -> None:
        self.device = torch.device(device)
        self.is_cuda = self.device.type == "cuda"
        if self.is_cuda:
            torch.cuda.init()
            self.device = torch.device("cuda", torch.cuda.current_device())

    def synchronize(self) -> None:
        if self.is_cuda:
            torch.cuda.synchronize()

    def release_memory(self) -> None:
        """Give cached memory back to the device."""
        if self.is_cuda:
            torch.cuda.empty_cache()

    def allocated_bytes(self) -> int:
        return torch.cuda.memory_allocated() if self.is_cuda else 0

    def total_bytes(self) -> int:
        """All memory of the device; on the CPU, what a test may use."""
        if not self.is_cuda:
            return 1 << 30
        return int(torch.cuda.get_device_properties(self.device).total_memory)

    def random_grid_threads(self) -> int:
        """Threads of the largest grid that CUDA's random kernels start; a small stand-in on the CPU."""
        if not self.is_cuda:
            return 4096
        properties = torch.cuda.get_device_properties(self.device)
        threads = getattr(properties, "max_threads_per_multi_processor", 2048)
        return int(properties.multi_processor_count * (threads // 256) * 256)

    def l2_cache_bytes(self) -> int:
        if not self.is_cuda:
            return 1 << 20
        properties = torch.cuda.get_device_properties(self.device)
        return int(getattr(properties, "L2_cache_size", 0)) or 64 << 20


@dataclass
class Session:
    """What a section gets: the target, where to write, until when, and whether sizes are a test's."""

    target: Target
    recorder: Recorder
    budget: Budget
    is_tiny: bool
    argument: str = ""

    def attempt_all(self, items: dict[str, Any]) -> None:
        """Call the functions of `items`, each on its own account, while the budget lasts."""
        for name, function in items.items():
            if self.budget.is_spent():
                self.recorder.skip(name, "the budget of time was spent")
                continue
            self.recorder.attempt(name, function)


def tensor_bytes(tensor: torch.Tensor) -> bytes:
    """The elements of `tensor` as they lie in memory, in row-major order."""
    local = tensor.detach().contiguous().cpu()
    return ctypes.string_at(local.data_ptr(), local.numel() * local.element_size())


@contextlib.contextmanager
def recorded_memory_history() -> Iterator[None]:
    """Have CUDA's allocator record each event, without stack traces, within the `with` block."""
    torch.cuda.memory._record_memory_history(
        "all", context=None, stacks="python", max_entries=TRACE_ENTRIES_LIMIT
    )
    try:
        yield
    finally:
        torch.cuda.memory._record_memory_history(None)


def memory_trace(device: torch.device) -> list[dict[str, Any]]:
    """The allocator's events since the recording began, oldest first, as PyTorch gives them."""
    snapshot = torch.cuda.memory._snapshot()
    traces: list[list[dict[str, Any]]] = snapshot["device_traces"]
    return traces[device.index or 0] if traces else []
