# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Random numbers come from the executor's generators, which PyTorch's functions seed, save and restore."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.utils.checkpoint
import torch_remote


def draw(device: torch.device, generator: torch.Generator | None = None) -> list[float]:
    return torch.rand(5, device=device, generator=generator).tolist()


@pytest.fixture(autouse=True)
def _cpu_generator_is_never_touched() -> None:
    torch.manual_seed(20260101)


def test_manual_seed_seeds_the_device(device: torch.device) -> None:
    torch.manual_seed(7)
    first, second = draw(device), draw(device)
    assert first != second
    torch.manual_seed(7)
    assert [draw(device), draw(device)] == [first, second]
    assert torch.remote.initial_seed(device) == 7


def test_manual_seed_counts_for_devices_made_later() -> None:
    torch.manual_seed(11)
    early = torch_remote.emulate("T4")
    torch.manual_seed(11)
    late = torch_remote.emulate("T4")
    assert torch.remote.initial_seed(late) == 11
    assert draw(early) == draw(late)
    for device in (early, late):
        torch_remote.machine(device).stop()


def test_a_seed_means_the_same_in_process_and_over_tcp(emulator: torch.device) -> None:
    with torch_remote.LocalExecutor(emulate="T4") as executor:
        remote = torch_remote.connect(executor.endpoint)
        for draw_some in (
            torch.rand,
            torch.randn,
            lambda n, device: torch.randint(1000, (n,), device=device),
        ):
            torch.manual_seed(5)
            assert torch.equal(
                draw_some(1000, device=emulator).cpu(), draw_some(1000, device=remote).cpu()
            )
        torch_remote.machine(remote).stop()


def test_the_cpu_generator_is_not_the_devices(device: torch.device) -> None:
    state = torch.get_rng_state()
    draw(device)
    x = torch.ones(100, device=device)
    torch.nn.functional.dropout(x)
    x.normal_()
    torch.randperm(10, device=device)
    torch.bernoulli(torch.full((3,), 0.5, device=device))
    torch.remote.synchronize(device)
    torch.remote.manual_seed(1)
    torch.remote.manual_seed_all(1)
    assert torch.equal(torch.get_rng_state(), state)


def test_cpu_draws_do_not_move_the_device(device: torch.device) -> None:
    torch.manual_seed(4)
    expected = draw(device)
    torch.manual_seed(4)
    torch.rand(100)
    assert draw(device) == expected


def test_state_of_the_default_generator(device: torch.device) -> None:
    torch.remote.manual_seed_all(1)
    draw(device)
    state = torch.remote.get_rng_state(device)
    assert (state.dtype, state.device.type, state.dim()) == (torch.uint8, "cpu", 1)
    expected = draw(device)
    draw(device)
    torch.remote.set_rng_state(state, device)
    assert draw(device) == expected


def test_states_that_are_none_are_refused(device: torch.device) -> None:
    before = torch.remote.get_rng_state(device)
    with pytest.raises(TypeError, match="uint8"):
        torch.remote.set_rng_state(torch.zeros(16), device)
    with pytest.raises(TypeError, match="uint8"):
        torch.Generator(device).set_state(torch.zeros(16))
    torch.remote.set_rng_state(torch.zeros(5, dtype=torch.uint8), device)
    with pytest.raises((RuntimeError, ValueError), match="state"):
        torch.remote.synchronize(device)
    assert torch.equal(torch.remote.get_rng_state(device), before)


def test_a_state_that_has_drawn_nothing_is_for_every_executor(
    device: torch.device, draws_as_cpu: torch.device
) -> None:
    state = torch.tensor([42, 0], dtype=torch.int64).view(torch.uint8)
    for where in (device, draws_as_cpu):
        torch.manual_seed(42)
        expected = torch.rand(10, device=where).cpu()
        torch.manual_seed(43)
        torch.remote.set_rng_state(state, where)
        assert torch.equal(torch.rand(10, device=where).cpu(), expected)


