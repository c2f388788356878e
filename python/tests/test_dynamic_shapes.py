# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Operators whose results' shapes, or the program's next step, depend on values: right, and one round trip."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from comparing import Counting, assert_same

X = torch.tensor([[0.0, 1.5, 0.0, -2.0], [3.0, 0.0, float("nan"), 1.5], [1.5, -2.0, 0.0, 3.0]])
LABELS = torch.tensor([3, 1, 1, 2, 3, 3, 0, 1])
Case = Callable[[torch.Tensor, torch.Tensor], Any]

# name: (a function of X and LABELS, round trips). A result on the device is read afterwards.
CASES: dict[str, tuple[Case, int]] = {
    "nonzero": (lambda x, _: x.nonzero(), 1),
    "nonzero_as_tuple": (lambda x, _: x.nonzero(as_tuple=True), 1),
    "nonzero_of_nothing": (lambda x, _: torch.zeros_like(x).nonzero(), 1),
    "argwhere": (lambda x, _: torch.argwhere(x), 1),
    "where_condition": (lambda x, _: torch.where(x > 0), 1),
    "masked_select": (lambda x, _: x.masked_select(x > 0), 1),
    "masked_select_none": (lambda x, _: x.masked_select(x > 100), 1),
    "mask": (lambda x, _: x[x > 0], 1),
    "mask_of_rows": (lambda x, _: x[x[:, 0] > 0], 1),
    "mask_and_index": (lambda x, _: x[torch.tensor([True, False, True], device=x.device), 1], 1),
    "mask_twice": (lambda x, _: x[x > 0][1:], 1),
    "unique": (lambda _, i: i.unique(), 1),
    "unique_all": (lambda _, i: i.unique(return_inverse=True, return_counts=True), 1),
    "unique_dim": (lambda _, i: i.reshape(4, 2).unique(dim=0, return_counts=True), 1),
    "unique_unsorted": (lambda _, i: torch.unique(i, sorted=False).sort().values, 1),
    "unique_consecutive": (lambda _, i: i.unique_consecutive(return_counts=True), 1),
    "bincount": (lambda _, i: i.bincount(), 1),
    "bincount_weights": (lambda x, i: i.bincount(x.flatten()[:8].nan_to_num(), minlength=6), 1),
    "repeat_interleave": (lambda _, i: i.repeat_interleave(i), 1),
    "repeat_interleave_dim": (lambda x, i: x.repeat_interleave(i[:3], dim=0), 1),
    "equal": (lambda _, i: torch.equal(i, i.clone()), 1),
    "equal_not": (lambda _, i: torch.equal(i, i + 1), 1),
    "equal_shapes": (lambda _, i: torch.equal(i, i[1:]), 1),
    "allclose": (lambda _, i: torch.allclose(i, i + 1), 1),
    "item": (lambda _, i: i[2].item(), 1),
    "int": (lambda _, i: int(i[2]), 1),
    "bool": (lambda _, i: bool(i[2] == 1), 1),
    "float": (lambda x, _: float(x[0, 1]), 1),
    "tolist": (lambda _, i: i.tolist(), 1),
    "in": (lambda _, i: 3 in i, 1),
    "any": (lambda _, i: bool((i > 2).any()), 1),
    "is_nonzero": (lambda _, i: torch.is_nonzero(i[0]), 1),
    "if": (lambda _, i: 1 if i.sum() > 3 else 2, 1),
    "histc": (lambda _, i: i.float().histc(4, 0, 4), 0),
    # No shape depends on values here.
    "mask_put": (
        lambda x, _: x.clone().index_put_((x > 0,), torch.tensor(7.0, device=x.device)),
        0,
    ),
    "mask_set": (lambda x, _: _set(x, x > 0, 7.0), 0),
    "mask_set_from_cpu_scalar": (lambda x, _: _set(x, x > 0, torch.tensor(7.0)), 0),
    "mask_accumulate": (lambda x, i: x.clone().index_put_((i[1:4],), x[:1], accumulate=True), 0),
    "masked_fill": (lambda x, _: x.masked_fill(x > 0, 7), 0),
    "masked_scatter": (lambda x, _: x.masked_scatter(x > 0, x.flip(0)), 0),
    "where": (lambda x, _: torch.where(x > 0, x, 7), 0),
    "index": (lambda x, i: x[i[1:3]], 0),
    "index_both": (lambda x, i: x[i[1:3], i[:2]], 0),
    "index_slice": (lambda x, i: x[:, i[1:3]], 0),
    "take_along_dim": (lambda x, _: x.take_along_dim(x.argsort(1), 1), 0),
    "one_hot": (lambda _, i: torch.nn.functional.one_hot(i, 5), 0),
}


def _set(x: torch.Tensor, mask: torch.Tensor, value: float | torch.Tensor) -> torch.Tensor:
    x = x.clone()
    x[mask] = value
    return x


@pytest.mark.parametrize("name", CASES)
def test_as_on_cpu_and_counted(device: torch.device, name: str) -> None:
    function, round_trips = CASES[name]
    expected = function(X, LABELS)
    x, labels = X.to(device), LABELS.to(device)
    with Counting(device) as counted:
        result = function(x, labels)
    assert_same(result, expected, strides=False)
    assert counted.round_trips == round_trips


def test_results_can_be_used_on(device: torch.device) -> None:
    x = torch.randn(50, 8)
    for _ in range(3):
        rows = x.to(device)[x.to(device)[:, 0] > 0]
        expected = x[x[:, 0] > 0]
        assert_same((rows @ rows.t()).softmax(1), (expected @ expected.t()).softmax(1))
        assert_same(rows.mul_(2), expected.mul_(2))
        assert_same(rows.resize_(2, 8), expected.resize_(2, 8))


def test_gradient_through_a_mask(device: torch.device) -> None:
    def program(x: torch.Tensor) -> torch.Tensor | None:
        leaf = x.clone().requires_grad_()
        leaf[leaf > 0].square().sum().backward()
        return leaf.grad

    x = torch.randn(20)
    assert_same(program(x.to(device)), program(x))


def test_indices_on_cpu_are_taken_along(device: torch.device) -> None:
    x = torch.arange(12.0).reshape(3, 4)
    remote = x.to(device)
    rows = torch.tensor([2, 0])
    assert_same(remote[rows], x[rows])
    assert_same(remote[:, [0, 3]], x[:, [0, 3]])
    assert_same(remote[torch.tensor([True, False, True])], x[::2].clone())
    remote[rows] = 5
    x[rows] = 5
    assert_same(remote, x)


def test_storages_of_described_results_are_freed(device: torch.device) -> None:
    x = X.to(device)
    torch.remote.synchronize(device)
    with Counting(device) as counted:
        for _ in range(20):
            x.nonzero()
    assert counted.storages == 0
