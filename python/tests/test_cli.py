# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""The command torch-remote."""

import subprocess
import sys

import pytest
import torch
import torch_remote
from programs import TIMEOUT_S, environment

COMMAND = (sys.executable, "-m", "torch_remote.cli")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
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


def test_executor_takes_options_as_separate_words() -> None:
    with subprocess.Popen(
        [*COMMAND, "executor", "--bind", "tcp://127.0.0.1:0", "--emulate", "T4"],
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            announcement = process.stdout.readline()
            assert "as an emulated T4" in announcement
            (endpoint,) = (word for word in announcement.split() if "://" in word)
            device = torch_remote.connect(endpoint)
            assert torch.ones(2, device=device).sum().item() == 2
            torch_remote.machine(device).stop()
            process.terminate()
            assert process.wait(TIMEOUT_S) == 0
        finally:
            process.kill()


def test_executor_names_the_nearest_gpu_type() -> None:
    done = run("executor", "--bind", "tcp://127.0.0.1:0", "--emulate", "A10")
    assert (done.returncode, done.stdout) == (2, "")
    assert "A10G" in done.stderr
    assert "Traceback" not in done.stderr


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
