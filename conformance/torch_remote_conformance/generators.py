# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Cases of generators: what seeds and states mean, and that generators know nothing of each other.

The numbers themselves are compared with CPU's where the target draws CPU's (Target.draws_as_cpu); that the same seed
gives the same numbers, and another one others, holds everywhere.
"""

import functools
from collections.abc import Callable, Iterator

import torch

from torch_remote_conformance.case import Case, Level, Recorder
from torch_remote_conformance.target import Target

#: Draws on a device, from its default generator or the one given.
Draw = Callable[[torch.device, torch.Generator | None], torch.Tensor]

_DRAWS: dict[str, Draw] = {
    "rand": lambda device, one: torch.rand(33, device=device, generator=one),
    "randn": lambda device, one: torch.randn(4, 9, device=device, generator=one),
    "randint": lambda device, one: torch.randint(1000, (20,), device=device, generator=one),
    "randperm": lambda device, one: torch.randperm(50, device=device, generator=one),
    "uniform_": lambda device, one: torch.empty(7, 5, device=device).uniform_(-2, 3, generator=one),
    "normal_": lambda device, one: torch.empty(40, device=device).normal_(1, 2, generator=one),
    "exponential_": lambda device, one: torch.empty(9, device=device).exponential_(generator=one),
    "bernoulli_": lambda device, one: torch.empty(64, device=device).bernoulli_(0.3, generator=one),
    "random_": lambda device, one: torch.empty(31, device=device).random_(generator=one),
    "random_to": lambda device, one: torch.empty(31, device=device).random_(77, generator=one),
    "random_from": lambda device, one: torch.empty(31, dtype=torch.int64, device=device).random_(
        -5, 2**40, generator=one
    ),
    "multinomial": lambda device, one: torch.multinomial(
        torch.arange(1.0, 9.0, device=device), 20, replacement=True, generator=one
    ),
}


def cases(target: Target) -> Iterator[Case]:
    """The cases; none for what draws no numbers of its own."""
    if target.device.type == "meta":
        return
    for name, draw in _DRAWS.items():
        run = functools.partial(_check, draw)
        yield Case(f"generators/{name}", Level.L2, run, "generators")


def _check(draw: Draw, recorder: Recorder) -> None:
    target = recorder.target
    for what, check in (
        ("the default generator's seed", _seeds),
        ("its state", _states),
        ("other generators", _generators),
    ):
        with recorder.sample(what):
            check(draw, target, recorder.seed)


def _seeds(draw: Draw, target: Target, seed: int) -> None:
    """The same numbers after the same seed, each draw others, and CPU's where they are CPU's."""
    drawn = []
    for one in (seed, seed + 1, seed, seed + 1):
        torch.manual_seed(one)
        drawn.append([draw(target.device, None).cpu() for _ in range(3)])
    _assert_equal(drawn[0], drawn[2], "after the same seed")
    _assert_equal(drawn[1], drawn[3], "after the same seed")
    _assert_different(drawn[0][0], drawn[0][1], "one after the other")
    _assert_different(drawn[0][0], drawn[1][0], "after different seeds")
    if target.draws_as_cpu:
        torch.manual_seed(seed)
        local = [draw(torch.device("cpu"), None) for _ in range(3)]
        _assert_equal(drawn[0], local, "on CPU")


def _states(draw: Draw, target: Target, seed: int) -> None:
    """A state that is set again gives the same numbers again, each time."""
    module = torch.get_device_module(target.device)
    if not hasattr(module, "get_rng_state"):
        module = torch
    torch.manual_seed(seed)
    draw(target.device, None)
    state = _state(module, target)
    drawn = []
    for _ in range(3):
        _set_state(module, target, state)
        drawn.append([draw(target.device, None).cpu() for _ in range(2)])
    _assert_equal(drawn[0], drawn[1], "after the same state")
    _assert_equal(drawn[0], drawn[2], "after the same state")
    _assert_different(drawn[0][0], drawn[0][1], "one after the other")


def _state(module: object, target: Target) -> torch.Tensor:
    if module is torch or target.device.type == "cpu":
        return torch.get_rng_state()
    state: torch.Tensor = module.get_rng_state(target.device)  # type: ignore[attr-defined]
    return state


def _set_state(module: object, target: Target, state: torch.Tensor) -> None:
    if module is torch or target.device.type == "cpu":
        torch.set_rng_state(state)
    else:
        module.set_rng_state(state, target.device)  # type: ignore[attr-defined]


def _generators(draw: Draw, target: Target, seed: int) -> None:
    """Each has its own numbers; what one draws moves no other."""
    first, second = (torch.Generator(target.device).manual_seed(seed) for _ in range(2))
    alone = [draw(target.device, first).cpu() for _ in range(3)]
    mixed = []
    for _ in range(3):
        mixed.append(draw(target.device, second).cpu())
        draw(target.device, first)
        draw(target.device, None)
    _assert_equal(alone, mixed, "of another generator with the same seed")
    first.set_state(second.get_state())
    _assert_equal(
        [draw(target.device, first).cpu()], [draw(target.device, second).cpu()], "of the same state"
    )


def _assert_equal(ours: list[torch.Tensor], theirs: list[torch.Tensor], when: str) -> None:
    for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
        assert torch.equal(one, other), f"draw {number}: {one} is not what there is {when}: {other}"


def _assert_different(one: torch.Tensor, other: torch.Tensor, when: str) -> None:
    assert not torch.equal(one, other), f"the same numbers {when}: {one}"
