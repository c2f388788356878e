# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Every family of cases can fail: a bug that is planted in the device is found by the case that is for it."""

import functools
import gc
import importlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch.utils import _pytree as pytree
from torch_remote_conformance import catalogue, random_programs, workers
from torch_remote_conformance.case import Case, Recorder, Result, Status
from torch_remote_conformance.comparing import EXACT
from torch_remote_conformance.family import Family
from torch_remote_conformance.target import Address, Target, opened, provided

Call = Callable[..., Any]
FAMILY_NAMES = [name.rpartition(".")[2] for name in catalogue.FAMILIES]


@pytest.fixture(scope="module")
def emulator() -> Iterator[Target]:
    with opened(Address("emulator:T4")) as target:
        yield target


@pytest.fixture(scope="module")
def local() -> Iterator[Target]:
    with provided("local:T4") as address, opened(address) as target:
        yield target


def find(family: str, case_id: str, target: Target) -> Case:
    module = importlib.import_module(f"torch_remote_conformance.{family}")
    [found] = [case for case in module.cases(target) if case.id == case_id]
    return found


# --- Bugs ----------------------------------------------------------------------------------------
# Each takes the function that it replaces and the arguments of a call on the device.


def _is_remote(arguments: Any) -> bool:
    return any(
        "remote" in str(leaf.device if isinstance(leaf, torch.Tensor) else leaf)
        for leaf in pytree.tree_leaves(arguments)
        if isinstance(leaf, (torch.Tensor, torch.device, str))
    )


def nothing(_: Call, *arguments: Any, **__: Any) -> Any:
    return arguments[0]


def copied(call: Call, *arguments: Any, **keywords: Any) -> Any:
    return call(*arguments, **keywords).clone()


def first_is_zero(call: Call, *arguments: Any, **keywords: Any) -> Any:
    made = call(*arguments, **keywords)
    if made.device.type == "remote" and made.numel():
        made = made.clone()
        made.as_strided((1,), (1,), 0).zero_()
    return made


def squared(call: Call, *arguments: Any, **keywords: Any) -> Any:
    return call(*arguments, **keywords).square()


def other_function(other: Call, _: Call, *arguments: Any, **keywords: Any) -> Any:
    return other(*arguments, **keywords)


def on_data(call: Call, first: Any, *arguments: Any, **keywords: Any) -> Any:
    call([one.data for one in first], *arguments, **keywords)


def with_read(call: Call, *arguments: Any, **keywords: Any) -> Any:
    made = call(*arguments, **keywords)
    made.sum().item()
    return made


_kept: list[Any] = []
_numbers = itertools.count(1)


def never_freed(call: Call, *arguments: Any, **keywords: Any) -> Any:
    made = call(*arguments, **keywords)
    _kept.append(made.clone())
    return made


def with_new_shape(call: Call, *arguments: Any, **keywords: Any) -> Any:
    made = call(*arguments, **keywords)
    torch.empty(next(_numbers), device=made.device) + 1
    return made


def wrong_gradient(call: Call, *arguments: Any, **keywords: Any) -> Any:
    made = call(*arguments, **keywords)
    if made.requires_grad:
        made.register_hook(lambda gradient: gradient * 2)
    return made


def moved(call: Call, *arguments: Any, **keywords: Any) -> Any:
    there = next(one.device for one in arguments if one.device.type == "remote")
    return call(*(one.to(there) for one in arguments), **keywords)


def unchecked(call: Call, *arguments: Any, **keywords: Any) -> Any:
    return call(*arguments, **(keywords | {"check_errors": False}))


def twice(call: Call, *arguments: Any, **keywords: Any) -> Any:
    call(*arguments, **keywords)
    return call(*arguments, **keywords)


def in_float32(call: Call, *arguments: Any, **keywords: Any) -> Any:
    return call(*arguments, **keywords).float()


def unseeded(call: Call, *arguments: Any, **keywords: Any) -> Any:
    return call(*arguments, **keywords) + 1e-3 * next(_numbers)


