# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""What makes a new plan and what does not, and what a repeated operation costs on the wire."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from comparing import Counting, assert_same
from operators import OPERATORS, placed, samples
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

# kNumbersDecide of core/client/operator_record.cpp.
NUMBERS_DECIDE = {"aten::arange", "aten::range", "aten::linalg_vector_norm"}

Call = Callable[[torch.Tensor, torch.Tensor, int], Any]

# Each with a number that is another one every time. Offsets are never 0, which is a plan of its own.
VARYING: dict[str, Call] = {
    "same": lambda x, y, _: x + y,
    "alpha": lambda x, y, i: torch.add(x, y, alpha=i + 0.5),
    "alpha_in_place": lambda x, y, i: x.add_(y, alpha=0.5 / (i + 1)),
    "number": lambda x, _, i: x * (i + 0.25),
    "power": lambda x, _, i: x.abs() ** (i + 0.5),
    "clamp": lambda x, _, i: x.clamp(-i - 0.5, i + 0.5),
    "fill": lambda x, _, i: x.clone().fill_(i + 0.5),
    "full": lambda x, _, i: torch.full((2, 3), i + 0.5, device=x.device),
    "masked_fill": lambda x, y, i: x.masked_fill(y > 0, i + 0.5),
    "addmm": lambda x, y, i: torch.addmm(x, x, y, beta=i + 0.5, alpha=i - 0.5),
    "eps": lambda x, _, i: torch.nn.functional.layer_norm(x, (4,), eps=1e-5 * (i + 1)),
    "slope": lambda x, _, i: torch.nn.functional.leaky_relu(x, i * 0.1),
    "momentum": lambda x, y, i: torch.nn.functional.batch_norm(
        x, y[0], y[0] + 3, training=True, momentum=0.1 + i / 99
    ),
    "lerp": lambda x, y, i: x.lerp(y, i / 99),
    "scale": lambda x, y, i: torch.nn.functional.scaled_dot_product_attention(
        x[None, None], y[None, None], y[None, None], scale=i + 0.5
    ),
    "foreach": lambda x, y, i: torch._foreach_add([x, y], [i + 0.5, i - 0.5]),
    "foreach_one": lambda x, y, i: torch._foreach_mul([x, y], i + 0.5),
    "addcdiv": lambda x, y, i: torch.addcdiv(x, x, y + 9, value=i + 0.5),
    "cpu_scalar": lambda x, _, i: x + torch.tensor(i + 0.5),
    "cpu_scalar_double": lambda x, _, i: x * torch.tensor(i + 0.5, dtype=torch.float64),
    "where": lambda x, _, i: torch.where(x > 0, x, i + 0.5),
    "complex": lambda x, _, i: x * complex(i, 1),
    "row": lambda x, _, i: x[1 + i % 3] + 1,
    "element": lambda x, _, i: x[1 + i % 3, i % 4] * 2,
    "row_set": lambda x, y, i: x[1 + i % 3].copy_(y[1 + (i + 1) % 3]),
    "upload": lambda x, _, i: torch.full((2, 3), float(i)).to(x.device),
    "threshold": lambda x, _, i: torch.nn.functional.threshold(x, i * 0.1, 0.5),
}


@pytest.mark.parametrize("name", VARYING)
def test_what_varies_makes_no_new_plan(device: torch.device, name: str) -> None:
    function = VARYING[name]
    x, y = torch.randn(4, 4), torch.randn(4, 4)
    remote_x, remote_y = x.to(device), y.to(device)
    function(remote_x, remote_y, 0)
    function(x, y, 0)
    with Counting(device) as counted:
        results = [function(remote_x, remote_y, i) for i in range(1, 10)]
    assert counted.plans == 0
    assert counted.round_trips == 0
    expected = [function(x, y, i) for i in range(1, 10)]
    assert_same(results, expected)
    assert_same(remote_x, x)


