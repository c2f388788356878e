# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Operators on sparse tensors of every layout give on a device what they give on CPU."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from comparing import Counting, assert_same
from sparse_cases import (
    COMPRESSED,
    LAYOUTS,
    TENSORS,
    check,
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
    check_or_error(device, function, tensor)


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
    check_or_error(device, function, *arguments, refusals=(RuntimeError, ValueError))


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
