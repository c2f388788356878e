# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Sparse tensors of every layout: what a program does with them on CPU gives the same on a device."""

import copy
import io
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from comparing import Counting, assert_same, components
from sparse_cases import (
    LAYOUTS,
    TENSORS,
    check,
    check_error,
    check_or_error,
    dense,
    hybrid,
    matrix,
    uncoalesced,
)

# PyTorch says once a process that sparse compressed tensors are in beta.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*beta state.*"),
    pytest.mark.filterwarnings("ignore:.*sparse invariant checks.*"),
]


@pytest.mark.parametrize("name", TENSORS)
def test_there_and_back(device: torch.device, name: str) -> None:
    tensor = TENSORS[name]()
    there = tensor.to(device)
    assert there.device == device
    assert there.layout == tensor.layout
    assert all(part.device == device for part in components(there))
    assert_same(there.cpu(), tensor)
    assert_same(there.to(device), tensor)
    assert_same(there.to(torch.complex128).cpu(), tensor.to(torch.complex128))


@pytest.mark.parametrize("name", TENSORS)
def test_what_it_says_of_itself(device: torch.device, name: str) -> None:
    def say(x: torch.Tensor) -> Any:
        said = [x.shape, x.dtype, x.layout, x.is_sparse, x.is_sparse_csr, x.sparse_dim()]
        said += [x.dense_dim(), x._nnz(), x.numel(), x.requires_grad]
        if x.layout == torch.sparse_coo:
            return [*said, x.is_coalesced(), x._indices(), x._values(), x._dimI(), x._dimV()]
        return [*said, x.values(), *components(x)]

    check(device, say, TENSORS[name]())


def test_components_share_their_memory(device: torch.device) -> None:
    for tensor in (matrix("coo"), matrix("csr")):
        there = tensor.to(device)
        there.values().mul_(2)
        assert_same(there.to_dense(), tensor.to_dense() * 2)


MAKERS: dict[str, Callable[[Any], Any]] = {
    "coo": lambda d: torch.sparse_coo_tensor([[0, 1], [1, 0]], [1.0, 2.0], (2, 2), device=d),
    "coo_without_size": lambda d: torch.sparse_coo_tensor([[0, 3], [1, 0]], [1.0, 2.0], device=d),
    "coo_of_tensors": lambda d: torch.sparse_coo_tensor(
        torch.tensor([[0, 1]], device=d), torch.ones(2, 3, device=d), (2, 3)
    ),
    "coo_coalesced": lambda d: torch.sparse_coo_tensor(
        [[0, 1]], [1, 2], (2,), device=d, is_coalesced=True
    ),
    "coo_checked": lambda d: torch.sparse_coo_tensor(
        [[0, 1]], [1, 2], (2,), device=d, check_invariants=True
    ),
    "coo_of_size": lambda d: torch.sparse_coo_tensor(size=(2, 3), device=d),
    "csr": lambda d: torch.sparse_csr_tensor([0, 1, 2], [1, 0], [1.0, 2.0], device=d),
    "csr_checked": lambda d: torch.sparse_csr_tensor(
        [0, 1, 2], [1, 0], [1.0, 2.0], (2, 2), device=d, check_invariants=True
    ),
    "csc": lambda d: torch.sparse_csc_tensor([0, 1, 2], [1, 0], [1.0, 2.0], (2, 2), device=d),
    "bsr": lambda d: torch.sparse_bsr_tensor([0, 1], [1], torch.ones(1, 2, 3).tolist(), device=d),
    "bsc": lambda d: torch.sparse_bsc_tensor(
        [0, 0, 1], [0], torch.ones(1, 2, 3).tolist(), (2, 6), device=d
    ),
    "compressed": lambda d: torch.sparse_compressed_tensor(
        [0, 1, 2], [1, 0], [1.0, 2.0], (2, 2), layout=torch.sparse_csr, device=d
    ),
    "empty": lambda d: torch.empty(2, 3, layout=torch.sparse_coo, device=d),
    "zeros": lambda d: torch.zeros(2, 3, layout=torch.sparse_coo, device=d),
    "zeros_csr": lambda d: torch.zeros(2, 3, layout=torch.sparse_csr, device=d),
    "zeros_csc": lambda d: torch.zeros(2, 3, layout=torch.sparse_csc, device=d),
    "new": lambda d: torch.ones(1, device=d).new_zeros(2, 2, layout=torch.sparse_coo),
    "spdiags": lambda d: (
        torch.sparse.spdiags(torch.ones(2, 3, device=d), torch.tensor([0, 1], device=d), (3, 3))
        if d == "cpu"
        else torch.sparse.spdiags(torch.ones(2, 3), torch.tensor([0, 1]), (3, 3)).to(d)
    ),
    "eye": lambda d: torch.eye(3, device=d).to_sparse(),
}


