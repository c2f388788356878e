# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Sparse tensors for tests, and how what a device does with them is compared with CPU."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from comparing import assert_same
from torch.utils import _pytree as pytree

LAYOUTS = {
    "coo": torch.sparse_coo,
    "csr": torch.sparse_csr,
    "csc": torch.sparse_csc,
    "bsr": torch.sparse_bsr,
    "bsc": torch.sparse_bsc,
}


COMPRESSED = ["csr", "csc", "bsr", "bsc"]


def dense(*sizes: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """About half of it zeros."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(-3, 4, sizes, generator=generator).to(dtype)
    return values * torch.randint(0, 2, sizes, generator=generator).to(dtype)


def matrix(layout: str, *sizes: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Any:
    """On CPU."""
    values = dense(*(sizes or (4, 6)), seed=seed, dtype=dtype)
    blocks = {"blocksize": (2, 3)} if layout in ("bsr", "bsc") else {}
    return values.to_sparse(layout=LAYOUTS[layout], **blocks)


def uncoalesced() -> torch.Tensor:
    """Two values at one place, and places out of order."""
    indices = torch.tensor([[2, 0, 2, 1], [1, 3, 1, 0]])
    return torch.sparse_coo_tensor(indices, torch.tensor([1.0, 2.0, 4.0, 8.0]), (3, 4))


def hybrid() -> torch.Tensor:
    """One sparse dimension, two dense ones."""
    return torch.sparse_coo_tensor(
        torch.tensor([[3, 1, 3]]), torch.arange(12.0).reshape(3, 2, 2), (4, 2, 2)
    )


TENSORS: dict[str, Callable[[], torch.Tensor]] = {
    **{name: (lambda name=name: matrix(name)) for name in LAYOUTS},
    "uncoalesced": uncoalesced,
    "hybrid": hybrid,
    "empty": lambda: torch.sparse_coo_tensor(size=(2, 3)),
    "scalar": lambda: torch.tensor(3.0).to_sparse(),
    "batched_csr": lambda: (dense(2, 3, 4) + 4).to_sparse_csr(),
    "csr_of_vectors": lambda: torch.sparse_csr_tensor(
        [0, 1, 2], [1, 0], torch.ones(2, 3), (2, 2, 3)
    ),
    "csr_int32": lambda: torch.sparse_csr_tensor(
        torch.tensor([0, 1, 2], dtype=torch.int32),
        torch.tensor([1, 0], dtype=torch.int32),
        torch.ones(2, dtype=torch.float64),
        (2, 2),
    ),
    "complex": lambda: matrix("coo", dtype=torch.complex64) * 1j,
    "bool": lambda: matrix("csr", dtype=torch.bool),
}


def placed(structure: Any, device: torch.device | str) -> Any:
    return pytree.tree_map(
        lambda leaf: (
            leaf.detach().to(device, copy=True).requires_grad_(leaf.requires_grad)
            if isinstance(leaf, torch.Tensor)
            else leaf
        ),
        structure,
    )


def check(device: torch.device, function: Callable[..., Any], *arguments: Any) -> Any:
    """The function's results, and what it has made of its arguments, are those of CPU."""
    local, remote = placed(arguments, "cpu"), placed(arguments, device)
    expected, actual = function(*local), function(*remote)
    for leaf in pytree.tree_leaves(actual):
        assert not isinstance(leaf, torch.Tensor) or leaf.device == device
    assert_same(actual, expected)
    assert_same(remote, local)
    return actual


def check_error(
    device: torch.device, function: Callable[..., Any], *arguments: Any
) -> tuple[str, str]:
    """Both raise the same kind of error; the texts."""
    with pytest.raises(Exception) as expected:  # noqa: PT011 (whichever CPU raises)
        function(*placed(arguments, "cpu"))
    arguments = placed(arguments, device)

    def run() -> None:
        function(*arguments)
        torch.remote.synchronize(device)  # what was planned fails later

    with pytest.raises(expected.type) as actual:
        run()
    return str(actual.value), str(expected.value)


def check_or_error(
    device: torch.device,
    function: Callable[..., Any],
    *arguments: Any,
    refusals: tuple[type[Exception], ...] = (RuntimeError,),
) -> None:
    """Where CPU refuses the call, by one of these, the device does; else the results are those of CPU."""
    try:
        function(*placed(arguments, "cpu"))
    except refusals:
        check_error(device, function, *arguments)
        return
    check(device, function, *arguments)
