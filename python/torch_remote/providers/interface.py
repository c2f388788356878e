# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a provider is: it starts and stops machines that run torch-remote-executor, nothing else.

Keys, leases, budgets, records, progress, cleaning up after Ctrl-C and the check of the granted GPU
are common to all providers and live in torch_remote._machines. docs/PROVIDERS.md shows how to
write one.
"""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, ClassVar

import torch


class ProviderError(RuntimeError):
    """A provider could not do what it was asked for. The message says what to do.

    Args:
        message: for the user.
        nothing_started: the provider knows that no machine was made, so none is looked for.
    """

    def __init__(self, message: str, *, nothing_started: bool = False) -> None:
        super().__init__(message)
        self.nothing_started = nothing_started


class MachineStatus(Enum):
    """Where a machine is in its life. Until ENDED it may cost money."""

    STARTING = "starting"
    RUNNING = "running"
    ENDED = "ended"


@dataclass(frozen=True)
class MachineRequest:
    """What a machine has to be. All of it was checked before a provider sees it."""

    #: Unique among this user's machines; letters, digits and dashes, at most 63.
    name: str
    #: One of torch_remote.GPU_TYPES.
    gpu_type: str
    #: Of that type, all in one machine; its executor has as many devices.
    gpu_count: int
    #: Have to be on the machine from its first moment: :meth:`Provider.find` looks for them.
    tags: Mapping[str, str]
    #: For torch-remote-executor. Holds its secret key: never on a command line, never in a log.
    environment: Mapping[str, str] = field(repr=False)
    #: For torch-remote-executor. --bind, --device and --emulate are the provider's to add.
    arguments: tuple[str, ...]
    #: After which the executor ends by itself, and the machine should; None for no limit.
    lifetime_s: int | None = None
    region: str | None = None
    #: The provider's own, as the user gave them: values that JSON can hold.
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StartedMachine:
    """A machine that was started. Its executor may need some seconds more to serve."""

    #: By which the provider knows it, in any process.
    machine_id: str
    #: Where the executor serves, as torch_remote.connect takes it.
    endpoint: str
    #: What was granted, as far as the provider knows; None where only the executor can say.
    gpu_type: str | None = None
    #: For people, in `torch-remote ls --json`.
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Price:
    """What a machine of a request costs while it runs, all its GPUs together."""

    usd_per_s: float
    #: Where the figure is from, with its date unless it was asked for just now.
    source: str


class Progress:
    """Where a provider tells what it does. This one is quiet."""

    #: Whether somebody looks on.
    visible: bool = False

    def stage(self, text: str) -> None:
        """What is done from now on, for example "waiting for a machine"."""

    def log(self, line: str) -> None:
        """A line of a program's output."""

    def suspended(self) -> AbstractContextManager[None]:
        """While another library shows its own progress."""
        return contextlib.nullcontext()


class Provider(ABC):
    """Starts and stops machines. Made without arguments; it keeps nothing that another process needs.

    Every method may raise ProviderError, and nothing else that the provider's own library raises.
    """

    #: As in torch_remote.create_device(name, ...).
    name: ClassVar[str]
    #: The longest life that it gives to a machine, in seconds.
    lifetime_max_s: ClassVar[int | None] = None
    #: How long an executor may take from its start to its first answer, in seconds.
    connect_timeout_s: ClassVar[float] = 60.0

    def check(self, request: MachineRequest) -> None:  # noqa: B027 (most have no options)
        """Raises ValueError or TypeError for options that it can't serve. Starts nothing."""

    def price(self, request: MachineRequest) -> Price | None:  # noqa: ARG002
        """What a machine would cost; None where nobody knows."""
        return None

    @abstractmethod
    def start(self, request: MachineRequest, progress: Progress) -> StartedMachine:
        """Starts a machine and waits for its endpoint.

        Whatever it raises, Ctrl-C included, the caller then looks for machines with the request's
        tags and stops them; it need not clean up itself.
        """

    @abstractmethod
    def status(self, machine_id: str) -> MachineStatus:
        """Of a machine of any process. One that nobody knows any more has ENDED."""

    @abstractmethod
    def logs(self, machine_id: str) -> str:
        """What the executor wrote so far. Empty where it is gone."""

    @abstractmethod
    def stop(self, machine_id: str) -> None:
        """Ends a machine and waits for its end. No error where it has ended already."""

    @abstractmethod
    def find(self, tags: Mapping[str, str], options: Mapping[str, Any]) -> list[str]:
        """The ids of the machines that have all of these tags and have not ended.

        Args:
            tags: as in a request.
            options: of a request; they may say where to look. Empty for the defaults.
        """


class InProcessProvider(ABC):
    """Makes devices in this process: there is no machine that could be left behind or cost money."""

    name: ClassVar[str]

    @abstractmethod
    def make(self, gpu_type: str, gpu_count: int, options: Mapping[str, Any]) -> torch.device:
        """The first of gpu_count devices of one machine. Raises TypeError for options that it does not have."""