def moves_the_cpus(call: Call, *arguments: Any, **keywords: Any) -> Any:
    torch.rand(1)
    return call(*arguments, **keywords)


def silent(call: Call, *arguments: Any, **keywords: Any) -> Any:
    try:
        return call(*arguments, **keywords)
    except (RuntimeError, TypeError, ValueError):
        return None


def without_generator(call: Call, *arguments: Any, **_: Any) -> Any:
    return call(*arguments)


def another_stream(_: Call, *arguments: Any, **__: Any) -> torch.Stream:
    return torch.Stream(torch.device("remote", *arguments))


@dataclass(frozen=True)
class Plant:
    """A bug, and the case that finds it."""

    case: str
    owner: Any
    name: str
    bug: Call
    #: Also in calls that name no device.
    always: bool = False
    target: str = "emulator"


T = torch.Tensor
PLANTS: dict[str, list[Plant]] = {
    "memory": [
        Plant("memory/addresses_do_not_overlap", T, "data_ptr", lambda *_: 64),
        Plant(
            "memory/empty/every_dtype",
            torch,
            "empty",
            lambda call, shape, **k: (
                call(shape, **k).t() if len(shape) == 2 else call((*shape, 1), **k)
            ),
        ),
        Plant(
            "memory/zeros_ones_full/every_dtype",
            torch,
            "zeros",
            functools.partial(other_function, torch.ones),
        ),
        Plant("memory/memory_comes_back", T, "tanh", never_freed),
        Plant("memory/storage_sizes", T, "resize_", nothing),
        Plant("memory/factories", torch, "arange", squared),
    ],
    "copies": [
        Plant("copies/up/every_dtype_and_layout", T, "to", first_is_zero, always=True),
        Plant("copies/down/every_dtype_and_layout", T, "cpu", lambda call, x: call(x).contiguous()),
        Plant("copies/into_layouts", T, "copy_", nothing),
        Plant("copies/lazy_bits", torch, "conj", lambda call, x: call(x).resolve_conj()),
        Plant("copies/conversions", T, "to", first_is_zero, always=True),
        Plant("copies/shapes_that_do_not_fit", T, "copy_", nothing),
        Plant("copies/saved_and_loaded", T, "view", copied),
    ],
    "views": [
        Plant("views/metadata_and_sharing", T, "permute", copied),
        Plant("views/view_as_another_dtype", T, "view", copied),
        Plant("views/version_counters", torch, "_foreach_add_", on_data),
        Plant("views/refused", T, "expand", nothing),
        Plant("views/form_changed_in_place", T, "t_", nothing),
        Plant("views/form_changed_in_place", T, "squeeze_", nothing),
        Plant("views/set_", T, "is_set_to", lambda *_: True),
        Plant("views/complex", T, "conj", copied),
        Plant("views/channels_last", T, "contiguous", nothing),
    ],
    "programs": [
        Plant("program/views", T, "permute", copied),
        Plant("program/memory", T, "zero_", nothing),
        Plant("program/strides", T, "as_strided", copied),
        Plant(
            "program/inference", torch, "maximum", functools.partial(other_function, torch.minimum)
        ),
        Plant("program/short_inference", T, "mul_", nothing),
        Plant("program/training", T, "tanh", wrong_gradient),
        Plant("program/short_training", T, "sin", wrong_gradient),
    ],
    "special": [
        Plant("special/round_trips", T, "relu", with_read),
        Plant("special/numbers_make_no_plan", torch, "full", with_new_shape),
        Plant("special/repeated_programs_send_the_same", T, "square", with_new_shape),
        Plant("special/tensors_of_the_host_are_refused", torch, "where", moved),
        Plant("special/optimizers_count_versions", torch, "_foreach_add_", on_data),
        Plant("special/ids_are_no_addresses", T, "data_ptr", lambda *_: 1 << 20),
        Plant(
            "special/bytes_of_a_view_travel_alone",
            T,
            "cpu",
            lambda call, x: call(x.as_strided((1000, 1000), (1000, 1), 0))[:, 3],
        ),
    ],
    "late_errors": [
        Plant("late_errors/raised_at_the_read", torch.linalg, "cholesky_ex", unchecked),
        Plant("late_errors/raised_at_synchronize_once", torch.linalg, "cholesky_ex", unchecked),
        Plant(
            "late_errors/each_failure_is_told_with_its_own_line", torch.linalg, "inv_ex", unchecked
        ),
        Plant("late_errors/other_work_is_not_lost", T, "mul_", nothing),
    ],
    "leaks": [Plant("leaks/nothing_is_left", T, "mul_", never_freed)],
    "mixed_precision": [
        Plant("mixed_precision/what_is_cast", torch, "bmm", in_float32),
        Plant("mixed_precision/models", torch.nn.functional, "cross_entropy", squared),
        Plant("mixed_precision/scaler_skips", torch.amp.GradScaler, "update", nothing, always=True),
        Plant(
            "mixed_precision/scaled_training",
            torch.amp.GradScaler,
            "unscale_",
            nothing,
            always=True,
        ),
    ],
    "random_numbers": [
        Plant("random/statistics", torch, "rand", squared),
        Plant("random/a_seed_gives_the_same", torch, "rand", unseeded),
        Plant("random/numbers_of_cuda", torch, "randn", twice),
        Plant("random/cpus_generator_is_not_the_devices", T, "normal_", moves_the_cpus),
        Plant("random/generators", T, "uniform_", without_generator),
    ],
    "several_devices": [
        Plant("several_devices/copies", T, "to", first_is_zero, always=True),
        Plant("several_devices/autograd_across", T, "tanh", wrong_gradient),
        Plant("several_devices/mixtures_are_refused", torch, "where", moved),
        Plant("several_devices/generators_are_apart", torch, "rand", unseeded),
    ],
    "streams": [
        Plant(
            "streams/current_stream_is_restored",
            torch.accelerator,
            "current_stream",
            another_stream,
            always=True,
        ),
        Plant("streams/order_through_events", T, "mul_", twice),
        Plant("streams/random_numbers_in_streams", torch, "rand", unseeded),
    ],
    "faults": [
        Plant("faults/out_of_memory_at_the_call", torch, "zeros", silent),
        Plant("faults/a_failure_among_many_programs", torch.linalg, "cholesky_ex", unchecked),
        Plant("faults/cut_between_operations", T, "mul_", twice, target="local"),
        Plant(
            "faults/failure_across_a_cut", torch.linalg, "cholesky_ex", unchecked, target="local"
        ),
        Plant("faults/slow_and_fragmented", T, "add_", twice, target="local"),
    ],
    "modules": [
        Plant(
            "module/nn.MaxPool2d/errors/float32", torch.nn.MaxPool2d, "forward", lambda _, __, x: x
        ),
        Plant("module/nn.Linear/train/float32", torch.nn.functional, "linear", wrong_gradient),
    ],
    "optimizers": [
        Plant("optimizer/SGD/errors/float32", torch.optim.SGD, "__init__", silent),
        Plant("optimizer/SGD/foreach/float32", torch, "_foreach_add_", twice),
    ],
    "operators": [Plant("op/neg/forward/float32", T, "copy_", nothing)],
    "foreach": [Plant("foreach/exp/in_place/float32", T, "copy_", nothing)],
    "generators": [Plant("generators/rand", torch, "rand", unseeded)],
    "unlisted": [
        Plant("unlisted/bounds", torch.nn.functional, "threshold", squared),
        Plant("unlisted/draws_into_tensors_that_are_there", T, "uniform_", nothing),
    ],
}
#: Of the protocol test_protocol_level.py shows it; what an executor holds is no program's to change: mutants leak.
SHOWN_ELSEWHERE = {"protocol", "executor_storages"}
ROWS = [
    pytest.param(family, plant, id=f"{plant.case}: {plant.name}")
    for family in PLANTS
    for plant in PLANTS[family]
]


