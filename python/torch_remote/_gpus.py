# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""The GPUs that can be emulated, and what a program sees of them."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from torch_remote._loading import ensure_loaded
from torch_remote._own_gpu import is_gpu_file, read_gpu_file

if TYPE_CHECKING:
    from torch_remote._C import GpuModel

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


@dataclass(frozen=True)
class Gpu:
    """A GPU that can be emulated: a built-in type, or a user's own."""

    #: How tables call it.
    type: str
    #: What finds it again, in another process as well: its type, or the path of its file.
    argument: str
    model: "GpuModel"

    @property
    def properties(self) -> GpuProperties:
        """What a program sees of it."""
        return properties_of(self.model)


def find_gpu(gpu: str | os.PathLike[str]) -> Gpu:
    """A built-in type, or the GPU that a file describes: a path, or a text that ends in .toml.

    Raises:
        TypeError: neither a text nor a path.
        ValueError: unknown type, with the nearest; or something in the file can't be right, with its line.
        FileNotFoundError: there is no such file.
    """
    if is_gpu_file(gpu):
        path = str(Path(gpu.strip() if isinstance(gpu, str) else gpu).resolve())
        model = read_gpu_file(path)
        return Gpu(model.type, path, model)
    if not isinstance(gpu, str):
        raise TypeError(
            f"gpu_type has to be a text such as 'H100', or the path of a file, not {gpu!r}"
        )
    model = ensure_loaded().gpu_model(gpu.strip())
    return Gpu(model.type, model.type, model)


def gpu_properties(gpu_type: str | os.PathLike[str]) -> GpuProperties:
    """The properties of a GPU type, or of the GPU that a file describes; errors as for emulate()."""
    return find_gpu(gpu_type).properties


def properties_of(model: "GpuModel") -> GpuProperties:
    """What a program sees of a model."""
    return GpuProperties(**model.properties())
