# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Strides of results: those of the kernels, also where PyTorch's shape functions tell others."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from comparing import Counting, assert_same, to_device
from torch.autograd import forward_ad
from torch.nn.functional import max_pool2d, max_unpool2d, scaled_dot_product_attention
from torch.utils import _pytree as pytree

SQUARE = torch.randn(4, 4)
SYMMETRIC = SQUARE + SQUARE.mT
TALL = torch.randn(5, 3)
IMAGES = torch.randn(1, 2, 6, 6).to(memory_format=torch.channels_last)
SOME = torch.tensor([[0.0, 2.0, 0.0], [3.0, 0.0, 4.0]])


def unpooled(images: torch.Tensor) -> torch.Tensor:
    return max_unpool2d(*max_pool2d(images, 2, return_indices=True), 2)


CALLS: dict[str, tuple[Callable[..., Any], tuple[torch.Tensor, ...]]] = {
    "svd": (torch.linalg.svd, (TALL,)),
    "eigh": (torch.linalg.eigh, (SYMMETRIC,)),
    "eig": (torch.linalg.eig, (SQUARE,)),
    "rfft2": (torch.fft.rfft2, (torch.randn(5, 6, 7).mT,)),
    "hfft2": (torch.fft.hfft2, (torch.randn(5, 6, 7, dtype=torch.complex64),)),
    "max_unpool2d": (unpooled, (IMAGES,)),
    "nonzero_static": (lambda a: torch.nonzero_static(a, size=4), (SOME,)),
    "attention": (scaled_dot_product_attention, (torch.randn(2, 3, 4, 8),) * 3),
    "abs": (torch.abs, (SQUARE.mT,)),
}


@pytest.mark.parametrize("name", CALLS)
def test_strides_are_the_kernels(device: torch.device, name: str) -> None:
    call, arguments = CALLS[name]
    expected = pytree.tree_leaves(call(*arguments))
    for _ in range(2):  # the first call may ask the executor, the next ones know
        actual = pytree.tree_leaves(call(*to_device(arguments, device)))
        assert [one.stride() for one in actual] == [one.stride() for one in expected]
        for one, other in zip(actual, expected, strict=True):
            assert_same(one, other)


def test_gaps_are_the_kernels(device: torch.device) -> None:
    # A view of a larger tensor. Its bits depend on the addresses of the operands, on CPU as well.
    expected = torch.linalg.lstsq(TALL, TALL).solution
    for _ in range(2):
        actual = torch.linalg.lstsq(*to_device((TALL, TALL), device)).solution
        assert actual.stride() == expected.stride() == (1, 5)
        torch.testing.assert_close(actual.cpu(), expected)


@pytest.mark.parametrize("adjoint", [False, True])
@pytest.mark.parametrize("left", [False, True])
def test_lazy_conjugates_are_the_kernels(device: torch.device, left: bool, adjoint: bool) -> None:
    square = torch.randn(3, 3, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))

    def solve(matrix: torch.Tensor) -> torch.Tensor:
        factors, pivots = torch.linalg.lu_factor(matrix)
        return torch.linalg.lu_solve(factors, pivots, matrix, left=left, adjoint=adjoint)

    expected = solve(square)
    for _ in range(2):
        actual = solve(square.to(device))
        assert actual.is_conj() == expected.is_conj()
        assert actual.stride() == expected.stride()
        assert_same(actual, expected)
        assert_same(actual * 2, expected * 2)
        assert_same(actual.mul_(1j), solve(square).mul_(1j))


def lstsq_outs(kind: str, sizes: tuple[int, ...], columns: int) -> list[torch.Tensor]:
    """Solution, residuals, rank, singular values."""
    *batch, rows, unknowns = sizes
    longest = max(rows, unknowns)
    solutions = {
        "row_major": torch.empty(*batch, longest, columns),
        "column_major": torch.empty(*batch, columns, longest).mT,
        "double": torch.empty(0, dtype=torch.float64),
    }
    outs = [
        solutions.get(kind, torch.empty(0)),
        torch.empty(0),
        torch.empty(0).long(),
        torch.empty(0),
    ]
    if kind == "residuals":
        outs[1] = torch.ones(7)
    elif kind == "rank":
        outs[2] = torch.ones(7, dtype=torch.int64)
    elif kind == "values":
        outs[3] = torch.ones(7)
    return outs


