# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Executors that are not there, are others than expected, or go away; and Ctrl-C while waiting."""

import inspect
import re
import signal
import socket
import struct
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
import torch_remote
import zmq
from programs import TIMEOUT_S, environment

HERE = re.escape(__file__)


def line() -> int:
    """The caller's line."""
    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    return frame.f_back.f_lineno


# ---- connecting ----

ENDPOINTS = {
    "localhost:5555": "unknown scheme",
    "http://localhost:5555": "unknown scheme",
    "tcp://localhost": "the port is missing",
    "tcp://localhost:port": "the port is not a number from 1 to 65535",
    "tcp://localhost:0": "port 0 is for binding only",
    "tcp://localhost:70000": "the port is not a number from 1 to 65535",
    "tcp://:5555": "the host is missing",
    "ipc://": "the name is missing",
    "": "unknown scheme",
}


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_bad_endpoint(endpoint: str) -> None:
    # The advice behind the reason names every scheme, a host and a port whatever is wrong.
    reason = re.escape(f'endpoint "{endpoint}": {ENDPOINTS[endpoint]};')
    with pytest.raises(ValueError, match=reason):
        torch_remote.connect(endpoint, timeout_s=1)


def test_wrong_port() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound but not listening: nothing answers
        endpoint = f"tcp://127.0.0.1:{unused.getsockname()[1]}"
        count = len(torch_remote.machines())
        with pytest.raises(ConnectionError, match=endpoint):
            torch_remote.connect(endpoint, timeout_s=0.3)
    assert len(torch_remote.machines()) == count


def test_port_of_another_program() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        endpoint = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(ConnectionError, match=endpoint):
            torch_remote.connect(endpoint, timeout_s=0.3)


@contextmanager
def answering(kind: int, body: bytes) -> Iterator[str]:
    """The endpoint of something that answers a hello with one message, whatever it says."""
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        router.linger = 0
        endpoint = f"tcp://127.0.0.1:{router.bind_to_random_port('tcp://127.0.0.1')}"

        def answer() -> None:
            if not router.poll(TIMEOUT_S * 1000):
                return
            client, hello, *_ = router.recv_multipart()
            session = hello[8:16]
            envelope = struct.pack("<4sBxxx8s24x", b"TRMT", kind, session)
            router.send_multipart([client, envelope, body])

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            yield endpoint
        finally:
            thread.join()


NEXT_MAJOR = struct.pack("<4sHH", b"TRMT", 2, 0)
REFUSAL = "too old: this executor speaks version 2"


@pytest.mark.parametrize(
    ("kind", "body", "message"),
    [
        # What follows the version may be anything in another one.
        (
            2,
            NEXT_MAJOR + b"\xff" * 7,
            "speaks protocol version 2, this client 1: install the same torch-remote on both sides",
        ),
        (3, NEXT_MAJOR + struct.pack("<HI", 1, len(REFUSAL)) + REFUSAL.encode(), REFUSAL),
    ],
    ids=["welcome", "refused"],
)
def test_executor_of_another_version(kind: int, body: bytes, message: str) -> None:
    count = len(torch_remote.machines())
    with (
        answering(kind, body) as endpoint,
        pytest.raises(ConnectionError, match=f"{endpoint}.*{message}"),
    ):
        torch_remote.connect(endpoint)
    assert len(torch_remote.machines()) == count


# ---- an executor that goes ----


@pytest.mark.filterwarnings("ignore:an operation on remote")
def test_executor_killed(emulator: torch.device) -> None:
    with torch_remote.LocalExecutor() as executor:
        device = torch_remote.connect(executor.endpoint, num_threads=1, reconnect_timeout_s=0.5)
        x = torch.ones(2, device=device)
        assert x.sum().item() == 2
        executor.process.kill()
        executor.process.wait()
        with pytest.raises(
            RuntimeError, match=f"{device} is not usable any more.*{executor.endpoint}"
        ):
            x.sum().item()
        for attempt in (
            lambda: x + 1,
            lambda: x.cpu(),
            lambda: torch.ones(2, device=device),
            lambda: torch.remote.synchronize(device),
        ):
            with pytest.raises(RuntimeError, match="is not usable any more"):
                attempt()
        torch_remote.machine(device).stop()
    assert torch.ones(2, device=emulator).sum().item() == 2


