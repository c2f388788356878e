# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Autograd's interfaces: what they give is what they give on CPU, and nothing of them is computed here."""

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from comparing import assert_like_cpu, assert_same
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

Program = Callable[..., Any]


def leaf(device: torch.device | str, *sizes: int) -> Tensor:
    return (
        torch.linspace(-1, 2, torch.Size(sizes).numel()).reshape(sizes).to(device).requires_grad_()
    )


class Cube(torch.autograd.Function):
    """With a backward that is differentiable itself, and forward mode."""

    @staticmethod
    def forward(context: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        squared = x * x
        context.save_for_backward(x)
        context.save_for_forward(x)
        context.mark_non_differentiable(squared)
        context.set_materialize_grads(False)
        return squared * x, squared

    @staticmethod
    def backward(context: Any, gradient: Tensor, _: None) -> Tensor:
        (x,) = context.saved_tensors
        return 3 * x * x * gradient

    @staticmethod
    def jvp(context: Any, tangent: Tensor) -> tuple[Tensor, None]:
        (x,) = context.saved_tensors
        return 3 * x * x * tangent, None


class Doubled(torch.autograd.Function):
    """Changes its argument in place."""

    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        context.mark_dirty(x)
        return x.mul_(2)

    @staticmethod
    @once_differentiable
    def backward(_: Any, gradient: Tensor) -> Tensor:
        return gradient * 2


def hooks(where: torch.device) -> Any:
    x, told = leaf(where, 3), []
    y = x * 2
    y.register_hook(lambda gradient: gradient + 1)
    y.register_hook(lambda gradient: told.append(gradient) or None)
    x.register_post_accumulate_grad_hook(lambda tensor: told.append(tensor.grad.mul_(10)))
    node = y.grad_fn
    assert node is not None
    node.register_prehook(lambda gradients: (gradients[0] * 3,))
    node.register_hook(lambda inputs, outputs: told.extend([*inputs, *outputs]))
    y.square().sum().backward()
    return told, x.grad


def hooks_of_several(where: torch.device) -> Any:
    x, told = leaf(where, 3), []
    results = [x.sin(), x.cos()]
    torch.autograd.graph.register_multi_grad_hook(results, lambda all_: told.extend(all_))
    (results[0] * results[1]).sum().backward()
    return told, x.grad


def module_hooks(where: torch.device) -> Any:
    torch.manual_seed(0)
    layer, told = nn.Linear(3, 2).to(where), []
    layer.register_forward_hook(lambda module, given, result: result * 2)
    layer.register_full_backward_pre_hook(lambda module, gradients: (gradients[0] + 1,))
    layer.register_full_backward_hook(
        lambda module, inputs, outputs: told.extend([*inputs, *outputs])
    )
    layer(leaf(where, 4, 3)).square().sum().backward()
    return told, layer.weight.grad


def saved_on_cpu(where: torch.device) -> Any:
    x = leaf(where, 3)
    with torch.autograd.graph.save_on_cpu():
        y = (x.exp() * x).sum()
    y.backward()
    return x.grad


def saved_packed(where: torch.device) -> Any:
    x, devices = leaf(where, 3), set()

    def pack(tensor: Tensor) -> Tensor:
        devices.add(tensor.device.type)
        return tensor.half()

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda packed: packed.float()):
        y = (x.exp() * x).sum()
    y.backward()
    assert devices == {where.type}
    return x.grad


def accumulation(where: torch.device) -> Any:
    x = leaf(where, 2, 3)
    for factor in (1.0, 2.0):
        (x.square().sum() * factor).backward()
    first = x.grad
    (x.t() * 3).sum().backward(inputs=[x])
    assert x.grad is first  # added in place
    x.grad = None
    y = x.sum()
    y.backward(retain_graph=True)
    y.backward()
    return first, x.grad


def create_graph(where: torch.device) -> Any:
    x = leaf(where, 4)
    (first,) = torch.autograd.grad(x.pow(4).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x, create_graph=True)
    second.square().sum().backward()
    return first, second, x.grad


def unused_and_batched(where: torch.device) -> Any:
    x, y = leaf(where, 3), leaf(where, 2)
    used = torch.autograd.grad(x.sum(), [x, y], allow_unused=True, materialize_grads=True)
    output = x.square()
    rows = torch.autograd.grad(output, x, torch.eye(3, device=where), is_grads_batched=True)
    return used, rows


def custom_functions(where: torch.device) -> Any:
    x = leaf(where, 4)
    cubed, squared = Cube.apply(x)
    (first,) = torch.autograd.grad(cubed.sum(), x, create_graph=True)
    first.sum().backward()
    y = leaf(where, 4)
    Doubled.apply(y * 1).sum().backward()
    with forward_ad.dual_level():
        tangent = forward_ad.unpack_dual(
            Cube.apply(forward_ad.make_dual(x.detach(), x.detach()))[0]
        )
        return cubed, squared, x.grad, y.grad, tangent.tangent