@pytest.mark.parametrize("driver", ["gels", "gelsy", "gelsd"])
@pytest.mark.parametrize("sizes", [(5, 3), (3, 5), (4, 4), (2, 5, 3)])
@pytest.mark.parametrize(
    "kind", ["empty", "row_major", "column_major", "double", "residuals", "rank", "values"]
)
def test_lstsq_uses_its_outs_as_lapack_does(
    emulator: torch.device, kind: str, sizes: tuple[int, ...], driver: str
) -> None:
    first = torch.randn(sizes, generator=torch.Generator().manual_seed(1))
    second = torch.randn(*sizes[:-1], 2, generator=torch.Generator().manual_seed(2))
    outs = []
    for target in ("cpu", emulator):
        with torch.device(target):
            made = lstsq_outs(kind, sizes, 2)
        torch.linalg.lstsq(first.to(target), second.to(target), driver=driver, out=tuple(made))
        outs.append(made)
    for one, other in zip(outs[1], outs[0], strict=True):
        assert (one.shape, one.stride(), one.dtype) == (other.shape, other.stride(), other.dtype)
        # Computed in float32, whatever the out is; LAPACK's gelsy gives other last bits at other addresses.
        torch.testing.assert_close(one.cpu().float(), other.float())


def test_lstsq_refuses_outs_of_other_kinds(emulator: torch.device) -> None:
    outs = lstsq_outs("empty", (5, 3), 2)
    outs[0] = outs[0].long()
    with pytest.raises(RuntimeError, match="Expected solution to be safely castable from Float"):
        torch.linalg.lstsq(
            *to_device((TALL, TALL), emulator), out=tuple(out.to(emulator) for out in outs)
        )


OUTS: dict[str, tuple[Callable[..., Any], tuple[torch.Tensor, ...], int]] = {
    "abs": (torch.abs, (SQUARE.mT,), 1),
    "cholesky_inverse": (torch.cholesky_inverse, (torch.eye(4) * 2,), 1),
    "inv": (torch.linalg.inv, (SQUARE,), 1),
    "geqrf": (torch.geqrf, (SQUARE,), 2),
    "solve": (torch.linalg.solve, (SQUARE, torch.randn(4, 3)), 1),
    "cat": (lambda a, **k: torch.cat([a, a], **k), (IMAGES,), 1),
    "nonzero": (torch.nonzero, (SOME,), 1),
    "eig": (torch.linalg.eig, (SQUARE.to(torch.complex64),), 2),
}


@pytest.mark.parametrize("name", OUTS)
def test_outs_that_take_another_shape(device: torch.device, name: str) -> None:
    call, arguments, count = OUTS[name]
    results = []
    for target in (torch.device("cpu"), device):
        dtypes = [one.dtype for one in pytree.tree_leaves(call(*arguments))]
        outs = tuple(torch.empty(0, dtype=dtype, device=target) for dtype in dtypes)
        call(*to_device(arguments, target), out=outs if count > 1 else outs[0])
        results.append(outs)
    for one, other in zip(results[1], results[0], strict=True):
        assert one.stride() == other.stride()
        assert_same(one, other)


@pytest.mark.parametrize(
    "call",
    [
        lambda a, b: a.logical_and_(b),
        lambda a, b: a.floor_divide_(b),
        lambda a, b: a.ldexp_(b),
        lambda a, b: torch.add(a, b, out=a),
    ],
)
def test_in_place_never_changes_a_shape(
    device: torch.device, call: Callable[[torch.Tensor, torch.Tensor], Any]
) -> None:
    narrow, wide = torch.ones(4, 1, device=device), torch.ones(4, 4, device=device)
    with pytest.raises(RuntimeError, match="doesn't match the broadcast shape"):
        call(narrow, wide)
    assert narrow.shape == (4, 1)
    assert_same(narrow, torch.ones(4, 1))


def test_margin_loss_of_a_single_example(device: torch.device) -> None:
    example, target = torch.randn(4), torch.tensor([1, 2, -1, 0])
    loss = torch.nn.MultiLabelMarginLoss(reduction="none")
    assert_same(loss(example.to(device), target.to(device)), loss(example, target))


