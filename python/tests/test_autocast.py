# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""torch.autocast and GradScaler on the device: CUDA's lists of operators, CUDA's rules."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from comparing import Counting, assert_same
from torch import Tensor, nn
from torch.amp import GradScaler, custom_bwd, custom_fwd

HALVES = (torch.bfloat16, torch.float16)


def half(*sizes: int, device: torch.device) -> Tensor:
    return (
        torch.linspace(0.1, 1, torch.Size(sizes).numel()).reshape(sizes).to(device, torch.bfloat16)
    )


LOWER: dict[str, Callable[[Tensor], Tensor]] = {
    "matmul": lambda x: x @ x,
    "linear": lambda x: nn.functional.linear(x, x),
    "conv2d": lambda x: nn.functional.conv2d(x[None, None], x[:2, :2][None, None]),
    "conv_transpose1d": lambda x: nn.functional.conv_transpose1d(x[None], x[..., None]),
    "bmm": lambda x: torch.bmm(x[None], x[None]),
    "addmm": lambda x: torch.addmm(x, x, x),
    "attention": lambda x: nn.functional.scaled_dot_product_attention(*[x[None, None]] * 3),
    "prelu": lambda x: nn.functional.prelu(x, x[0, :1]),
    "einsum": lambda x: torch.einsum("ij,jk->ik", x, x),
    "gru_cell": lambda x: nn.functional.linear(x, x).sigmoid() @ x,
}
WIDE: dict[str, Callable[[Tensor], Tensor]] = {
    "exp": torch.exp,
    "pow": lambda x: x.pow(2),
    "softmax": lambda x: x.softmax(-1),
    "log_softmax": lambda x: x.log_softmax(-1),
    "sum": lambda x: x.sum(),
    "cumsum": lambda x: x.cumsum(0),
    "norm": lambda x: x.norm(),
    "layer_norm": lambda x: nn.functional.layer_norm(x, x.shape[-1:]),
    "mse_loss": lambda x: nn.functional.mse_loss(x, x * 2),
    "cosine_similarity": lambda x: nn.functional.cosine_similarity(x, x),
    "cdist": lambda x: torch.cdist(x, x),
    "rsqrt": torch.rsqrt,
}


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("name", LOWER)
def test_lower_precision(emulator: torch.device, name: str, dtype: torch.dtype) -> None:
    x = half(4, 4, device=emulator).float()
    with torch.autocast("remote", dtype):
        result = LOWER[name](x)
    assert result.dtype == dtype
    with torch.autocast("cpu", dtype):
        expected = LOWER[name](x.cpu())
    if expected.dtype == dtype:  # CPU's list has not all of CUDA's
        assert_same(result, expected)


@pytest.mark.parametrize("name", WIDE)
def test_float32(emulator: torch.device, name: str) -> None:
    x = half(4, 4, device=emulator)
    with torch.autocast("remote", torch.bfloat16):
        result = WIDE[name](x)
    assert result.dtype == torch.float32
    assert_same(result, WIDE[name](x.cpu().float()))


def test_the_widest_type_and_others(emulator: torch.device) -> None:
    narrow, wide = half(3, 3, device=emulator), half(3, 3, device=emulator).float()
    with torch.autocast("remote", torch.bfloat16):
        assert torch.cat([narrow, wide]).dtype == torch.float32
        assert torch.stack([narrow, narrow]).dtype == torch.bfloat16
        assert torch.addcmul(wide, narrow, narrow).dtype == torch.float32
        assert (narrow + 1).dtype == torch.bfloat16
        assert (wide.double() @ wide.double()).dtype == torch.float64
        assert narrow.sum(dtype=torch.float64).dtype == torch.float64
        with pytest.raises(RuntimeError, match="unsafe to autocast"):
            nn.functional.binary_cross_entropy(narrow.sigmoid(), narrow)


