# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""In-place operators, out=, numbers and CPU scalars among the arguments, optimizers, and random programs."""

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from comparing import Counting, assert_same, to_device
from hypothesis import given, settings
from hypothesis import strategies as st

OUT_OPERATORS: dict[str, Callable[..., Any]] = {
    "add": lambda a, b, **k: torch.add(a, b, **k),
    "add_alpha": lambda a, b, **k: torch.add(a, b, alpha=3, **k),
    "mm": lambda a, b, **k: torch.mm(a, b.t(), **k),
    "sum": lambda a, _, **k: torch.sum(a, 1, **k),
    "cat": lambda a, b, **k: torch.cat([a, b], **k),
    "clamp": lambda a, _, **k: torch.clamp(a, min=0, **k),
    "softmax": lambda a, _, **k: torch.softmax(a, 1, **k),
    "index_select": lambda a, _, **k: torch.index_select(
        a, 0, torch.tensor([1, 0], device=a.device), **k
    ),
    "cumsum": lambda a, _, **k: torch.cumsum(a, 0, **k),
    # These know their sizes only after they have run, or have no meta function.
    "masked_select": lambda a, _, **k: torch.masked_select(a, a > 0, **k),
    "logcumsumexp": lambda a, _, **k: torch.logcumsumexp(a, 0, **k),
}
A, B = torch.randn(3, 4), torch.randn(3, 4)


def outcome(call: Callable[[], Any]) -> Any:
    """The result, or that there was none."""
    try:
        return call()
    except (RuntimeError, TypeError) as error:
        return type(error)


def test_host_scalars_in_lists(device: torch.device) -> None:
    # As Adagrad has them with a learning rate that is a tensor.
    scalars = [torch.tensor(0.5), torch.tensor(-2.0, dtype=torch.float64)]
    expected = torch._foreach_mul([A, B], scalars)
    for one, other in zip(
        torch._foreach_mul([A.to(device), B.to(device)], scalars), expected, strict=True
    ):
        assert_same(one, other)
    with pytest.raises(RuntimeError, match="cpu"):
        torch._foreach_mul([A.to(device)], [B])


@pytest.mark.parametrize("name", OUT_OPERATORS)
def test_out(device: torch.device, name: str) -> None:
    operator = OUT_OPERATORS[name]
    a, b = A.to(device), B.to(device)
    expected = operator(A, B)
    empty = torch.empty(0, device=device)
    assert operator(a, b, out=empty) is empty
    assert_same(empty, expected)
    # One that fits keeps its place.
    fitting = torch.zeros_like(expected, device=device)
    view, address = fitting.view(-1), fitting.data_ptr()
    operator(a, b, out=fitting)
    assert fitting.data_ptr() == address
    assert_same(view, expected.view(-1))
    # One with elements of other sizes is resized, and PyTorch warns of that once a call.
    other = torch.zeros(17, device=device)
    with pytest.warns(UserWarning, match="An output with one or more elements was resized"):
        operator(a, b, out=other)
    assert_same(other, expected)
    # Another dtype is refused, at once, where CPU refuses it.
    wrong = torch.zeros_like(expected, dtype=torch.int16)
    refusal = outcome(lambda: operator(A, B, out=wrong))
    if isinstance(refusal, type):
        remote_wrong = torch.zeros_like(expected, dtype=torch.int16, device=device)
        with pytest.raises(refusal, match=r"dtype|can't be cast|scalar.type"):
            operator(a, b, out=remote_wrong)
    local = torch.zeros_like(expected)
    with pytest.raises(RuntimeError, match="device"):
        operator(a, b, out=local)


def test_out_of_another_layout_or_wider_dtype(device: torch.device) -> None:
    a, b = A.to(device), B.to(device)
    expected, out = torch.zeros(4, 3).t(), torch.zeros(4, 3, device=device).t()
    assert_same(torch.add(a, b, out=out), torch.add(A, B, out=expected))
    base, expected_base = torch.zeros(3, 8, device=device), torch.zeros(3, 8)
    torch.mul(a, b, out=base[:, ::2])
    torch.mul(A, B, out=expected_base[:, ::2])
    assert_same(base, expected_base)
    double = torch.zeros(3, 4, dtype=torch.float64)
    assert_same(
        torch.add(a, b, out=double.to(device)),
        torch.add(A, B, out=double),
    )


