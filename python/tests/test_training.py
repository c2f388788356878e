# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Training gives the bits that it gives on CPU with as many threads, and makes no round trip."""

from collections.abc import Callable

import pytest
import torch
from comparing import Counting, assert_same, to_device
from torch import nn
from torch.utils.checkpoint import checkpoint

STEPS = 20


class Attention(nn.Module):
    """Causal self-attention by the fused operator, with an explicit mask in every other call."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.expand = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, width = x.shape
        q, k, v = self.expand(x).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mask = torch.ones(length, length, dtype=torch.bool, device=x.device).tril()
        one = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        other = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.out((one + other).transpose(1, 2).reshape(batch, length, width))


def mlp() -> tuple[nn.Module, torch.Tensor]:
    return nn.Sequential(
        nn.Linear(8, 32), nn.GELU(), nn.LayerNorm(32), nn.Linear(32, 4)
    ), torch.randn(16, 8)


def cnn() -> tuple[nn.Module, torch.Tensor]:
    layers = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, stride=2, groups=2, bias=False),
        nn.GroupNorm(2, 8),
        nn.SiLU(),
        nn.ConvTranspose2d(8, 4, 2),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(16, 4),
    )
    return layers, torch.randn(6, 3, 12, 12)


def channels_last() -> tuple[nn.Module, torch.Tensor]:
    model, x = cnn()
    assert isinstance(model, nn.Sequential)
    # Autograd's formula of group norm's gradient makes its arguments contiguous except on CPU.
    model[5] = nn.BatchNorm2d(8)
    return model.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)


def transformer() -> tuple[nn.Module, torch.Tensor]:
    layer = nn.TransformerEncoderLayer(16, 4, 32, dropout=0.0, batch_first=True, norm_first=True)
    encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    return nn.Sequential(encoder, nn.Flatten(), nn.Linear(16 * 5, 4)), torch.randn(4, 5, 16)


def attention() -> tuple[nn.Module, torch.Tensor]:
    return nn.Sequential(Attention(16, 2), nn.Flatten(), nn.Linear(16 * 6, 4)), torch.randn(
        4, 6, 16
    )


def embedding() -> tuple[nn.Module, torch.Tensor]:
    layers = nn.Sequential(nn.Embedding(20, 16, padding_idx=0), nn.Flatten(), nn.Linear(16 * 5, 4))
    return layers, torch.randint(0, 20, (8, 5))


def bag() -> tuple[nn.Module, torch.Tensor]:
    return nn.Sequential(nn.EmbeddingBag(20, 16, mode="sum"), nn.Linear(16, 4)), torch.randint(
        0, 20, (8, 5)
    )


MODELS = {
    "mlp": mlp,
    "cnn": cnn,
    "channels_last": channels_last,
    "transformer": transformer,
    "attention": attention,
    "embedding": embedding,
    "embedding_bag": bag,
}
# PyTorch composes these of other operators on an accelerator than on CPU.
RECURRENT = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}
OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.05, momentum=0.9),
    "adamw": lambda parameters: torch.optim.AdamW(parameters, lr=0.01),
}


class Training:
    """A model at work on one batch, with a learning rate that changes every step."""

    def __init__(
        self, model: nn.Module, optimizer: str, x: torch.Tensor, labels: torch.Tensor
    ) -> None:
        self.model = model
        self.x, self.labels = x, labels
        self.optimizer = OPTIMIZERS[optimizer](model.parameters())
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, STEPS)

    def step(self) -> torch.Tensor:
        self.optimizer.zero_grad()
        loss = nn.functional.cross_entropy(self.model(self.x), self.labels)
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        return loss.detach()

    def state(self) -> list[torch.Tensor | None]:
        parameters = list(self.model.parameters())
        return [*self.model.state_dict().values(), *(parameter.grad for parameter in parameters)]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", MODELS)
def test_bits_of_20_steps(device: torch.device, name: str, optimizer: str) -> None:
    torch.manual_seed(3)
    model, x = MODELS[name]()
    labels = torch.randint(0, 4, (x.shape[0],))
    initial = {key: value.clone() for key, value in model.state_dict().items()}
    local = Training(model, optimizer, x, labels)
    losses = [local.step() for _ in range(STEPS)]

    torch.manual_seed(3)
    remote_model = MODELS[name]()[0]
    remote_model.load_state_dict(initial)
    remote = Training(remote_model.to(device), optimizer, x.to(device), labels.to(device))
    remote_losses = [remote.step(), remote.step()]
    with Counting(device) as counted:
        remote_losses += [remote.step() for _ in range(STEPS - 2)]
    assert counted.round_trips == 0
    assert counted.plans == 0
    assert_same(remote_losses, losses)
    assert losses[-1] < losses[0]
    assert_same(remote.state(), local.state())
    # And in evaluation.
    remote.model.eval()
    local.model.eval()
    with torch.no_grad():
        assert_same(remote.model(remote.x), local.model(local.x))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", RECURRENT)
def test_recurrent_networks(device: torch.device, name: str, bias: bool) -> None:
    model = RECURRENT[name](
        8, 12, num_layers=2, batch_first=True, bidirectional=True, bias=bias
    ).double()
    initial = {key: value.clone() for key, value in model.state_dict().items()}
    x = torch.randn(4, 6, 8, dtype=torch.float64)

    def program(where: torch.device | str) -> tuple[list[torch.Tensor], Counting]:
        model.cpu().load_state_dict(initial)
        model.to(where)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        there = x.clone().to(where).requires_grad_()
        with Counting(device) as counted:
            for _ in range(3):
                optimizer.zero_grad()
                output, state = model(there)
                (output.square().sum() + sum(part.sum() for part in state)).backward()
                optimizer.step()
        assert there.grad is not None
        return [
            there.grad.cpu(),
            *(parameter.detach().cpu() for parameter in model.parameters()),
        ], counted

    (actual, counted), (expected, _) = program(device), program("cpu")
    assert counted.round_trips == 0
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)


def both(device: torch.device, program: Callable[..., object], *tensors: torch.Tensor) -> None:
    """The same on both, with leaves of their own."""
    expected = program(*(tensor.clone().requires_grad_() for tensor in tensors))
    assert_same(
        program(*(leaf.requires_grad_() for leaf in to_device(list(tensors), device))), expected
    )


X, W = torch.randn(4, 5), torch.randn(5, 3)


def test_hooks(device: torch.device) -> None:
    def program(x: torch.Tensor, w: torch.Tensor) -> list[object]:
        seen: list[object] = []
        hidden = x @ w
        hidden.register_hook(lambda grad: seen.append(grad) or grad * 2)
        hidden.retain_grad()
        x.register_post_accumulate_grad_hook(lambda leaf: seen.append(leaf.grad))
        hidden.sin().sum().backward()
        return [*seen, hidden.grad, x.grad, w.grad]

    both(device, program, X, W)


def test_module_hooks(device: torch.device) -> None:
    seen: list[torch.Size] = []
    model = nn.Linear(5, 3).to(device)
    model.register_forward_hook(lambda _module, _inputs, output: seen.append(output.shape))
    model.register_full_backward_hook(
        lambda _module, _inputs, outputs: seen.append(outputs[0].shape)
    )
    model(X.to(device).requires_grad_()).sum().backward()
    assert seen == [(4, 3), (4, 3)]


def test_double_backward(device: torch.device) -> None:
    def program(x: torch.Tensor, w: torch.Tensor) -> list[object]:
        value = (x @ w).tanh().square().sum()
        first = torch.autograd.grad(value, (x, w), create_graph=True)
        second = torch.autograd.grad(sum(gradient.square().sum() for gradient in first), (x, w))
        return [*first, *second]

    both(device, program, X, W)


def test_higher_order_functions(device: torch.device) -> None:
    def program(x: torch.Tensor, w: torch.Tensor) -> list[object]:
        def function(w: torch.Tensor) -> torch.Tensor:
            return (x @ w).sin().sum()

        return [
            torch.func.grad(function)(w),
            torch.func.vmap(torch.func.grad(lambda row: (row @ w).square().sum()))(x),
            torch.autograd.functional.hessian(lambda row: (row @ w[:, 0]).sin(), x[0].detach()),
            torch.func.jvp(function, (w.detach(),), (torch.ones_like(w),)),
        ]

    both(device, program, X, W)


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpoint(device: torch.device, reentrant: bool) -> None:
    def program(x: torch.Tensor, w: torch.Tensor) -> list[object]:
        def part(x: torch.Tensor) -> torch.Tensor:
            return (x @ w).relu() @ w.t()

        y = checkpoint(part, checkpoint(part, x, use_reentrant=reentrant), use_reentrant=reentrant)
        y.sum().backward()
        return [y, x.grad, w.grad]

    both(device, program, X, W)


def test_retain_graph_and_accumulation(device: torch.device) -> None:
    def program(x: torch.Tensor, w: torch.Tensor) -> list[object]:
        y = (x @ w).exp()
        y.sum().backward(retain_graph=True)
        y.square().sum().backward()
        with pytest.raises(RuntimeError, match="second time"):
            y.sum().backward()
        return [x.grad, w.grad]

    both(device, program, X, W)


def test_custom_function(device: torch.device) -> None:
    class Cube(torch.autograd.Function):
        @staticmethod
        def forward(ctx: torch.autograd.function.FunctionCtx, x: torch.Tensor) -> torch.Tensor:
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx: torch.autograd.function.FunctionCtx, grad: torch.Tensor) -> torch.Tensor:
            (x,) = ctx.saved_tensors  # type: ignore[attr-defined]
            return 3 * x**2 * grad

    def program(x: torch.Tensor) -> list[object]:
        Cube.apply(x).sum().backward()
        return [x.grad]

    both(device, program, X)


def test_saved_tensor_that_was_changed_is_noticed(device: torch.device) -> None:
    x = X.to(device).requires_grad_()
    y = x.sin()
    z = y * y
    y.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.sum().backward()


def test_no_grad_inference_mode_and_detach(device: torch.device) -> None:
    x = X.to(device).requires_grad_()
    with torch.no_grad():
        assert not (x * 2).requires_grad
    with torch.inference_mode():
        y = x * 2
        y.add_(1)
        assert_same(y[1:], (X * 2 + 1)[1:])
    assert y.is_inference()
    assert not x.detach().requires_grad


def test_anomaly_mode_names_the_operation(device: torch.device) -> None:
    x = torch.zeros(2, device=device, requires_grad=True)
    with (
        torch.autograd.detect_anomaly(check_nan=True),
        pytest.warns(UserWarning, match="Error detected in"),
        pytest.raises(RuntimeError, match="returned nan values"),
    ):
        (x.sqrt() * 0).sum().backward()


def test_autocast(device: torch.device) -> None:
    model = nn.Sequential(nn.Conv1d(1, 2, 3), nn.Flatten(), nn.Linear(6, 3)).to(device)
    x = torch.randn(4, 1, 5, device=device)
    with torch.autocast("remote", dtype=torch.bfloat16):
        assert torch.is_autocast_enabled("remote")
        output = model(x)
        assert output.dtype == torch.bfloat16  # one of the operators that take the lower precision
        assert output.softmax(1).dtype == torch.float32  # one that takes float32
        assert (output + x.flatten()[:3]).dtype == torch.float32  # one that takes what it is given
        assert torch.cat([output, x[:, 0, :3]]).dtype == torch.float32  # one that takes the widest
        loss = nn.functional.cross_entropy(output, torch.zeros(4, dtype=torch.int64, device=device))
        with pytest.raises(RuntimeError, match="unsafe to autocast"):
            nn.functional.binary_cross_entropy(output.sigmoid(), torch.ones_like(output))
    loss.backward()
    for parameter in model.parameters():
        assert parameter.grad is not None
        assert parameter.grad.dtype == torch.float32
    # The products are those of CPU in that precision.
    a, b = torch.randn(8, 8), torch.randn(8, 8)
    with torch.autocast("remote", dtype=torch.float16):
        product = a.to(device) @ b.to(device)
    assert_same(product, a.half() @ b.half())


def test_grad_scaler(device: torch.device) -> None:
    parameter = nn.Parameter(torch.ones(3, device=device))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    scaler = torch.amp.GradScaler("remote", init_scale=4.0, growth_interval=1)
    for value, expected in ((1.0, 0.0), (float("inf"), 0.0), (1.0, -1.0)):
        optimizer.zero_grad()
        scaler.scale((parameter * value).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        assert parameter.tolist() == [expected] * 3
    assert scaler.get_scale() == 8.0  # twice up, once down


def test_gradcheck(emulator: torch.device) -> None:
    x = torch.randn(3, 4, dtype=torch.float64).to(emulator).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: torch.nn.functional.layer_norm(x.sin(), (4,)), x)
    assert torch.autograd.gradgradcheck(lambda x: x.tanh() @ x.t(), x)


@pytest.mark.parametrize("masked", [False, True])
def test_grouped_queries(device: torch.device, masked: bool) -> None:
    """Several heads of the query share one of key and value, in the fused kernel as on CPU."""
    mask = torch.ones(5, 5, dtype=torch.bool).tril() if masked else None

    def program(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> list[object]:
        output = nn.functional.scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=None if mask is None else mask.to(q.device),
            is_causal=not masked,
            enable_gqa=True,
        )
        output.sin().sum().backward()
        return [output, q.grad, k.grad, v.grad]

    shared = torch.randn(2, 2, 5, 8), torch.randn(2, 2, 5, 8)
    both(device, program, torch.randn(2, 4, 5, 8), *shared)
