# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Starting a machine so that nothing is left behind, wherever the start ends."""

import sys
import time
from collections.abc import Callable, Mapping, Sequence

from torch_remote._machines import records
from torch_remote._machines.granted import check_granted, reported_gpu_type
from torch_remote._machines.progress import shown
from torch_remote._machines.records import Record
from torch_remote._machines.terms import START_TAG, Order
from torch_remote.providers.interface import MachineStatus, Provider, ProviderError

# A try to connect; between two the provider is asked whether the machine still lives.
_TRY_S = 5.0
_LAST_LINES = 10
# A request that Ctrl-C cut off may still be under way to the provider.
_SEARCHES, _SEARCH_PAUSE_S = 3, 1.0

#: Connects to the executor's devices, waiting so many seconds at most for each; returns what it
#: says of each. Called again after a ConnectionError, it goes on where it was.
Connect = Callable[[Record, float], Sequence[Mapping[str, str]]]


def start_machine(
    provider: Provider, order: Order, connect: Connect, *, accept_other_gpu: bool
) -> Record:
    """Starts a machine and connects to it; its complete record.

    Raises:
        ProviderError: it can't be had, does not answer, or has other or fewer GPUs. Like any other
            exception, Ctrl-C above all, it comes after the machine's end.
        ValueError: there is a machine of that name.
    """
    request = order.request
    record = _first_record(provider, order)
    _reserve(provider, record)
    try:
        with shown(f"{provider.name} {request.gpu_type} {request.name}") as progress:
            started = provider.start(request, progress)
            record = record.completed(
                machine_id=started.machine_id,
                endpoint=started.endpoint,
                metadata=dict(started.metadata),
            )
            records.update(record)
            check_granted(request.gpu_type, started.gpu_type, accept_other=accept_other_gpu)
            progress.stage("connecting to the executor")
            reported = {reported_gpu_type(one) for one in _connected(provider, record, connect)}
            for gpu_type in reported - {started.gpu_type}:  # of that the user was warned already
                check_granted(request.gpu_type, gpu_type, accept_other=accept_other_gpu)
    except BaseException as error:
        _leave_nothing(provider, record, error)
        raise
    return record


def end_machine(provider: Provider, record: Record, *, searches: int = 1) -> None:
    """Ends what a record stands for, by its id, or by its tags where that was never learned.

    Where nothing has these tags yet, they are kept for torch-remote ls and stop.

    Raises:
        ProviderError: it could not be ended; the record stays.
    """
    if record.machine_id is not None:
        provider.stop(record.machine_id)
    else:
        for search in range(searches):
            if search:
                time.sleep(_SEARCH_PAUSE_S)
            found = provider.find(record.tags, record.options)
            for machine_id in found:
                provider.stop(machine_id)
            if found:
                break
        else:
            records.remember_search(record)
    records.remove(record)


def last_words(provider: Provider, machine_id: str) -> str:
    """The end of a machine's log, to be put behind a message."""
    try:
        lines = provider.logs(machine_id).strip().splitlines()[-_LAST_LINES:]
    except ProviderError:
        return ""
    return "; its last words:\n" + "\n".join(lines) if lines else ""


def _first_record(provider: Provider, order: Order) -> Record:
    request, price = order.request, order.price
    return Record(
        name=request.name,
        provider=provider.name,
        tags=dict(request.tags),
        gpu_type=request.gpu_type,
        gpu_count=request.gpu_count,
        region=request.region,
        options=dict(request.options),
        server_key=order.server_key,
        usd_per_s=price.usd_per_s if price else None,
        price_source=price.source if price else "",
        lease_s=order.lease_s,
        idle_timeout_s=order.idle_timeout_s,
        lifetime_s=request.lifetime_s,
    )


def _reserve(provider: Provider, record: Record) -> None:
    """Takes the name, also from a machine that has ended by itself."""
    try:
        records.add(record)
    except FileExistsError:
        other = records.get(record.name)
        if (
            other.provider != provider.name
            or other.machine_id is None
            or provider.status(other.machine_id) is not MachineStatus.ENDED
        ):
            raise ValueError(
                f"there is a machine named {record.name!r} already: use torch_remote.attach("
                f"{record.name!r}), or end it with torch-remote stop {record.name}"
            ) from None
        end_machine(provider, other)
        records.add(record)


def _connected(provider: Provider, record: Record, connect: Connect) -> Sequence[Mapping[str, str]]:
    assert record.machine_id is not None
    deadline = time.monotonic() + provider.connect_timeout_s
    while True:
        left_s = deadline - time.monotonic()
        try:
            return connect(record, max(min(_TRY_S, left_s), 0.1))
        except ConnectionError as error:
            ended = provider.status(record.machine_id) is MachineStatus.ENDED
            if not ended and deadline - time.monotonic() > 0:
                continue
            what = "ended at once" if ended else f"does not answer ({error})"
            raise ProviderError(
                f"the machine {record.name!r} was started, but its executor {what}"
                + last_words(provider, record.machine_id)
            ) from error


def _leave_nothing(provider: Provider, record: Record, error: BaseException) -> None:
    # Of a machine whose id is known, something was started, whatever a later question says.
    if record.machine_id is None and isinstance(error, ProviderError) and error.nothing_started:
        records.remove(record)
        return
    searches = 1 if isinstance(error, ProviderError) else _SEARCHES
    try:
        end_machine(provider, record, searches=searches)
    except BaseException as failure:
        print(
            f"torch-remote: could not make sure that {record.tags[START_TAG]} is not running at "
            f"{provider.name}: {failure or type(failure).__name__}. "
            f"End it with: torch-remote stop {record.name}",
            file=sys.stderr,
        )
        if not isinstance(failure, Exception):
            raise
