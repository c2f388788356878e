# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Recurrent networks on devices that stand for a GPU: cuDNN's one operator, as on CUDA."""

import copy
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch_remote
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

KINDS: dict[str, Callable[..., nn.RNNBase]] = {
    "tanh": nn.RNN,
    "relu": lambda *sizes, **options: nn.RNN(*sizes, nonlinearity="relu", **options),
    "lstm": nn.LSTM,
    "gru": nn.GRU,
}
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "no bias": {"bias": False},
    "batch first, two layers": {"batch_first": True, "num_layers": 2},
    "directions": {"num_layers": 2, "bidirectional": True},
}


class Operators(TorchDispatchMode):
    """The names of the operators that are called, below autograd."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        self.names.append(str(function))
        return function(*args, **(kwargs or {}))


def made(kind: str, device: torch.device, **options: Any) -> nn.RNNBase:
    torch.manual_seed(0)
    return KINDS[kind](3, 4, **options).to(device)


def inputs(device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    values = torch.linspace(-1, 1, 5 * 2 * 3, dtype=torch.float64).reshape(5, 2, 3)
    return values.sin().to(device, dtype).requires_grad_()


def leaves(structure: Any) -> list[Tensor]:
    return [leaf.detach().cpu() for leaf in torch.utils._pytree.tree_leaves(structure)]


def outputs_and_gradients(network: nn.RNNBase, x: Tensor) -> list[Tensor]:
    output, state = network(x)
    parts = [output, *(state if isinstance(state, tuple) else [state])]
    sum((part.float().square().sum() for part in parts), start=torch.zeros(())).backward()
    return leaves([output, state, x.grad, [p.grad for p in network.parameters()]])


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_one_operator_with_the_cells_values(device: torch.device, kind: str, options: str) -> None:
    operators = Operators()
    network = made(kind, device, **OPTIONS[options])
    x = inputs(device)
    with operators:
        network(x)
    assert [n for n in operators.names if "rnn" in n or "cell" in n] == ["aten._cudnn_rnn.default"]
    assert not any("mm" in name for name in operators.names)
    actual = outputs_and_gradients(network, x)
    expected = outputs_and_gradients(
        made(kind, torch.device("cpu"), **OPTIONS[options]), inputs(torch.device("cpu"))
    )
    torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind", KINDS)
def test_dtypes(device: torch.device, kind: str, dtype: torch.dtype) -> None:
    with warnings.catch_warnings():  # weights of bfloat16 are never flattened, on CUDA neither
        warnings.simplefilter("ignore" if dtype == torch.bfloat16 else "error")
        network = made(kind, device, num_layers=2).to(dtype)
        actual = outputs_and_gradients(network, inputs(device, dtype))
    wide = made(kind, torch.device("cpu"), num_layers=2).to(dtype).to(torch.float64)
    reference = inputs(torch.device("cpu"), dtype).detach().double().requires_grad_()
    expected = outputs_and_gradients(wide, reference)
    assert all(one.dtype == dtype for one in actual)
    tolerance = {torch.float64: 1e-12, torch.float16: 4e-3, torch.bfloat16: 4e-2}[dtype]
    torch.testing.assert_close(
        [one.double() for one in actual], expected, atol=tolerance, rtol=tolerance
    )


def test_weights_are_views_of_one_buffer(emulator: torch.device) -> None:
    network = made("lstm", emulator, num_layers=2, bidirectional=True)
    weights = list(network.parameters())
    assert len({weight.untyped_storage().data_ptr() for weight in weights}) == 1
    size = sum(weight.numel() for weight in weights)
    assert weights[0].untyped_storage().nbytes() == 4 * size
    # Matrices first, then biases: PyTorch's own order for CUDA.
    assert network.weight_hh_l0.storage_offset() == 4 * 4 * 3
    assert network.bias_ih_l0.storage_offset() == sum(w.numel() for w in weights if w.dim() == 2)
    again = copy.deepcopy(network)  # copies each weight by itself
    again.flatten_parameters()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again(inputs(emulator))
    network.weight_hh_l0 = nn.Parameter(network.weight_hh_l0.detach().clone())
    output, _ = network(inputs(emulator))
    assert network.weight_hh_l0.storage_offset() == 4 * 4 * 3  # PyTorch flattens what changed
    with torch.backends.cudnn.flags(enabled=False):
        apart = made("lstm", emulator, num_layers=2, bidirectional=True)
    with pytest.warns(UserWarning, match="not part of single contiguous chunk of memory"):
        torch.testing.assert_close(apart(inputs(emulator))[0], output)


def test_projections(device: torch.device) -> None:
    options: dict[str, Any] = {"proj_size": 2, "num_layers": 2, "bidirectional": True}
    actual = outputs_and_gradients(made("lstm", device, **options), inputs(device))
    local = torch.device("cpu")
    expected = outputs_and_gradients(made("lstm", local, **options), inputs(local))
    torch.testing.assert_close(actual, expected)


def test_dropout_is_the_same_in_the_backward(device: torch.device) -> None:
    """With one row and step, the mask shows in the gradient of the second layer's weights."""
    network = nn.RNN(8, 64, num_layers=2, dropout=0.25, bias=False).to(device)
    x = torch.linspace(0.1, 1, 8, device=device).reshape(1, 1, 8)
    masks = []
    for _ in range(2):
        network.zero_grad()
        output, _ = network(x)
        output.sum().backward()
        gradient = network.weight_ih_l1.grad
        assert gradient is not None
        kept = (gradient.cpu() != 0).any(dim=0)
        masks.append(kept)
        first = torch.tanh(x.cpu()[0] @ network.weight_ih_l0.detach().cpu().T)
        second = (first * kept / 0.75) @ network.weight_ih_l1.detach().cpu().T
        torch.testing.assert_close(output.detach().cpu()[0], torch.tanh(second))
    assert 24 < int(masks[0].sum()) < 62
    assert not torch.equal(masks[0], masks[1])
    network.eval()
    assert torch.equal(network(x)[0].cpu(), network(x)[0].cpu())


