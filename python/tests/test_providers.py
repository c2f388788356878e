# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Providers: those on this machine, the documented example, and how providers are found."""

import re
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
import torch_remote
from torch_remote.providers import Provider, ProviderError, registry
from torch_remote.providers.local import LocalProvider
from torch_remote.testing import ProviderContract

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "PROVIDERS.md"


class TestLocal(ProviderContract):
    options: ClassVar[dict[str, object]] = {"emulate": True}

    @pytest.fixture
    def provider(self) -> Provider:
        return LocalProvider()

    def test_wrong_options(self, provider: Provider) -> None:
        with pytest.raises(ValueError, match="device is 'cuda'; it has to be cpu or null"):
            self.create(provider, device="cuda")
        with pytest.raises(TypeError, match="emulate has to be True or False"):
            self.create(provider, emulate="T4")

    def test_a_program_that_does_not_start(
        self, provider: Provider, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(_: object) -> list[str]:
            return ["sh", "-c", "echo it is broken >&2; exit 3"]

        monkeypatch.setattr("torch_remote.providers.local._command", broken)
        with pytest.raises(ProviderError, match="did not start: it is broken"):
            self.create(provider)


class TestExample(ProviderContract):
    """The provider of docs/PROVIDERS.md, as it is printed there."""

    @pytest.fixture
    def provider(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Provider:
        (text,) = re.findall(r"```python\n(import json.*?)```", DOCUMENT.read_text(), re.DOTALL)
        assert text.count("\n") < 80
        names: dict[str, Any] = {}
        exec(text, names)
        names["FOLDER"] = tmp_path / "machines"
        monkeypatch.setitem(registry._added, "example", names["ExampleProvider"])
        made: Provider = names["ExampleProvider"]()
        return made


@pytest.fixture
def entry_points(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes entry points as other packages would have them."""

    def declare(**values: str) -> None:
        points = [EntryPoint(name, value, registry.GROUP) for name, value in values.items()]
        monkeypatch.setattr(registry, "entry_points", lambda group: points)

    return declare


def test_the_emulator() -> None:
    device = torch_remote.create_device("emulator", gpu_type="A100", num_threads=1)
    assert torch.remote.get_device_name(device) == "NVIDIA A100-SXM4-40GB"
    machine = torch_remote.machine(device)
    assert (machine.name, machine.provider, machine.cost()) == (None, None, None)
    with pytest.raises(ValueError, match="no provider started the machine"):
        machine.logs()
    machine.stop()
    pair = torch_remote.machine(torch_remote.create_device("emulator", "T4", gpu_count=2))
    assert len(set(pair.devices)) == 2
    pair.stop()
    with pytest.raises(ValueError, match="gpu_count is 9; it has to be from 1 to 8"):
        torch_remote.create_device("emulator", gpu_type="T4", gpu_count=9)
    with pytest.raises(TypeError, match="bogus"):
        torch_remote.create_device("emulator", gpu_type="T4", bogus=1)
    with pytest.raises(ValueError, match="starts no machine: leave out budget_usd, start"):
        torch_remote.create_device("emulator", gpu_type="T4", budget_usd=5, start="lazy")


def test_an_unknown_one() -> None:
    with pytest.raises(ValueError, match=r"no provider 'modle'; did you mean 'modal'\?"):
        torch_remote.create_device("modle")
    with pytest.raises(ValueError, match="there are emulator, local, modal"):
        torch_remote.create_device("zzz")


def test_one_of_another_package(entry_points: Callable[..., None]) -> None:
    entry_points(other="torch_remote.providers.local:LocalProvider")
    assert "other" in registry.names()
    assert isinstance(registry.find("other"), LocalProvider)


def test_broken_ones_fail_when_they_are_asked_for(entry_points: Callable[..., None]) -> None:
    entry_points(broken="no_such_module:Provider", wrong="pathlib:Path")
    assert isinstance(registry.find("local"), LocalProvider)
    with pytest.raises(ProviderError, match="'broken' can't be loaded: ModuleNotFoundError"):
        torch_remote.create_device("broken")
    with pytest.raises(ProviderError, match=r"'wrong' is no torch_remote\.providers\.Provider"):
        torch_remote.create_device("wrong")


def test_names_of_built_in_ones_are_taken() -> None:
    with pytest.raises(ValueError, match="comes with torch-remote"):
        registry.add("local", LocalProvider)