NEW_PLANS: dict[str, Call] = {
    "shape": lambda x, _, i: x[: i + 1] + 1,
    "strides": lambda x, _, i: x.as_strided((2, 2), (1, i + 1)) + 1,
    "dimension": lambda x, _, i: x.view(2, 2, 2, 2).sum(i),
    "dtype": lambda x, _, i: x.to([torch.float64, torch.int32, torch.bool, torch.float16][i]),
    "kind_of_number": lambda x, _, i: x * [2, 2.0, True, 2j][i],
    "undefined": lambda x, _, i: torch.nn.functional.layer_norm(
        x, (4,), [None, x[0]][i % 2], [None, x[1]][i // 2]
    ),
    "arange": lambda x, _, i: torch.arange(0, i + 2.5, device=x.device),
    "norm": lambda x, _, i: torch.linalg.vector_norm(x, float(i)),
}


@pytest.mark.parametrize("name", NEW_PLANS)
def test_what_decides_makes_a_plan_each(device: torch.device, name: str) -> None:
    function = NEW_PLANS[name]
    x = torch.randn(4, 4)
    remote = x.to(device)
    for i in range(4):
        assert_same(function(remote, remote, i), function(x, x, i))
    with Counting(device) as counted:
        for i in range(4):
            assert_same(function(remote, remote, i), function(x, x, i))
    assert counted.plans == 0


def test_random_numbers_make_no_new_plan(device: torch.device) -> None:
    x = torch.zeros(4, 4, device=device)
    generator = torch.Generator(device)

    def draw() -> None:
        torch.randn(4, 4, device=device)
        torch.rand(4, 4, device=device, generator=generator)
        x.normal_(0.5, 2.0)
        torch.nn.functional.dropout(x, 0.5)
        torch.randint(0, 10, (4,), device=device)

    draw()
    with Counting(device) as counted:
        for seed in range(5):
            torch.manual_seed(seed)
            draw()
    assert counted.plans == 0
    assert counted.round_trips == 0


@pytest.mark.parametrize(
    ("function", "tensors"),
    [
        pytest.param(lambda x, y: x + y, 3, id="add"),
        pytest.param(lambda x, y: x.add_(y, alpha=0.5), 2, id="add_"),
        pytest.param(lambda x, y: torch.mm(x, y), 3, id="mm"),
        pytest.param(lambda x, _: x.relu(), 2, id="relu"),
    ],
)
def test_bytes_of_a_repeated_operation(
    null: torch.device, function: Callable[[torch.Tensor, torch.Tensor], Any], tensors: int
) -> None:
    x, y = torch.ones(16, 16, device=null), torch.ones(16, 16, device=null)
    function(x, y)
    torch.remote.synchronize(null)
    count = 10_000
    with Counting(null) as counted:
        for _ in range(count):
            function(x, y)
        torch.remote.synchronize(null)
    assert counted.operations == count
    assert counted.bytes_sent / count <= 32 + 12 * tensors
    assert counted.round_trips == 1


def test_more_shapes_than_the_table_of_plans_holds(emulator: torch.device) -> None:
    """Every shape is two plans here; the executor's table has 16384."""
    base = torch.arange(20_000.0, device=emulator)
    expected = torch.arange(20_000.0)
    kept = []
    with Counting(emulator) as counted:
        for length in range(1, 9_000):
            part = base[:length] * 2  # a plan for each length
            if length % 500 == 0:
                kept.append((length, part.sum()))
        for length in range(1, 9_000):
            base[:length].neg()
    assert counted.plans > 16_384
    for length, total in kept:
        assert total.item() == (expected[:length] * 2).sum().item()
    # Those that gave up their number are defined anew.
    for length in range(1, 9_000, 37):
        assert torch.equal((base[:length] * 2).cpu(), expected[:length] * 2)


class NumbersVary(TorchDispatchMode):
    """Calls each operator again with other numbers and collects those whose metadata changes."""

    def __init__(self) -> None:
        super().__init__()
        self.decided: dict[str, str] = {}
        self.compared: set[str] = set()

    def __torch_dispatch__(
        self,
        function: Any,
        types: Any,
        arguments: tuple[Any, ...] = (),
        keywords: dict[str, Any] | None = None,
    ) -> Any:
        keywords = keywords or {}
        result = function(*arguments, **keywords)
        for other in ("larger", "half", "zero"):
            self.compare(function, arguments, keywords, result, other)
        return result

    def compare(
        self, function: Any, arguments: Any, keywords: Any, result: Any, other: str
    ) -> None:
        schema = function._schema
        given = (
            dict(zip((argument.name for argument in schema.arguments), arguments, strict=False))
            | keywords
        )
        changed = {}
        for argument in schema.arguments:
            value = given.get(argument.name)
            if str(argument.type) in ("number", "Optional[number]", "float", "Optional[float]"):
                changed[argument.name] = self.vary(value, other)
            elif (
                str(argument.type) in ("List[number]", "List[float]", "Optional[List[float]]")
                and value is not None
            ):
                changed[argument.name] = [self.vary(element, other) for element in value]
        changed = {name: value for name, value in changed.items() if value is not None}
        if not changed:
            return
        positional = [
            changed.get(a.name, v) for a, v in zip(schema.arguments, arguments, strict=False)
        ]
        named = {name: changed.get(name, value) for name, value in keywords.items()}
        named |= {name: value for name, value in changed.items() if name not in given}
        try:
            again = function(*positional, **named)
        except Exception:  # noqa: BLE001 (not a number that the operator takes)
            return
        self.compared.add(schema.name)
        if self.metadata(again) != self.metadata(result):
            self.decided[schema.name] = str(schema)

    @staticmethod
    def vary(value: Any, other: str) -> Any:
        if isinstance(value, bool) or not isinstance(value, (int, float, complex)):
            return None
        if other == "zero":
            return type(value)(0)
        return value + 3 if other == "larger" else type(value)(value / 2)

    @staticmethod
    def metadata(result: Any) -> Any:
        return pytree.tree_map(
            lambda leaf: (
                (leaf.shape, leaf.stride(), leaf.dtype) if isinstance(leaf, torch.Tensor) else leaf
            ),
            result,
        )


@pytest.mark.slow
def test_numbers_that_decide_about_metadata_are_listed() -> None:
    """A number that varies under one plan must not change what the plan says of the results."""
    mode = NumbersVary()
    for info in OPERATORS.values():
        if torch.float32 not in info.supported_dtypes("cpu") or info.name.startswith(
            ("jiterator", "sparse")
        ):
            continue
        for arguments in samples(info, torch.float32, 3):
            positional, keywords = placed(arguments, "meta")
            try:
                with mode:
                    info(*positional, **keywords)
            except (NotImplementedError, RuntimeError, AssertionError, ValueError, TypeError):
                continue  # needs values
    assert len(mode.compared) > 70
    assert {
        name: schema for name, schema in mode.decided.items() if name not in NUMBERS_DECIDE
    } == {}
