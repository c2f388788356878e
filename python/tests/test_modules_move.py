# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Modules move between CPU and the device as between CPU and CUDA: their parameters stay the same objects."""

import pytest
import torch
from comparing import assert_same
from torch import nn


class Tied(nn.Module):
    """An embedding and the output layer that share a weight, as language models have them."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 4)
        self.out = nn.Linear(4, 7, bias=False)
        self.out.weight = self.embedding.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.out(self.embedding(tokens))


def test_tied_weights_stay_tied(device: torch.device) -> None:
    model = Tied()
    tokens = torch.tensor([1, 2, 5])
    model(tokens).square().sum().backward()
    expected = model.embedding.weight.grad
    model.zero_grad()
    weight = model.embedding.weight
    model.to(device)
    assert model.embedding.weight is model.out.weight is weight
    assert len(list(model.parameters())) == 1
    assert weight.device == device
    model(tokens.to(device)).square().sum().backward()
    assert_same(weight.grad, expected)
    model.cpu()
    assert model.embedding.weight is model.out.weight is weight
    assert weight.grad is not None
    assert weight.device.type == weight.grad.device.type == "cpu"
    assert_same(weight.grad, expected)


def test_an_optimizer_that_was_made_before_the_move(device: torch.device) -> None:
    def trained(move: bool) -> torch.Tensor:
        torch.manual_seed(0)
        model = nn.Linear(4, 2)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        inputs = torch.randn(3, 4)
        # The gradient's node of the first step remembers a parameter on CPU.
        for step in range(2):
            if move and step == 1:
                model.to(device)
                inputs = inputs.to(device)
            optimizer.zero_grad()
            model(inputs).sum().backward()
            optimizer.step()
        return model.weight

    moved = trained(True)
    assert moved.device == device
    assert_same(moved, trained(False))


def test_gradients_move_along(device: torch.device) -> None:
    model = nn.Linear(4, 2)
    model(torch.ones(1, 4)).sum().backward()
    gradient = model.weight.grad
    assert gradient is not None
    before = gradient.clone()
    model.to(device)
    assert model.weight.grad is gradient
    assert gradient.device == device
    assert_same(gradient, before)


def test_data_may_change_the_device(device: torch.device) -> None:
    values = torch.arange(6.0).reshape(2, 3)
    x = torch.zeros(1, requires_grad=True)
    x.data = values.to(device)
    assert x.device == device
    assert x.requires_grad
    assert_same(x, values)
    x.square().sum().backward()
    assert_same(x.grad, 2 * values)
    x.grad = None
    x.data = values.double()
    assert x.device.type == "cpu"
    x.square().sum().backward()
    assert_same(x.grad, 2 * values.double())


def test_data_of_another_kind_is_refused(device: torch.device) -> None:
    x = torch.zeros(2, device=device)
    with pytest.raises(RuntimeError, match="incompatible tensor type"):
        x.data = torch.eye(2).to_sparse()
    with pytest.raises(RuntimeError, match="incompatible tensor type"):
        x.data = torch.empty(2, device="meta")


def test_meta_modules_become_real(device: torch.device) -> None:
    with torch.device("meta"):
        model = nn.Linear(4, 2)
    model.to_empty(device=device)
    values = {"weight": torch.randn(2, 4), "bias": torch.randn(2)}
    model.load_state_dict(values)
    assert_same(model.state_dict(), values)
    assert model.weight.device == device
