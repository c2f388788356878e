# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Gradients of and through sparse tensors, and the optimizers that take them, are those of CPU."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from sparse_cases import check, dense, matrix, uncoalesced

# PyTorch says once a process that sparse compressed tensors are in beta.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*beta state.*"),
    pytest.mark.filterwarnings("ignore:.*sparse invariant checks.*"),
]


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
