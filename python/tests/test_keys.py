# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Who may connect to an executor with keys, and what becomes of everybody else."""

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch_remote
from programs import EXECUTOR, TIMEOUT_S, executor, run_executor
from torch_remote import _keys, cli

SHORT = {"timeout_s": 5.0}


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_REMOTE_KEYS", str(tmp_path / "keys"))


def options(authorized: _keys.Keys) -> tuple[str, ...]:
    """Of an executor on every address of this machine, with keys."""
    own = _keys.find_or_make_keys("executor")
    return (
        *("--bind", "tcp://0.0.0.0:0", "--secret-key-file", str(own.secret_file)),
        *("--authorized-keys", str(authorized.public_file)),
    )


@pytest.fixture
def endpoint() -> Iterator[str]:
    """An executor that lets this user's own key in."""
    with executor(*options(_keys.find_or_make_keys())) as running:
        yield running.endpoint.replace("0.0.0.0", "127.0.0.1")


def server_key() -> str:
    return _keys.find_or_make_keys("executor").public_key


def test_the_right_keys(endpoint: str) -> None:
    device = torch_remote.connect(endpoint, server_key=server_key())
    x = torch.randn(200, 300)
    assert torch.equal((x.to(device) * 2).cpu(), x * 2)
    torch_remote.machine(device).stop()


def test_a_key_file_of_ones_own() -> None:
    other = _keys.find_or_make_keys("other")
    with executor(*options(other)) as running:
        endpoint = running.endpoint.replace("0.0.0.0", "127.0.0.1")
        device = torch_remote.connect(endpoint, server_key=server_key(), key_file=other.secret_file)
        assert torch.ones(2, device=device).sum().item() == 2
        torch_remote.machine(device).stop()


def test_no_key(endpoint: str) -> None:
    with pytest.raises(ConnectionError, match="don't agree about keys"):
        torch_remote.connect(endpoint, **SHORT)


def test_a_key_that_is_not_on_the_list(endpoint: str) -> None:
    stranger = _keys.find_or_make_keys("stranger")
    with pytest.raises(ConnectionError, match="refused this client's key"):
        torch_remote.connect(
            endpoint, server_key=server_key(), key_file=stranger.secret_file, **SHORT
        )


def test_another_executors_key(endpoint: str) -> None:
    wrong = _keys.find_or_make_keys("stranger").public_key
    with pytest.raises(ConnectionError, match="server_key has to be the executor's own"):
        torch_remote.connect(endpoint, server_key=wrong, **SHORT)


def test_a_key_for_an_executor_without() -> None:
    with executor() as running, pytest.raises(ConnectionError, match="don't agree about keys"):
        torch_remote.connect(running.endpoint, server_key=server_key(), **SHORT)


def test_strangers_disturb_nobody(endpoint: str) -> None:
    device = torch_remote.connect(endpoint, server_key=server_key())
    stranger = _keys.find_or_make_keys("stranger")
    for _ in range(5):
        with pytest.raises(ConnectionError):
            torch_remote.connect(
                endpoint, server_key=server_key(), key_file=stranger.secret_file, **SHORT
            )
    assert torch.ones(3, device=device).sum().item() == 3
    torch_remote.machine(device).stop()


def test_the_line_of_a_public_file_is_a_key(endpoint: str) -> None:
    line = _keys.find_or_make_keys("executor").public_file.read_text()
    assert line == f"{server_key()} # executor\n"
    device = torch_remote.connect(endpoint, server_key=line)
    assert torch.ones(3, device=device).sum().item() == 3
    torch_remote.machine(device).stop()


@pytest.mark.parametrize("key", ["", "short", "x" * 40 + "y", "\\" * 40, "ä" * 20])
def test_what_is_no_key(key: str) -> None:
    with pytest.raises(ValueError, match="is no key"):
        torch_remote.connect("tcp://127.0.0.1:1", server_key=key)


def test_key_file_alone() -> None:
    with pytest.raises(ValueError, match="key_file needs server_key"):
        torch_remote.connect("tcp://127.0.0.1:1", key_file="x")


def test_an_executor_does_not_serve_others_without_keys() -> None:
    done = run_executor("--bind", "tcp://0.0.0.0:0")
    assert done.returncode == 2
    assert "keys are needed to serve beyond this machine" in done.stderr


@pytest.mark.parametrize("missing", ["--secret-key-file", "--authorized-keys"])
def test_one_half_of_the_keys(missing: str) -> None:
    given = options(_keys.find_or_make_keys())
    at = given.index(missing)
    done = run_executor(*given[:at], *given[at + 2 :])
    assert done.returncode == 2
    assert "need" in done.stderr


def test_a_secret_key_that_others_can_read() -> None:
    given = options(_keys.find_or_make_keys())
    own = _keys.find_or_make_keys("executor")
    own.secret_file.chmod(0o640)
    done = run_executor(*given)
    assert done.returncode == 2
    assert "chmod 600" in done.stderr
    assert own.secret_file.read_text().strip() not in done.stderr
    with pytest.raises(PermissionError, match="chmod 600"):
        _keys.find_or_make_keys("executor")


def test_keys_from_the_environment() -> None:
    own, client = _keys.find_or_make_keys("executor"), _keys.find_or_make_keys()
    variables = {
        "TORCH_REMOTE_SECRET_KEY": own.secret_file.read_text(),
        "TORCH_REMOTE_AUTHORIZED_KEYS": client.public_key,
    }
    with subprocess.Popen(
        [EXECUTOR, "--bind", "tcp://127.0.0.1:0"],
        env=os.environ | variables,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            endpoint = next(w for w in process.stdout.readline().split() if "://" in w)
            with pytest.raises(ConnectionError):
                torch_remote.connect(endpoint, **SHORT)
            device = torch_remote.connect(endpoint, server_key=own.public_key)
            assert torch.ones(2, device=device).sum().item() == 2
            torch_remote.machine(device).stop()
        finally:
            process.terminate()
            process.wait(TIMEOUT_S)


def test_files_of_a_pair(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["keys", "mine"]) == 0
    printed = capsys.readouterr().out
    keys = _keys.find_or_make_keys("mine")
    assert keys.public_key in printed
    assert keys.secret_file.read_text().strip() not in printed
    assert stat.S_IMODE(keys.secret_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(keys.secret_file.parent.stat().st_mode) == 0o700
    assert cli.main(["keys", "mine"]) == 0
    assert keys.public_key in capsys.readouterr().out, "the same pair again"
    assert cli.main(["keys", "../escape"]) == 1
    assert "is no name for keys" in capsys.readouterr().err


def test_lifetimes() -> None:
    for option, text in (
        ("--lease-s", "the length of its lease"),
        ("--idle-timeout-s", "its idle timeout"),
        ("--lifetime-s", "lifetime of 1 s is over"),
    ):
        done = run_executor(option, "1")
        assert done.returncode == 0
        assert text in done.stdout


def test_a_client_is_told_why_its_executor_ended() -> None:
    with executor("--lifetime-s", "2") as running:
        device = torch_remote.connect(running.endpoint)
        x = torch.ones(2, device=device)
        assert running.end(None)[0] == 0
        with pytest.raises(RuntimeError, match="its lifetime of 2 s is over"):
            x.sum().item()
        torch_remote.machine(device).stop()