def test_regions(emulator: torch.device) -> None:
    x = half(3, 3, device=emulator).float()
    assert not torch.is_autocast_enabled("remote")
    with torch.autocast("remote"):
        assert torch.is_autocast_enabled("remote")
        assert (x @ x).dtype == torch.get_autocast_dtype("remote")
        with torch.autocast("remote", enabled=False):
            assert (x @ x).dtype == torch.float32
            with torch.autocast("remote", torch.float16):
                assert (x @ x).dtype == torch.float16
        with torch.autocast("cpu", torch.float16):
            assert (x @ x).dtype == torch.get_autocast_dtype("remote")
    assert (x @ x).dtype == torch.float32

    @torch.autocast("remote", torch.bfloat16)
    def decorated(x: Tensor) -> Tensor:
        return x @ x

    assert decorated(x).dtype == torch.bfloat16
    with (
        pytest.warns(UserWarning, match="target dtype is not supported"),
        torch.autocast("remote", torch.float64),
    ):
        assert (
            x @ x
        ).dtype == torch.float32  # switched off, as PyTorch does where a dtype is none of ours


def test_weights_are_cast_once(emulator: torch.device) -> None:
    layer, x = nn.Linear(4, 4, device=emulator), half(4, 4, device=emulator)
    counts = []
    for cached in (True, False):
        with (
            torch.autocast("remote", torch.bfloat16, cache_enabled=cached),
            Counting(emulator) as counting,
        ):
            for _ in range(3):
                layer(x)
        counts.append(counting.operations)
    assert counts == [3 + 2, 3 * 3]  # weight and bias are cast once, or in each call


@pytest.mark.parametrize("dtype", HALVES)
def test_training(device: torch.device, dtype: torch.dtype) -> None:
    def train(where: torch.device) -> Any:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 4)).to(where)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        scaler = GradScaler(where.type, init_scale=1024.0, enabled=dtype == torch.float16)
        x, y = torch.randn(12, 8).to(where), torch.randn(12, 4).to(where)
        losses = []
        for _ in range(5):
            with torch.autocast(where.type, dtype):
                loss = nn.functional.mse_loss(model(x).float(), y)
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
            losses.append(loss.detach())
        return losses, model.state_dict(), scaler.state_dict()

    assert_same(train(device), train(torch.device("cpu")))


def test_steps_with_infinite_gradients_are_left_out(device: torch.device) -> None:
    weight = torch.ones(3, device=device, requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=1.0)
    scaler = GradScaler("remote", init_scale=4.0, growth_factor=2.0, growth_interval=2)
    scales = []
    for factor in (1.0, float("inf"), 1.0, 1.0, float("nan")):
        optimizer.zero_grad()
        scaler.scale((weight * factor).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        scales.append(scaler.get_scale())
    assert scales == [4, 2, 2, 4, 2]
    assert weight.tolist() == [-2, -2, -2]
    again = GradScaler("remote")
    again.load_state_dict(scaler.state_dict())
    assert again.get_scale() == 2


def test_functions_of_programs_under_autocast(device: torch.device) -> None:
    seen = []

    class Product(torch.autograd.Function):
        @staticmethod
        @custom_fwd(device_type="remote", cast_inputs=torch.float32)
        def forward(context: Any, x: Tensor, y: Tensor) -> Tensor:
            seen.append((x.dtype, torch.is_autocast_enabled("remote")))
            context.save_for_backward(x, y)
            return x @ y

        @staticmethod
        @custom_bwd(device_type="remote")
        def backward(context: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
            seen.append((gradient.dtype, torch.is_autocast_enabled("remote")))
            x, y = context.saved_tensors
            return gradient @ y.t(), x.t() @ gradient

    x = half(2, 2, device=device).requires_grad_()
    with torch.autocast("remote", torch.bfloat16):
        y = Product.apply(x, x)
    y.sum().backward()
    assert seen == [(torch.float32, False)] * 2
    assert (y.dtype, x.grad.dtype) == (torch.float32, torch.bfloat16)  # type: ignore[union-attr]