def run_planted(
    family: str, plant: Plant, target: Target, monkeypatch: pytest.MonkeyPatch
) -> Result:
    case = find(family, plant.case, target)
    original = getattr(plant.owner, plant.name)

    @functools.wraps(original)
    def replacement(*arguments: Any, **keywords: Any) -> Any:
        if plant.always or _is_remote((arguments, keywords)):
            return plant.bug(original, *arguments, **keywords)
        return original(*arguments, **keywords)

    with monkeypatch.context() as patch:
        patch.setattr(plant.owner, plant.name, replacement)
        result = workers.run_case(case, target, 0)
    _kept.clear()
    gc.collect()  # tracebacks hold tensors, and these the index of a device that has ended
    return result


def test_every_family_has_a_plant() -> None:
    assert set(PLANTS) | SHOWN_ELSEWHERE == set(FAMILY_NAMES)


@pytest.mark.parametrize(("family", "plant"), ROWS)
def test_planted_bugs_are_found(
    family: str,
    plant: Plant,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    target = request.getfixturevalue(plant.target)
    result = run_planted(family, plant, target, monkeypatch)
    assert result.status is Status.FAILED
    assert result.failures
    assert result.failures[0].message


def test_failing_programs_are_short_and_run_by_themselves(
    emulator: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    [plant] = [one for one in PLANTS["programs"] if one.case == "program/memory"]
    result = run_planted("programs", plant, emulator, monkeypatch)
    body = result.script.split('"""')[3].strip().splitlines()
    assert len(body) <= 3, body
    assert "zero_" in result.script
    assert "zero_" in result.failures[0].message
    # The bug is gone: the program agrees.
    script = result.script.replace("emulator:T4", "torch:cpu")
    exec(compile(script, "script", "exec"), {})


def test_programs_are_those_of_the_seed(emulator: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    def lines_of(seed: int) -> list[random_programs.Lines]:
        seen: list[random_programs.Lines] = []
        module = importlib.import_module("torch_remote_conformance.programs")
        monkeypatch.setattr(module, "replay", lambda lines, *_: seen.append(lines))
        find("programs", "program/strides", emulator).run(Recorder(emulator, seed))
        return seen

    first = lines_of(0)
    assert lines_of(0) == first
    assert lines_of(1) != first
    assert len(set(first)) > 20


def test_a_line_that_only_one_side_refuses_is_told(emulator: Target) -> None:
    with pytest.raises(AssertionError, match=r"line 2: x0\.numpy\(\)"):
        random_programs.replay(("x0 = torch.ones(2, device=device)", "x0.numpy()"), emulator, EXACT)


def test_cases_of_functions(emulator: Target) -> None:
    family = Family("some", find("memory", "memory/factories", emulator).level)

    @family.case("each", each={"one": 1, "two": 2})
    def _each(_: Target, value: int) -> None:
        assert value == 1, "not one"

    family.compared("nothing_to_compare", {"raises": lambda _: torch.ones(2).view(3)})
    family.refused("nothing_refused", {"accepted": lambda d: torch.ones(2, device=d)})
    family.case("not_listed", applies=lambda target: not target.is_remote)(lambda _: None)
    results = {case.id: workers.run_case(case, emulator, 0) for case in family.cases(emulator)}
    assert {name: (one.samples, one.failed) for name, one in results.items()} == {
        "some/each": (2, 1),
        "some/nothing_to_compare": (1, 1),
        "some/nothing_refused": (1, 1),
    }
    assert results["some/each"].failures[0].label == "two"


@pytest.mark.parametrize("name", ["emulator", "local"])
@pytest.mark.parametrize("family", ["several_devices", "streams", "faults"])
def test_cases_of_the_last_level_pass(
    family: str, name: str, request: pytest.FixtureRequest
) -> None:
    target = request.getfixturevalue(name)
    module = importlib.import_module(f"torch_remote_conformance.{family}")
    results = [workers.run_case(case, target, 0) for case in module.cases(target)]
    failed = {one.id: one.failures for one in results if one.status is not Status.PASSED}
    assert not failed
    assert all(one.samples for one in results)
