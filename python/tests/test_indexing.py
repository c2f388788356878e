# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Indexing: by numbers, lists, masks and tensors, read and written; gathering, scattering, segments."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from comparing import Counting, assert_like_cpu
from torch import Tensor

Index = Callable[[torch.device], Any]


def long(where: torch.device, *values: int) -> Tensor:
    return torch.tensor(values, device=where)


# Of a 4x5x6 tensor.
INDICES: dict[str, Index] = {
    "tensor": lambda d: long(d, 2, 0, 3),
    "negative": lambda d: (slice(None), long(d, -1, 2)),
    "list": lambda d: [0, 2],
    "two": lambda d: (long(d, 0, 1), long(d, 2, 3)),
    "apart": lambda d: (long(d, 0, 1), slice(1, 4), long(d, 2, 3)),
    "broadcast": lambda d: (long(d, 0, 1)[:, None], long(d, 2, 3, 4)),
    "with none and dots": lambda d: (None, ..., long(d, 1, 1)),
    "steps and a number": lambda d: (slice(None, None, 2), 3, slice(1, None, 3)),
    "mask": lambda d: torch.arange(4, device=d) % 2 == 0,
    "mask of all": lambda d: torch.arange(120, device=d).reshape(4, 5, 6) % 7 == 0,
    "mask in the middle": lambda d: (
        slice(None),
        torch.tensor([True, False, True, True, False], device=d),
    ),
    "mask and tensor": lambda d: (
        torch.tensor([True, False, True, False], device=d),
        long(d, 1, 4),
    ),
    "empty mask": lambda d: torch.zeros(4, dtype=torch.bool, device=d),
    "bytes": lambda d: torch.tensor([1, 0, 1, 0], dtype=torch.int32, device=d),
    "true": lambda d: True,
    "false": lambda d: False,
    "on CPU": lambda d: torch.tensor([3, 1]),
    "mask on CPU": lambda d: torch.tensor([True, False, False, True]),
    "scalar tensor": lambda d: long(d, 1)[0],
    "empty": lambda d: torch.empty(0, dtype=torch.int64, device=d),
}


def values(where: torch.device) -> Tensor:
    return torch.linspace(-1, 1, 120).reshape(4, 5, 6).to(where)


@pytest.mark.parametrize("name", INDICES)
def test_read_and_gradient(device: torch.device, name: str) -> None:
    def program(where: torch.device) -> Any:
        x = values(where).requires_grad_()
        y = x[INDICES[name](where)]
        y.square().sum().backward()
        return y.detach(), x.grad

    assert_like_cpu(device, program)


@pytest.mark.parametrize("name", INDICES)
def test_write(device: torch.device, name: str) -> None:
    def program(where: torch.device) -> Any:
        x, y, z = (
            values(where),
            values(where),
            values(where).transpose(0, 2).contiguous().transpose(0, 2),
        )
        index = INDICES[name](where)
        x[index] = 5.0
        y[index] = y[index] * 2
        z[index] += 1
        return x, y, z

    assert_like_cpu(device, program)


def gather_and_scatter(where: torch.device) -> Any:
    x = values(where).requires_grad_()
    index = torch.arange(60, device=where).reshape(2, 5, 6) % 4
    source = values(where)[:2].requires_grad_()
    results = [
        x.gather(0, index),
        torch.take_along_dim(x, x.detach().argsort(1), 1),
        x.take(long(where, 5, 0, 119)),
        x.index_select(1, long(where, 4, 4, 0)),
        x.scatter(0, index, source),
        x.scatter_add(0, index, source),
        x.index_add(0, long(where, 1, 1), source, alpha=0.5),
        x.index_copy(0, long(where, 2, 0), source),
        x.index_fill(2, long(where, 0, 5), 3.0),
        x.index_put((long(where, 0, 0, 1),), source[0], accumulate=True),
        x.masked_fill(x > 0.5, 0.0),
        x.masked_scatter(x > 0, values(where) * 2),
        x.diagonal_scatter(source[0, 0, :4].expand(6, 4), 0, 0, 1),
        x.slice_scatter(source, 0, 1, 3),
        x.select_scatter(source[0], 0, 2),
        torch.where(x > 0, x, source[:1]),
        x.put(long(where, 1, 2), source[0, 0, :2]),
    ]
    sum(result.square().sum() for result in results).backward()  # type: ignore[union-attr]
    return [result.detach() for result in results], x.grad, source.grad