def test_fork_rng_restores_the_device(device: torch.device) -> None:
    torch.remote.manual_seed_all(2)
    expected = draw(device)
    torch.remote.manual_seed_all(2)
    with torch.random.fork_rng(devices=[device.index], device_type="remote"):
        torch.manual_seed(99)
        draw(device)
    assert draw(device) == expected


def test_generators_are_independent(device: torch.device) -> None:
    first, second = torch.Generator(device), torch.Generator(device)
    assert first.device == device
    first.manual_seed(1)
    second.manual_seed(1)
    torch.manual_seed(1)
    default = draw(device)
    assert draw(device, first) == draw(device, second) == default
    assert draw(device, first) != default
    assert first.initial_seed() == 1


def test_new_generators_begin_alike(device: torch.device) -> None:
    assert torch.Generator(device).initial_seed() == torch.Generator().initial_seed()
    assert draw(device, torch.Generator(device)) == draw(device, torch.Generator(device))


def test_state_of_a_generator(device: torch.device) -> None:
    generator = torch.Generator(device).manual_seed(8)
    draw(device, generator)
    state, clone = generator.get_state(), generator.clone_state()
    expected = draw(device, generator)
    assert draw(device, clone) == expected
    assert clone.initial_seed() == 8
    generator.set_state(state)
    assert draw(device, generator) == expected
    assert generator.seed() == generator.initial_seed()
    assert draw(device, generator) != expected


def test_a_generator_of_another_device_is_refused(device: torch.device) -> None:
    with pytest.raises(
        RuntimeError, match="expected a 'remote' device type for generator but found 'cpu'"
    ):
        torch.rand(2, device=device, generator=torch.Generator())
    with pytest.raises(RuntimeError, match=r"remote"):
        torch.rand(2, generator=torch.Generator(device))


def test_a_generator_of_another_remote_device_is_refused(
    emulator: torch.device, null: torch.device
) -> None:
    with pytest.raises(RuntimeError, match=f"a generator of {emulator} but found one of {null}"):
        torch.rand(2, device=emulator, generator=torch.Generator(null))


def test_dropout_draws_from_the_device(device: torch.device) -> None:
    x = torch.ones(200, device=device)
    torch.manual_seed(6)
    first = torch.nn.functional.dropout(x)
    torch.manual_seed(6)
    assert torch.equal(torch.nn.functional.dropout(x).cpu(), first.cpu())
    assert not torch.equal(torch.nn.functional.dropout(x).cpu(), first.cpu())
    assert 0 < first.count_nonzero().item() < 200


def test_seed_all_seeds_with_something_new(device: torch.device) -> None:
    torch.remote.manual_seed_all(1)
    torch.remote.seed_all()
    seed = torch.remote.initial_seed(device)
    torch.remote.seed_all()
    assert len({1, seed, torch.remote.initial_seed(device)}) == 3


def test_negative_and_large_seeds_are_taken(device: torch.device) -> None:
    for seed in (-1, 2**63, 2**64 - 1):
        torch.manual_seed(seed)
        first = draw(device)
        torch.manual_seed(seed)
        assert draw(device) == first


def test_generators_that_were_dropped_cost_nothing(device: torch.device) -> None:
    """An executor takes so many generators, and no more, of one session."""
    seed = 11
    for _ in range(70_000):
        generator = torch.Generator(device=device)
    generator.manual_seed(seed)
    expected = torch.rand(4, device=device, generator=generator).cpu()
    again = torch.Generator(device=device).manual_seed(seed)
    assert torch.equal(torch.rand(4, device=device, generator=again).cpu(), expected)


def test_random_seeds_leave_the_cpu_alone(device: torch.device) -> None:
    state = torch.get_rng_state()
    with torch.remote.device(device):
        torch.remote.seed()
        first = torch.remote.initial_seed()
        torch.remote.seed_all()
        assert torch.remote.initial_seed() != first
    assert torch.equal(torch.get_rng_state(), state)


