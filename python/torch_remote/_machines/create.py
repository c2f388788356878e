# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Making devices of machines: started now, started by the first operation, or running already."""

import functools
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from torch_remote import _devices
from torch_remote._keys import find_or_make_keys, read_secret_key
from torch_remote._loading import ensure_loaded
from torch_remote._machines import groups, records, rented
from torch_remote._machines.granted import check_count
from torch_remote._machines.machine import stop_first_at_exit
from torch_remote._machines.records import Record
from torch_remote._machines.rented import RentedMachine
from torch_remote._machines.start import Connect, end_machine, last_words, start_machine
from torch_remote._machines.terms import (
    IDLE_TIMEOUT_S,
    LEASE_S,
    Order,
    Terms,
    canonical_gpu_type,
    checked_count,
    make_order,
    renewed,
)
from torch_remote._names import made_index
from torch_remote.providers import registry
from torch_remote.providers.interface import (
    InProcessProvider,
    MachineStatus,
    Provider,
    ProviderError,
)

_RECONNECT_TIMEOUT_S = 20.0
_ATTACH_TIMEOUT_S = 10.0


def create_device(
    provider: str | Provider,
    gpu_type: str = "A100",
    *,
    gpu_count: int = 1,
    name: str | None = None,
    region: str | None = None,
    tags: Mapping[str, str] | None = None,
    idle_timeout_s: float | None = IDLE_TIMEOUT_S,
    lease_s: float | None = LEASE_S,
    budget_usd: float | None = None,
    accept_other_gpu: bool = False,
    start: str = "now",
    **options: Any,
) -> torch.device:
    """A device on a machine that a provider starts. It is stopped when this process ends.

    The first, where the machine has several GPUs.

    Ctrl-C, or whatever else ends the start, leaves nothing running. If this process is killed, the
    machine ends with its lease.

    Args:
        provider: "modal", "local", "emulator", or one of another package.
        gpu_type: one of :data:`torch_remote.GPU_TYPES`; "A100" means "A100-40GB".
        gpu_count: GPUs of the machine, 1 to 8; torch_remote.machine(device).devices has them all.
        name: for torch_remote.attach and the command torch-remote; default: one is made up.
        region: where the machine is to be, in the provider's words.
        tags: put on the machine, for the provider's own tools.
        idle_timeout_s: the machine ends after so long without operations; None: never.
        lease_s: it ends so long after the last word of any client; None: never.
        budget_usd: it ends before its GPUs have cost more than this by the provider's price; what
            a provider takes for other things, such as processors or a region, is not counted, nor
            are the seconds of the machine's start.
        accept_other_gpu: warn, instead of stopping, where another GPU was granted.
        start: "now", or "lazy": by the first operation that needs one of its devices.
        options: the provider's own.

    Raises:
        ValueError: unknown provider or GPU type (the message names the nearest), a name that is
            taken, a limit that can't be, a budget where no price is known.
        TypeError: an argument of another type, or an option that the provider does not have.
        ProviderError: the machine can't be had; the message says what to do.
    """
    ensure_loaded()
    if start not in ("now", "lazy"):
        raise ValueError(f"start is {start!r}; it has to be 'now' or 'lazy'")
    found = registry.find(provider) if isinstance(provider, str) else provider
    if isinstance(found, InProcessProvider):
        _refuse(
            found,
            name=name is not None,
            region=region is not None,
            tags=bool(tags),
            budget_usd=budget_usd is not None,
            idle_timeout_s=idle_timeout_s != IDLE_TIMEOUT_S,
            lease_s=lease_s != LEASE_S,
            start=start != "now",
        )
        return found.make(canonical_gpu_type(gpu_type), checked_count(gpu_count), options)
    terms = Terms(
        gpu_type=gpu_type,
        gpu_count=gpu_count,
        name=name,
        region=region,
        tags=tags or {},
        idle_timeout_s=idle_timeout_s,
        lease_s=lease_s,
        budget_usd=budget_usd,
        options=options,
    )
    making = _Making(found, make_order(found, terms), accept_other_gpu)
    return making.now() if start == "now" else making.lazy()


def _refuse(provider: InProcessProvider, **given: bool) -> None:
    """Raises ValueError for arguments that have a meaning for machines alone, where they were given."""
    if names := [name for name, is_given in given.items() if is_given]:
        raise ValueError(
            f"the provider {provider.name!r} works in this process and starts no machine: leave out "
            + ", ".join(names)
        )


def create_modal_device(gpu_type: str = "A100", **options: Any) -> torch.device:
    """create_device("modal", ...): a GPU on Modal. Needs the package modal and a token for it."""
    return create_device("modal", gpu_type, **options)


