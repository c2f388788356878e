# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Several devices of one machine, and of one executor."""

import pytest
import torch
import torch_remote
from programs import output_of


def test_several_emulated_gpus() -> None:
    first = torch_remote.emulate("T4", gpu_count=3, num_threads=1)
    machine = torch_remote.machine(first)
    assert machine.devices[0] == first
    assert len(set(machine.devices)) == 3
    for device in machine.devices:
        assert torch_remote.machine(device).devices == machine.devices
        assert torch_remote.machine(device) == machine
        assert torch_remote.machine(device).device == device
    assert torch_remote.machines().count(machine) == 1

    x = torch.empty(1 << 20, device=machine.devices[1])
    allocated = [torch.remote.memory_allocated(device) for device in machine.devices]
    assert allocated == [0, x.nbytes, 0], "each has a memory of its own"
    y = torch.arange(3.0, device=machine.devices[2]).to(first)
    assert (y + 1).tolist() == [1, 2, 3]

    torch_remote.machine(machine.devices[2]).stop()
    assert not machine.running
    assert machine not in torch_remote.machines()
    machine.stop()
    for device in machine.devices:
        with pytest.raises(RuntimeError, match=r"stopped|ended|not usable"):
            torch.ones(2, device=device).sum().item()


@pytest.mark.parametrize("count", [0, 17])
def test_bad_gpu_counts(count: int) -> None:
    with pytest.raises(ValueError, match=f"gpu_count is {count}; it has to be from 1 to 16"):
        torch_remote.emulate("T4", gpu_count=count)
    with pytest.raises(TypeError, match="gpu_count has to be a whole number"):
        torch_remote.emulate("T4", gpu_count=1.5)  # type: ignore[arg-type]


def test_more_emulated_gpus_than_there_is_place_for() -> None:
    program = """
        import torch, torch_remote
        first = torch_remote.emulate("T4", num_threads=1)
        try:
            torch_remote.emulate("T4", gpu_count=16, num_threads=1)
        except RuntimeError as error:
            print(error)
        print([one.device for one in torch_remote.machines()] == [first])
    """
    told = output_of(program).splitlines()  # in a process of its own, as it takes every index
    assert told[0].startswith("all 16 remote devices are in use")
    assert told[-1] == "True"


def test_failures_of_all_devices_are_told_at_the_stop() -> None:
    device = torch_remote.emulate("T4", gpu_count=2, num_threads=1)
    machine = torch_remote.machine(device)
    for one in machine.devices:
        torch.zeros(2, device=one)[torch.tensor([7], device=one)]
    with pytest.warns(UserWarning, match="nothing read its result") as told:
        machine.stop()
    texts = [str(one.message) for one in told]
    assert len(texts) == 2
    assert all(f"on {one} failed" in text for one, text in zip(machine.devices, texts, strict=True))


def test_the_devices_of_an_executor() -> None:
    with torch_remote.LocalExecutor(device_count=2) as executor:
        devices = [
            torch_remote.connect(executor.endpoint, device_index=index, num_threads=1)
            for index in range(2)
        ]
        totals = [torch.full((2,), i + 1.0, device=d).sum() for i, d in enumerate(devices)]
        assert [total.item() for total in totals] == [2, 4]
        counts = [torch_remote.ensure_loaded().executor_device_count(d.index) for d in devices]
        assert counts == [2, 2]
        with pytest.raises(ConnectionError, match="there is no device 2 here, but 2"):
            torch_remote.connect(executor.endpoint, device_index=2)
        for device in devices:  # each is a machine for itself: they were not made together
            assert torch_remote.machine(device).devices == (device,)
            torch_remote.machine(device).stop()


@pytest.mark.parametrize(
    ("index", "error"), [(-1, ValueError), (2**32, ValueError), ("0", TypeError), (0.5, TypeError)]
)
def test_bad_device_indices(index: int, error: type[Exception]) -> None:
    with pytest.raises(error, match="device_index"):
        torch_remote.connect("tcp://127.0.0.1:1", device_index=index)