def test_several_outs(device: torch.device) -> None:
    x = torch.randn(4, 5)
    values, indices = (
        torch.empty(0, device=device),
        torch.empty(0, dtype=torch.int64, device=device),
    )
    torch.max(x.to(device), 1, out=(values, indices))
    assert_same((values, indices), tuple(torch.max(x, 1)))
    torch.sort(x.to(device), 0, out=(values.resize_(0), indices.resize_(0)))
    assert_same((values, indices), tuple(torch.sort(x, 0)))
    torch.mode(x.to(device), 1, out=(values.resize_(0), indices.resize_(0)))
    assert_same((values, indices), tuple(torch.mode(x, 1)))
    everywhere = torch.empty(0, dtype=torch.int64, device=device)
    assert_same(
        torch.nonzero(x.to(device) > 0, out=everywhere), torch.nonzero(x > 0), strides=False
    )


NUMBERS: list[Any] = [
    2,
    -1,
    0.5,
    True,
    1 + 2j,
    torch.tensor(3),
    torch.tensor(0.25, dtype=torch.float64),
    torch.tensor(True),
]
BINARY: list[Callable[[Any, Any], Any]] = [
    torch.add,
    torch.mul,
    lambda a, b: a - b,
    lambda a, b: b - a,
    lambda a, b: a / b,
    lambda a, b: b / a,
    lambda a, b: a**b,
    torch.maximum,
    torch.eq,
    lambda a, b: a < b,
    lambda a, b: torch.where(a == a, a, b),
    lambda a, b: a // b,
    lambda a, b: torch.result_type(a, b),
]


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.bfloat16, torch.int64, torch.uint8, torch.bool, torch.complex64]
)
def test_numbers_and_cpu_scalars_promote_as_on_cpu(
    emulator: torch.device, dtype: torch.dtype
) -> None:
    values = torch.tensor([1, 0, 3]).to(dtype)
    for function in BINARY:
        for number in NUMBERS:
            if function is torch.maximum and not isinstance(number, torch.Tensor):
                continue
            expected = outcome(lambda f=function, n=number: f(values, n))
            actual = outcome(lambda f=function, n=number: f(values.to(emulator), n))
            # An integer divided by zero is found by the kernel.
            failure = outcome(lambda: torch.remote.synchronize(emulator))
            if failure is not None:
                assert expected is failure
            elif isinstance(expected, type):
                assert isinstance(actual, type)
            elif isinstance(expected, torch.dtype):
                assert actual == expected
            else:
                assert_same(actual, expected)


def test_cpu_scalar_in_place_and_on_the_left(device: torch.device) -> None:
    x = torch.arange(3.0)
    scalar = torch.tensor(2.0)
    assert_same(x.to(device).mul_(scalar), x.clone().mul_(scalar))
    assert_same(scalar * x.to(device), scalar * x)
    assert_same(torch.addcmul(x.to(device), scalar, x.to(device)), torch.addcmul(x, scalar, x))
    assert (scalar - x.to(device)).device == device
    # The scalar's value at the time of the call.
    results = []
    for value in range(3):
        scalar.fill_(value)
        results.append(x.to(device) + scalar)
    assert [result[0].item() for result in results] == [0, 1, 2]
    with pytest.raises(RuntimeError, match="device"):
        scalar.add_(x.to(device)[0])


IN_PLACE: dict[str, Callable[[torch.Tensor], Any]] = {
    "add_": lambda t: t.add_(t, alpha=2),
    "relu_": lambda t: t.relu_(),
    "clamp_": lambda t: t.clamp_(-0.5, 0.5),
    "zero_": lambda t: t.zero_(),
    "fill_": lambda t: t.fill_(3),
    "copy_": lambda t: t.copy_(t.flip(0)),
    "index_add_": lambda t: t.index_add_(0, torch.tensor([0, 0], device=t.device), t[1:3].clone()),
    "index_copy_": lambda t: t.index_copy_(
        1, torch.tensor([1, 0], device=t.device), t[:, 2:4].clone()
    ),
    "index_fill_": lambda t: t.index_fill_(0, torch.tensor([1], device=t.device), 5),
    "scatter_": lambda t: t.scatter_(0, torch.zeros(1, 4, dtype=torch.int64, device=t.device), 9.0),
    "scatter_add_": lambda t: t.scatter_add_(
        0, torch.ones(2, 4, dtype=torch.int64, device=t.device), t[:2].clone()
    ),
    "masked_fill_": lambda t: t.masked_fill_(t > 0, 0),
    "addmm_": lambda t: t.addmm_(t.clone(), torch.ones(4, 4, device=t.device)),
    "lerp_": lambda t: t.lerp_(t.clone() + 1, 0.25),
    "pow_": lambda t: t.pow_(2),
    "sort_out": lambda t: torch.sort(
        t, out=(t, torch.empty(0, dtype=torch.int64, device=t.device))
    ),
    "setitem": lambda t: t.__setitem__((slice(None), 1), 7),
    "setitem_row": lambda t: t.__setitem__(0, t[1].clone()),
    "setitem_step": lambda t: t.__setitem__((slice(None, None, 2), slice(1, 3)), 1.5),
    "iadd_slice": lambda t: t[1:].__iadd__(t[:-1].clone()),
    "put_": lambda t: t.put_(
        torch.tensor([0, 5], device=t.device), torch.tensor([8.0, 9.0], device=t.device)
    ),
    "tril_": lambda t: t.tril_(),
    "fill_diagonal_": lambda t: t.fill_diagonal_(4),
    "bernoulli-free random walk": lambda t: t.cumsum_(0).sub_(t.mean()),
}


