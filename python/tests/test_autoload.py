# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""The entry point that `import torch` calls can neither break nor change that import."""

import re
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
import torch
from programs import PACKAGES, environment, output_of

OFF = {"TORCH_DEVICE_BACKEND_AUTOLOAD": "0"}
ASKED = {"TORCH_REMOTE_AUTOLOAD": "1"}  # registers where torch is a CUDA build, too
CALLED = OFF | ASKED  # only where the program itself calls autoload()
NOT_REGISTERED = """
    import sys
    assert "torch_remote" not in sys.modules
    assert not hasattr(torch, "remote")
    assert torch._C._get_privateuse1_backend_name() == "privateuseone"
"""
FIRST_USE = """
    import torch_remote
    assert torch.ones(2).sum().item() == 2
    torch.manual_seed(0)
    for make in (lambda: torch_remote.emulate("T4"), lambda: torch_remote.connect("tcp://127.0.0.1:1")):
        try:
            make()
        except ImportError as error:
            print(error)
        else:
            raise AssertionError("it works?")
"""


@pytest.fixture
def installed(tmp_path: Path) -> Mapping[str, str | None]:
    """Variables with which the package counts as installed, entry points included."""
    try:
        if distribution("torch-remote").entry_points.select(group="torch.backends"):
            return {}
    except PackageNotFoundError:
        pass
    project = PACKAGES.parent / "pyproject.toml"
    found = re.search(r'^torch_remote = "(_\S+)"', project.read_text(), re.MULTILINE)
    assert found is not None
    metadata = tmp_path / "torch_remote-0.0.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: torch-remote\nVersion: 0.0.0\n"
    )
    (metadata / "entry_points.txt").write_text(
        f"[torch.backends]\ntorch_remote = {found.group(1)}\n"
    )
    return {"PYTHONPATH": f"{tmp_path}:{environment()['PYTHONPATH']}"}


def program(*parts: str) -> str:
    return "\n".join(line.removeprefix("    ") for part in parts for line in part.splitlines())


@pytest.mark.parametrize(
    "variables",
    [
        pytest.param(
            {"TORCH_REMOTE_AUTOLOAD": None},
            marks=pytest.mark.skipif(
                torch.version.cuda is not None, reason="this torch waits until it is asked"
            ),
            id="unasked",
        ),
        pytest.param(ASKED, id="asked"),
    ],
)
def test_importing_torch_registers_the_device(
    installed: Mapping[str, str | None], variables: Mapping[str, str | None]
) -> None:
    text = "import torch; print(torch.device('remote'), torch.accelerator.current_accelerator())"
    everything = {**installed, **variables}
    assert output_of(text, options=("-W", "error"), variables=everything) == "remote remote"


def test_can_be_turned_off(installed: Mapping[str, str | None]) -> None:
    text = program("    import torch", NOT_REGISTERED)
    assert output_of(text, variables={**installed, **OFF}) == ""


def test_importing_torch_alone_starts_nothing(installed: Mapping[str, str | None]) -> None:
    text = """
import torch, threading
print(torch.remote.device_count(), torch.remote.is_available(), threading.active_count())
"""
    assert output_of(text, variables={**installed, **ASKED}) == "0 False 1"


def test_waits_where_torch_has_cuda() -> None:
    text = program(
        """
    import torch
    torch.version.cuda = "13.0"
    from _torch_remote_autoload import autoload
    autoload()
    """,
        NOT_REGISTERED,
        """
    import torch_remote
    print(torch.device("remote"))
    """,
    )
    assert output_of(text, variables={**OFF, "TORCH_REMOTE_AUTOLOAD": None}) == "remote"


def test_waits_where_torch_has_another_accelerator() -> None:
    text = program(
        """
    import torch
    torch.version.cuda = None
    torch.accelerator.current_accelerator = lambda: torch.device("mps")
    from _torch_remote_autoload import autoload
    autoload()
    """,
        NOT_REGISTERED,
    )
    assert output_of(text, variables={**OFF, "TORCH_REMOTE_AUTOLOAD": None}) == ""


def test_registers_beside_cuda_when_asked() -> None:
    text = """
import torch
torch.version.cuda = "13.0"
from _torch_remote_autoload import autoload
autoload()
print(torch.device("remote"))
"""
    assert output_of(text, variables={**OFF, "TORCH_REMOTE_AUTOLOAD": "1"}) == "remote"


@pytest.mark.parametrize(
    ("breakage", "reason"),
    [
        (
            "build_info = types.ModuleType('torch_remote._build_info'); build_info.TORCH_VERSION = '1.0.0'",
            "torch 1.0.0",
        ),
        ("build_info = types.ModuleType('torch_remote._build_info')", "TORCH_VERSION"),
        ("build_info = None", "_build_info"),
    ],
    ids=["other torch", "empty", "missing"],
)
def test_a_build_that_does_not_fit_shows_at_the_first_use(breakage: str, reason: str) -> None:
    text = program(
        f"""
    import sys, types
    {breakage}
    sys.modules["torch_remote._build_info"] = build_info
    import torch
    from _torch_remote_autoload import autoload
    before = torch.accelerator.current_accelerator()
    autoload()
    assert torch.accelerator.current_accelerator() == before
    assert torch._C._get_privateuse1_backend_name() == "privateuseone"
    """,
        FIRST_USE,
    )
    for message in output_of(text, options=("-W", "error"), variables=CALLED).splitlines():
        assert reason in message
        assert "pip install --force-reinstall" in message


def test_an_extension_that_can_not_be_loaded_shows_at_the_first_use() -> None:
    text = program(
        """
    import sys
    sys.modules["torch_remote._C"] = None
    import torch
    from _torch_remote_autoload import autoload
    before = torch.accelerator.current_accelerator()
    autoload()
    assert torch.accelerator.current_accelerator() == before
    """,
        FIRST_USE,
    )
    assert "pip install --force-reinstall" in output_of(
        text, options=("-W", "error"), variables=CALLED
    )


def test_a_package_that_can_not_be_imported_does_not_break_torch() -> None:
    text = program(
        """
    import sys
    sys.modules["torch_remote"] = None
    import torch
    from _torch_remote_autoload import autoload
    autoload()
    print(torch.ones(2).sum().item())
    """
    )
    assert output_of(text, options=("-W", "error"), variables=CALLED) == "2.0"


def test_leaves_another_backend_alone() -> None:
    text = program(
        """
    import types
    import torch
    torch.utils.rename_privateuse1_backend("other")
    other = types.ModuleType("torch.other")
    other._is_in_bad_fork = lambda: False
    other.manual_seed_all = lambda seed: None
    torch._register_device_module("other", other)
    from _torch_remote_autoload import autoload
    autoload()
    assert torch._C._get_privateuse1_backend_name() == "other"
    assert torch.other is other and not hasattr(torch, "remote")
    """,
        FIRST_USE,
        """
    assert torch._C._get_privateuse1_backend_name() == "other"
    """,
    )
    for message in output_of(text, options=("-W", "error"), variables=CALLED).splitlines():
        assert "taken by 'other'" in message
        assert "TORCH_DEVICE_BACKEND_AUTOLOAD=0" in message
