# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Lists of tensors at once: foreach operators and the optimizers that are made of them, and fused ones."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from comparing import Counting, assert_like_cpu
from torch import Tensor, nn

Optimizers = dict[str, Callable[..., torch.optim.Optimizer]]


def tensors(where: torch.device, count: int = 4) -> list[Tensor]:
    return [torch.linspace(0.1, 2, n * 3).reshape(n, 3).to(where) for n in range(1, count + 1)]


LISTS: dict[str, Callable[[list[Tensor]], Any]] = {
    "add": lambda x: torch._foreach_add(x, x, alpha=2),
    "add scalar": lambda x: torch._foreach_add(x, 1.5),
    "add scalars": lambda x: torch._foreach_add(x, [1.0, 2.0, 3.0, 4.0]),
    "add a tensor": lambda x: torch._foreach_add(x, x[0][0, 0]),
    "mul in place": lambda x: (torch._foreach_mul_(x, 2), x)[1],
    "div": lambda x: torch._foreach_div(x, x[::-1][::-1]),
    "addcdiv": lambda x: torch._foreach_addcdiv(x, x, x, value=0.5),
    "addcmul scalars": lambda x: torch._foreach_addcmul(x, x, x, [1.0, 2.0, 3.0, 4.0]),
    "lerp": lambda x: torch._foreach_lerp(x, torch._foreach_mul(x, 3), 0.25),
    "sqrt": torch._foreach_sqrt,
    "maximum": lambda x: torch._foreach_maximum(x, 1.0),
    "pow": lambda x: torch._foreach_pow(2.0, x),
    "norm": lambda x: torch._foreach_norm(x, 2),
    "max": torch._foreach_max,
    "clamp_min_": lambda x: (torch._foreach_clamp_min_(x, 0.5), x)[1],
    "copy_": lambda x: (torch._foreach_copy_(x, torch._foreach_neg(x)), x)[1],
    "zero_": lambda x: (torch._foreach_zero_(x), x)[1],
}


@pytest.mark.parametrize("name", LISTS)
def test_operators(device: torch.device, name: str) -> None:
    assert_like_cpu(device, lambda where: LISTS[name](tensors(where)))


def test_a_list_is_one_command(device: torch.device) -> None:
    x = tensors(device, 50)
    with Counting(device) as counting:
        torch._foreach_mul_(x, 2.0)
        torch._foreach_add(x, x)
    assert (counting.operations, counting.round_trips) == (2, 0)


def test_lists_of_several_kinds(device: torch.device) -> None:
    """Where the fast path does not apply, PyTorch goes through the list."""

    def program(where: torch.device) -> Any:
        mixed = [torch.ones(2, device=where), torch.ones(3, dtype=torch.int64, device=where)]
        strided = [
            torch.arange(6.0, device=where).reshape(2, 3).t(),
            torch.ones(2, 3, device=where),
        ]
        return torch._foreach_add(mixed, 1), torch._foreach_mul(strided, [2.0, 3.0])

    assert_like_cpu(device, program)
    with pytest.raises(RuntimeError, match=r"same number of tensors|same size|must have the same"):
        torch._foreach_add(tensors(device), tensors(device, 3))


def test_gradients(device: torch.device) -> None:
    def program(where: torch.device) -> Any:
        leaves = [tensor.requires_grad_() for tensor in tensors(where)]
        sum(y.sum() for y in torch._foreach_sqrt(torch._foreach_mul(leaves, leaves))).backward()  # type: ignore[union-attr]
        return [leaf.grad for leaf in leaves]

    assert_like_cpu(device, program)


OPTIMIZERS: Optimizers = {
    "SGD": lambda p, **o: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, **o),
    "Adam": lambda p, **o: torch.optim.Adam(p, lr=0.1, amsgrad=True, **o),
    "AdamW": lambda p, **o: torch.optim.AdamW(p, lr=0.1, weight_decay=0.1, **o),
    "Adagrad": lambda p, **o: torch.optim.Adagrad(p, lr=0.1, **o),
}
MORE: Optimizers = {
    "RMSprop": lambda p, **o: torch.optim.RMSprop(p, lr=0.1, momentum=0.5, centered=True, **o),
    "Adadelta": lambda p, **o: torch.optim.Adadelta(p, lr=0.1, **o),
    "Adamax": lambda p, **o: torch.optim.Adamax(p, lr=0.1, **o),
    "NAdam": lambda p, **o: torch.optim.NAdam(p, lr=0.1, **o),
    "RAdam": lambda p, **o: torch.optim.RAdam(p, lr=0.1, **o),
    "Rprop": lambda p, **o: torch.optim.Rprop(p, lr=0.1, **o),
    "ASGD": lambda p, **o: torch.optim.ASGD(p, lr=0.1, **o),
}


