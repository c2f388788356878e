# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""torch-remote-executor as a program: its words, its ends, and what clients see of it."""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch_remote
from programs import EXECUTOR, TIMEOUT_S, environment, executor, run_executor, wait_for_end

pytestmark = pytest.mark.timeout(TIMEOUT_S)


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder whose name fits into a socket's address, which pytest's may not."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def test_help_names_every_option() -> None:
    done = run_executor("--help")
    assert (done.returncode, done.stderr) == (0, "")
    for option in (
        "--bind",
        "--device",
        "--emulate",
        "--threads",
        "--storage-limit",
        "--exit-with-parent",
    ):
        assert option in done.stdout
    assert run_executor("-h").stdout == done.stdout


def test_version() -> None:
    done = run_executor("--version")
    assert (done.returncode, done.stderr) == (0, "")
    version = re.escape(torch_remote.ensure_loaded().__version__)
    assert re.fullmatch(rf"torch-remote-executor {version} \(torch [\d.]+\S*\)\n", done.stdout)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--bogus"], 'there is no option "--bogus"; --help lists them'),
        (["serve"], 'there is no option "serve"'),
        (["--bind"], "--bind needs a value"),
        (["--help=1"], "--help takes no value"),
        (["--device", "tpu"], "--device takes cpu, cuda or null"),
        (["--device-count", "0"], "--device-count takes a whole number from 1 to 128"),
        (["--device", "cuda", "--device-count", "2"], "--device-count is for cpu and null"),
        (["--emulate", "A10"], "A10G"),
        (["--emulate", "H10O"], "H100"),
        (["--emulate", "T4", "--device", "null"], "--emulate needs --device cpu"),
        (["--emulate", "T4", "--device", "cuda"], "--emulate needs --device cpu"),
        (["--threads", "0"], "--threads takes a whole number from 1 to 4096"),
        (["--threads", "two"], "--threads takes a whole number"),
        (["--storage-limit", "8GB"], "--storage-limit takes a whole number"),
        (["--storage-limit", "99999999TiB"], "--storage-limit takes a whole number"),
        (["--bind", "localhost"], "localhost"),
        (["--bind", "http://127.0.0.1:0"], "http"),
        (["--bind", "tcp://127.0.0.1:99999"], "99999"),
        (["--bind", "inproc://executor"], "inproc"),
        (["--bind", "tcp://0.0.0.0:0"], "keys are needed to serve beyond this machine"),
        (["--bind", "tcp://*:0"], "keys are needed to serve beyond this machine"),
        (["--bind", "tcp://192.0.2.1:0"], "keys are needed to serve beyond this machine"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage(arguments: list[str], reason: str) -> None:
    done = run_executor(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("torch-remote-executor: ")
    assert reason in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_taken_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        endpoint = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        done = run_executor("--bind", endpoint)
    assert done.returncode == 1
    assert (
        done.stderr
        == f"torch-remote-executor: can't listen on {endpoint}: Address already in use\n"
    )


def test_announces_what_it_serves() -> None:
    with executor("--threads", "1", "--emulate", "T4") as running:
        pattern = (
            r"torch-remote-executor \S+ serves cpu \(torch \S+, 1 thread\) on tcp://127\.0\.0\.1:[1-9]\d* "
            r"as an emulated T4 \(Tesla T4\)"
        )
        assert re.fullmatch(pattern, running.announcement)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ends_cleanly_on_a_signal(number: signal.Signals) -> None:
    with executor() as running:
        assert running.end(number) == (0, "torch-remote-executor ends: it was told to end\n", "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ends_cleanly_beside_a_client(number: signal.Signals) -> None:
    with executor() as running:
        device = torch_remote.connect(running.endpoint, reconnect_timeout_s=1)
        x = torch.ones(3, device=device)
        assert x.sum().item() == 3
        assert running.end(number) == (0, "torch-remote-executor ends: it was told to end\n", "")
        with pytest.raises(RuntimeError, match=f"{device} is not usable any more"):
            (x + 1).sum().item()
        torch_remote.machine(device).stop()


def test_ends_amid_work() -> None:
    with executor() as running:
        device = torch_remote.connect(running.endpoint, reconnect_timeout_s=1)
        x = torch.ones(256, 256, device=device)
        for _ in range(500):
            x = x @ x
        assert running.end(signal.SIGTERM)[0] == 0
        del x
        torch_remote.machine(device).stop()


def test_ends_with_its_standard_input() -> None:
    with executor("--exit-with-parent") as running:
        assert running.end(None)[0] == 0  # communicate() closes it


def test_ends_with_its_parent_however_that_ends() -> None:
    program = """
import os, torch_remote
executor = torch_remote.LocalExecutor(device="null")
print(executor.process.pid, executor.endpoint, flush=True)
os._exit(0)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=True,
    )
    wait_for_end(int(done.stdout.split()[0]))


def test_keeps_serving_when_standard_input_closes_unless_asked_to_end() -> None:
    with executor() as running:
        assert running.process.stdin is not None
        running.process.stdin.close()
        running.process.stdin = None
        device = torch_remote.connect(running.endpoint)
        assert torch.ones(2, device=device).sum().item() == 2
        torch_remote.machine(device).stop()


def test_emulated_gpu_is_what_the_client_sees() -> None:
    with executor("--emulate", "T4") as running:
        device = torch_remote.connect(running.endpoint)
        properties = torch.remote.get_device_properties(device)
        assert properties == torch_remote.gpu_properties("T4")
        assert torch.remote.get_device_name(device) == "Tesla T4"
        assert torch_remote.machine(device).description["emulates"] == "T4"
        with pytest.raises(torch.OutOfMemoryError):
            torch.empty(properties.total_memory, dtype=torch.uint8, device=device)
        torch_remote.machine(device).stop()


def test_an_executor_that_emulates_nothing_says_so() -> None:
    with executor() as running:
        device = torch_remote.connect(running.endpoint)
        description = torch_remote.machine(device).description
        assert description["device"] == "cpu"
        assert "emulates" not in description
        assert torch.remote.get_device_properties(device).total_memory == 0
        torch_remote.machine(device).stop()


def test_thread_counts() -> None:
    with executor("--threads", "3") as running:
        own = torch_remote.connect(running.endpoint)
        asked = torch_remote.connect(running.endpoint, num_threads=1)
        assert torch_remote.machine(own).description["thread_count"] == "3"
        assert torch_remote.machine(asked).description["thread_count"] == "1"
        for device in (own, asked):
            assert torch.ones(100, device=device).sum().item() == 100
            torch_remote.machine(device).stop()


def test_two_clients_do_not_see_each_other() -> None:
    with executor() as running:
        first, second = (torch_remote.connect(running.endpoint) for _ in range(2))
        assert first != second
        values = {
            device: torch.full((4,), float(index), device=device)
            for index, device in enumerate((first, second))
        }
        for _ in range(100):
            for device, value in values.items():
                values[device] = value + 1
        torch_remote.machine(first).stop()
        assert values[second].tolist() == [101.0] * 4
        third = torch_remote.connect(running.endpoint)
        assert torch.zeros(2, device=third).tolist() == [0, 0]
        for device in (second, third):
            torch_remote.machine(device).stop()


def test_clients_in_two_processes() -> None:
    program = """
import sys, torch, torch_remote
device = torch_remote.connect(sys.argv[1])
x = torch.ones(10, device=device)
for _ in range(100):
    x = x + 1
print(x.sum().item())
"""
    with executor() as running:
        clients = [
            subprocess.Popen(
                [sys.executable, "-c", program, running.endpoint],
                env=environment(),
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(2)
        ]
        assert [client.communicate(timeout=TIMEOUT_S)[0] for client in clients] == ["1010.0\n"] * 2


def test_sessions_are_limited() -> None:
    with executor("--sessions", "1") as running:
        device = torch_remote.connect(running.endpoint)
        with pytest.raises(ConnectionError, match="session"):
            torch_remote.connect(running.endpoint)
        torch_remote.machine(device).stop()


def test_storage_limit() -> None:
    with executor("--storage-limit", "1MiB") as running:
        device = torch_remote.connect(running.endpoint)
        fits = torch.ones(1 << 20, dtype=torch.uint8, device=device)
        with pytest.raises((RuntimeError, ValueError), match=r"1048576|1048577|limit|too large"):
            torch.zeros((1 << 20) + 1, dtype=torch.uint8, device=device).sum().item()
        assert fits.sum().item() == 1 << 20
        torch_remote.machine(device).stop()


def test_ipc_endpoint(short_path: Path) -> None:
    endpoint = f"ipc://{short_path}/executor"
    with executor("--bind", endpoint, "--threads", "1") as running:
        assert running.endpoint == endpoint
        device = torch_remote.connect(endpoint)
        assert torch.arange(5, device=device).sum().item() == 10
        torch_remote.machine(device).stop()
        assert running.end(signal.SIGTERM)[0] == 0


def test_null_device_over_tcp() -> None:
    with executor("--device", "null") as running:
        device = torch_remote.connect(running.endpoint)
        assert torch.ones(3, device=device).tolist() == [0, 0, 0]
        torch_remote.machine(device).stop()


def test_options_with_an_equals_sign() -> None:
    with executor("--bind=tcp://127.0.0.1:0", "--threads=2") as running:
        assert "2 threads" in running.announcement


def test_local_executor_reports_what_the_program_says() -> None:
    with pytest.raises(RuntimeError, match="A10G"):
        torch_remote.LocalExecutor(emulate="A10")


def test_local_executor_is_not_interrupted_with_this_program() -> None:
    with torch_remote.LocalExecutor(device="null") as running:
        # Ctrl-C on a terminal goes to the terminal's process group.
        assert os.getpgid(running.process.pid) != os.getpgrp()
    assert running.process.returncode == 0


def test_program_of_the_package_is_executable() -> None:
    assert os.access(EXECUTOR, os.X_OK)