@pytest.mark.parametrize("name", MAKERS)
def test_construction(device: torch.device, name: str) -> None:
    actual = MAKERS[name](device)
    assert actual.device == device
    assert_same(actual, MAKERS[name]("cpu"))


@pytest.mark.parametrize("name", TENSORS)
def test_likes_and_copies(device: torch.device, name: str) -> None:
    tensor = TENSORS[name]()
    check(device, torch.zeros_like, tensor)
    check(device, torch.clone, tensor)
    check(device, lambda x: torch.empty_like(x).shape, tensor)
    check(device, lambda x: x.detach(), tensor)
    check(device, lambda x: x.clone().copy_(x), tensor)
    assert_same(copy.deepcopy(tensor.to(device)), tensor)
    check(device, lambda x: x.to(torch.complex64), tensor)


@pytest.mark.parametrize("to", LAYOUTS)
@pytest.mark.parametrize("source", ["dense", *LAYOUTS])
def test_conversions(device: torch.device, source: str, to: str) -> None:
    blocks = {"blocksize": (2, 3)} if to in ("bsr", "bsc") else {}

    def convert(x: torch.Tensor) -> torch.Tensor:
        return x.to_sparse(layout=LAYOUTS[to], **blocks)

    tensor = dense(4, 6) if source == "dense" else matrix(source)
    check_or_error(device, convert, tensor)


@pytest.mark.parametrize("name", TENSORS)
def test_to_dense(device: torch.device, name: str) -> None:
    check(device, lambda x: x.to_dense(), TENSORS[name]())


@pytest.mark.parametrize("dimensions", [1, 2])
def test_to_sparse_of_some_dimensions(device: torch.device, dimensions: int) -> None:
    check(device, lambda x: x.to_sparse(dimensions), dense(3, 4))


def test_coalesce(device: torch.device) -> None:
    for tensor in (uncoalesced(), hybrid(), matrix("coo")):
        check(device, lambda x: x.coalesce(), tensor)
        check(device, lambda x: x.coalesce().values(), tensor)
    there = uncoalesced().to(device).coalesce()
    assert there.coalesce() is there


def test_resizing(device: torch.device) -> None:
    check(device, lambda x: x.sparse_resize_((5, 7), 2, 0), matrix("coo"))
    check(device, lambda x: x.sparse_resize_and_clear_((2, 3, 4), 2, 1), matrix("coo"))
    check(device, lambda x, y: x.resize_as_sparse_(y), matrix("coo", 2, 2), matrix("coo"))
    check(device, lambda x, y: torch.zeros_like(x).copy_(y), matrix("coo"), uncoalesced())
    check_error(device, lambda x: x.sparse_resize_((1, 1), 2, 0), matrix("coo"))


ERRORS: dict[str, tuple[Callable[..., Any], ...]] = {
    "uncoalesced_indices": (lambda x: x.indices(), uncoalesced),
    "uncoalesced_values": (lambda x: x.values(), uncoalesced),
    "in_place_uncoalesced": (lambda x: x.sqrt_(), uncoalesced),
    "sizes": (lambda x, y: x + y, lambda: matrix("coo"), lambda: matrix("coo", 3, 4)),
    "factors": (lambda x, y: torch.mm(x, y), lambda: matrix("coo"), lambda: dense(4, 6)),
    "copy_to_dense": (lambda x, y: x.copy_(y), lambda: dense(4, 6), lambda: matrix("coo")),
    "no_kernel": (lambda x: x.exp(), lambda: matrix("coo")),
    "no_csr_kernel": (lambda x: x.exp(), lambda: matrix("csr")),
    "stride": (lambda x: x.stride(), lambda: matrix("csr")),
    "storage": (lambda x: x.untyped_storage(), lambda: matrix("coo")),
    "indices_of_csr": (lambda x: x.indices(), lambda: matrix("csr")),
    "crow_of_coo": (lambda x: x.crow_indices(), lambda: matrix("coo")),
    "out_of_bounds": (
        lambda i: torch.sparse_coo_tensor(i, [1.0], (2,), device=i.device, check_invariants=True),
        lambda: torch.tensor([[2]]),
    ),
    "negative": (
        lambda i: torch.sparse_coo_tensor(i, [1.0], device=i.device),
        lambda: torch.tensor([[-1]]),
    ),
    "crow_falls": (
        lambda i: torch.sparse_csr_tensor(
            i, [0, 1], [1.0, 2.0], (2, 2), device=i.device, check_invariants=True
        ),
        lambda: torch.tensor([0, 2, 1]),
    ),
    "to_sparse_dim": (lambda x: x.to_sparse(3), lambda: dense(4, 6)),
    "blocksize": (lambda x: x.to_sparse_bsr((3, 3)), lambda: dense(4, 6)),
}


