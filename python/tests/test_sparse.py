# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Sparse tensors of every layout: what a program does with them on CPU gives the same on a device."""

import copy
import io
import re
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from comparing import Counting, assert_same, components
from torch.utils import _pytree as pytree

LAYOUTS = {
    "coo": torch.sparse_coo,
    "csr": torch.sparse_csr,
    "csc": torch.sparse_csc,
    "bsr": torch.sparse_bsr,
    "bsc": torch.sparse_bsc,
}
COMPRESSED = ["csr", "csc", "bsr", "bsc"]


@pytest.fixture(autouse=True)
def _quiet() -> Any:
    """PyTorch says once a process that sparse compressed tensors are in beta."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*beta state.*")
        warnings.filterwarnings("ignore", message=".*sparse invariant checks.*")
        yield


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
    try:
        convert(tensor)
    except (RuntimeError, NotImplementedError):
        check_error(device, convert, tensor)
        return
    check(device, convert, tensor)


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


UNARY = [
    "abs",
    "asin",
    "asinh",
    "atan",
    "ceil",
    "deg2rad",
    "erf",
    "erfinv",
    "expm1",
    "floor",
    "frac",
    "isinf",
    "isnan",
    "isneginf",
    "isposinf",
    "log1p",
    "neg",
    "rad2deg",
    "relu",
    "round",
    "sgn",
    "sign",
    "signbit",
    "sin",
    "sinh",
    "sqrt",
    "tan",
    "tanh",
    "trunc",
    "nan_to_num",
]


@pytest.mark.parametrize("operation", UNARY)
@pytest.mark.parametrize("name", ["coo", "uncoalesced", "csr", "bsc"])
def test_all_values_alike(device: torch.device, name: str, operation: str) -> None:
    function = getattr(torch, operation)
    tensor = TENSORS[name]()
    try:
        function(tensor)
    except (RuntimeError, NotImplementedError):
        check_error(device, function, tensor)
        return
    check(device, function, tensor)


@pytest.mark.parametrize("name", ["coo", "csr"])
def test_in_place(device: torch.device, name: str) -> None:
    def several(x: torch.Tensor) -> torch.Tensor:
        x.neg_()
        x.abs_()
        x.sqrt_()
        return x.mul_(3)

    check(device, several, matrix(name))
    check(device, lambda x: x.zero_(), matrix(name))


def test_in_place_operations_keep_the_tensor(device: torch.device) -> None:
    """What the program holds of it sees what is written, as on CPU."""

    def function(x: torch.Tensor, y: torch.Tensor) -> Any:
        values = x._values()
        x.mul_(2)
        same = x._values().data_ptr() == values.data_ptr()
        before = x._nnz()
        result = x.add_(y)
        return [values, same, before, x._nnz(), result is x, x.is_coalesced()]

    check(device, function, matrix("coo"), matrix("coo", seed=1))
    check(device, function, uncoalesced(), uncoalesced())


BINARY: dict[str, Callable[..., Any]] = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "alpha": lambda x, y: torch.add(x, y, alpha=3),
    "add_": lambda x, y: x.add_(y),
    "sub_": lambda x, y: x.sub_(y, alpha=2),
    "mul_": lambda x, y: x.mul_(y),
    "matmul": lambda x, y: x @ y.transpose(0, 1),
    "add_out": lambda x, y: torch.add(x, y, out=torch.zeros_like(x)),
    "mul_out": lambda x, y: torch.mul(x, y, out=torch.zeros_like(x)),
}


def pairs() -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    made = {f"{name}_{name}": (matrix(name), matrix(name, seed=1)) for name in LAYOUTS}
    made |= {f"{name}_dense": (matrix(name), dense(4, 6, seed=1)) for name in LAYOUTS}
    made |= {f"dense_{name}": (dense(4, 6, seed=1), matrix(name)) for name in LAYOUTS}
    made["uncoalesced"] = (uncoalesced(), uncoalesced())
    made["uncoalesced_dense"] = (uncoalesced(), dense(3, 4))
    made["hybrid"] = (hybrid(), hybrid())
    made["dtypes"] = (matrix("coo"), matrix("coo", dtype=torch.float64))
    return made


@pytest.mark.parametrize("pair", pairs())
@pytest.mark.parametrize("operation", BINARY)
def test_two_tensors(device: torch.device, operation: str, pair: str) -> None:
    function, arguments = BINARY[operation], pairs()[pair]
    try:
        function(*placed(arguments, "cpu"))
    except (RuntimeError, NotImplementedError, ValueError):
        check_error(device, function, *arguments)
        return
    check(device, function, *arguments)


@pytest.mark.parametrize("name", ["coo", "uncoalesced", "hybrid", "csr"])
def test_with_numbers(device: torch.device, name: str) -> None:
    tensor = TENSORS[name]()
    check(device, lambda x: x * 2, tensor)
    check(device, lambda x: 2 * x, tensor)
    check(device, lambda x: -x, tensor)
    if name != "csr":
        check(device, lambda x: x / 2, tensor)
        check(device, lambda x: x // 2, tensor)
        check(device, lambda x: x**2, tensor)
        check(device, lambda x: x.div_(4), tensor)
        check(device, lambda x: x * torch.tensor(2.0, device=x.device), tensor)


def test_products(device: torch.device) -> None:
    x, y = matrix("coo"), dense(6, 5, seed=1)
    for left in (x, matrix("csr"), matrix("csc")):
        check(device, torch.mm, left, y)
        check(device, torch.matmul, left, y)
        check(device, torch.sparse.mm, left, y)
        check(device, torch.mv, left, y[:, 0].clone())
        check(device, lambda b, a, c: torch.addmm(b, a, c, beta=2, alpha=3), dense(4, 5), left, y)
    check(device, torch.sparse.addmm, dense(4, 5), x, y)
    check(device, torch.mm, dense(5, 4), x)
    check(device, torch.mm, dense(5, 4), matrix("csr"))
    check(device, torch.sparse.mm, x, matrix("coo", 6, 5))
    check(device, torch.sparse.mm, matrix("csr"), matrix("csr", 6, 5))
    check(device, torch.hspmm, x, y)
    check(device, torch.sspaddmm, matrix("coo", 4, 5), x, y)
    check(device, torch.bmm, matrix("coo", 2, 3, 4), dense(2, 4, 5))
    check(device, torch.smm, x, y)
    check(device, lambda a, b: torch.mm(a, b, out=torch.empty(0, device=b.device)), x, y)
    check(device, lambda r, a, b: r.addmm_(a, b), dense(4, 5), x, y)


def test_products_of_known_shape_ask_nothing(device: torch.device) -> None:
    x, y = matrix("coo").to(device), dense(6, 5).to(device)
    torch.remote.synchronize(device)
    with Counting(device) as counted:
        result = torch.sparse.mm(x, y)
        y.t().add_(torch.zeros(5, 6, device=device))
        x.to_dense()
        x.neg()
    assert counted.round_trips == 0
    assert_same(result, torch.sparse.mm(x.cpu(), y.cpu()))


@pytest.mark.parametrize("reduce", ["sum", "mean", "amax", "amin"])
def test_mm_reduce(device: torch.device, reduce: str) -> None:
    def run(x: torch.Tensor, y: torch.Tensor) -> Any:
        result = torch.sparse.mm(x, y, reduce)
        (result * torch.arange(5.0, device=y.device)).sum().backward()
        return [result.detach(), x.grad, y.grad]

    check(device, run, matrix("csr").requires_grad_(), dense(6, 5, seed=1).requires_grad_())
    check(device, lambda x, y: torch.sparse.mm(x, y, reduce), matrix("csr"), dense(6, 5))


def test_sampled_addmm(device: torch.device) -> None:
    arguments = (matrix("csr"), dense(4, 3, seed=1), dense(3, 6, seed=2))
    check(device, torch.sparse.sampled_addmm, *arguments)
    check(device, lambda *a: torch.sparse.sampled_addmm(*a, beta=2, alpha=0.5), *arguments)

    check(device, lambda x, *a: torch.sparse.sampled_addmm(x, *a, out=x), *arguments)

    def gradients(x: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> Any:
        torch.sparse.sampled_addmm(x, a, b).to_dense().sum().backward()
        return [a.grad, b.grad]

    check(device, gradients, *(t.requires_grad_() for t in arguments))


def test_reductions(device: torch.device) -> None:
    for tensor in (matrix("coo"), uncoalesced(), hybrid()):
        check(device, torch.sum, tensor)
        check(device, torch.sparse.sum, tensor)
        check(device, lambda x: torch.sparse.sum(x, dim=0), tensor)
        check(device, lambda x: torch.sparse.sum(x, dim=1), tensor)
        check(device, lambda x: x.norm(), tensor)
        check(device, lambda x: x.isnan().any(), tensor)
    check(device, torch.sum, matrix("csr"))
    check(device, lambda x: x.sum(dim=1, keepdim=True), matrix("csr"))


@pytest.mark.parametrize("dim", [0, 1])
def test_softmax(device: torch.device, dim: int) -> None:
    def run(function: Any) -> Callable[..., Any]:
        def with_gradient(x: torch.Tensor) -> Any:
            result = function(x, dim)
            result.to_dense().sum().backward()
            return [result.detach(), x.grad]

        return with_gradient

    check(device, run(torch.sparse.softmax), matrix("coo").requires_grad_())
    check(device, run(torch.sparse.log_softmax), matrix("coo").requires_grad_())


def test_other_shapes(device: torch.device) -> None:
    x = matrix("coo")
    for function in (
        lambda x: x.t(),
        lambda x: x.transpose(0, 1),
        lambda x: x.permute(1, 0),
        lambda x: x.unsqueeze(0),
        lambda x: x[1],
        lambda x: x.select(1, 2),
        lambda x: x.narrow_copy(1, 1, 3),
        lambda x: x.index_select(0, torch.tensor([2, 0], device=x.device)),
        lambda x: torch.cat([x, x]),
        lambda x: torch.cat([x, x], dim=1),
        lambda x: torch.stack([x, x]),
        lambda x: x.sparse_mask(x.coalesce()),
        lambda x: x.to_dense().sparse_mask(x.coalesce()),
    ):
        check(device, function, x)
    for name in COMPRESSED:
        check(device, lambda x: x.transpose(0, 1), matrix(name))
    check(device, lambda x: x[1], matrix("csr"))
    check(device, lambda x: x.to_dense().sparse_mask(x), matrix("csr"))
    check(device, torch.view_as_real, matrix("coo", dtype=torch.complex64))


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


def test_autograd_through_products(device: torch.device) -> None:
    def run(x: torch.Tensor, y: torch.Tensor) -> Any:
        (torch.sparse.mm(x, y) ** 2).sum().backward()
        return [x.grad, y.grad]

    check(device, run, matrix("coo").requires_grad_(), dense(6, 5, seed=1).requires_grad_())
    check(device, run, uncoalesced().requires_grad_(), dense(4, 5).requires_grad_())

    def through_values(values: torch.Tensor, y: torch.Tensor) -> Any:
        indices = torch.tensor([[0, 1, 1], [2, 0, 2]], device=values.device)
        x = torch.sparse_coo_tensor(indices, values, (2, 3))
        torch.sparse.mm(x, y).sum().backward()
        return [values.grad, y.grad]

    check(device, through_values, torch.rand(3).requires_grad_(), torch.rand(3, 2).requires_grad_())

    def to_and_fro(x: torch.Tensor) -> Any:
        (x.to_sparse().to_dense() * 3).sum().backward()
        return x.grad

    check(device, to_and_fro, dense(3, 4).requires_grad_())

    def coalesced(x: torch.Tensor) -> Any:
        x.coalesce().values().sum().backward()
        return x.grad

    check(device, coalesced, uncoalesced().requires_grad_())


OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "SparseAdam": lambda p: torch.optim.SparseAdam(p, lr=0.1),
    "SGD": lambda p: torch.optim.SGD(p, lr=0.1),
    "SGD_momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "Adagrad": lambda p: torch.optim.Adagrad(p, lr=0.1),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("module", ["embedding", "bag"])
def test_embeddings_with_sparse_gradients(device: torch.device, name: str, module: str) -> None:
    def train(weight: torch.Tensor, words: torch.Tensor) -> Any:
        layer: Any = (
            torch.nn.Embedding(10, 3, sparse=True, _weight=weight.clone())
            if module == "embedding"
            else torch.nn.EmbeddingBag(10, 3, sparse=True, mode="sum", _weight=weight.clone())
        )
        optimizer = OPTIMIZERS[name](layer.parameters())
        gradients = []
        for step in range(3):
            optimizer.zero_grad()
            (layer(words[step]) ** 2).sum().backward()
            gradients.append(layer.weight.grad)
            optimizer.step()
        return [layer.weight.detach(), gradients]

    words = torch.randint(0, 10, (3, 2, 4), generator=torch.Generator().manual_seed(3))
    check(device, train, torch.randn(10, 3, generator=torch.Generator().manual_seed(4)), words)


def test_gradients_add_up(device: torch.device) -> None:
    """Sparse gradients of two uses, and of two backwards, are added; with a dense one they become dense."""

    def run(weight: torch.Tensor, words: torch.Tensor) -> Any:
        def backward(sparse: bool) -> None:
            torch.nn.functional.embedding(words, weight, sparse=sparse).sum().backward()

        backward(True)
        first = weight.grad.clone()
        backward(True)
        second = weight.grad.clone()
        backward(False)
        return [first, second, weight.grad]

    check(device, run, torch.rand(5, 2).requires_grad_(), torch.tensor([1, 3, 1]))


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
