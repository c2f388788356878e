# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Embeddings, bags of them, and losses over classes: gradients into tables, padding, and sparse ones refused or as CPU's."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from comparing import Counting, assert_like_cpu
from torch import Tensor, nn

functional = nn.functional


def table(where: torch.device, rows: int = 6, width: int = 3) -> Tensor:
    return torch.linspace(-1, 1, rows * width).reshape(rows, width).to(where).requires_grad_()


def of(where: torch.device, *numbers: int) -> Tensor:
    return torch.tensor(numbers, device=where)


Lookup = Callable[[torch.device, Tensor], Tensor]
LOOKUPS: dict[str, Lookup] = {
    "plain": lambda d, w: functional.embedding(of(d, 1, 4, 1).reshape(3, 1), w),
    "padding": lambda d, w: functional.embedding(of(d, 0, 2, 2), w, padding_idx=2),
    "scaled by frequency": lambda d, w: functional.embedding(
        of(d, 1, 1, 5), w, scale_grad_by_freq=True
    ),
    "32 bits": lambda d, w: functional.embedding(of(d, 3, 0).int(), w),
    "none": lambda d, w: functional.embedding(of(d).long(), w),
    "bag of sums": lambda d, w: functional.embedding_bag(
        of(d, 1, 2, 4, 4), w, of(d, 0, 1), mode="sum"
    ),
    "bag of means": lambda d, w: functional.embedding_bag(
        of(d, 1, 2, 4, 4).reshape(2, 2), w, mode="mean"
    ),
    "bag of largest": lambda d, w: functional.embedding_bag(
        of(d, 1, 2, 4, 4), w, of(d, 0, 3), mode="max"
    ),
    "weighted bag": lambda d, w: functional.embedding_bag(
        of(d, 1, 2, 4),
        w,
        of(d, 0, 2),
        mode="sum",
        per_sample_weights=torch.tensor([0.5, 2, 1], device=d),
    ),
    "bag with padding": lambda d, w: functional.embedding_bag(
        of(d, 1, 2, 4, 4), w, of(d, 0, 2, 4), include_last_offset=True, padding_idx=4, mode="sum"
    ),
}


@pytest.mark.parametrize("name", LOOKUPS)
def test_lookups(device: torch.device, name: str) -> None:
    def program(where: torch.device) -> Any:
        weight = table(where)
        result = LOOKUPS[name](where, weight)
        result.square().sum().backward()
        return result.detach(), weight.grad

    assert_like_cpu(device, program)


def test_rows_are_kept_short(device: torch.device) -> None:
    def program(where: torch.device) -> Any:
        layer = nn.Embedding.from_pretrained(table(where).detach() * 5, freeze=False, max_norm=1.0)
        result = layer(of(where, 0, 5))
        result.sum().backward()
        return result.detach(), layer.weight, layer.weight.grad

    assert_like_cpu(device, program)


def test_gradients_of_gradients(device: torch.device) -> None:
    def program(where: torch.device) -> Any:
        weight = table(where)
        result = functional.embedding(of(where, 1, 1, 3), weight).pow(3).sum()
        (first,) = torch.autograd.grad(result, weight, create_graph=True)
        first.square().sum().backward()
        return first.detach(), weight.grad

    assert_like_cpu(device, program)


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross entropy": lambda x, y: functional.cross_entropy(
        x, y, label_smoothing=0.1, ignore_index=2
    ),
    "weighted": lambda x, y: functional.cross_entropy(
        x, y, weight=x.detach()[0].abs(), reduction="sum"
    ),
    "probabilities": lambda x, y: functional.cross_entropy(x, x.detach().softmax(1)),
    "likelihood": lambda x, y: functional.nll_loss(x.log_softmax(1), y, reduction="none").sum(),
    "images": lambda x, y: (
        functional.cross_entropy(x.t()[None, :, :, None], (y % 3)[None, :, None].expand(1, 3, 1))
        if x.shape[0] == 3
        else functional.cross_entropy(x[:, :, None], y[:, None])
    ),
    "margins": lambda x, y: (
        functional.multi_margin_loss(x, y)
        + functional.multilabel_margin_loss(x, y[:, None].expand_as(x))
    ),
    "gaussian": lambda x, y: functional.gaussian_nll_loss(x, x.detach() * 2, x.square() + 1),
    "divergence": lambda x, y: functional.kl_div(
        x.log_softmax(1), x.detach().softmax(1), reduction="batchmean"
    ),
    "connectionist": lambda x, y: functional.ctc_loss(
        x[:, None].repeat(4, 1, 1).log_softmax(2),
        y[None, :2] % 2 + 1,
        torch.tensor([x.shape[0] * 4]),
        torch.tensor([2]),
    ),
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses_over_classes(device: torch.device, name: str) -> None:
    def program(where: torch.device) -> Any:
        x = table(where, 5, 4)
        loss = LOSSES[name](x, of(where, 0, 2, 3, 1, 2))
        loss.backward()
        return loss.detach(), x.grad

    assert_like_cpu(device, program)


def test_a_language_models_ends_are_tied(device: torch.device) -> None:
    """One table for what goes in and what comes out, and no round trip."""

    def program(where: torch.device) -> Any:
        weight = table(where)
        hidden = functional.embedding(of(where, 1, 2, 3), weight).tanh()
        loss = functional.cross_entropy(functional.linear(hidden, weight), of(where, 2, 3, 4))
        loss.backward()
        return loss.detach(), weight.grad

    assert_like_cpu(device, program)
    with Counting(device) as counting:
        program(device)
    assert counting.round_trips == 0


def test_classes_out_of_range(device: torch.device) -> None:
    x = table(device).detach()
    for call in (
        lambda: functional.embedding(of(device, 6), x),
        lambda: functional.nll_loss(x, of(device, 0, 0, 0, 0, 0, 3)),
        lambda: functional.embedding_bag(of(device, -1), x, of(device, 0)),
    ):
        with pytest.raises(
            (IndexError, RuntimeError), match=r"out of (range|bounds)|not in the valid range"
        ):
            call().cpu()
