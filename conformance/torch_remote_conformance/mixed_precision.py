# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Cases of mixed precision: what autocast casts, small models against the same cast by hand, GradScaler."""

import contextlib
import itertools
from collections.abc import Callable, Iterator

import torch
from torch.nn import functional

from torch_remote_conformance.case import Level
from torch_remote_conformance.comparing import CLASS_FACTORS, Comparison, assert_same
from torch_remote_conformance.family import Family, assert_refused
from torch_remote_conformance.target import Target

FAMILY = Family("mixed_precision", Level.L4, lambda target: target.device.type != "meta")
cases = FAMILY.cases

_DTYPES = (torch.bfloat16, torch.float16)
_FLOAT32 = torch.float32

Call = Callable[[torch.Tensor], torch.Tensor]

#: What CPU and CUDA both compute in the lower precision, and what in float32; x is 4 x 4.
_LOWER: dict[str, Call] = {
    "matmul": lambda x: x @ x,
    "linear": lambda x: functional.linear(x, x),
    "addmm": lambda x: torch.addmm(x, x, x),
    "bmm": lambda x: torch.bmm(x[None], x[None]),
    "baddbmm": lambda x: torch.baddbmm(x[None], x[None], x[None]),
    "conv1d": lambda x: functional.conv1d(x[None], x[:, :, None]),
    "conv2d": lambda x: functional.conv2d(x[None, None], x[None, None, :2, :2]),
    "conv_transpose2d": lambda x: functional.conv_transpose2d(x[None, None], x[None, None]),
    "attention": lambda x: functional.scaled_dot_product_attention(x[None], x[None], x[None]),
}
_HIGHER: dict[str, Call] = {
    "mse_loss": lambda x: functional.mse_loss(x, x.neg()),
    "l1_loss": lambda x: functional.l1_loss(x, x.neg()),
    "nll_loss": lambda x: functional.nll_loss(
        x, torch.zeros(4, dtype=torch.int64, device=x.device)
    ),
    "cosine_embedding_loss": lambda x: functional.cosine_embedding_loss(
        x, x, torch.ones(4, device=x.device)
    ),
    "kl_div": lambda x: functional.kl_div(x, x.abs(), reduction="sum"),
    "huber_loss": lambda x: functional.huber_loss(x, x.neg()),
}
#: Of the lower precision and of float32: the wider one decides, or the argument's own.
_OWN: dict[str, Call] = {
    "relu": lambda x: x.relu(),
    "add": lambda x: x + x,
    "cat": lambda x: torch.cat([x, x]),
    "transpose": lambda x: x.t(),
    "max_pool2d": lambda x: functional.max_pool2d(x[None, None], 2),
}


@contextlib.contextmanager
def _autocast(device: torch.device, dtype: torch.dtype, **options: bool) -> Iterator[None]:
    with torch.autocast(device.type, dtype, **options):
        yield


_EACH = {
    f"{dtype}, {name}": (dtype, name, call)
    for dtype, table in itertools.product(_DTYPES, (_LOWER, _HIGHER, _OWN))
    for name, call in table.items()
}


@FAMILY.case("what_is_cast", each=_EACH)
def _cast(target: Target, row: tuple[torch.dtype, str, Call]) -> None:
    """The dtype of the result, and its value: that of the arguments cast by hand."""
    dtype, name, call = row
    x = torch.linspace(-1, 1, 16).view(4, 4)
    for start in (dtype, _FLOAT32):
        source = x.to(start)
        with _autocast(target.device, dtype):
            actual = call(source.to(target.device))
        computed = dtype if name in _LOWER else _FLOAT32 if name in _HIGHER else start
        assert actual.dtype == computed, f"{actual.dtype} instead of {computed}"
        assert_same(actual, call(source.to(computed)), _how(target, computed))


def _how(target: Target, dtype: torch.dtype) -> Comparison:
    # Sums of many products in low precision: the order is the kernel's.
    factor = CLASS_FACTORS["reduction"] if dtype != _FLOAT32 else CLASS_FACTORS["decomposition"]
    return Comparison(target.computes_as_cpu, factor)


def _model(name: str) -> tuple[torch.nn.Module, torch.Tensor]:
    torch.manual_seed(2)
    made: dict[str, tuple[torch.nn.Module, torch.Tensor]] = {
        "perceptron": (
            torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3)),
            torch.randn(5, 6),
        ),
        "convolutions": (
            torch.nn.Sequential(
                *(torch.nn.Conv2d(2, 4, 3, padding=1), torch.nn.ReLU(), torch.nn.MaxPool2d(2)),
                *(torch.nn.Conv2d(4, 3, 3), torch.nn.Flatten(), torch.nn.Linear(12, 3)),
            ),
            torch.randn(2, 2, 8, 8),
        ),
    }
    return made[name]


