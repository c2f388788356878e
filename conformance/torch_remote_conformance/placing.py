# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Copies of arguments on another device that share and overlap in memory as the originals do."""

from typing import Any

import torch
from torch.utils import _pytree as pytree


def placed(structure: Any, device: torch.device) -> Any:
    """The same structure with copies of its CPU tensors, as leaves, on a device.

    One that is there twice is one copy. Strides, offsets, expanded dimensions, lazy conjugates, and storages that several tensors share
    are as in the original.
    """
    placing = _Placing(device)
    return pytree.tree_map(
        lambda leaf: placing.copy(leaf) if isinstance(leaf, torch.Tensor) else leaf, structure
    )


def tensors(structure: Any) -> list[torch.Tensor]:
    """The tensors in a structure, in order."""
    return [leaf for leaf in pytree.tree_leaves(structure) if isinstance(leaf, torch.Tensor)]


class _Placing:
    """One call of `placed`: which tensors and storages have their copy already."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._storages: dict[int, torch.Tensor] = {}
        self._copies: dict[int, torch.Tensor] = {}

    def copy(self, tensor: torch.Tensor) -> torch.Tensor:
        if tensor.device.type != "cpu":
            return tensor
        known = self._copies.get(id(tensor))
        if known is None:
            known = self._copies[id(tensor)] = self._made(tensor)
        return known

    def _made(self, tensor: torch.Tensor) -> torch.Tensor:
        made = self._plain(tensor.detach())
        if isinstance(tensor, torch.nn.Parameter):
            return torch.nn.Parameter(made, requires_grad=tensor.requires_grad)
        return made.requires_grad_(tensor.requires_grad)

    def _plain(self, tensor: torch.Tensor) -> torch.Tensor:
        if tensor.layout != torch.strided or tensor.is_nested or tensor.is_quantized:
            return tensor.to(self._device, copy=True)
        if tensor.is_conj():
            return self._plain(tensor.conj()).conj()
        if tensor.is_neg():
            return torch._neg_view(self._plain(torch._neg_view(tensor)))
        made = torch.empty(0, dtype=tensor.dtype, device=self._device)
        return made.set_(
            self._storage(tensor).untyped_storage(),
            tensor.storage_offset(),
            tensor.size(),
            tensor.stride(),
        )

    def _storage(self, tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        known = self._storages.get(storage._cdata)
        if known is None:
            content = torch.empty(0, dtype=torch.uint8).set_(storage)
            known = torch.empty(storage.nbytes(), dtype=torch.uint8, device=self._device)
            self._storages[storage._cdata] = known.copy_(content)
        return known
