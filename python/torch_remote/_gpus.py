# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""The GPU types that can be emulated, and what a program sees of them."""

from dataclasses import dataclass
from typing import Any

from torch_remote._loading import ensure_loaded

#: Names for :func:`torch_remote.emulate`. "A100" means "A100-40GB".
GPU_TYPES: tuple[str, ...] = (
    "T4",
    "L4",
    "A10G",
    "A100-40GB",
    "A100-80GB",
    "L40S",
    "H100",
    "H200",
    "B200",
)


@dataclass(frozen=True)
class GpuProperties:
    """Properties of a device, under the names that torch.cuda.get_device_properties uses.

    Sizes are in bytes. A device that emulates nothing has a name and a total memory of 0.
    """

    name: str
    type: str = ""
    major: int = 0
    minor: int = 0
    total_memory: int = 0
    multi_processor_count: int = 0
    max_threads_per_multi_processor: int = 0
    max_threads_per_block: int = 0
    warp_size: int = 0
    regs_per_multiprocessor: int = 0
    shared_memory_per_block: int = 0
    shared_memory_per_block_optin: int = 0
    shared_memory_per_multiprocessor: int = 0
    L2_cache_size: int = 0


def gpu_properties(gpu_type: str) -> GpuProperties:
    """The properties of a GPU type. Raises ValueError with the nearest name for an unknown one."""
    row: dict[str, Any] = ensure_loaded().gpu_properties(gpu_type)
    return GpuProperties(**row)