def test_what_cuda_refuses(emulator: torch.device) -> None:
    network = made("gru", emulator)
    output, _ = network.eval()(inputs(emulator))
    with pytest.raises(RuntimeError, match="only be called in training mode"):
        output.sum().backward()
    x = inputs(emulator)
    output, _ = network.train()(x)
    (gradient,) = torch.autograd.grad(output.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="CuDNN API"):
        gradient.sum().backward()
    state = torch.zeros(2, 4, 1, device=emulator).permute(2, 0, 1)
    wrong = torch.zeros(4, 1, 2, device=emulator).permute(1, 2, 0)
    network(x, state)
    with pytest.raises(RuntimeError, match="hx is not contiguous"):
        network(x, wrong)


def test_falls_back_to_cells(emulator: torch.device) -> None:
    """Where cuDNN is switched off, and for forward derivatives, which its operator lacks."""
    network = made("lstm", emulator)
    x = inputs(emulator)
    with Operators() as operators, torch.backends.cudnn.flags(enabled=False):
        network(x)
    assert any("_thnn_fused_lstm_cell" in name for name in operators.names)
    network = made("tanh", emulator)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x.detach(), torch.ones_like(x))
        tangent = torch.autograd.forward_ad.unpack_dual(network(dual)[0]).tangent
    assert tangent is not None
    assert tangent.shape == (5, 2, 4)


def test_autocast_is_half_precision(emulator: torch.device) -> None:
    """Of either type: cuDNN's networks are cast to float16 on CUDA."""
    network = made("lstm", emulator)
    x = inputs(emulator)
    for dtype in (torch.float16, torch.bfloat16):
        with torch.autocast("remote", dtype=dtype):
            output, (hidden, _) = network(x)
        assert (output.dtype, hidden.dtype) == (torch.float16, torch.float16)
    output.float().square().sum().backward()
    assert x.grad is not None
    assert x.grad.dtype == torch.float32
    expected = outputs_and_gradients(made("lstm", torch.device("cpu")), inputs(torch.device("cpu")))
    torch.testing.assert_close(output.detach().cpu().float(), expected[0], atol=4e-3, rtol=4e-3)


