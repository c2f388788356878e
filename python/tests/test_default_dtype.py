# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""torch.set_default_dtype decides here, whatever the executor's process has set."""

from collections.abc import Callable, Iterator

import pytest
import torch
from comparing import assert_same

Call = Callable[[torch.device | str], object]


@pytest.fixture(params=[torch.float64, torch.bfloat16], autouse=True)
def _default(request: pytest.FixtureRequest) -> Iterator[None]:
    torch.set_default_dtype(request.param)
    yield
    torch.set_default_dtype(torch.float32)


def integers(device: torch.device | str) -> torch.Tensor:
    return torch.arange(1, 7, device=device).view(2, 3)


CALLS: dict[str, Call] = {
    "divide": lambda d: integers(d) / 7,
    "divide_tensors": lambda d: integers(d) / integers(d).flip(1),
    "divide_by_cpu_scalar": lambda d: integers(d) / torch.tensor(7),
    "divide_out": lambda d: torch.div(integers(d), 7, out=torch.empty(0, device=d)),
    "multiply": lambda d: integers(d) * 2.3,
    "multiply_bool": lambda d: (integers(d) > 2) * 2.3,
    "sigmoid": lambda d: integers(d).sigmoid(),
    "exp_of_bool": lambda d: (integers(d) > 2).exp(),
    "power": lambda d: integers(d) ** 0.3,
    "atan2": lambda d: torch.atan2(integers(d), integers(d).flip(1)),
    "where": lambda d: torch.where(integers(d) > 2, integers(d), 1.3),
    "complex": lambda d: integers(d) * 1j,
    "foreach": lambda d: [value / 3 for value in integers(d)],
    "index": lambda d: (integers(d) / 3)[:, torch.tensor([2, 0], device=d)],
    "full": lambda d: torch.full((2,), 1.3, device=d),
    "arange": lambda d: torch.arange(0.1, 1, 0.3, device=d),
    "linspace": lambda d: torch.linspace(0, 1, 5, device=d),
    "eye": lambda d: torch.eye(3, device=d),
    "ones": lambda d: torch.ones(3, device=d) / 3,
    "sum": lambda d: integers(d).sum(),
    "single": lambda d: integers(d).float() / 7,
}


@pytest.mark.parametrize("name", CALLS)
def test_as_on_cpu(device: torch.device, name: str) -> None:
    assert_same(CALLS[name](device), CALLS[name]("cpu"))


def test_a_plan_does_not_outlive_a_change(device: torch.device) -> None:
    x = integers("cpu")
    for dtype in (torch.float32, torch.float64, torch.float32, torch.float64):
        torch.set_default_dtype(dtype)
        assert_same(x.to(device) / 7, x / 7)


def test_drawn_in_the_default_dtype(device: torch.device) -> None:
    assert torch.rand(3, device=device).dtype == torch.get_default_dtype()
    assert torch.nn.Linear(2, 2, device=device).weight.dtype == torch.get_default_dtype()
