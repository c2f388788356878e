# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""What every provider has to do, as tests.

    from torch_remote.testing import ProviderContract

    class TestMine(ProviderContract):
        options = {"size": "small"}

        @pytest.fixture
        def provider(self):
            return MyProvider()

Each test starts machines of its own, with short leases, and ends with none left. The provider has to
be registered under its name (an entry point, or torch_remote.providers.registry.add).
"""

import contextlib
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

import torch_remote
from torch_remote._machines import manage, records, start
from torch_remote._machines.terms import NAME_TAG, OWNER_TAG, owner
from torch_remote.providers import MachineStatus, Progress, Provider, registry

LEASE_S = 6
#: For what takes seconds: machines that run tests are busy.
TIMEOUT_S = 60.0


class ProviderContract:
    """Base class of a provider's tests."""

    gpu_type: ClassVar[str] = "T4"
    #: Passed to create_device.
    options: ClassVar[Mapping[str, Any]] = {}
    #: Why machines with two GPUs can't be had; None where they can.
    one_gpu_only: ClassVar[str | None] = None

    @pytest.fixture
    def provider(self) -> Provider:
        raise NotImplementedError("a provider's tests bring their provider")

    @pytest.fixture(autouse=True)
    def _nothing_is_left(
        self, provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[None]:
        """Keys and records of the test's own, and no machine at its end."""
        monkeypatch.setenv("TORCH_REMOTE_STATE", str(tmp_path / "state"))
        monkeypatch.setenv("TORCH_REMOTE_KEYS", str(tmp_path / "keys"))
        monkeypatch.setattr(start, "_SEARCH_PAUSE_S", 0.1)
        yield
        left = provider.find({OWNER_TAG: owner()}, self.options)
        for machine_id in left:
            provider.stop(machine_id)
        assert left == []
        assert records.everything() == []

    def create(self, provider: Provider, **changes: Any) -> torch.device:
        """A device of the provider."""
        wanted = {"lease_s": LEASE_S, "idle_timeout_s": TIMEOUT_S, **self.options, **changes}
        return torch_remote.create_device(provider, self.gpu_type, **wanted)

    def test_a_program(self, provider: Provider) -> None:
        device = self.create(provider)
        x = torch.randn(1000, 1000, device=device)
        y = torch.randn(1000, 1000, device=device)
        product = (x @ y).cpu()
        # With the one of the hello, from the moment that the machine is there.
        assert 1 + torch_remote.stats(device).round_trips <= 3
        torch.testing.assert_close(product, x.cpu() @ y.cpu(), rtol=1e-3, atol=1e-3)
        torch_remote.machine(device).stop()

    def test_a_training_run(self, provider: Provider) -> None:
        device = self.create(provider)
        torch.manual_seed(0)
        features, labels = torch.randn(64, 8), torch.randint(0, 3, (64,))
        assert _losses("cpu", features, labels) == pytest.approx(
            _losses(device, features, labels), rel=1e-3
        )
        torch_remote.machine(device).stop()

    def test_several_at_once(self, provider: Provider) -> None:
        devices = [self.create(provider) for _ in range(3)]
        machines = [torch_remote.machine(device) for device in devices]
        assert len({machine.name for machine in machines}) == 3
        totals = [torch.full((4,), i, device=d).sum() for i, d in enumerate(devices)]
        assert [total.item() for total in totals] == [0, 4, 8]
        assert len(manage.listed()) == 3
        machines[1].stop()
        assert totals[2].item() == 8
        machines[0].stop()
        machines[2].stop()

    @pytest.mark.parametrize("begin", ["now", "lazy"])
    def test_two_gpus(self, provider: Provider, begin: str) -> None:
        if self.one_gpu_only is not None:
            pytest.skip(self.one_gpu_only)
        machine = torch_remote.machine(self.create(provider, gpu_count=2, start=begin))
        first, second = machine.devices
        assert (torch.arange(4.0, device=second) * 2).to(first).tolist() == [0, 2, 4, 6]
        (listed,) = manage.listed()
        assert listed.record.gpu_count == 2
        same = torch_remote.machine(second)
        assert (same, same.devices, same.name) == (machine, machine.devices, machine.name)
        machine.detach()
        for device in machine.devices:
            torch_remote.ensure_loaded().stop(device.index)
        attached = torch_remote.machine(torch_remote.attach(listed.record.name))
        totals = [torch.ones(3, device=device).sum().item() for device in attached.devices]
        assert totals == [3, 3]
        attached.stop()

    def test_a_machines_life(self, provider: Provider) -> None:
        device = self.create(provider, name="mine", tags={"project": "one"})
        machine = torch_remote.machine(device)
        assert (machine.name, machine.provider) == ("mine", provider.name)
        record = records.get("mine")
        assert record.machine_id is not None
        assert provider.status(record.machine_id) is MachineStatus.RUNNING
        assert "torch-remote-executor" in machine.logs()
        cost = machine.cost()
        assert cost is None or 0 <= cost < 10
        found = provider.find({NAME_TAG: "mine", "project": "one"}, self.options)
        assert found == [record.machine_id]
        assert provider.find({NAME_TAG: "mine", "project": "two"}, self.options) == []
        with pytest.raises(ValueError, match="there is a machine named 'mine' already"):
            self.create(provider, name="mine")
        machine.stop()
        assert not machine.running
        assert provider.status(record.machine_id) is MachineStatus.ENDED
        assert provider.find({NAME_TAG: "mine"}, self.options) == []
        machine.stop()
        provider.stop(record.machine_id)
        assert machine.cost() == machine.cost()

    def test_what_nobody_knows(self, provider: Provider) -> None:
        device = self.create(provider)
        machine_id = records.everything()[0].machine_id
        assert machine_id is not None
        torch_remote.machine(device).stop()
        unknown = machine_id[:-1] + ("0" if machine_id[-1] != "0" else "1")
        assert provider.status(unknown) is MachineStatus.ENDED
        provider.stop(unknown)

    def test_started_by_the_first_operation(self, provider: Provider) -> None:
        device = self.create(provider, start="lazy")
        machine = torch_remote.machine(device)
        assert not machine.running
        assert records.everything() == []
        assert torch.ones(3, device=device).sum().item() == 3
        assert machine.running
        machine.stop()
        torch_remote.machine(
            self.create(provider, start="lazy")
        ).stop()  # never needed, so never started

    def test_attach(self, provider: Provider) -> None:
        assert type(registry.find(provider.name)) is type(provider)
        first = self.create(provider, name="kept")
        torch_remote.machine(first).detach()
        torch_remote.ensure_loaded().stop(first.index)  # as this program's end would do
        device = torch_remote.attach("kept")
        assert torch.ones(3, device=device).sum().item() == 3
        torch_remote.machine(device).stop()
        with pytest.raises(LookupError, match="there is no machine 'kept'"):
            torch_remote.attach("kept")

    def test_the_lease(self, provider: Provider) -> None:
        device = self.create(provider)
        (record,) = records.everything()
        assert record.machine_id is not None
        torch_remote.ensure_loaded().stop(device.index)  # as if this program had been killed
        left_at = time.monotonic()
        while provider.status(record.machine_id) is not MachineStatus.ENDED:
            assert time.monotonic() - left_at < LEASE_S + TIMEOUT_S / 2
            time.sleep(0.1)
        assert manage.listed() == []

    def test_options_that_it_does_not_have(self, provider: Provider) -> None:
        with pytest.raises(TypeError, match="bogus"):
            self.create(provider, bogus=1)

    @pytest.mark.parametrize("stage", range(5))
    def test_interrupted(
        self, provider: Provider, monkeypatch: pytest.MonkeyPatch, stage: int
    ) -> None:
        """Ctrl-C as the provider begins one of its stages; where it has fewer, the start succeeds."""

        @contextlib.contextmanager
        def shown(_: str) -> Iterator[Progress]:
            yield _Interrupting(stage)

        monkeypatch.setattr(start, "shown", shown)
        try:
            device = self.create(provider)
        except KeyboardInterrupt:
            return
        assert stage > 0
        torch_remote.machine(device).stop()


class _Interrupting(Progress):
    def __init__(self, stage: int) -> None:
        self._left = stage

    def stage(self, text: str) -> None:  # noqa: ARG002
        self._left -= 1
        if self._left < 0:
            raise KeyboardInterrupt


def _losses(
    device: torch.device | str, features: torch.Tensor, labels: torch.Tensor
) -> list[float]:
    """Of ten steps of training on a device."""
    torch.manual_seed(1)
    model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3))
    model, features, labels = model.to(device), features.to(device), labels.to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for _ in range(10):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(features), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    assert losses[-1].item() < losses[0].item()
    return [loss.item() for loss in losses]
