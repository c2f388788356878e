# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Root mean squares are one operator of the device, forward and backward, as on CUDA."""

from typing import Any

import pytest
import torch
from comparing import Counting, assert_like_cpu
from torch import nn
from torch.autograd import gradcheck, gradgradcheck

normalize = nn.functional.rms_norm


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("has_weight", [True, False])
def test_rms_norm_is_like_cpus(device: torch.device, dtype: torch.dtype, has_weight: bool) -> None:
    def program(where: torch.device | str) -> Any:
        torch.manual_seed(0)
        layer = nn.RMSNorm((4, 6), elementwise_affine=has_weight, dtype=dtype)
        x = torch.randn(3, 2, 4, 6, dtype=dtype).to(where).requires_grad_()
        transposed = torch.randn(2, 3, 4, 6, dtype=dtype).to(where).transpose(0, 1)
        layer = layer.to(where)
        result = layer(x)
        result.square().sum().backward()
        return (
            result.detach(),
            layer(transposed).detach(),
            x.grad,
            *(parameter.grad for parameter in layer.parameters()),
        )

    for one, other in zip(program(device), program("cpu"), strict=True):
        # The backward adds up in another order than CPU's, which is composed of others.
        torch.testing.assert_close(one.cpu(), other)


def test_rms_norm_is_one_operation(device: torch.device) -> None:
    x = torch.randn(2, 8, device=device, requires_grad=True)
    weight = torch.ones(8, device=device, requires_grad=True)
    for _ in range(2):
        with Counting(device) as counting:
            normalize(x, (8,), weight, 1e-6)
    assert counting.operations == 1


def test_gradients_of_rms_norm(device: torch.device) -> None:
    x = torch.randn(2, 5, dtype=torch.float64, device=device, requires_grad=True)
    weight = torch.randn(5, dtype=torch.float64, device=device, requires_grad=True)

    def program(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return normalize(x, (5,), weight, 1e-5)

    assert gradcheck(program, (x, weight), check_forward_ad=True)
    assert gradgradcheck(program, (x, weight))


def test_rms_norm_without_elements(device: torch.device) -> None:
    def program(where: torch.device) -> Any:
        x = torch.ones(0, 4, device=where, requires_grad=True)
        weight = torch.ones(4, device=where, requires_grad=True)
        result = normalize(x, (4,), weight)
        result.sum().backward()
        return result.detach(), x.grad, weight.grad

    assert_like_cpu(device, program)
