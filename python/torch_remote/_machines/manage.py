# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Finding and ending machines from any process: those on record, and what their tags still find."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch_remote._machines import records
from torch_remote._machines.records import Record
from torch_remote._machines.start import end_machine
from torch_remote._machines.terms import NAME_TAG, OWNER_TAG, START_TAG, owner
from torch_remote.providers import registry
from torch_remote.providers.interface import (
    InProcessProvider,
    MachineStatus,
    Provider,
    ProviderError,
)

# What a killed program had asked its provider for may come into being after the program's end.
_UNCERTAIN_S = 60.0


@dataclass(frozen=True)
class Listed:
    """A machine that may cost money.

    state: "starting", "running"; "left behind" for one whose start was cut off; "uncertain" for
    such a start of which nothing is to be seen yet; "unknown" where the provider can't be asked,
    which `problem` explains.
    """

    record: Record
    state: str
    problem: str = ""


def listed(providers: Sequence[str] = ()) -> list[Listed]:
    """All machines on record that have not ended; the records of those that have are removed.

    Args:
        providers: to be asked for this user's machines without a record, too: the record was
            removed, or is on another computer.

    Raises:
        ValueError: no provider of that name.
        ProviderError: one of `providers` can't be asked.
    """
    found = [one for record in records.everything() if (one := _look(record)) is not None]
    for record in records.searches():
        found += _late(record)
    known = {one.record.machine_id for one in found}
    for name in providers:
        provider = registry.find_remote(name)
        for machine_id in provider.find({OWNER_TAG: owner()}, {}):
            if machine_id not in known:
                record = Record(machine_id, name, {OWNER_TAG: owner()}, machine_id=machine_id)
                found.append(Listed(record, provider.status(machine_id).value))
    return found


def _late(record: Record) -> list[Listed]:
    """What a start that was cut off has made since."""
    try:
        return [
            Listed(replace(record, machine_id=machine_id), "left behind")
            for provider, wanted in _where(record)
            for machine_id in provider.find(wanted.tags, wanted.options)
        ]
    except ProviderError as error:
        return [Listed(record, "unknown", str(error))]


def stop(record: Record) -> None:
    """Ends what a record stands for, however much of it was written, and removes it.

    Raises:
        ProviderError: it could not be ended; the record stays.
    """
    young = time.time() - record.started_at < _UNCERTAIN_S
    for provider, wanted in _where(record):
        end_machine(provider, wanted, searches=2 if young and not record.complete else 1)
    records.remove(record)


def logs(record: Record) -> str:
    """What its executor wrote. Raises ProviderError."""
    if record.machine_id is None:
        return ""
    return _provider(record).logs(record.machine_id)


def _look(record: Record) -> Listed | None:
    """Where a machine is in its life; None, and no record any more, where it has ended."""
    try:
        if record.machine_id is not None:
            state = _provider(record).status(record.machine_id)
            if state is not MachineStatus.ENDED:
                return Listed(record, state.value)
            stop(record)  # the provider may keep something of it
            return None
        if any(provider.find(wanted.tags, wanted.options) for provider, wanted in _where(record)):
            return Listed(record, "starting" if record.starter_is_alive else "left behind")
    except ProviderError as error:
        return Listed(record, "unknown", str(error))
    if record.starter_is_alive:
        return Listed(record, "starting")
    if record.elapsed_s() < _UNCERTAIN_S:
        return Listed(record, "uncertain")
    if record.provider:
        records.remember_search(record)
    records.remove(record)
    return None


def _provider(record: Record) -> Provider:
    try:
        return registry.find_remote(record.provider)
    except ValueError as error:  # its package was uninstalled
        raise ProviderError(f"the machine {record.name!r} can't be asked for: {error}") from None


def _where(record: Record) -> list[tuple[Provider, Record]]:
    """The provider of a record; where it is unreadable, all that might have its machine."""
    if record.provider:
        return [(_provider(record), record)]
    wanted = Record(
        record.name,
        "",
        {NAME_TAG: record.name, OWNER_TAG: owner(), **_start_tag(record)},
        started_at=record.started_at,
    )
    found = []
    for name in registry.names():
        try:
            provider = registry.find(name)
            if not isinstance(provider, InProcessProvider):
                provider.find({START_TAG: "none"}, {})
                found.append((provider, wanted))
        except ProviderError as error:  # noqa: PERF203 (the others may have it)
            # Without its library or credentials it can't have started anything for this user.
            if not error.nothing_started:
                raise
    return found


def _start_tag(record: Record) -> dict[str, str]:
    token = record.tags.get(START_TAG)
    return {START_TAG: token} if token else {}