def test_function_transforms(device: torch.device) -> None:
    """They get the cells: cuDNN's operator has no rule for vmap."""

    def program(where: torch.device) -> list[Tensor]:
        network = made("lstm", where)
        weights = dict(network.named_parameters())
        x = torch.linspace(-1, 1, 2 * 5 * 2 * 3).reshape(2, 5, 2, 3).to(where)

        def loss(weights: dict[str, Tensor], x: Tensor) -> Tensor:
            output: Tensor = torch.func.functional_call(network, weights, (x,))[0]
            return output.square().sum()

        gradient = torch.func.grad(loss)
        each = torch.func.vmap(gradient, in_dims=(None, 0))
        return leaves([gradient(weights, x[0]), each(weights, x)])

    torch.testing.assert_close(program(device), program(torch.device("cpu")))


def test_no_gradients_and_views(device: torch.device) -> None:
    network = made("gru", device, batch_first=True).eval()
    x = inputs(device).detach()
    with torch.no_grad():
        output, state = network(x)
    with torch.inference_mode():
        again, _ = network(x)
    assert output.shape == (5, 2, 4)
    assert output.transpose(0, 1).is_contiguous()
    torch.testing.assert_close(output.cpu(), again.cpu())
    torch.testing.assert_close(output[:, -1].cpu(), state[0].cpu())


def test_memory_is_that_of_an_h100(make_emulator: Callable[..., torch.device]) -> None:
    """Recorded for two layers of 1024 over 35 steps of 32 sequences (emulator/calibration, temporaries)."""
    device = make_emulator("H100")
    network = nn.LSTM(1024, 1024, num_layers=2).to(device)
    x = torch.randn(35, 32, 1024, device=device)
    network(x)[0].sum().backward()  # the library's own memory is there
    network.zero_grad()
    before = torch.remote.memory_allocated(device)
    torch.remote.reset_peak_memory_stats(device)
    output, _ = network(x)
    stays, workspace = 56099328, 114033152
    assert torch.remote.memory_allocated(device) - before == stays
    assert torch.remote.max_memory_allocated(device) - before == stays + workspace
    output.sum().backward()
    gradients = sum(4 * weight.numel() for weight in network.parameters())
    assert gradients == 67174400
    del output, _
    assert torch.remote.memory_allocated(device) - before == gradients


def test_dry_run(make_emulator: Callable[..., torch.device]) -> None:
    device = make_emulator("H100", dry_run=True)
    network = nn.LSTM(1024, 1024, num_layers=2, dropout=0.5).to(device)
    x = torch.randn(35, 32, 1024, device=device)
    before = torch.remote.memory_allocated(device)
    output, _ = network(x)
    output.sum().backward()
    del output, _
    # The state of dropout stays, beside the gradients.
    assert torch.remote.memory_allocated(device) - before - 67174400 == 132 * 1024 * 48


def test_the_state_of_dropout_ends_with_its_device(
    make_emulator: Callable[..., torch.device],
) -> None:
    first = make_emulator("T4")
    nn.LSTM(3, 4, 2, dropout=0.5).to(first)(torch.ones(2, 2, 3, device=first))
    assert torch_remote.stats(first).storages == 1
    torch_remote.machine(first).stop()
    assert make_emulator("T4") == first  # the index is free again


def test_dropout_makes_the_reserve_larger(emulator: torch.device) -> None:
    """The same network with and without: a bit for each element between the layers, aligned."""
    network = nn.GRU(16, 16, num_layers=2).to(emulator)
    x = torch.randn(32, 4, 16, device=emulator)
    sizes = []
    for network.dropout in (0.0, 0.5, 0.0):
        result = network(x)[0].grad_fn
        assert result is not None
        reserve = getattr(result, "_saved_result3")  # noqa: B009 (mypy)
        sizes.append(reserve.numel())
    assert sizes == [256 + 13 * 32 * 4 * 16 * 4 + extra for extra in (0, 256, 0)]
