# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""What devices run on, seen from the program: one machine for the devices that were made together."""

import atexit
import contextlib
import warnings
from collections.abc import Sequence
from dataclasses import astuple, dataclass, field
from typing import NoReturn

import torch

from torch_remote._devices import Statistics, device_index, stats
from torch_remote._loading import ensure_loaded
from torch_remote._machines import rented
from torch_remote._machines.groups import Member, members_of
from torch_remote._machines.rented import RentedMachine


@dataclass(frozen=True)
class Machine:
    """What a device runs on. Equal for all devices of one machine."""

    #: The device that was asked for.
    device: torch.device = field(compare=False)
    #: What its executor says of it.
    description: dict[str, str] = field(compare=False)
    _members: tuple[Member, ...] = field(repr=False)

    @property
    def devices(self) -> tuple[torch.device, ...]:
        """All devices of the machine, in the machine's order of its GPUs.

        They are those that one call of emulate, create_device or attach has made. A device that
        torch_remote.connect made counts as a machine of its own.
        """
        return tuple(torch.device("remote", member.index) for member in self._members)

    @property
    def running(self) -> bool:
        """Whether its devices can be used. False before a lazy start too."""
        return any(member.is_running for member in self._members)

    @property
    def name(self) -> str | None:
        """For torch_remote.attach and the command torch-remote; None where no provider started it."""
        return self._rented.name if self._rented else None

    @property
    def provider(self) -> str | None:
        """The provider that started it, if one did."""
        return self._rented.provider.name if self._rented else None

    def logs(self) -> str:
        """What its executor wrote so far.

        Raises:
            ValueError: no provider started it.
            ProviderError: the provider can't tell.
        """
        return self._from_provider().logs()

    def cost(self) -> float | None:
        """USD since its start, by the provider's price then; None where that is not known."""
        return self._rented.cost() if self._rented else None

    def detach(self) -> None:
        """Lets it go on when this process ends: its lease and its idle timeout end it then.

        Raises:
            ValueError: no provider started it.
        """
        self._from_provider().detached = True

    def stop(self) -> None:
        """Ends all its devices, and the machine if a provider started it. Its tensors are lost.

        Raises:
            ProviderError: the machine could not be ended, and goes on.
        """
        try:
            for text in self._end_sessions():
                warnings.warn(text, stacklevel=2)
        finally:  # where warnings are errors, it has to end too
            if self._rented is not None:
                self._rented.stop()

    @property
    def _rented(self) -> RentedMachine | None:
        return rented.of_device(self._members[0].serial)

    def _from_provider(self) -> RentedMachine:
        if self._rented is None:
            raise ValueError(f"no provider started the machine behind {self.device}")
        return self._rented

    def _end_sessions(self) -> list[str]:
        """Ends the devices; a text for each failure that nothing has read."""
        return [
            f"an operation on remote:{member.index} failed and nothing read its result: {failure}"
            for member in self._members
            if member.is_there
            for failure in ensure_loaded().stop(member.index)
        ]

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"the machine behind {self.device} belongs to this process: make the device in the other one"
        )


def machine(device: torch.device | str | int | None = None) -> Machine:
    """The machine behind a device."""
    index = device_index(device)
    description: dict[str, str] = ensure_loaded().description(index)
    return Machine(torch.device("remote", index), description, members_of(index))


def machines() -> list[Machine]:
    """The machines of this process that run: one for each, by the first of its running devices."""
    extension = ensure_loaded()
    found: dict[Machine, None] = {}
    for index in range(extension.device_count()):
        if extension.is_running(index):
            found.setdefault(machine(index))
    return list(found)


def stop_first_at_exit() -> None:
    """Devices end before what was imported until now, such as a provider's library, shuts down."""
    atexit.unregister(_stop_all)
    atexit.register(_stop_all)


@atexit.register
def _stop_all() -> None:
    from torch_remote import _loading

    if _loading._extension is None:
        return
    done: dict[RentedMachine | None, Statistics] = {}
    for running in machines():
        done[running._rented] = _total(
            [stats(one.index) for one in running._members if one.is_running]
        )
        failures = running._end_sessions()
        with contextlib.suppress(Warning):  # where warnings are errors, the others have to end too
            for text in failures:
                warnings.warn(text, stacklevel=1)
    for started in rented.everything():  # those that could not be stopped before, too
        started.stop_at_exit(done.get(started))


def _total(many: Sequence[Statistics]) -> Statistics:
    return Statistics(*(sum(values) for values in zip(*map(astuple, many), strict=True)))
