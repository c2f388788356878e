# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""torch.func: transforms of functions on the device, and of modules, as on CPU."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from comparing import Counting, assert_like_cpu
from torch import Tensor, nn
from torch.func import (
    functional_call,
    functionalize,
    grad,
    grad_and_value,
    hessian,
    jacfwd,
    jacrev,
    jvp,
    linearize,
    stack_module_state,
    vjp,
    vmap,
)

Program = Callable[..., Any]


def values(where: torch.device, *sizes: int) -> Tensor:
    return torch.linspace(-1, 1, torch.Size(sizes).numel()).reshape(sizes).to(where)


def network(where: torch.device) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.LayerNorm(4), nn.Linear(4, 2)).to(where)


def scalar(x: Tensor) -> Tensor:
    return (x.sin() * x.sum()).pow(2).sum()


def vector(x: Tensor) -> Tensor:
    return x.cumsum(0) * x.exp()


def of_functions(where: torch.device) -> Any:
    x = values(where, 4)
    return [
        grad(scalar)(x),
        grad(grad(lambda x: x.pow(4).sum() / 12))(x[0]),
        grad_and_value(scalar)(x),
        jacrev(vector)(x),
        jacfwd(vector)(x),
        jacrev(vector, chunk_size=2)(x),
        hessian(scalar)(x),
        vjp(vector, x)[1](torch.ones_like(x)),
        jvp(vector, (x,), (torch.ones_like(x),)),
        linearize(vector, x)[1](torch.ones_like(x)),
    ]


def over_batches(where: torch.device) -> Any:
    x, y = values(where, 5, 3), values(where, 3, 5)
    matrix = values(where, 2, 3, 3) + torch.eye(3, device=where)
    return [
        vmap(torch.dot)(x, y.t()),
        vmap(torch.dot, in_dims=(0, 1))(x, y),
        vmap(vmap(torch.mul, in_dims=(1, 0)), in_dims=(None, 1), out_dims=1)(x, y),
        vmap(lambda x: (x.sum(), {"a": x * 2}), chunk_size=2)(x),
        vmap(torch.linalg.solve, in_dims=(0, None))(matrix, values(where, 3)),
        vmap(lambda x: x.sort()[0].index_select(0, torch.tensor([1, 0], device=where)))(x),
        vmap(lambda x, i: x.scatter(0, i, 1.0))(
            x, torch.zeros(5, 1, dtype=torch.int64, device=where)
        ),
        vmap(lambda x: nn.functional.conv1d(x[None], values(where, 1, 1, 2)))(x),
        vmap(lambda x: nn.functional.batch_norm(x, None, None, training=True))(
            values(where, 2, 4, 3)
        ),
    ]


def in_place_over_batches(where: torch.device) -> Any:
    x = values(where, 5, 3)

    def change(row: Tensor) -> Tensor:
        row = row.clone()
        row[0] += 1
        row.mul_(2)
        return row

    return vmap(change)(x), functionalize(change)(x)


def gradients_of_each_example(where: torch.device) -> Any:
    model = network(where)
    parameters = dict(model.named_parameters())

    def loss(parameters: dict[str, Tensor], x: Tensor, target: Tensor) -> Tensor:
        output = functional_call(model, parameters, (x[None],))
        return nn.functional.cross_entropy(output, target[None])

    x = values(where, 6, 3)
    target = torch.tensor([0, 1, 1, 0, 1, 0], device=where)
    return vmap(grad(loss), in_dims=(None, 0, 0))(parameters, x, target)


def ensembles(where: torch.device) -> Any:
    models = [network(where) for _ in range(3)]
    for number, model in enumerate(models):
        nn.init.constant_(next(model.parameters()), number * 0.1)
    state = stack_module_state(models)
    base = network(torch.device("meta"))
    x = values(where, 5, 3)

    def call(parameters: Any, buffers: Any) -> Tensor:
        result: Tensor = functional_call(base, (parameters, buffers), (x,))
        return result

    return vmap(call)(*state), [model(x) for model in models]


def attention_over_batches(where: torch.device) -> Any:
    q = values(where, 3, 2, 2, 4, 8)
    attend = nn.functional.scaled_dot_product_attention

    def function(q: Tensor) -> Tensor:
        return attend(q, q, q, is_causal=True)

    return vmap(function)(q), grad(lambda q: function(q).square().sum())(q[0])


def custom_functions(where: torch.device) -> Any:
    class Sine(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(x: Tensor) -> Tensor:
            return x.sin()

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:  # noqa: ARG004 (its names are PyTorch's)
            ctx.save_for_backward(inputs[0])

        @staticmethod
        def backward(ctx: Any, gradient: Tensor) -> Tensor:
            return gradient * ctx.saved_tensors[0].cos()

    x = values(where, 5, 3)
    return vmap(Sine.apply)(x), vmap(grad(lambda x: Sine.apply(x).sum()))(x)


PROGRAMS = [
    of_functions,
    over_batches,
    in_place_over_batches,
    gradients_of_each_example,
    ensembles,
    attention_over_batches,
    custom_functions,
]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_transforms(device: torch.device, program: Program) -> None:
    assert_like_cpu(
        device, program, strides=program is not attention_over_batches
    )  # no rule of CPU's


@pytest.mark.parametrize("randomness", ["same", "different"])
def test_random_numbers_over_batches(
    device: torch.device, draws_as_cpu: torch.device, randomness: str
) -> None:
    def program(where: torch.device) -> Any:
        x = torch.ones(4, 50, device=where)

        def draw(x: Tensor) -> tuple[Tensor, ...]:
            made = (
                torch.rand(50, device=where),
                torch.randn(50, device=where),
                torch.randperm(50, device=where),
            )
            if randomness == "same":  # there is none for batched arguments
                return made
            return (*made, torch.rand_like(x), nn.functional.dropout(x), x.mul(0.3).bernoulli())

        return vmap(draw, randomness=randomness)(x)

    assert_like_cpu(draws_as_cpu, program)
    rows = program(device)[0]
    assert torch.equal(rows[0], rows[1]) == (randomness == "same")


def test_random_numbers_want_a_choice(device: torch.device) -> None:
    with pytest.raises(RuntimeError, match="randomness"):
        vmap(torch.rand_like)(torch.ones(2, 3, device=device))


def test_a_transform_is_a_few_commands(device: torch.device) -> None:
    """One each for the whole batch, not one for each example."""
    x = values(device, 64, 3)
    function = vmap(lambda x: (x * 2).sin().sum())
    with Counting(device) as counting:
        function(x)
    assert (counting.operations, counting.round_trips) == (3, 0)
