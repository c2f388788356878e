# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""The pytest plugin and the limits that tests set: docs/TESTING.md."""

import subprocess
import sys
import textwrap
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import torch
import torch_remote
from programs import TIMEOUT_S, environment, output_of
from torch_remote.testing import assert_fits, max_host_reads, max_memory
from torch_remote.testing.limits import size_in_bytes


@pytest.fixture
def suite(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a suite of one file in a pytest of its own, with the plugin as other packages get it."""

    def run(tests: str, *options: str, configuration: str = "") -> subprocess.CompletedProcess[str]:
        (tmp_path / "test_it.py").write_text(textwrap.dedent(tests))
        (tmp_path / "pytest.ini").write_text(
            f"[pytest]\naddopts = --strict-markers\n{configuration}"
        )
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "_torch_remote_pytest", "-rs", *options],
            cwd=tmp_path,
            env=environment(PYTEST_DISABLE_PLUGIN_AUTOLOAD="1"),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )

    return run


Suite = Callable[..., subprocess.CompletedProcess[str]]


def test_is_an_entry_point() -> None:
    found = {point.name: point.value for point in entry_points(group="pytest11")}
    assert found.get("torch_remote") == "_torch_remote_pytest"


def test_costs_nothing_where_it_is_not_asked_for() -> None:
    printed = output_of("import _torch_remote_pytest, sys; print('torch' in sys.modules)")
    assert printed == "False"


USES_DEVICE = """
    import torch

    def test_device(remote_device):
        assert torch.remote.get_device_name(remote_device) == "Tesla T4"
        assert torch.ones(3, device=remote_device).sum().item() == 3
"""


def test_fixture(suite: Suite) -> None:
    done = suite(USES_DEVICE, "--remote=T4")
    assert done.returncode == 0, done.stdout
    assert "torch-remote: T4" in done.stdout
    assert "1 passed" in done.stdout


def test_configuration_file(suite: Suite) -> None:
    done = suite(USES_DEVICE, configuration="remote = T4\n")
    assert "1 passed" in done.stdout, done.stdout


def test_fixture_skips_without_a_device(suite: Suite) -> None:
    done = suite(USES_DEVICE)
    assert done.returncode == 0
    assert "needs a remote device: run pytest with --remote=T4" in done.stdout


def test_a_suite_for_cuda(suite: Suite) -> None:
    done = suite(
        """
        import pytest, torch

        @pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
        def test_on_gpu():
            x = torch.ones(3, device="cuda")
            assert x.is_cuda and x.sum().item() == 3
            assert torch.cuda.get_device_capability() == (7, 5)

        @pytest.mark.parametrize("device", ["cpu"] + ["cuda"] * torch.cuda.is_available())
        def test_on_each(device):
            assert torch.zeros(2, device=device).device.type == device
        """,
        "--remote=T4",
        "--remote-cuda",
    )
    assert "3 passed" in done.stdout, done.stdout


def test_another_machine(suite: Suite, executor: torch_remote.LocalExecutor) -> None:
    done = suite(
        "def test_it(remote_device): assert remote_device.type == 'remote'",
        f"--remote={executor.endpoint}",
    )
    assert "1 passed" in done.stdout, done.stdout


def test_failures_that_nothing_reads_are_the_tests_own(suite: Suite) -> None:
    done = suite(
        """
        import torch

        def test_reads_nothing(remote_device):
            torch.linalg.cholesky(-torch.eye(3, device=remote_device))

        def test_after(remote_device):
            assert torch.ones(1, device=remote_device).item() == 1
        """,
        "--remote=T4",
    )
    assert "1 failed, 1 passed" in done.stdout, done.stdout
    assert "test_reads_nothing" in done.stdout


def test_marks(suite: Suite) -> None:
    done = suite(
        """
        import pytest, torch

        @pytest.mark.max_host_reads(1)
        def test_reads_once(remote_device):
            torch.ones(3, device=remote_device).sum().item()

        @pytest.mark.max_host_reads(0)
        def test_reads_too_often(remote_device):
            torch.ones(3, device=remote_device).sum().item()

        @pytest.mark.max_memory("1KiB")
        def test_takes_too_much(remote_device):
            torch.ones(1024, device=remote_device)

        @pytest.mark.max_memory("1MiB")
        def test_takes_little(remote_device):
            torch.ones(1024, device=remote_device)
        """,
        "--remote=T4",
    )
    assert "2 failed, 2 passed" in done.stdout, done.stdout
    assert "1 reads of the device's values, but at most 0 are allowed" in done.stdout
    assert "test_it.py:10" in done.stdout
    assert "but at most 1,024 are allowed" in done.stdout


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--remote=T3"], "--remote=T3: unknown GPU type"),
        (["--remote-cuda"], "--remote-cuda needs --remote"),
        (["--remote=nobody:T4"], "there is no provider 'nobody'"),
    ],
)
def test_wrong_options(suite: Suite, options: list[str], text: str) -> None:
    done = suite("def test_it(): pass", *options)
    assert done.returncode == 4
    assert text in done.stdout + done.stderr
    assert "INTERNALERROR" not in done.stdout


# ---- the helpers by themselves ----


def test_assert_fits() -> None:
    peak = assert_fits(lambda device: torch.empty(2**20, device=device), gpu="T4")
    assert peak >= 2**22
    with pytest.raises(
        AssertionError, match=r"doesn't fit into the memory of a T4: CUDA out of memory"
    ):
        assert_fits(lambda device: torch.empty(2**34, device=device), gpu="T4")
    with pytest.raises(KeyError):
        assert_fits(lambda device: {}[device])


def test_assert_fits_without_computing() -> None:
    def train(device: torch.device) -> None:
        weights = torch.empty(2**17, 2**15, device=device, requires_grad=True)
        loss = (torch.empty(8, 2**17, device=device) @ weights).sum()
        loss.backward()
        assert loss.item() == 0

    with pytest.raises(AssertionError, match="doesn't fit"):
        assert_fits(train, gpu="T4", dry_run=True)
    assert assert_fits(train, gpu="H100", dry_run=True) > 2**34


def test_max_host_reads(emulator: torch.device) -> None:
    x = torch.ones(3, device=emulator)
    torch.remote.synchronize(emulator)
    with max_host_reads(2, emulator) as counted:
        (x + 1).tolist()
        x.sum().item()
    assert counted.reads == 2

    def read_thrice() -> None:
        with max_host_reads(1, emulator):
            for _ in range(2):
                x.sum().item()
            x.cpu()

    def read_and_fail() -> None:
        with max_host_reads(0, emulator):
            x.cpu()
            raise LookupError("the program's own")

    where = r"2 at .*test_pytest_plugin.py:\d+"
    with pytest.raises(AssertionError, match=rf"3 reads.*at most 1(?s:.*){where}"):
        read_thrice()
    with pytest.raises(LookupError, match="own"):
        read_and_fail()
    with pytest.raises(ValueError, match="0 or more"):
        max_host_reads(-1)


def test_max_memory(emulator: torch.device) -> None:
    with max_memory("1GiB", emulator) as measured:
        torch.empty(2**20, device=emulator)
    assert measured.peak_bytes >= 2**22
    with (
        pytest.raises(AssertionError, match="at most 1,048,576 are allowed"),
        max_memory("1 MiB", emulator),
    ):
        torch.empty(2**20, device=emulator)


@pytest.mark.parametrize(
    ("text", "size"),
    [(7, 7), ("7", 7), ("2GiB", 2**31), ("1.5 MiB", 3 * 2**19), ("500 MB", 500 * 10**6), ("1B", 1)],
)
def test_sizes(text: int | str, size: int) -> None:
    assert size_in_bytes(text) == size


@pytest.mark.parametrize(
    ("text", "error"), [("2 gigs", ValueError), ("GiB", ValueError), (1.5, TypeError)]
)
def test_no_sizes(text: object, error: type[Exception]) -> None:
    with pytest.raises(error):
        size_in_bytes(text)  # type: ignore[arg-type]