def test_executor_restarted_on_the_same_port() -> None:
    with torch_remote.LocalExecutor() as executor:
        device = torch_remote.connect(executor.endpoint, num_threads=1, reconnect_timeout_s=20)
        x = torch.ones(2, device=device)
        assert x.sum().item() == 2
        executor.process.kill()
        executor.process.wait()
        program = executor.process.args
        assert isinstance(program, list)
        command = [executor.endpoint if part == "tcp://127.0.0.1:0" else part for part in program]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as second:
            try:
                assert second.stdout is not None
                assert executor.endpoint in second.stdout.readline()
                with pytest.raises(
                    RuntimeError, match=r"is not usable any more.*(restarted|lost|another)"
                ):
                    x.sum().item()
                again = torch_remote.connect(executor.endpoint, num_threads=1)
                assert torch.ones(3, device=again).sum().item() == 3
                torch_remote.machine(again).stop()
            finally:
                second.terminate()
        torch_remote.machine(device).stop()


def test_use_after_stop(make_emulator: Callable[..., torch.device]) -> None:
    device = make_emulator()
    x = torch.ones(2, device=device)
    torch_remote.machine(device).stop()
    assert not torch_remote.machine(device).running
    assert device not in [machine.device for machine in torch_remote.machines()]
    for attempt in (
        lambda: x + 1,
        lambda: x.cpu(),
        lambda: torch.ones(2, device=device),
        lambda: x.zero_(),
    ):
        with pytest.raises(
            RuntimeError, match=f"{device} is not usable any more: the device was stopped"
        ):
            attempt()
    torch_remote.machine(device).stop()  # a second time is nothing
    assert x.shape == (2,)  # metadata is still there
    assert x.view(1, 2).shape == (1, 2)


# ---- Ctrl-C ----

LONG_WAIT = """
    import sys, torch, torch_remote
    device = torch_remote.emulate("T4", num_threads=1)
    x = torch.randn(1200, 1200, device=device)
    x.sum().item()
    for _ in range(2000):
        x = x @ x
    try:
        print("waiting", flush=True)
        {wait}
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""


# Nothing is read: the call itself waits, once as much is in flight as the executor takes.
TOO_MUCH_IN_FLIGHT = """
    import threading, time, torch, torch_remote
    device = torch_remote.emulate("T4", num_threads=1)
    x = torch.randn(1200, 1200, device=device)
    x.sum().item()

    def say_when_blocked():
        before = 0
        while True:
            time.sleep(0.5)
            now = torch_remote.stats(device).operations
            # Calls that don't wait are a hundred thousand in that time; those that do are what is computed.
            if now > 10_000 and now - before < 500:
                print("waiting", flush=True)
                return
            before = now

    threading.Thread(target=say_when_blocked, daemon=True).start()
    try:
        while True:
            x = x @ x
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""


@pytest.mark.parametrize(
    "program",
    [
        *(
            pytest.param(LONG_WAIT.format(wait=wait), id=wait)
            for wait in ("torch.remote.synchronize(device)", "x.sum().item()", "x.cpu()")
        ),
        pytest.param(TOO_MUCH_IN_FLIGHT, id="too much in flight"),
    ],
)
def test_interrupt_while_waiting(program: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "waiting\n"
            process.send_signal(signal.SIGINT)
            sent = time.monotonic()
            assert process.stdout.readline() == "interrupted\n"
            # The operations take minutes; the program's end does not wait for them either.
            assert process.wait(30) == 0
            assert time.monotonic() - sent < 20
        finally:
            process.kill()
