# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Machines end, whatever went wrong on the way."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch_remote
from programs import run_python
from torch_remote._machines import manage, records, start
from torch_remote._machines.terms import OWNER_TAG, owner
from torch_remote.providers import (
    MachineRequest,
    MachineStatus,
    Progress,
    ProviderError,
    StartedMachine,
)
from torch_remote.providers.local import LocalProvider


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keys and records of the test's own, and no executor at its end."""
    monkeypatch.setenv("TORCH_REMOTE_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("TORCH_REMOTE_KEYS", str(tmp_path / "keys"))
    yield
    left = LocalProvider().find({OWNER_TAG: owner()}, {})
    for machine_id in left:
        LocalProvider().stop(machine_id)
    assert left == []
    assert records.everything() == []


class Elsewhere(LocalProvider):
    """Gives an endpoint where nothing answers, and then can't be asked: its token has expired."""

    connect_timeout_s = 1.0

    def start(self, request: MachineRequest, progress: Progress) -> StartedMachine:
        started = super().start(request, progress)
        return StartedMachine(started.machine_id, "tcp://127.0.0.1:9", None, {})

    def status(self, machine_id: str) -> MachineStatus:  # noqa: ARG002
        raise ProviderError("the token has expired", nothing_started=True)


def test_a_started_machine_ends_though_the_provider_says_that_nothing_was_started() -> None:
    with pytest.raises(ProviderError, match="the token has expired"):
        torch_remote.create_device(Elsewhere(), "T4", lease_s=60)


requests: list[MachineRequest] = []


class CutOff(LocalProvider):
    """Ctrl-C, while what was asked for is still to come."""

    def start(self, request: MachineRequest, progress: Progress) -> StartedMachine:  # noqa: ARG002
        requests.append(request)
        raise KeyboardInterrupt


def test_a_machine_that_comes_after_its_start_was_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start, "_SEARCH_PAUSE_S", 0.01)
    with pytest.raises(KeyboardInterrupt):
        torch_remote.create_device(CutOff(), "T4", name="late", lease_s=60)
    assert records.everything() == []
    assert manage.listed() == []
    LocalProvider().start(requests[0], Progress())
    (found,) = manage.listed()
    assert (found.record.name, found.state) == ("late", "left behind")
    manage.stop(found.record)
    assert manage.listed() == []
    later = time.time() + 3600
    monkeypatch.setattr(time, "time", lambda: later)
    assert records.searches() == []


class StoppedInBetween(LocalProvider):
    """The program stops the device while its machine is being started."""

    def start(self, request: MachineRequest, progress: Progress) -> StartedMachine:
        started = super().start(request, progress)
        for machine in machines_to_stop:
            machine.stop()
        return started


machines_to_stop: list[torch_remote.Machine] = []


def test_a_device_that_is_stopped_during_its_start() -> None:
    device = torch_remote.create_device(StoppedInBetween(), "T4", lease_s=60, start="lazy")
    machines_to_stop[:] = [torch_remote.machine(device)]
    with pytest.raises(RuntimeError, match="waits for no machine"):
        torch.ones(3, device=device)
    machines_to_stop.clear()
    with pytest.raises(RuntimeError, match="there is no device"):
        torch.ones(3, device=device)


def test_a_machine_that_could_not_be_stopped_is_stopped_at_the_end() -> None:
    program = """
        import torch, torch_remote
        from torch_remote.providers import ProviderError
        from torch_remote.providers.local import LocalProvider

        tries = []

        class Stubborn(LocalProvider):
            def stop(self, machine_id):
                tries.append(machine_id)
                if len(tries) == 1:
                    raise ProviderError("not now")
                super().stop(machine_id)

        device = torch_remote.create_device(Stubborn(), "T4", name="mine", lease_s=60)
        try:
            torch_remote.machine(device).stop()
        except ProviderError as error:
            print(error)
    """
    done = run_python(program)
    assert (done.returncode, done.stdout) == (0, "not now\n")
    assert "stopped mine (local T4)" in done.stderr


def test_one_machine_that_can_not_be_stopped_does_not_keep_the_others() -> None:
    program = """
        import torch_remote
        from torch_remote.providers.local import LocalProvider

        class Broken(LocalProvider):
            def stop(self, machine_id):
                super().stop(machine_id)
                raise OSError("the disk is full")

        torch_remote.create_device(Broken(), "T4", name="first", lease_s=60)
        torch_remote.create_device("local", "T4", name="second", lease_s=60)
    """
    done = run_python(program)
    assert done.returncode == 0
    assert "first could not be stopped: the disk is full" in done.stderr
    assert "stopped second (local T4)" in done.stderr
    assert [record.name for record in records.everything()] == ["first"]
    records.remove(records.get("first"))