def test_seeding_goes_on_without_an_executor_that_is_gone(emulator: torch.device) -> None:
    with torch_remote.LocalExecutor() as executor:
        device = torch_remote.connect(executor.endpoint, reconnect_timeout_s=0.1)
        x = torch.ones(2, device=device)
    with pytest.raises(RuntimeError, match="not usable any more"):
        x.sum().item()
    torch.manual_seed(5)
    first = torch.rand(3, device=emulator)
    torch.manual_seed(5)
    assert torch.equal(torch.rand(3, device=emulator).cpu(), first.cpu())
    torch_remote.machine(device).stop()


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_copies_of_a_generator(device: torch.device, duplicate: Callable[..., Any]) -> None:
    generator = torch.Generator(device).manual_seed(5)
    draw(device, generator)
    copied = duplicate(generator)
    assert (copied.device, copied.initial_seed()) == (device, 5)
    expected = draw(device, generator)
    assert draw(device, copied) == expected
    assert torch.equal(duplicate(torch.Generator().manual_seed(4)).get_state(), seeded_on_cpu(4))


def seeded_on_cpu(seed: int) -> torch.Tensor:
    return torch.Generator().manual_seed(seed).get_state()


def test_handles_that_share_a_state(device: torch.device) -> None:
    generator = torch.Generator(device).manual_seed(6)
    handle = generator.graphsafe_get_state()
    expected = [draw(device, generator), draw(device, generator)]
    handle.manual_seed(6)
    assert [draw(device, handle), draw(device, generator)] == expected
    other = torch.Generator(device)
    other.graphsafe_set_state(handle)
    generator.manual_seed(6)
    del generator, handle
    assert [draw(device, other), draw(device, other)] == expected
    assert other.initial_seed() == 6


def test_a_state_of_another_device_is_not_taken_over(
    emulator: torch.device, tcp: torch.device
) -> None:
    generator = torch.Generator(emulator)
    with pytest.raises(TypeError, match=f"a generator of {emulator} can't have the state"):
        generator.graphsafe_set_state(torch.Generator(tcp))


def test_states_of_all_devices(emulator: torch.device, tcp: torch.device) -> None:
    torch.manual_seed(8)
    states = torch.remote.get_rng_state_all()
    expected = [draw(emulator), draw(tcp)]
    torch.remote.seed_all()
    torch.remote.set_rng_state_all(states)
    assert [draw(emulator), draw(tcp)] == expected


def test_states_of_all_devices_where_one_was_stopped(
    emulator: torch.device, make_emulator: Callable[..., torch.device]
) -> None:
    stopped, last = make_emulator(), make_emulator()
    torch_remote.machine(stopped).stop()
    states = torch.remote.get_rng_state_all()
    assert states[stopped.index].numel() == 0
    expected = [draw(emulator), draw(last)]
    torch.remote.set_rng_state_all(states)
    assert [draw(emulator), draw(last)] == expected


def test_fork_rng_forks_the_cpu_and_the_device(device: torch.device) -> None:
    torch.manual_seed(2)
    expected = torch.rand(3), draw(device)
    torch.manual_seed(2)
    with torch.random.fork_rng(devices=[device], device_type="remote"):
        torch.manual_seed(99)
        torch.rand(7)
        draw(device)
    assert torch.equal(torch.rand(3), expected[0])
    assert draw(device) == expected[1]
    with torch.random.fork_rng(devices=[device], enabled=False, device_type="remote"):
        moved = draw(device)
    assert draw(device) != moved


def test_a_checkpoint_draws_the_same_again(device: torch.device) -> None:
    def gradient(checkpointed: bool) -> list[float]:
        torch.manual_seed(3)
        x = torch.ones(64, device=device, requires_grad=True)

        def drop(y: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.dropout(y).square()

        if checkpointed:
            y = torch.utils.checkpoint.checkpoint(drop, x, use_reentrant=False)
        else:
            y = drop(x)
        torch.rand(5, device=device)  # moves the generator before the backward pass
        y.sum().backward()
        assert x.grad is not None
        return x.grad.tolist()

    assert gradient(True) == gradient(False)