def trained(where: torch.device, make: Callable[..., torch.optim.Optimizer], **options: Any) -> Any:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2)).to(where)
    optimizer = make(model.parameters(), **options)
    x = torch.linspace(-1, 1, 24).reshape(6, 4).to(where)
    for _ in range(4):
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()
    states = [optimizer.state[parameter] for parameter in model.parameters()]
    return model.state_dict(), [{k: v for k, v in state.items() if k != "step"} for state in states]


@pytest.mark.parametrize("way", ["foreach", "fused"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(device: torch.device, name: str, way: str) -> None:
    assert_like_cpu(device, lambda where: trained(where, OPTIMIZERS[name], **{way: True}))


@pytest.mark.parametrize("foreach", [False, True])
@pytest.mark.parametrize("name", MORE)
def test_more_optimizers(device: torch.device, name: str, foreach: bool) -> None:
    assert_like_cpu(device, lambda where: trained(where, MORE[name], foreach=foreach))


@pytest.mark.parametrize("name", ["Adam", "RAdam"])
def test_capturable_keeps_its_steps_on_the_device(device: torch.device, name: str) -> None:
    """As on CUDA, whose graphs need it; CPU has no such way, so the plain one is compared."""
    make = (OPTIMIZERS | MORE)[name]
    there = trained(device, make, capturable=True)
    weights = trained(torch.device("cpu"), make)[0]
    torch.testing.assert_close({k: v.cpu() for k, v in there[0].items()}, dict(weights))
    parameter = torch.ones(2, device=device, requires_grad=True)
    optimizer = make([parameter], capturable=True)
    parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    assert optimizer.state[parameter]["step"].device == device


def test_differentiable_steps(device: torch.device) -> None:
    def program(where: torch.device) -> Any:
        rate = torch.tensor(0.1, device=where, requires_grad=True)
        parameter = torch.ones(3, device=where, requires_grad=True)
        moved = parameter.clone()
        optimizer = torch.optim.SGD([moved], lr=rate, differentiable=True, foreach=False)  # type: ignore[arg-type]
        moved.grad = moved.detach() * 2
        optimizer.step()
        moved.square().sum().backward()
        return moved.detach(), rate.grad, parameter.grad

    assert_like_cpu(device, program)


@pytest.mark.parametrize("way", ["foreach", "fused"])
def test_a_step_makes_no_round_trip(device: torch.device, way: str) -> None:
    parameters = [tensor.requires_grad_() for tensor in tensors(device, 20)]
    optimizer = torch.optim.AdamW(parameters, **{way: True})
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    for _ in range(2):
        optimizer.step()
    with Counting(device) as counting:
        for _ in range(3):
            optimizer.step()
    assert (counting.round_trips, counting.plans) == (0, 0)
    assert counting.operations <= 3 * (2 if way == "fused" else 16)


def test_states_are_saved_and_loaded(device: torch.device, tmp_path: Any) -> None:
    parameter = torch.ones(3, device=device, requires_grad=True)
    optimizer = torch.optim.Adam([parameter], fused=True)
    parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    torch.save(optimizer.state_dict(), tmp_path / "state.pt")
    again = torch.optim.Adam([parameter], fused=True)
    again.load_state_dict(torch.load(tmp_path / "state.pt", map_location="cpu"))
    assert again.state[parameter]["exp_avg"].device == device
    again.step()


def test_norms_of_gradients(device: torch.device) -> None:
    def program(where: torch.device) -> Any:
        parameters = [tensor.requires_grad_() for tensor in tensors(where)]
        for parameter in parameters:
            parameter.grad = parameter.detach() * 3
        norm = nn.utils.clip_grad_norm_(parameters, 1.0, foreach=True)
        total = nn.utils.get_total_norm(
            [p.grad for p in parameters if p.grad is not None], foreach=False
        )
        nn.utils.clip_grad_value_(parameters, 0.1)
        return norm, total, [parameter.grad for parameter in parameters]

    assert_like_cpu(device, program)
