# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""The random operators of PyTorch, as a table for the section `random_numbers`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

Draw = Callable[[], Any]
FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
SINGLE = (torch.float32,)
INTS = (torch.int64, torch.int32)


@dataclass(frozen=True)
class RandomOperator:
    """`prepare(size, dtype, device)` makes the inputs, without random numbers, and returns the draw."""

    name: str
    dtypes: tuple[torch.dtype, ...]
    prepare: Callable[[int, torch.dtype, torch.device], Draw]
    largest_size: int = 1 << 40
    cuda_only: bool = False


def factory(call: Callable[..., Tensor]) -> Callable[[int, torch.dtype, torch.device], Draw]:
    return lambda n, dtype, device: lambda: call(n, dtype=dtype, device=device)


def fill(call: Callable[[Tensor], Tensor]) -> Callable[[int, torch.dtype, torch.device], Draw]:
    """A draw into a tensor of n zeros."""

    def prepare(n: int, dtype: torch.dtype, device: torch.device) -> Draw:
        x = torch.zeros(n, dtype=dtype, device=device)
        return lambda: call(x)

    return prepare


def ramp(n: int, dtype: torch.dtype, device: torch.device, low: float, high: float) -> Tensor:
    """n values that rise from `low` in steps of (high - low) / 64 and start over: exact in each dtype."""
    position = torch.arange(n, device=device, dtype=torch.int64) % 64
    return (position.to(torch.float64) * ((high - low) / 64) + low).to(dtype)


def on_ramp(
    call: Callable[[Tensor], Any], low: float = 0.0, high: float = 1.0
) -> Callable[[int, torch.dtype, torch.device], Draw]:
    """A draw that reads n values between `low` and `high`."""

    def prepare(n: int, dtype: torch.dtype, device: torch.device) -> Draw:
        x = ramp(n, dtype, device, low, high)
        return lambda: call(x)

    return prepare


