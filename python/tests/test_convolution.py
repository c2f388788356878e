# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Convolutions: dimensions, geometry, memory formats, gradients and gradients of gradients."""

from typing import Any

import pytest
import torch
from comparing import Counting, assert_like_cpu
from torch import Tensor, nn

functional = nn.functional
FORWARD = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
TRANSPOSED = {
    1: functional.conv_transpose1d,
    2: functional.conv_transpose2d,
    3: functional.conv_transpose3d,
}
GEOMETRY: dict[str, dict[str, Any]] = {
    "plain": {},
    "strided": {"stride": 2, "padding": 1},
    "dilated": {"dilation": 2},
    "grouped": {"groups": 2},
    "depthwise": {"groups": 4, "padding": 1},
}


def values(*sizes: int) -> Tensor:
    return torch.linspace(-1, 1, torch.Size(sizes).numel()).sin().reshape(sizes)


def differentiated(output: Tensor, leaves: list[Tensor]) -> Any:
    gradients = torch.autograd.grad(output.square().sum(), leaves, create_graph=True)
    second = torch.autograd.grad(sum(g.square().sum() for g in gradients), leaves)  # type: ignore[arg-type]
    return output.detach(), [gradient.detach() for gradient in gradients], second


@pytest.mark.parametrize("geometry", GEOMETRY)
@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_forward_and_gradients(device: torch.device, dimensions: int, geometry: str) -> None:
    options = GEOMETRY[geometry]
    channels = 4 // options.get("groups", 1)

    def program(_: torch.device, x: Tensor, weight: Tensor, bias: Tensor) -> Any:
        leaves = [one.requires_grad_() for one in (x, weight, bias)]
        return differentiated(FORWARD[dimensions](*leaves, **options), leaves)

    sizes, kernel = [7, 6, 5][:dimensions], [3, 2, 2][:dimensions]
    assert_like_cpu(
        device,
        program,
        values(2, 4, *sizes),
        values(4, channels, *kernel),
        values(4),
        strides=False,
    )


@pytest.mark.parametrize(
    "options",
    [{}, {"stride": 2, "padding": 1, "output_padding": 1}, {"groups": 2, "dilation": 2}],
    ids=["plain", "strided", "grouped and dilated"],
)
@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_transposed(device: torch.device, dimensions: int, options: dict[str, Any]) -> None:
    def program(_: torch.device, x: Tensor, weight: Tensor, bias: Tensor) -> Any:
        leaves = [one.requires_grad_() for one in (x, weight, bias)]
        return differentiated(TRANSPOSED[dimensions](*leaves, **options), leaves)

    sizes, kernel = [4, 3, 3][:dimensions], [3, 2, 2][:dimensions]
    outputs = 6 // options.get("groups", 1)
    assert_like_cpu(
        device, program, values(2, 4, *sizes), values(4, outputs, *kernel), values(6), strides=False
    )


@pytest.mark.parametrize("dimensions", [2, 3])
def test_channels_last(device: torch.device, dimensions: int) -> None:
    """The format of the input goes on to the output and to the gradients."""
    memory_format = torch.channels_last if dimensions == 2 else torch.channels_last_3d

    def program(where: torch.device) -> Any:
        torch.manual_seed(0)
        kinds = (nn.Conv2d, nn.MaxPool2d) if dimensions == 2 else (nn.Conv3d, nn.MaxPool3d)
        model = nn.Sequential(kinds[0](3, 4, 2), nn.ReLU(), kinds[1](2)).to(where)  # type: ignore[operator]
        model = model.to(memory_format=memory_format)
        x = (
            values(2, 3, *[6] * dimensions)
            .to(where)
            .to(memory_format=memory_format)
            .requires_grad_()
        )
        y = model(x)
        assert y.is_contiguous(memory_format=memory_format)
        y.square().sum().backward()
        return y.detach(), x.grad, [parameter.grad for parameter in model.parameters()]

    assert_like_cpu(device, program)


PADDED: dict[str, dict[str, Any]] = {
    mode: {"padding": "same", "padding_mode": mode, "dilation": 2}
    for mode in ("zeros", "reflect", "replicate", "circular")
} | {"valid": {"padding": "valid"}, "even kernel": {"padding": "same"}}


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("name", PADDED)
def test_padding(device: torch.device, name: str) -> None:
    def program(where: torch.device) -> Any:
        torch.manual_seed(0)
        layer = nn.Conv2d(2, 3, 2 if name == "even kernel" else 3, **PADDED[name]).to(where)
        x = values(1, 2, 6, 6).to(where).requires_grad_()
        y = layer(x)
        y.square().sum().backward()
        return y.detach(), x.grad, layer.weight.grad

    assert_like_cpu(device, program)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16, torch.complex64])
def test_dtypes(device: torch.device, dtype: torch.dtype) -> None:
    def program(where: torch.device) -> Any:
        x, weight = (
            values(*sizes).to(where, dtype).requires_grad_()
            for sizes in ((2, 2, 5, 5), (3, 2, 3, 3))
        )
        y = functional.conv2d(x, weight)
        y.abs().sum().backward()
        return y.detach(), x.grad, weight.grad

    assert_like_cpu(device, program)


def test_others(device: torch.device) -> None:
    def program(where: torch.device) -> Any:
        x = values(2, 4, 6, 6).to(where).requires_grad_()
        weight = values(3, 4, 3, 3).to(where).requires_grad_()
        unfolded = functional.unfold(x, 3, padding=1, stride=2)
        folded = functional.fold(unfolded, (6, 6), 3, padding=1, stride=2)
        without_batch = functional.conv2d(x[0], weight)
        nothing = functional.conv2d(x[:0], weight)
        shuffled = functional.pixel_shuffle(x, 2), functional.channel_shuffle(x, 2)
        sampled = (
            functional.interpolate(x, scale_factor=1.5, mode="bilinear"),
            functional.grid_sample(x, values(2, 3, 3, 2).to(where), align_corners=False),
        )
        results = [folded, without_batch, nothing, *shuffled, *sampled]
        sum(result.square().sum() for result in results).backward()  # type: ignore[union-attr]
        return [result.detach() for result in results], x.grad, weight.grad

    assert_like_cpu(device, program)


def test_a_convolution_is_one_command_each_way(device: torch.device) -> None:
    layer, x = nn.Conv2d(3, 4, 3, device=device), values(2, 3, 6, 6).to(device)
    x.requires_grad_()
    with Counting(device) as counting:
        y = layer(x)
        y.backward(torch.empty_like(y))
    assert counting.operations <= 3  # the gradient's memory may be one
    assert counting.round_trips == 0


def test_shapes_that_do_not_fit_are_told_at_the_call(device: torch.device) -> None:
    x, weight = values(1, 3, 4, 4).to(device), values(4, 2, 3, 3).to(device)
    with pytest.raises(RuntimeError, match="expected input"):
        functional.conv2d(x, weight)
    with pytest.raises(RuntimeError, match="Kernel size can't be greater"):
        functional.conv2d(x, values(4, 3, 5, 5).to(device))
