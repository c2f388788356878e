# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""The command torch-remote."""

import subprocess
import sys

import pytest
import torch
import torch_remote
from programs import TIMEOUT_S, environment


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "torch_remote.cli", *arguments],
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def test_doctor_finds_nothing_wrong() -> None:
    done = run("doctor")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"torch {torch.__version__}" in done.stdout
    assert "the device works" in done.stdout


def test_doctor_tells_what_is_wrong(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from torch_remote import cli

    def broken(_: str) -> torch.device:
        raise ImportError("it has to be built against the torch that it runs with")

    monkeypatch.setattr(torch_remote, "emulate", broken)
    assert cli.main(["doctor"]) == 1
    assert "does not work: it has to be built" in capsys.readouterr().err


def test_executor_is_the_program() -> None:
    done = run("executor", "--version")
    assert done.returncode == 0
    assert done.stdout.startswith("torch-remote-executor ")
    assert run("executor", "--emulate", "A10").returncode == 2


@pytest.mark.parametrize("arguments", [[], ["bogus"], ["doctor", "--bogus"]], ids=" ".join)
def test_wrong_usage(arguments: list[str]) -> None:
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "usage: torch-remote" in done.stderr
    assert "Traceback" not in done.stderr


def test_help() -> None:
    done = run("--help")
    assert done.returncode == 0
    assert "doctor" in done.stdout