def test_addbmm_in_place_changes_its_shape_as_on_cpu(device: torch.device) -> None:
    batches = torch.randn(2, 3, 4), torch.randn(2, 4, 5)
    expected = torch.ones(1).addbmm_(*batches)
    assert_same(torch.ones(1, device=device).addbmm_(*to_device(batches, device)), expected)


def test_only_the_first_call_asks_for_layouts(device: torch.device) -> None:
    square = SQUARE.to(device)
    torch.linalg.svd(square)
    with Counting(device) as counted:
        torch.linalg.svd(square)
    assert counted.round_trips == 0


@pytest.mark.parametrize("operator", [torch.masked_select, torch.index_select])
def test_outs_whose_elements_are_one(device: torch.device, operator: Callable[..., Any]) -> None:
    source = torch.ones(3, device=device)
    rest = (
        (source > 0,) if operator is torch.masked_select else (0, torch.tensor([0], device=device))
    )
    with pytest.raises(RuntimeError, match="unsupported operation"):
        operator(source, *rest, out=torch.empty(1, device=device).expand(3))
    with pytest.raises(RuntimeError, match="unsupported operation"):
        operator(source, *rest, out=torch.empty(1, device=device).expand(2))


def test_tangents_of_what_has_none_are_zeros_of_no_sign(device: torch.device) -> None:
    def tangent(target: torch.device) -> Any:
        with forward_ad.dual_level():
            primal = torch.tensor([-1.0, 2.0], device=target)
            dual = forward_ad.make_dual(primal, torch.tensor([-3.0, 5.0], device=target))
            product = torch.nn.functional.dropout(dual * torch.zeros_like(dual), 0.5)
            return forward_ad.unpack_dual(product).tangent

    torch.manual_seed(0)
    expected = tangent(torch.device("cpu"))
    torch.manual_seed(0)
    assert_same(tangent(device), expected)


@pytest.mark.parametrize("conjugated", [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.parametrize("operator", [torch.dot, torch.vdot])
def test_products_of_lazy_conjugates(
    device: torch.device, operator: Callable[..., Any], conjugated: tuple[bool, bool]
) -> None:
    vectors = torch.randn(2, 5, dtype=torch.complex64)

    def product(target: torch.device) -> torch.Tensor:
        placed = vectors.to(target)
        return operator(
            *(one.conj() if flag else one for one, flag in zip(placed, conjugated, strict=True))
        )

    expected, actual = product(torch.device("cpu")), product(device)
    assert actual.is_conj() == expected.is_conj()
    assert_same(actual.resolve_conj(), expected.resolve_conj())


LAYOUTS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "contiguous": torch.Tensor.contiguous,
    "channels_last": lambda images: images.contiguous(memory_format=torch.channels_last),
    "other": lambda images: images.permute(2, 3, 0, 1).contiguous().permute(2, 3, 0, 1),
}


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize(
    "dtypes", [(torch.float32, torch.float32), (torch.bfloat16, torch.float32)]
)
@pytest.mark.parametrize("gradient", LAYOUTS)
@pytest.mark.parametrize("images", LAYOUTS)
def test_batch_norms_gradient_is_laid_out_as_its_input(
    emulator: torch.device,
    images: str,
    gradient: str,
    dtypes: tuple[torch.dtype, torch.dtype],
    train: bool,
) -> None:
    """And the gradients before it, whose bits depend on it: a gradient may come in any layout."""
    sizes = (2, 4, 3, 3)
    arguments = [
        LAYOUTS[gradient](torch.randn(sizes).to(dtypes[0])),
        LAYOUTS[images](torch.randn(sizes).to(dtypes[0])),
        *(torch.rand(4, dtype=dtypes[1]) for _ in range(3)),  # weight and running statistics
        *(torch.rand(4, dtype=dtypes[1]) for _ in range(2)),  # the batch's own
    ]

    def program(tensors: list[torch.Tensor]) -> Any:
        return torch.ops.aten.native_batch_norm_backward(*tensors, train, 1e-5, [True] * 3)

    actual, expected = program(to_device(arguments, emulator)), program(arguments)
    assert [one.stride() for one in actual] == [one.stride() for one in expected]
    assert_same(actual, expected)
