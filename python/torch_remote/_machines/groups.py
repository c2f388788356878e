# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which devices of this process are one machine's."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from torch_remote._loading import ensure_loaded
from torch_remote._names import made_index


@dataclass(frozen=True)
class Member:
    """A device, by its index and by its serial number, since indices are used again."""

    index: int
    serial: int

    @property
    def is_there(self) -> bool:
        """Whether the index is still this device's."""
        return bool(ensure_loaded().serial(self.index) == self.serial)

    @property
    def is_running(self) -> bool:
        return self.is_there and bool(ensure_loaded().is_running(self.index))


_by_serial: dict[int, tuple[Member, ...]] = {}


def join(devices: Sequence[torch.device]) -> None:
    """Notes that these are the devices of one machine, in its own order."""
    members = tuple(_member(made_index(device)) for device in devices)
    for member in members:
        _by_serial[member.serial] = members


def members_of(index: int) -> tuple[Member, ...]:
    """All devices of a device's machine; it alone where it was made alone."""
    member = _member(index)
    return _by_serial.get(member.serial, (member,))


def _member(index: int) -> Member:
    return Member(index, int(ensure_loaded().serial(index)))