class _CastByHand(torch.nn.Module):
    """A layer that computes in another dtype than its parameters', as autocast does it."""

    def __init__(self, layer: torch.nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.layer = layer
        self._dtype = dtype

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        state = {name: one.to(self._dtype) for name, one in self.layer.named_parameters()}
        result: torch.Tensor = torch.func.functional_call(self.layer, state, x.to(self._dtype))
        return result


def _cast_by_hand(model: torch.nn.Module, dtype: torch.dtype) -> torch.nn.Module:
    layers = [
        _CastByHand(layer, dtype) if list(layer.parameters()) else layer
        for layer in model.children()
    ]
    return torch.nn.Sequential(*layers)


@FAMILY.case("models", each=tuple(itertools.product(_DTYPES, ("perceptron", "convolutions"))))
def _models(target: Target, row: tuple[torch.dtype, str]) -> None:
    """Losses and gradients of a model under autocast: those of the one that is cast by hand on CPU."""
    dtype, name = row
    local, x = _model(name)
    remote, _ = _model(name)
    remote.to(target.device)
    labels = torch.arange(len(x)) % 3
    expected = functional.cross_entropy(_cast_by_hand(local, dtype)(x).float(), labels)
    expected.backward()
    with _autocast(target.device, dtype):
        result = remote(x.to(target.device))
        loss = functional.cross_entropy(result.float(), labels.to(target.device))
    assert result.dtype == dtype
    loss.backward()
    actual = [one.grad for one in remote.parameters()]
    assert all(one is not None and one.dtype == _FLOAT32 for one in actual)
    references = [expected.detach(), *(one.grad for one in local.parameters())]
    for one, other in zip([loss.detach(), *actual], references, strict=True):
        assert one is not None
        assert other is not None
        if target.computes_as_cpu:
            assert_same(one, other)
        else:  # float32 that has the precision of the other dtype
            assert_same(one.to(dtype), other.to(dtype), _how(target, dtype))


@FAMILY.case("switches")
def _switches(target: Target) -> None:
    x = torch.ones(4, 4, device=target.device)
    kind = target.device.type
    assert not torch.is_autocast_enabled(kind)
    with _autocast(target.device, torch.bfloat16):
        assert torch.is_autocast_enabled(kind)
        assert torch.get_autocast_dtype(kind) == torch.bfloat16
        assert (x @ x).dtype == torch.bfloat16
        with torch.autocast(kind, enabled=False):
            assert (x @ x).dtype == _FLOAT32
        with _autocast(target.device, torch.float16):
            assert (x @ x).dtype == torch.float16
        assert (x @ x).dtype == torch.bfloat16
        assert (x.double() @ x.double()).dtype == torch.float64
        assert (x.int() + x.int()).dtype == torch.int32
    assert not torch.is_autocast_enabled(kind)
    assert (x @ x).dtype == _FLOAT32


@FAMILY.case("weights_are_cast_once")
def _cached(target: Target) -> None:
    """And again after they were changed and the block has ended."""
    weight = torch.ones(4, 4, device=target.device, requires_grad=True)
    x = torch.ones(4, 4, device=target.device)
    results = []
    for _ in range(2):
        with _autocast(target.device, torch.bfloat16):
            (x @ weight + x @ weight).sum().backward()
            results.append((x @ weight).float())
        with torch.no_grad():
            weight.mul_(2)
    assert_same(results, [torch.full((4, 4), 4.0), torch.full((4, 4), 8.0)])
    assert_same(weight.grad, torch.full((4, 4), 16.0))


# --- GradScaler ----------------------------------------------------------------------------------


@FAMILY.case("scaled_training", each=_DTYPES)
def _scaled(target: Target, dtype: torch.dtype) -> None:
    """Steps with finite gradients are those without a scaler."""
    scaler = torch.amp.GradScaler(target.device.type, init_scale=2.0**10, growth_interval=2)
    weights, losses = [], []
    for scaled in (True, False):
        model, x = _model("perceptron")
        model.to(target.device)
        x = x.to(target.device)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        for _ in range(4):
            optimizer.zero_grad()
            with _autocast(target.device, dtype):
                loss = model(x).float().square().mean()
            if scaled:
                scaler.scale(loss).backward()
                scaler.step(optimizer)
                scaler.update()
            else:
                loss.backward()
                optimizer.step()
        weights.append([one.detach().cpu() for one in model.parameters()])
        losses.append(loss.item())
    assert scaler.get_scale() == 2.0**12, scaler.get_scale()
    for one, other in zip(*weights, strict=True):
        torch.testing.assert_close(one, other, rtol=0.02, atol=0.002)
    assert losses[0] < 1.0


_BAD = {"infinity": float("inf"), "negative infinity": -float("inf"), "not a number": float("nan")}


@FAMILY.case("scaler_skips", each=_BAD)
def _skips(target: Target, bad: float) -> None:
    """A step whose gradients aren't finite is left out, and the scale is halved."""
    weight = torch.ones(3, device=target.device, requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=1.0)
    scaler = torch.amp.GradScaler(target.device.type, init_scale=8.0)
    scaler.scale((weight * torch.tensor([1.0, bad, 1.0]).to(target.device)).sum()).backward()
    scaler.step(optimizer)
    scaler.update()
    assert_same(weight.detach(), torch.ones(3))
    assert scaler.get_scale() == 4.0
    optimizer.zero_grad()
    scaler.scale((weight * 2).sum()).backward()
    scaler.unscale_(optimizer)
    assert_same(weight.grad, torch.full((3,), 2.0))
    torch.nn.utils.clip_grad_norm_([weight], 100.0)
    scaler.step(optimizer)
    scaler.update()
    torch.testing.assert_close(weight.detach().cpu(), torch.full((3,), -1.0))
    assert scaler.get_scale() == 4.0


@FAMILY.case("scaler_state")
def _scaler_state(target: Target) -> None:
    scaler = torch.amp.GradScaler(target.device.type, init_scale=16.0)
    weight = torch.ones(2, device=target.device, requires_grad=True)
    scaler.scale(weight.sum()).backward()
    again = torch.amp.GradScaler(target.device.type)
    again.load_state_dict(scaler.state_dict())
    assert again.get_scale() == 16.0
    optimizer = torch.optim.SGD([weight], lr=0.1)
    scaler.unscale_(optimizer)
    assert_refused(target, lambda: scaler.unscale_(optimizer), RuntimeError)
    disabled = torch.amp.GradScaler(target.device.type, enabled=False)
    assert disabled.scale(weight) is weight
