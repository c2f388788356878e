# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Recurrent networks: layers, directions, packed sequences, states, and gradients of gradients."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from comparing import Counting, assert_like_cpu
from torch import Tensor, nn
from torch.nn.utils.rnn import (
    pack_padded_sequence,
    pack_sequence,
    pad_packed_sequence,
    pad_sequence,
    unpad_sequence,
)

NETWORKS: dict[str, Callable[..., nn.RNNBase]] = {
    "tanh": lambda **options: nn.RNN(3, 4, **options),
    "relu": lambda **options: nn.RNN(3, 4, nonlinearity="relu", **options),
    "lstm": lambda **options: nn.LSTM(3, 4, **options),
    "gru": lambda **options: nn.GRU(3, 4, **options),
}
OPTIONS: dict[str, dict[str, Any]] = {
    "one layer": {},
    "batch first": {"batch_first": True},
    "no bias": {"bias": False},
    "layers and directions": {"num_layers": 2, "bidirectional": True},
    "dropout": {"num_layers": 2, "dropout": 0.3},
}


def on(where: torch.device, network: Callable[..., nn.Module], **options: Any) -> nn.Module:
    torch.manual_seed(0)
    made = network(**options).to(where)
    torch.manual_seed(1)
    return made


def sequences(where: torch.device) -> list[Tensor]:
    lengths = (5, 3, 2)
    return [torch.linspace(-1, 1, n * 3).reshape(n, 3).to(where).requires_grad_() for n in lengths]


def gradients(network: nn.Module) -> list[Tensor | None]:
    return [parameter.grad for parameter in network.parameters()]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("name", NETWORKS)
def test_networks(
    device: torch.device, draws_as_cpu: torch.device, name: str, options: str
) -> None:
    if options == "dropout":
        device = draws_as_cpu

    def program(where: torch.device) -> Any:
        network = on(where, NETWORKS[name], **OPTIONS[options])
        x = pad_sequence(sequences(where)).detach().requires_grad_()
        output, state = network(x)
        again, _ = network(x * 0.5, state)  # the state goes on
        (output.square().sum() + again.sum()).backward()
        with torch.inference_mode():
            still = network.eval()(x[:, 0])  # one sequence without a batch
        return output.detach(), x.grad, gradients(network), still

    # A fused cell is a command here, where CPU has others: the last bits may differ.
    results = [program(device), program(torch.device("cpu"))]
    actual, expected = (
        [leaf.cpu() for leaf in torch.utils._pytree.tree_leaves(r)] for r in results
    )
    torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("is_sorted", [True, False])
@pytest.mark.parametrize("name", NETWORKS)
def test_packed_sequences(device: torch.device, name: str, is_sorted: bool) -> None:
    def program(where: torch.device) -> Any:
        network = on(where, NETWORKS[name], bidirectional=True)
        rows = sequences(where)
        rows = rows if is_sorted else [rows[1], rows[0], rows[2]]
        packed = pack_sequence(rows, enforce_sorted=is_sorted)
        assert packed.data.device == where
        assert packed.batch_sizes.device.type == "cpu"
        output, state = network(packed)
        padded, lengths = pad_packed_sequence(output, padding_value=-1.0)
        padded.square().sum().backward()
        parts = unpad_sequence(padded.detach(), lengths)
        return parts, lengths, state, [row.grad for row in rows], gradients(network)

    results = [program(device), program(torch.device("cpu"))]
    actual, expected = (
        [leaf.cpu() for leaf in torch.utils._pytree.tree_leaves(r)] for r in results
    )
    torch.testing.assert_close(actual, expected)


def test_packing_moves_and_keeps(device: torch.device) -> None:
    def program(where: torch.device) -> Any:
        padded = pad_sequence(sequences(where), batch_first=True)
        packed = pack_padded_sequence(
            padded, torch.tensor([5, 3, 2]), batch_first=True, enforce_sorted=False
        )
        there = packed.to(where).double()
        return there.data, there.batch_sizes, there.sorted_indices, there.unsorted_indices

    assert_like_cpu(device, program)
    with pytest.raises(RuntimeError, match="1D CPU int64 tensor"):
        pack_padded_sequence(torch.zeros(2, 1, 1, device=device), torch.tensor([2], device=device))


@pytest.mark.parametrize("cell", [nn.RNNCell, nn.LSTMCell, nn.GRUCell])
def test_cells(device: torch.device, cell: type[nn.RNNCellBase]) -> None:
    def program(where: torch.device) -> Any:
        network = on(where, lambda: cell(3, 4))
        state, outputs = None, []
        for x in pad_sequence(sequences(where)):
            state = network(x, state)
            outputs.append(state)
        first = outputs[-1][0] if isinstance(outputs[-1], tuple) else outputs[-1]
        first.sum().backward()
        return outputs, gradients(network)

    results = [program(device), program(torch.device("cpu"))]
    actual, expected = (
        [leaf.cpu() for leaf in torch.utils._pytree.tree_leaves(r)] for r in results
    )
    torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("name", ["tanh", "lstm", "gru"])
def test_gradients_of_gradients(device: torch.device, name: str) -> None:
    def program(where: torch.device) -> Any:
        network = on(where, NETWORKS[name]).double()
        x = sequences(where)[0].detach().double().requires_grad_()
        with torch.backends.cudnn.flags(enabled=False):  # as programs do it for CUDA
            output, _ = network(x)
        (gradient,) = torch.autograd.grad(output.square().sum(), x, create_graph=True)
        gradient.square().sum().backward()
        return gradient.detach(), x.grad, gradients(network)

    results = [program(device), program(torch.device("cpu"))]
    actual, expected = (
        [leaf.cpu() for leaf in torch.utils._pytree.tree_leaves(r)] for r in results
    )
    torch.testing.assert_close(actual, expected)


def test_projections_and_no_round_trips(device: torch.device) -> None:
    network = on(device, NETWORKS["lstm"], proj_size=2, num_layers=2)
    x = pad_sequence(sequences(device)).detach()
    network(x)
    with Counting(device) as counting:
        output, (hidden, cell) = network(x)
    assert counting.round_trips == 0
    assert (output.shape, hidden.shape, cell.shape) == ((5, 3, 2), (2, 3, 2), (2, 3, 4))
    torch.testing.assert_close(output.cpu(), network.cpu()(x.cpu())[0])
