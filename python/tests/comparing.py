# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""What several tests compare with: the same on CPU, bit for bit."""

from collections.abc import Callable
from typing import Any

import torch
import torch_remote
from torch.utils import _pytree as pytree


def bits(tensor: torch.Tensor) -> torch.Tensor:
    """The elements' bytes in logical order, on CPU."""
    local = tensor.detach().cpu().resolve_conj().resolve_neg()
    return local.clone(memory_format=torch.contiguous_format).reshape(-1).view(torch.uint8)


def steps(tensor: torch.Tensor) -> list[int]:
    """The strides that are ever stepped along; operators differ in what they give the others."""
    if tensor.numel() == 0:
        return []
    return [stride for stride, size in zip(tensor.stride(), tensor.shape, strict=True) if size > 1]


def components(tensor: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The strided tensors that a sparse one is made of."""
    tensor = tensor.detach()
    if tensor.layout == torch.sparse_coo:
        return tensor._indices(), tensor._values()
    if tensor.layout in (torch.sparse_csr, torch.sparse_bsr):
        return tensor.crow_indices(), tensor.col_indices(), tensor.values()
    return tensor.ccol_indices(), tensor.row_indices(), tensor.values()


def difference(one: torch.Tensor, other: torch.Tensor) -> str:
    """For people: how many elements differ and by how much, and the two where they are small."""
    text = f"{one.numel()} elements of {one.dtype}"
    if one.dtype.is_floating_point and one.numel():
        text += f", at most {(one.double() - other.double()).abs().max().item()} apart"
    return text if one.numel() > 16 else f"{text}: {one.tolist()} is not {other.tolist()}"


def assert_same(actual: Any, expected: Any, *, strides: bool = True) -> None:
    """Tensors, or structures of them: shape, dtype, layout, strides and every bit; numbers are equal, or both nan."""
    actual_leaves, expected_leaves = pytree.tree_leaves(actual), pytree.tree_leaves(expected)
    assert len(actual_leaves) == len(expected_leaves)
    for one, other in zip(actual_leaves, expected_leaves, strict=True):
        if not isinstance(other, torch.Tensor):
            assert type(one) is type(other)
            assert one == other or (one != one and other != other)
            continue
        assert one.shape == other.shape
        assert one.dtype == other.dtype
        assert one.layout == other.layout
        if other.layout != torch.strided:
            assert one.sparse_dim() == other.sparse_dim()
            assert one.dense_dim() == other.dense_dim()
            if other.layout == torch.sparse_coo:
                assert one.is_coalesced() == other.is_coalesced()
            assert_same(components(one), components(other), strides=strides)
            continue
        if strides:
            assert steps(one) == steps(other)
        if not torch.equal(bits(one), bits(other)):
            raise AssertionError(
                f"values differ:\n{difference(one.detach().cpu(), other.detach().cpu())}"
            )


def copied(tensor: torch.Tensor, device: torch.device | str) -> torch.Tensor:
    """The same elements with the same strides as a leaf on a device, where .to() would close gaps."""
    source = tensor.detach()
    if source.layout != torch.strided:
        return source.to(device, copy=True).requires_grad_(tensor.requires_grad)
    if torch._debug_has_internal_overlap(source) == 1:  # expanded: no copy can be like it
        return source.to(device).requires_grad_(tensor.requires_grad)
    made = torch.empty_strided(source.shape, source.stride(), dtype=source.dtype, device=device)
    return made.copy_(source).requires_grad_(tensor.requires_grad)


def to_device(structure: Any, device: torch.device | str) -> Any:
    """The same structure with copies of its tensors on a device."""
    return pytree.tree_map(
        lambda leaf: copied(leaf, device) if isinstance(leaf, torch.Tensor) else leaf, structure
    )


class Counting:
    """How a device's counts change within a with block."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def __enter__(self) -> "Counting":
        self._before = torch_remote.stats(self._device)
        return self

    def __exit__(self, *_: object) -> None:
        after = torch_remote.stats(self._device)
        self.operations = after.operations - self._before.operations
        self.plans = after.plans - self._before.plans
        self.round_trips = after.round_trips - self._before.round_trips
        self.bytes_sent = after.bytes_sent - self._before.bytes_sent
        self.bytes_received = after.bytes_received - self._before.bytes_received
        self.storages = after.storages - self._before.storages


def assert_like_cpu(
    device: torch.device, program: Callable[..., Any], *arguments: Any, strides: bool = True
) -> None:
    """A program, told the device and given copies of the arguments on it, gives there what it gives on CPU."""
    results = []
    for where in (device, torch.device("cpu")):
        torch.manual_seed(0)
        results.append(program(where, *to_device(arguments, where)))
    assert_same(*results, strides=strides)