@pytest.mark.parametrize("name", ERRORS)
def test_error_texts(device: torch.device, name: str) -> None:
    function, *arguments = ERRORS[name]
    actual, expected = check_error(device, function, *(make() for make in arguments))
    kind = "no_kernel", "no_csr_kernel", "indices_of_csr", "crow_of_coo", "copy_to_dense"
    if name not in kind:  # these name the kernels' key
        assert actual.splitlines()[0] == expected.splitlines()[0]


def test_indices_outside_are_refused(device: torch.device) -> None:
    """Where CPU reads what lies beyond, the executor looks first."""
    wrong = torch.sparse_coo_tensor([[0, 9], [1, 0]], [1.0, 2.0], (2, 2), check_invariants=False)
    lied = torch.sparse_coo_tensor([[1, 0]], [1.0, 2.0], (2,))._coalesced_(True)
    columns = torch.tensor([0, 7])
    csr = torch.sparse_csr_tensor([0, 1, 2], columns, [1.0, 2.0], (2, 2), check_invariants=False)
    rows = torch.sparse_csr_tensor([0, 9, 2], [0, 1], [1.0, 2.0], (2, 2), check_invariants=False)
    for tensor, message in (
        (wrong, "size is 2 but found index 9"),
        (lied, "coalesced"),
        (csr, "indices of a sparse tensor are not within its sizes"),
        (rows, "compressed indices don't rise"),
    ):
        with pytest.raises((RuntimeError, IndexError, ValueError), match=message):
            (tensor.to(device) + tensor.to(device)).to_dense().cpu()


@pytest.mark.parametrize("name", TENSORS)
def test_saving_and_loading(device: torch.device, name: str) -> None:
    tensor = TENSORS[name]()
    file = io.BytesIO()
    torch.save(tensor.to(device), file)
    file.seek(0)
    loaded = torch.load(file)
    assert loaded.device == device
    assert_same(loaded, tensor)
    file.seek(0)
    assert_same(torch.load(file, map_location="cpu"), tensor)


@pytest.mark.parametrize("name", TENSORS)
def test_printing(device: torch.device, name: str) -> None:
    def lines(tensor: torch.Tensor) -> list[str]:
        return re.sub(r"device='[^']*',\s", "", repr(tensor)).split()

    tensor = TENSORS[name]()
    assert lines(tensor.to(device)) == lines(tensor)


def test_memory_is_given_back(emulator: torch.device) -> None:
    torch.remote.synchronize(emulator)
    with Counting(emulator) as counted:
        x = matrix("coo").to(emulator)
        y = (x + x).coalesce()
        z = y.to_sparse_csr()
        assert_same(z.to_dense(), 2 * x.cpu().to_dense())
        x.add_(y)
        del x, y, z
    assert counted.storages == 0


def test_lists_of_sparse_tensors(device: torch.device) -> None:
    check(device, lambda *x: torch._foreach_mul(x, 2.0), matrix("coo"), uncoalesced())
    check(device, lambda *x: torch._foreach_add(x, x), matrix("coo"), matrix("coo"))


def test_two_devices(emulator: torch.device, tcp: torch.device) -> None:
    tensor = matrix("coo")
    there = tensor.to(emulator).to(tcp)
    assert there.device == tcp
    assert there._indices().device == tcp
    assert_same(there, tensor)
    made = torch.sparse_coo_tensor([[0]], [1.0], (2,), device=tcp)
    assert made.device == made._values().device == tcp
    with pytest.raises(RuntimeError, match="same device"):
        tensor.to(emulator) + tensor.to(tcp)
