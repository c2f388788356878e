# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""What people see of the commands on a terminal, where rich draws it."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from programs import TIMEOUT_S, environment

pytest.importorskip("rich", reason="without rich a terminal gets what a file gets")


def on_a_terminal(*words: str, state: Path) -> str:
    """What `torch-remote` prints there; it has to succeed."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "torch_remote.cli", *words],
        env=environment(
            TORCH_REMOTE_STATE=str(state / "state"),
            TORCH_REMOTE_KEYS=str(state / "keys"),
            COLUMNS="120",
            TERM="xterm",
        ),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        shown = b""
        try:
            while part := os.read(ours, 65536):
                shown += part
        except OSError:  # how Linux says that nobody has the other end any more
            pass
        finally:
            os.close(ours)
        text = shown.decode()
        assert process.wait(timeout=TIMEOUT_S) == 0, text
    return text


def test_a_machines_life_on_a_terminal(tmp_path: Path) -> None:
    words = ("up", "local", "--gpu-type", "T4", "--name", "mine", "--idle-timeout-s", "60")
    try:
        started = on_a_terminal(*words, state=tmp_path)
        assert "local T4 mine: connecting to the executor (0 s)" in started
        assert "torch_remote.attach('mine') gives its device" in started
        table = on_a_terminal("ls", state=tmp_path)
        assert "┃" in table
        assert "running" in table
        assert "this machine" in on_a_terminal("cost", state=tmp_path)
        assert "torch-remote-executor" in on_a_terminal("logs", "mine", state=tmp_path)
    finally:
        stopped = on_a_terminal("stop", "--all", state=tmp_path)
    assert "stopped mine" in stopped
    assert "no machine is running" in on_a_terminal("ls", state=tmp_path)