def attach(name: str) -> torch.device:
    """A device on a machine that was started before, by this process or another; the first of them.

    The machine goes on when this process ends, until its lease or idle timeout ends it.

    Raises:
        LookupError: there is no machine of that name.
        ProviderError: it has ended, or is still being started.
        ConnectionError: it does not answer.
    """
    ensure_loaded()
    record = records.get(name)
    if record.endpoint is None or record.machine_id is None:
        raise ProviderError(f"the machine {name!r} has not been started whole; see torch-remote ls")
    provider = registry.find_remote(record.provider)
    try:
        with _devices.all_or_none() as made:
            _connect(made, record, _ATTACH_TIMEOUT_S)
            _keep(made, RentedMachine(provider, name, record, detached=True))
    except ConnectionError as error:
        if provider.status(record.machine_id) is not MachineStatus.ENDED:
            raise
        words = last_words(provider, record.machine_id)
        end_machine(provider, record)
        raise ProviderError(f"the machine {name!r} has ended{words}") from error
    return made[0]


class _Making:
    """The devices of one machine in the making."""

    def __init__(self, provider: Provider, order: Order, accept_other_gpu: bool) -> None:
        self._provider = provider
        self._order = order
        self._accept_other_gpu = accept_other_gpu
        self._rented = RentedMachine(provider, order.request.name)
        self._pending: list[torch.device] = []
        self._starting = threading.RLock()

    def now(self) -> torch.device:
        try:
            with _devices.all_or_none() as made:
                self._start(functools.partial(_connect, made))
                _keep(made, self._rented)
        except BaseException:
            self._rented.stop()
            raise
        return made[0]

    def lazy(self) -> torch.device:
        extension = ensure_loaded()
        _devices.check_autograd_order()
        with _devices.all_or_none() as self._pending:
            for _ in range(self._order.request.gpu_count):
                index = extension.add_pending(self._start_pending)
                self._pending.append(torch.device("remote", index))
            _keep(self._pending, self._rented)
        return self._pending[0]

    def _start_pending(self, index: int) -> None:
        """Called on the thread of the first operation, and again by the next if it raises.

        Where nothing was connected, that is: with a part of its devices the machine is given up.
        """
        extension = ensure_loaded()
        with self._starting:  # each device has its first operation, and they are one machine
            if not extension.is_pending(index):
                return
            try:
                self._start(self._connect_pending)
            except BaseException:
                if not all(extension.is_pending(made_index(one)) for one in self._pending):
                    for one in self._pending:
                        extension.stop(made_index(one))
                self._rented.record = None
                raise
            self._end_if_stopped()
            stop_first_at_exit()

    def _end_if_stopped(self) -> None:
        """Where stop() was called while there was no record of the machine, it has still to end."""
        if not any(ensure_loaded().is_running(made_index(device)) for device in self._pending):
            self._rented.stop()
            raise RuntimeError(
                f"{self._pending[0]} was stopped while its machine was being started"
            )

    def _connect_pending(self, record: Record, timeout_s: float) -> list[dict[str, str]]:
        extension = ensure_loaded()
        secret_key = read_secret_key(find_or_make_keys().secret_file)
        for device_index, device in enumerate(self._pending):
            if extension.is_running(made_index(device)):
                continue
            extension.connect_pending(
                made_index(device),
                record.endpoint,
                device_index,
                0,
                torch.initial_seed(),
                timeout_s,
                _RECONNECT_TIMEOUT_S,
                record.server_key,
                secret_key,
            )
            check_count(record.gpu_count, extension.executor_device_count(made_index(device)))
        return [extension.description(made_index(device)) for device in self._pending]

    def _start(self, connect: Connect) -> None:
        self._rented.record = start_machine(
            self._provider, renewed(self._order), connect, accept_other_gpu=self._accept_other_gpu
        )


def _connect(made: list[torch.device], record: Record, timeout_s: float) -> list[dict[str, str]]:
    """Connects to those of a machine's devices that are not made yet."""
    extension = ensure_loaded()
    assert record.endpoint is not None
    while len(made) < record.gpu_count:
        device = _devices.connect(
            record.endpoint,
            server_key=record.server_key,
            device_index=len(made),
            timeout_s=timeout_s,
        )
        made.append(device)
        check_count(record.gpu_count, extension.executor_device_count(made_index(device)))
    return [extension.description(made_index(device)) for device in made]


def _keep(devices: Sequence[torch.device], machine: RentedMachine) -> None:
    groups.join(devices)
    for device in devices:
        rented.belongs_to(ensure_loaded().serial(made_index(device)), machine)
    stop_first_at_exit()