@pytest.mark.parametrize("name", IN_PLACE)
def test_in_place(device: torch.device, name: str) -> None:
    source = torch.randn(3, 4)
    expected = source.clone()
    actual = source.to(device)
    address = actual.data_ptr()
    IN_PLACE[name](actual)
    IN_PLACE[name](expected)
    assert actual.data_ptr() == address
    assert actual._version == expected._version
    assert_same(actual, expected)


def test_in_place_of_another_shape_or_dtype_raises(device: torch.device) -> None:
    x = torch.zeros(2, device=device)
    with pytest.raises(
        RuntimeError, match=r"output with shape \[2\] doesn't match the broadcast shape \[3, 2\]"
    ):
        x.add_(torch.ones(3, 2, device=device))
    with pytest.raises(
        RuntimeError, match=r"result type Float can't be cast to the desired output type Long"
    ):
        torch.zeros(2, dtype=torch.int64, device=device).add_(1.5)
    assert_same(x, torch.zeros(2))


def test_lists_that_were_changed_are_noticed(device: torch.device) -> None:
    leaf = torch.ones(3, device=device, requires_grad=True)
    kept = leaf.exp()
    kept.sum().backward(retain_graph=True)
    torch._foreach_mul_([kept.detach()], 2.0)
    assert kept._version == 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        kept.sum().backward()
    first, second = torch.zeros(2, 2, device=device), torch.zeros(2, device=device)
    torch._foreach_copy_([first[0], second], [second + 1, second + 2])
    assert (first._version, second._version) == (1, 1)


def test_foreach(device: torch.device) -> None:
    def program(tensors: list[torch.Tensor]) -> list[Any]:
        a = [t.clone() for t in tensors]
        torch._foreach_add_(a, 2.5)
        torch._foreach_mul_(a, [1.0, 2.0, 3.0])
        torch._foreach_addcdiv_(a, tensors, torch._foreach_abs(tensors), 0.5)
        torch._foreach_lerp_(a, tensors, 0.25)
        torch._foreach_copy_(a, torch._foreach_sqrt(torch._foreach_abs(a)))
        torch._foreach_addcmul_(a, tensors, tensors, [0.1, 0.2, 0.3])
        torch._foreach_clamp_max_(a, 1.0)
        return [a, torch._foreach_norm(a), torch._foreach_max(a), torch._foreach_neg(a)]

    tensors = [torch.randn(3), torch.randn(2, 2), torch.randn(())]
    assert_same(program(to_device(tensors, device)), program(tensors))


