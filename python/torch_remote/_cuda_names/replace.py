# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""The public entry: CUDA's names become a remote device's, until that is undone."""

from types import TracebackType

import torch

from torch_remote._cuda_names.patches import Patches
from torch_remote._devices import device_index
from torch_remote._loading import ensure_loaded
from torch_remote._machines.groups import members_of


class CudaReplaced:
    """That CUDA's names are a remote device's. Leaving a with statement, or undo(), gives them back."""

    def __init__(self, patches: Patches, indices: list[int], current: int) -> None:
        self._patches = patches
        self._indices = indices
        self._current_before = current
        self._ended = False

    @property
    def devices(self) -> tuple[torch.device, ...]:
        """The remote devices that "cuda:0", "cuda:1" and so on stand for."""
        return tuple(torch.device("remote", index) for index in self._indices)

    def undo(self) -> None:
        """Gives all names back; does nothing the second time. Tensors stay what they are: remote."""
        if self._ended:
            return
        self._ended = True
        _undo(self._patches)
        ensure_loaded().exchange_device(self._current_before)

    def __enter__(self) -> "CudaReplaced":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.undo()


def replace_cuda(device: torch.device | str | int | None = None) -> CudaReplaced:
    """Makes programs that say "cuda" use a remote device, from now on.

    "cuda", "cuda:0", torch.cuda.*, .cuda(), autocast("cuda") and what else names CUDA mean the
    device; and the device says that it is "cuda:0", so that a program which looks takes the way that
    it takes on a GPU. The names are those of the whole process, so of all threads. What other
    modules had taken out of torch before ("from torch import zeros") is not reached.

    with torch_remote.replace_cuda(torch_remote.emulate("T4")):
        x = torch.ones(3, device="cuda")

    Args:
        device: default: the current remote device. "cuda:0", "cuda:1" and so on are all devices of
            its machine, and this one is made current.

    Raises:
        ValueError: there is no such device.
        RuntimeError: CUDA's names are replaced already, or the program has used a real CUDA device.
    """
    # Not before they are needed: most programs never ask for them.
    from torch_remote._cuda_names import backends, cuda_functions, factories, libraries, tensors

    if torch.cuda.is_initialized():
        raise RuntimeError(
            "CUDA's names can't be replaced: they are already, or this process has used a CUDA device"
        )
    extension = ensure_loaded()
    index = device_index(device)
    indices = [member.index for member in members_of(index)]
    patches = Patches()
    extension.show_as_cuda(indices)
    try:
        current = int(extension.exchange_device(index))
        for part in (factories, tensors, cuda_functions, backends, libraries):
            part.install(patches, indices)
    except BaseException:
        _undo(patches)
        raise
    return CudaReplaced(patches, indices, current)


def _undo(patches: Patches) -> None:
    patches.undo()
    ensure_loaded().show_as_remote()
