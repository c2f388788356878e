# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Devices that are stopped while the machine behind them is being started."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch_remote
from programs import TIMEOUT_S

extension = torch_remote.ensure_loaded()


@pytest.fixture
def endpoint() -> Iterator[str]:
    with torch_remote.LocalExecutor() as executor:
        yield executor.endpoint


def connect(index: int, endpoint: str) -> None:
    extension.connect_pending(index, endpoint, 0, 1, 0, 20.0, 20.0, None, None)


def test_a_device_that_is_stopped_during_its_start_stays_stopped(endpoint: str) -> None:
    others: list[torch.device] = []

    def start(index: int) -> None:
        extension.stop(index)
        others.append(torch_remote.emulate("T4"))
        connect(index, endpoint)

    index = extension.add_pending(start)
    with pytest.raises(RuntimeError, match="waits for no machine"):
        torch.ones(3, device=torch.device("remote", index))
    (other,) = others
    assert torch.ones(3, device=other).sum().item() == 3
    torch_remote.machine(other).stop()


def test_the_index_of_a_device_that_is_being_connected_is_nobody_elses() -> None:
    with torch_remote.LocalExecutor() as executor, ThreadPoolExecutor(1) as pool:
        os.kill(executor.process.pid, signal.SIGSTOP)
        connecting = threading.Event()

        def start(index: int) -> None:
            connecting.set()
            connect(index, executor.endpoint)

        index = extension.add_pending(start)
        operation = pool.submit(lambda: torch.ones(3, device=torch.device("remote", index)))
        try:
            assert connecting.wait(TIMEOUT_S)
            time.sleep(1)  # until it waits for an answer that does not come
            extension.stop(index)
            other = torch_remote.emulate("T4")
        finally:
            os.kill(executor.process.pid, signal.SIGCONT)
        with pytest.raises(RuntimeError, match="was stopped while its machine was being started"):
            operation.result(TIMEOUT_S)
    assert other.index != index
    assert not extension.is_running(index)
    assert torch.ones(3, device=other).sum().item() == 3
    torch_remote.machine(other).stop()