OPTIMIZERS: dict[str, Callable[[list[torch.nn.Parameter]], torch.optim.Optimizer]] = {
    "SGD": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, foreach=False),
    "SGD foreach": lambda p: torch.optim.SGD(
        p, lr=0.1, momentum=0.9, weight_decay=0.1, foreach=True
    ),
    "SGD fused": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, fused=True),
    "Adam fused": lambda p: torch.optim.Adam(p, lr=0.1, fused=True, amsgrad=True),
    "AdamW": lambda p: torch.optim.AdamW(p, lr=0.1, foreach=False),
    "AdamW default": lambda p: torch.optim.AdamW(p, lr=0.1),
    "AdamW foreach": lambda p: torch.optim.AdamW(p, lr=0.1, foreach=True),
    "AdamW fused": lambda p: torch.optim.AdamW(p, lr=0.1, fused=True),
    "Adagrad": lambda p: torch.optim.Adagrad(p, lr=0.1),
    "RMSprop": lambda p: torch.optim.RMSprop(p, lr=0.1, momentum=0.9),
    "NAdam": lambda p: torch.optim.NAdam(p, lr=0.1, foreach=True),
    "Adafactor": lambda p: torch.optim.Adafactor(p, lr=0.1),
    "LBFGS": lambda p: torch.optim.LBFGS(p, lr=0.1, max_iter=3),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(device: torch.device, name: str) -> None:
    values = [torch.randn(5, 4), torch.randn(4)]

    def program(where: torch.device | str) -> tuple[list[torch.Tensor], dict[str, Any]]:
        parameters = [torch.nn.Parameter(value.clone().to(where)) for value in values]
        optimizer = OPTIMIZERS[name](parameters)
        schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)

        def closure() -> torch.Tensor:
            optimizer.zero_grad()
            loss = (parameters[0].sin() @ parameters[1]).square().sum()
            loss.backward()
            return loss

        for _ in range(5):
            optimizer.step(closure)
            schedule.step()
        return [p.detach() for p in parameters], optimizer.state_dict()["state"]

    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        expected, expected_state = program("cpu")
        actual, state = program(device)
    assert_same(actual, expected)
    # Fused optimizers on an accelerator keep their step counts there; those of the others stay on CPU.
    assert_same(state, expected_state)


def test_clipping_gradients(device: torch.device) -> None:
    values = [torch.randn(5, 4), torch.randn(4)]

    def program(where: torch.device | str) -> list[Any]:
        parameters = [torch.nn.Parameter(value.clone().to(where)) for value in values]
        for parameter in parameters:
            parameter.grad = parameter.detach() * 10
        norm = torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        torch.nn.utils.clip_grad_value_(parameters, 0.1)
        return [norm, *(p.grad for p in parameters)]

    with Counting(device) as counted:
        actual = program(device)
    assert counted.round_trips == 0
    assert_same(actual, program("cpu"))


# ---- random programs ----

Step = tuple[str, int, int, int]
UNARY = [
    torch.sin,
    torch.abs,
    torch.neg,
    torch.tanh,
    lambda t: t.relu(),
    lambda t: t.softmax(-1),
    lambda t: t.cumsum(0),
]


def clipped(t: torch.Tensor) -> torch.Tensor:
    return t.clamp(-100, 100)


def apply(step: Step, tensors: list[torch.Tensor]) -> None:
    """One step on 4x4 tensors, of which some share storages."""
    kind, i, j, k = step
    a, b = tensors[i % len(tensors)], tensors[j % len(tensors)]
    if kind == "unary":
        tensors.append(UNARY[k % len(UNARY)](a))
    elif kind == "add":
        tensors.append(clipped(torch.add(a, b, alpha=k)))
    elif kind == "mm":
        tensors.append(clipped(a @ b))
    elif kind == "view":
        tensors.append([a.t(), a.flip(0), a[k % 4].expand(4, 4), a.view_as(a)][k % 4])
    elif kind == "in_place":
        if 0 in a.stride():
            return
        [a.mul_, a.sub_, a.copy_, a.add_][k % 4](b.clone())
        a.clamp_(-100, 100)
    elif kind == "rows":
        if 0 in a.stride():
            return
        a[k % 4].copy_(b[:, k % 4].clone())
    elif kind == "out":
        if 0 in a.stride():
            return
        torch.maximum(b.clone(), b.clone() * k, out=a)
    elif kind == "number":
        tensors.append(clipped(a * a.sum().item() if k % 7 == 0 else a * k + 0.5))
    elif kind == "mask":
        if 0 in a.stride():
            return
        a[b.clone() > 0] = k
    elif kind == "drop" and len(tensors) > 3:
        del tensors[i % len(tensors)]


steps_of_a_program = st.lists(
    st.tuples(
        st.sampled_from(
            ["unary", "add", "mm", "view", "in_place", "rows", "out", "number", "mask", "drop"]
        ),
        st.integers(0, 20),
        st.integers(0, 20),
        st.integers(0, 20),
    ),
    min_size=5,
    max_size=60,
)


@settings(max_examples=40)
@given(program=steps_of_a_program)
def test_random_programs(device: torch.device, program: list[Step]) -> None:
    generator = torch.Generator().manual_seed(1)
    expected = [torch.randn(4, 4, generator=generator) for _ in range(3)]
    actual = to_device(expected, device)
    for step in program:
        apply(step, expected)
        apply(step, actual)
    assert_same(actual, expected)