def with_channels(
    call: Callable[[Tensor], Any],
) -> Callable[[int, torch.dtype, torch.device], Draw]:
    """A draw that reads ones of shape (ceil(n / 32), 8, 4)."""

    def prepare(n: int, dtype: torch.dtype, device: torch.device) -> Draw:
        x = torch.ones((n + 31) // 32, 8, 4, dtype=dtype, device=device)
        return lambda: call(x)

    return prepare


def randint(low: int, high: int) -> Callable[[int, torch.dtype, torch.device], Draw]:
    return lambda n, dtype, device: (
        lambda: torch.randint(low, high, (n,), dtype=dtype, device=device)
    )


def normal_of_tensors(n: int, dtype: torch.dtype, device: torch.device) -> Draw:
    mean, std = ramp(n, dtype, device, -1, 1), ramp(n, dtype, device, 0.5, 1.5)
    return lambda: torch.normal(mean, std)


def binomial(n: int, dtype: torch.dtype, device: torch.device) -> Draw:
    counts = torch.full((n,), 20.0, dtype=dtype, device=device)
    chances = ramp(n, dtype, device, 0.0, 1.0)
    return lambda: torch.binomial(counts, chances)


def dirichlet(n: int, dtype: torch.dtype, device: torch.device) -> Draw:
    x = ramp(((n + 3) // 4) * 4, dtype, device, 0.5, 4.5).view(-1, 4)
    return lambda: torch._sample_dirichlet(x)


def multinomial(
    samples: int, replacement: bool, rows: int = 1
) -> Callable[[int, torch.dtype, torch.device], Draw]:
    def prepare(n: int, dtype: torch.dtype, device: torch.device) -> Draw:
        weights = ramp(n, dtype, device, 0.25, 1.25).repeat(rows, 1)
        count = samples if replacement else min(samples, n)
        return lambda: torch.multinomial(weights, count, replacement)

    return prepare


def gumbel_softmax(hard: bool) -> Callable[[int, torch.dtype, torch.device], Draw]:
    def prepare(n: int, dtype: torch.dtype, device: torch.device) -> Draw:
        logits = ramp(((n + 3) // 4) * 4, dtype, device, -1, 1).view(-1, 4)
        return lambda: functional.gumbel_softmax(logits, tau=0.5, hard=hard)

    return prepare


def attention_dropout(backend: str) -> Callable[[int, torch.dtype, torch.device], Draw]:
    """Attention whose result shows the mask of the weights: equal scores, and a unit matrix as values."""

    def prepare(n: int, dtype: torch.dtype, device: torch.device) -> Draw:
        length = 64 if n <= 255 else 128
        batch, heads = (1, 1) if n <= 5 else (2, 3)
        zeros = torch.zeros(batch, heads, length, 64, dtype=dtype, device=device)
        values = torch.eye(length, 64, dtype=dtype, device=device).expand_as(zeros).contiguous()
        if backend == "flash":
            return lambda: torch.ops.aten._scaled_dot_product_flash_attention(
                zeros, zeros, values, 0.3, False, return_debug_mask=False
            )[:1]
        return lambda: torch.ops.aten._scaled_dot_product_efficient_attention(
            zeros, zeros, values, None, True, 0.3, False
        )[:1]

    return prepare


HALVES = (torch.float16, torch.bfloat16)
OPERATORS: list[RandomOperator] = [
    RandomOperator("rand", FLOATS, factory(torch.rand)),
    RandomOperator("randn", FLOATS, factory(torch.randn)),
    RandomOperator("randint(0,10)", (*INTS, torch.uint8, torch.float32), randint(0, 10)),
    RandomOperator("randint(-7,1000)", INTS, randint(-7, 1000)),
    RandomOperator("randint(0,2**28-1)", INTS, randint(0, 2**28 - 1)),
    RandomOperator("randint(0,2**28)", INTS, randint(0, 2**28)),
    RandomOperator("randint(0,2**31-1)", INTS, randint(0, 2**31 - 1)),
    RandomOperator("randint(-2**62,2**62)", (torch.int64,), randint(-(2**62), 2**62)),
    RandomOperator("random_()", (*INTS, *FLOATS, torch.uint8), fill(lambda x: x.random_())),
    RandomOperator("random_(-5,None)", (torch.int64,), fill(lambda x: x.random_(-5, None))),
    RandomOperator("uniform_(-2,3)", FLOATS, fill(lambda x: x.uniform_(-2, 3))),
    RandomOperator("normal_(1,2)", FLOATS, fill(lambda x: x.normal_(1, 2))),
    RandomOperator("normal(tensor,tensor)", FLOATS, normal_of_tensors),
    RandomOperator("exponential_()", FLOATS, fill(lambda x: x.exponential_())),
    RandomOperator("exponential_(2.5)", FLOATS, fill(lambda x: x.exponential_(2.5))),
    RandomOperator("bernoulli_(0.3)", (*FLOATS, torch.bool), fill(lambda x: x.bernoulli_(0.3))),
    RandomOperator("bernoulli(tensor)", FLOATS, on_ramp(torch.bernoulli)),
    RandomOperator("dropout(0.3)", FLOATS, on_ramp(lambda x: functional.dropout(x, 0.3), 1, 2)),
    RandomOperator(
        "native_dropout(0.5)", FLOATS, on_ramp(lambda x: torch.native_dropout(x, 0.5, True), 1, 2)
    ),
    RandomOperator("dropout1d(0.4)", SINGLE, with_channels(lambda x: functional.dropout1d(x, 0.4))),
    RandomOperator(
        "alpha_dropout(0.4)",
        FLOATS,
        on_ramp(lambda x: functional.alpha_dropout(x, 0.4, True), 1, 2),
    ),
    RandomOperator(
        "feature_alpha_dropout(0.4)",
        SINGLE,
        with_channels(lambda x: functional.feature_alpha_dropout(x, 0.4, True)),
    ),
    RandomOperator("rrelu", FLOATS, on_ramp(lambda x: functional.rrelu(x, training=True), -2, 1)),
    RandomOperator(
        "randperm",
        (torch.int64, torch.int32),
        lambda n, dtype, device: lambda: torch.randperm(n, dtype=dtype, device=device),
    ),
    *(
        RandomOperator(
            f"randperm({count})",
            (torch.int64,),
            lambda _, dtype, device, count=count: (
                lambda: torch.randperm(  # type: ignore[misc]
                    count, dtype=dtype, device=device
                )
            ),
            largest_size=1,
        )
        for count in (2, 10, 100, 30000, 65536, 100000, (1 << 20) + 3)
    ),
    RandomOperator("log_normal_(1,0.5)", FLOATS, fill(lambda x: x.log_normal_(1, 0.5))),
    RandomOperator("cauchy_(0.5,2)", FLOATS, fill(lambda x: x.cauchy_(0.5, 2))),
    RandomOperator("geometric_(0.2)", (*FLOATS, torch.int64), fill(lambda x: x.geometric_(0.2))),
    RandomOperator("multinomial(1)", FLOATS, multinomial(1, False), largest_size=1 << 20),
    RandomOperator("multinomial(7)", SINGLE, multinomial(7, False), largest_size=1 << 20),
    RandomOperator("multinomial(1,3 rows)", SINGLE, multinomial(1, False, 3), largest_size=40961),
    RandomOperator(
        "multinomial(100,replacement)", SINGLE, multinomial(100, True), largest_size=1 << 20
    ),
    RandomOperator(
        "multinomial(300,replacement,3 rows)", SINGLE, multinomial(300, True, 3), largest_size=40961
    ),
    RandomOperator("poisson", FLOATS, on_ramp(torch.poisson, 0, 32)),
    RandomOperator("binomial", (torch.float32, torch.float64), binomial),
    RandomOperator(
        "_standard_gamma",
        (torch.float32, torch.float64),
        on_ramp(torch._standard_gamma, 0.25, 8.25),
    ),
    RandomOperator("_sample_dirichlet", (torch.float32, torch.float64), dirichlet),
    RandomOperator("gumbel_softmax", SINGLE, gumbel_softmax(False)),
    RandomOperator("gumbel_softmax(hard)", SINGLE, gumbel_softmax(True)),
    RandomOperator("rand_like(strided)", SINGLE, on_ramp(lambda x: torch.rand_like(x[::2]))),
    RandomOperator("trunc_normal_", SINGLE, fill(lambda x: nn.init.trunc_normal_(x))),
    RandomOperator(
        "uniform_(transposed)",
        SINGLE,
        lambda n, dtype, device: (
            lambda: torch.zeros(4, (n + 3) // 4, dtype=dtype, device=device).t().uniform_()
        ),
    ),
    RandomOperator(
        "flash attention dropout", HALVES, attention_dropout("flash"), 1000, cuda_only=True
    ),
    RandomOperator(
        "efficient attention dropout",
        (torch.float16, torch.float32),
        attention_dropout("efficient"),
        1000,
        cuda_only=True,
    ),
]

_VALUE_TRANSFORMS = (
    "randn", "normal", "exponential", "log_normal", "cauchy", "geometric", "poisson", "binomial",
    "_standard_gamma", "_sample_dirichlet", "gumbel", "trunc_normal", "rrelu",
)  # fmt: skip


def is_value_transform(operator: RandomOperator) -> bool:
    """Whether the values go through functions that CPU and GPU round differently."""
    return operator.name.startswith(_VALUE_TRANSFORMS)