def forward_mode(where: torch.device) -> Any:
    x = leaf(where, 3, 3).detach()
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(x, torch.ones_like(x))
        told = forward_ad.unpack_dual((dual @ dual).softmax(-1).sum(0))
        changed = forward_ad.unpack_dual(dual.clone().mul_(dual)[1:])
        return told.primal, told.tangent, changed.tangent


def functional(where: torch.device) -> Any:
    x, v = leaf(where, 3).detach(), torch.ones(3, device=where)

    def function(x: Tensor) -> Tensor:
        return (x.sin() * x.sum()).cumsum(0)

    def scalar(x: Tensor) -> Tensor:
        return function(x).pow(2).sum()

    make = torch.autograd.functional
    return [
        make.jacobian(function, x),
        make.jacobian(function, x, vectorize=True, strategy="forward-mode"),
        make.hessian(scalar, x),
        make.hessian(scalar, x, vectorize=True),
        make.vjp(function, x, v),
        make.jvp(function, x, v),
        make.hvp(scalar, x, v),
        make.vhp(scalar, x, v),
    ]


def in_place(where: torch.device) -> Any:
    x = leaf(where, 4, 4)
    y = x * 1
    y[1:3] *= 2
    y.t().add_(1)
    y[0] = x[1].detach()
    y.view(-1)[::5].zero_()
    y.square().sum().backward()
    return y.detach(), x.grad


def graphs_of_modes(where: torch.device) -> Any:
    x = leaf(where, 2)
    with torch.no_grad():
        a = x * 2
    with torch.inference_mode():
        b = x * 3
        assert b.is_inference()
    with torch.set_grad_enabled(False), torch.enable_grad():
        c = x * 4
    with torch.autograd.graph.allow_mutation_on_saved_tensors():
        d = x * 1
        e = d.square()
        d.zero_()
        e.sum().backward()
    return a, b, c, a.requires_grad, c.requires_grad, x.grad


PROGRAMS = [
    hooks,
    hooks_of_several,
    module_hooks,
    saved_on_cpu,
    saved_packed,
    accumulation,
    create_graph,
    unused_and_batched,
    custom_functions,
    forward_mode,
    functional,
    in_place,
    graphs_of_modes,
]


@pytest.mark.filterwarnings("ignore:Using backward.. with create_graph")
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_programs(device: torch.device, program: Program) -> None:
    assert_like_cpu(device, program)


@pytest.mark.parametrize("reentrant", [False, True])
def test_recomputing_draws_the_same_numbers(
    device: torch.device, draws_as_cpu: torch.device, reentrant: bool
) -> None:
    def program(where: torch.device, *, recomputes: bool) -> Any:
        torch.manual_seed(3)
        x = leaf(where, 64)

        def block(x: Tensor) -> Tensor:
            return nn.functional.dropout(x.sin(), 0.4) + torch.rand_like(x) * x

        if recomputes:
            y = checkpoint(block, x, use_reentrant=reentrant, preserve_rng_state=True)
            y = checkpoint_sequential([block, block], 2, y, use_reentrant=reentrant)
        else:
            y = block(block(block(x)))
        y.sum().backward()
        return y.detach(), x.grad, torch.rand(3, device=where)

    expected = program(device, recomputes=False)
    assert_same(program(device, recomputes=True), expected)
    on_cpu = program(torch.device("cpu"), recomputes=False)
    assert_same(program(draws_as_cpu, recomputes=True), on_cpu)


def test_anomaly_mode(device: torch.device) -> None:
    x = torch.zeros(2, device=device, requires_grad=True)
    with torch.autograd.detect_anomaly():
        y = (x.sqrt() * 0).sum()
        with (
            pytest.warns(UserWarning, match="Error detected in Sqrt"),
            pytest.raises(RuntimeError, match=r"SqrtBackward0.*returned nan values"),
        ):
            y.backward()


def test_what_autograd_refuses(device: torch.device) -> None:
    x = leaf(device, 2)
    y = x.exp()
    y.sum().backward()
    with pytest.raises(RuntimeError, match="second time"):
        y.sum().backward()
    z = x.exp()
    z.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.sum().backward()
    with pytest.raises(RuntimeError, match="leaf Variable that requires grad"):
        x.add_(1)
    with pytest.raises(RuntimeError, match="expected device"):
        x.exp().backward(torch.ones(2))  # a gradient on CPU


def test_gradients_end_with_their_graph(device: torch.device) -> None:
    x = leaf(device, 3)
    y = x.exp()
    saved = weakref.ref(y)
    z = y.sin().sum()
    del y
    gc.collect()
    assert torch.autograd.graph.get_gradient_edge(z).node.name() == "SumBackward0"
    z.backward()
    del z
    gc.collect()
    assert saved() is None


def test_gradcheck_of_a_program(emulator: torch.device) -> None:
    def function(x: Tensor, weight: Tensor) -> Tensor:
        return nn.functional.layer_norm(torch.tanh(x @ weight), [3]).pow(2).cumsum(-1)

    x, weight = (
        leaf(emulator, *sizes).detach().double().requires_grad_() for sizes in ((2, 4), (4, 3))
    )
    assert torch.autograd.gradcheck(function, (x, weight), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(function, (x, weight))
