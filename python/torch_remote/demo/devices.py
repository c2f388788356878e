# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""The devices that the demo trains on."""

from __future__ import annotations

from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

import torch_remote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def emulated(gpu_type: str, threads: int) -> Iterator[torch.device]:
    device = torch_remote.emulate(gpu_type, num_threads=threads)
    try:
        yield device
    finally:
        torch_remote.machine(device).stop()


@contextmanager
def emulated_over_tcp(gpu_type: str, threads: int) -> Iterator[torch.device]:
    with torch_remote.LocalExecutor(emulate=gpu_type) as executor:
        device = torch_remote.connect(executor.endpoint, num_threads=threads)
        try:
            yield device
        finally:
            torch_remote.machine(device).stop()


@contextmanager
def plain_cpu(threads: int) -> Iterator[torch.device]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield torch.device("cpu")
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True)
class Place:
    """Where a training can run: its option's name, what the table calls it, and how to open it."""

    option: str
    title: str
    open: Callable[[int], AbstractContextManager[torch.device]]


T4 = Place("t4", "T4", lambda threads: emulated("T4", threads))
T4_OVER_TCP = Place("t4-tcp", "T4 over TCP", lambda threads: emulated_over_tcp("T4", threads))
H100 = Place("h100", "H100", lambda threads: emulated("H100", threads))
CPU = Place("cpu", "plain CPU", plain_cpu)

PLACES = (T4, T4_OVER_TCP, H100, CPU)
DEFAULT = (T4, T4_OVER_TCP, H100)


@dataclass(frozen=True)
class Usage:
    """What a training asked of its device since it was opened."""

    memory_peak: int
    operations: int
    round_trips: int
    bytes_sent: int
    bytes_received: int


def usage(device: torch.device) -> Usage | None:
    """None for plain CPU, which keeps no such count."""
    if device.type == "cpu":
        return None
    counts = torch_remote.stats(device)
    return Usage(
        memory_peak=torch.get_device_module(device).max_memory_allocated(device),
        operations=counts.operations,
        round_trips=counts.round_trips,
        bytes_sent=counts.bytes_sent,
        bytes_received=counts.bytes_received,
    )
