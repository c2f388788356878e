# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Faults of emulated devices: torch_remote.emulate(..., faults=...)."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch_remote
from torch_remote import Faults, faults


@pytest.fixture
def make() -> Iterator[Callable[..., torch.device]]:
    made: list[torch.device] = []

    def emulate(given: Any, gpu_type: str = "T4", **options: Any) -> torch.device:
        made.append(torch_remote.emulate(gpu_type, num_threads=1, faults=given, **options))
        return made[-1]

    yield emulate
    for device in made:
        torch_remote.machine(device).stop()


def steps(device: torch.device, count: int) -> list[float]:
    """A small training program: its losses."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 1)).to(
        device
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    inputs = torch.arange(32.0, device=device).reshape(4, 8) / 32
    losses = []
    for _ in range(count):
        optimizer.zero_grad()
        loss = model(inputs).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_out_of_memory_at_the_nth_allocation(make: Callable[..., torch.device]) -> None:
    device = make(faults.OutOfMemory(allocation=3))
    first, _second = torch.ones(4, device=device), torch.empty(4, device=device)
    with pytest.raises(
        torch.OutOfMemoryError,
        match=r"CUDA out of memory. Tried to allocate 16 bytes.*allocation 3",
    ):
        first + 1
    assert (first + 1).tolist() == [2, 2, 2, 2]
    assert faults.happened(device) == [faults.OutOfMemory(3)]


def test_recovery_from_out_of_memory_can_be_tested(make: Callable[..., torch.device]) -> None:
    """What a user would test: the batch is halved until it fits."""
    device = make([faults.OutOfMemory(1), faults.OutOfMemory(2)])
    sizes = []
    for size in (64, 32, 16):
        sizes.append(size)
        try:
            torch.empty(size, 8, device=device)
            break
        except torch.OutOfMemoryError:
            continue
    assert sizes == [64, 32, 16]
    assert len(faults.happened(device)) == 2


@pytest.mark.parametrize("name", ["mm", "aten::mm"])
def test_an_operator_fails_at_its_nth_call(make: Callable[..., torch.device], name: str) -> None:
    device = make(faults.OperatorFailure(name, call=2))
    x = torch.eye(3, device=device)
    y = x @ x
    x.add_(0)
    with pytest.raises(
        RuntimeError, match=r"launch failure.*call 2 of aten::mm(?s:.*)test_faults.py:\d+"
    ):
        x @ x
    assert torch.equal((x @ y).cpu(), torch.eye(3))
    torch.remote.synchronize(device)


def test_any_operator_and_another_message(make: Callable[..., torch.device]) -> None:
    device = make(faults.OperatorFailure(call=2, message="device-side assert triggered"))
    x = torch.ones(3, device=device)
    with pytest.raises(RuntimeError, match="device-side assert triggered"):
        x * 2


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (faults.Preemption(operation=40), "the machine was preempted"),
        (faults.ExecutorCrash(operation=40), "the executor crashed"),
    ],
)
def test_the_executor_goes_away(make: Callable[..., torch.device], fault: Any, text: str) -> None:
    device = make(fault)
    kept = torch.ones(3, device=device)
    with pytest.raises(RuntimeError, match=f"is not usable any more.*{text}.*operation 40"):
        steps(device, 100)
    for use in (
        lambda: kept + 1,
        lambda: kept.tolist(),
        lambda: torch.ones(1, device=device),
        lambda: torch.ones(1).to(device),
        lambda: torch.remote.synchronize(device),
        lambda: torch.remote.get_rng_state(device),
    ):
        with pytest.raises(RuntimeError, match=text):
            use()
    assert faults.happened(device) == [fault]


def test_training_goes_on_after_a_preemption(
    make: Callable[..., torch.device], tmp_path: Any
) -> None:
    """What a user would test: checkpoints, and another machine, give the run that nothing happened to."""

    def train(device: torch.device) -> list[float]:
        torch.manual_seed(0)
        model = torch.nn.Linear(4, 1).to(device)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        losses: list[float] = []
        if (tmp_path / "state.pt").exists():
            state = torch.load(tmp_path / "state.pt")
            model.load_state_dict(state["model"])
            losses = state["losses"]
        while len(losses) < 10:
            loss = model(torch.ones(2, 4, device=device)).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            weights = {name: value.cpu() for name, value in model.state_dict().items()}
            torch.save({"model": weights, "losses": losses}, tmp_path / "state.pt")
        return losses

    expected = train(make([]))
    (tmp_path / "state.pt").unlink()
    with pytest.raises(RuntimeError, match="preempted"):
        train(make(Faults(faults.Preemption(operation=(60, 90)), seed=5)))
    assert train(make([])) == expected


def test_a_cut_connection_is_not_noticed(make: Callable[..., torch.device]) -> None:
    expected = steps(make([]), 20)
    cuts = [faults.CutConnection(place, duration_s=0.02) for place in (1, 50, 51, 200)]
    device = make(cuts)
    assert steps(device, 20) == expected
    assert faults.happened(device) == cuts


def test_a_slow_connection_is_slow_and_right(make: Callable[..., torch.device]) -> None:
    import time

    expected = steps(make([]), 2)
    device = make(faults.SlowConnection(reply_delay_s=0.05))
    start = time.monotonic()
    assert steps(device, 2) == expected
    assert time.monotonic() - start >= 2 * 0.05  # one read a step
    assert faults.happened(device) == []


def test_the_same_seed_gives_the_same_faults(make: Callable[..., torch.device]) -> None:
    def place_of(seed: int) -> int:
        device = make(Faults(faults.Preemption(operation=(10, 400)), seed=seed))
        before = torch_remote.stats(device).operations
        with pytest.raises(RuntimeError, match="preempted"):
            steps(device, 100)
        (fault,) = faults.happened(device)
        assert isinstance(fault, faults.Preemption)
        assert torch_remote.stats(device).operations - before == fault.operation - 1
        return int(fault.operation)  # type: ignore[arg-type]

    places = [place_of(seed) for seed in (1, 1, 2, 3)]
    assert places[0] == places[1]
    assert len(set(places)) > 1
    given = Faults(faults.Preemption((10, 400)), faults.OutOfMemory((1, 9)), seed=7)
    assert given.drawn() == given.drawn()
    assert given.drawn() == given.drawn().drawn()
    assert eval(repr(given.drawn()), {"Faults": Faults, **vars(faults)}) == given.drawn()


def test_faults_in_a_dry_run(make: Callable[..., torch.device]) -> None:
    device = make(faults.OutOfMemory(2), "H100", dry_run=True)
    kept = torch.empty(2**33, device=device)
    with pytest.raises(torch.OutOfMemoryError, match="allocation 2"):
        torch.empty(1, device=device)
    assert kept.numel() == 2**33
    with pytest.raises(ValueError, match="a dry run has no connection"):
        make(faults.SlowConnection(0.1), dry_run=True)


def test_models_still_see_the_program(make: Callable[..., torch.device]) -> None:
    device = make(faults.OperatorFailure("mm", call=1))
    before = torch.remote.memory_allocated(device)
    x = torch.ones(16, 16, device=device)
    with pytest.raises(RuntimeError):
        x @ x
    assert torch.remote.memory_allocated(device) - before == 1024
    with pytest.raises(torch.OutOfMemoryError, match=r"Tried to allocate 1024\.00 GiB"):
        torch.empty(2**40, dtype=torch.uint8, device=device)
    assert torch.remote.get_device_name(device) == "Tesla T4"


def test_without_faults_there_is_nothing_to_ask() -> None:
    device = torch_remote.emulate("T4")
    with pytest.raises(ValueError, match="made without faults"):
        faults.happened(device)
    torch_remote.machine(device).stop()


@pytest.mark.parametrize(
    ("wrong", "error", "text"),
    [
        (lambda: faults.OutOfMemory(0), ValueError, "allocation is 0"),
        (lambda: faults.OutOfMemory(1.5), TypeError, "whole number"),
        (lambda: faults.Preemption((9, 3)), ValueError, "from 9"),
        (lambda: faults.Preemption((1, 2, 3)), ValueError, "the least and the most"),
        (lambda: faults.OperatorFailure("aten::add.Tensor"), ValueError, "leave out the overload"),
        (lambda: faults.CutConnection(1, duration_s=-1), ValueError, "more than 0"),
        (lambda: faults.SlowConnection("slow"), TypeError, "seconds"),
        (lambda: Faults("preemption"), TypeError, "Preemption"),
        (lambda: Faults(seed=-1), ValueError, "seed is -1"),
        (lambda: torch_remote.emulate("T4", faults="all"), TypeError, "Faults"),
        (lambda: torch_remote.emulate("T4", gpu_count=2, faults=[]), ValueError, "one GPU"),
    ],
)
def test_wrong_arguments(wrong: Callable[[], Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        wrong()