def reductions_by_index(where: torch.device) -> Any:
    x, index = values(where)[0], torch.tensor([0, 2, 0, 1, 2], device=where)
    lengths = long(where, 2, 0, 3)
    made = torch.zeros(3, 6, device=where)
    kinds = ("sum", "prod", "mean", "amax", "amin")
    expanded = index[:, None].expand(5, 6)
    return [
        [made.scatter_reduce(0, expanded, x, kind, include_self=False) for kind in kinds],
        [made.index_reduce(0, index, x, kind) for kind in ("prod", "mean", "amax", "amin")],
        [
            torch.segment_reduce(x, kind, lengths=lengths, initial=0.0)
            for kind in ("sum", "max", "mean")
        ],
        torch.bincount(index, minlength=5),
        torch.histc(x, bins=4),
        torch.bucketize(x, torch.tensor([-0.9, -0.8], device=where)),
        torch.searchsorted(x.flatten().sort().values, x[0]),
    ]


def values_decide(where: torch.device) -> Any:
    x = (values(where) * 10).round()
    return [
        x.nonzero(),
        x.nonzero(as_tuple=True),
        torch.argwhere(x > 5),
        x.masked_select(x > 3),
        x.unique(),
        torch.unique(x[0], return_inverse=True, return_counts=True, dim=0),
        torch.unique_consecutive(x.flatten(), return_counts=True),
        torch.nonzero_static(x, size=3),
        x.repeat_interleave(long(where, 1, 0, 2, 1), dim=0),
        torch.where(x > 5),
        torch.combinations(x[0, 0, :3]),
        x.count_nonzero(1),
    ]


def accumulate(where: torch.device) -> Any:
    index = torch.tensor([1, 1, 0, 1], device=where)
    added = torch.zeros(3, 2, device=where)
    added.index_put_((index,), torch.ones(4, 2, device=where), accumulate=True)
    written = torch.zeros(3, dtype=torch.int64, device=where)
    written.index_put_((torch.tensor([True, False, True], device=where),), long(where, 7))
    return (
        added,
        written,
        torch.zeros(3, device=where).put_(index, torch.ones(4, device=where), accumulate=True),
    )


def views_of_indexed(where: torch.device) -> Any:
    x = values(where)
    x[0].zero_()
    x[1, 2:4][:, ::2] += 1
    x[..., -1].copy_(torch.arange(20.0).reshape(4, 5))
    x[2][x[2] > 0] = 0
    x[[0, 1]], copied = x[[1, 0]], x[[2]]
    copied.zero_()
    return x.transpose_(0, 1)


PROGRAMS = [gather_and_scatter, reductions_by_index, values_decide, accumulate, views_of_indexed]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_programs(device: torch.device, program: Index) -> None:
    assert_like_cpu(device, program)


def test_what_costs_a_round_trip(device: torch.device) -> None:
    x, index, mask = values(device), long(device, 1, 2), values(device) > 0
    with Counting(device) as counting:
        x[index], x[1:, ::2], x[..., 3]
        x[mask] = 0.0
        x[index] = 1.0
        torch.where(mask, x, 0)
    assert counting.round_trips == 0
    with Counting(device) as counting:
        x[mask], mask.nonzero()
    assert counting.round_trips == 2


@pytest.mark.parametrize(
    "call",
    [
        lambda x: x[torch.tensor([9], device=x.device)],
        lambda x: x.gather(0, torch.full((1, 1, 1), 9, device=x.device)),
        lambda x: x.index_add(0, torch.tensor([9], device=x.device), x[:1]),
        lambda x: torch.nn.functional.one_hot(torch.tensor([3], device=x.device), 2),
    ],
)
def test_indices_out_of_range(device: torch.device, call: Callable[[Tensor], Tensor]) -> None:
    x = values(device)
    with pytest.raises(
        (IndexError, RuntimeError), match=r"out of (range|bounds)|smaller than num_classes"
    ):
        call(x).cpu()
    with pytest.raises(IndexError, match=r"out of range|out of bounds"):
        x[9]
    with pytest.raises(IndexError, match="too many indices"):
        x[0, 0, 0, 0]
    assert x.shape == (4, 5, 6)
