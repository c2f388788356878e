# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Making devices, and what can be known of them."""

import contextlib
import operator
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch

from torch_remote._arguments import choice, seconds, text, thread_count, whole_number
from torch_remote._emulation.questions import watched
from torch_remote._gpus import GpuProperties, find_gpu, properties_of
from torch_remote._keys import find_or_make_keys, read_secret_key
from torch_remote._loading import ensure_loaded
from torch_remote._machines import groups
from torch_remote._machines.granted import reported_gpu_type
from torch_remote._names import is_remote, made_index, remote_index
from torch_remote._network import Network

if TYPE_CHECKING:
    from torch_remote.faults import Fault, Faults

# What the protocol holds; which of them an executor has, it says itself.
_DEVICE_INDEX_MAX = 2**32 - 1


#: What emulate() gives while a program is compared on several GPUs.
_emulate_gives: torch.device | None = None


@dataclass(frozen=True)
class Statistics:
    """What a device has done since it was made. Bytes are those on the wire, headers included."""

    operations: int
    plans: int
    round_trips: int
    bytes_sent: int
    bytes_received: int
    storages: int
    allocated_bytes: int
    allocated_bytes_peak: int


def emulate(
    gpu_type: str | os.PathLike[str],
    *,
    gpu_count: int = 1,
    num_threads: int | None = None,
    dry_run: bool = False,
    oom: Literal["raise", "record"] = "raise",
    on_read: Literal["raise", "zero"] = "raise",
    network: Network | None = None,
    faults: "Faults | Fault | Sequence[Fault] | None" = None,
) -> torch.device:
    """An emulated GPU in this process; the first, where there are several.

    Args:
        gpu_type: one of :data:`torch_remote.GPU_TYPES`, or the path of a file that describes a GPU of
            your own, such as "my_gpu.toml" (docs/EMULATOR.md).
        gpu_count: how many: torch_remote.machine(device).devices has all of them.
        num_threads: threads within one operation; default: this thread's torch.get_num_threads().
            It changes the last bits of some results, as it does on CPU.
        dry_run: nothing is computed, and no memory is taken for values: what a program allocates
            and how long it would take is found out, for programs of any size.
        oom: "raise" torch.OutOfMemoryError where the GPU's memory is used up, as CUDA does, or
            "record" the first operation that doesn't fit and go on to the peak that the program
            would need (:func:`torch_remote.emulation`).
        on_read: what a dry run does where the program reads a value (`.item()`, `.cpu()`,
            printing): "raise" RuntimeError with the line that reads it, or read "zero", so that a
            program which logs its loss goes on. An operator whose result has a shape that depends
            on values (nonzero, boolean masks) always raises NotImplementedError.
        network: in front of the GPU, for its modelled times; default: the program runs on the GPU's
            machine.
        faults: what is to go wrong, and when (:mod:`torch_remote.faults`), for tests of recovery.

    Raises:
        ValueError: unknown GPU type; the message names the nearest. Something in the file can't be right; the message names
            its line. Another word for oom or on_read. Or more GPUs than there can be devices, or more threads than this
            machine should have.
        FileNotFoundError: there is no such file.
        RuntimeError: so many devices are in use that there is no place for these.
    """
    extension = ensure_loaded()
    gpu = find_gpu(gpu_type)
    if _emulate_gives is not None and gpu_count == 1:
        return _emulate_gives
    threads = thread_count(torch.get_num_threads() if num_threads is None else num_threads)
    count = whole_number("gpu_count", gpu_count, 1, extension.DEVICE_COUNT_MAX)
    choice("oom", oom, ("raise", "record"))
    values = choice("on_read", on_read, ("raise", "zero")) if dry_run else "computed"
    between = Network() if network is None else network
    if not isinstance(between, Network):
        raise TypeError(f"network has to be a torch_remote.Network, not {network!r}")
    planned = None
    if faults is not None:
        from torch_remote.faults import plan  # which imports this module

        planned = plan(faults, gpu_count=count, dry_run=dry_run)
    models = (
        *(values, oom == "record"),
        *(between.round_trip_ms, between.finite_bandwidth_mbit_per_s),
        None if planned is None else planned.plan,
    )
    try:
        with all_or_none() as made:
            for _ in range(count):
                made.append(
                    adopt(extension.emulate([gpu.model], threads, torch.initial_seed(), *models))
                )
            groups.join(made)
    except ConnectionError as error:
        raise ValueError(str(error)) from None
    if planned is not None:
        planned.start(made_index(made[0]))
    return made[0]


def connect(
    endpoint: str,
    *,
    server_key: str | None = None,
    key_file: str | os.PathLike[str] | None = None,
    device_index: int = 0,
    num_threads: int | None = None,
    timeout_s: float = 10.0,
    reconnect_timeout_s: float = 20.0,
) -> torch.device:
    """A device on an executor that runs already (`torch-remote-executor`).

    Args:
        endpoint: "tcp://host:port" or "ipc://path".
        server_key: the executor's public key, or the line of its public file: the connection is
            encrypted, and both sides know each other. Without it only executors on this machine can
            be reached.
        key_file: this side's secret key; default: the one that `torch-remote keys` makes. Its
            public key has to be on the executor's list.
        device_index: which of the executor's devices, where it has several.
        num_threads: threads within one operation on the executor; default: its own choice.
        timeout_s: how long to wait for the executor's answer; math.inf for ever.
        reconnect_timeout_s: how long a connection that broke may take to come back, unnoticed by
            the program, before the device is given up.

    Raises:
        ValueError: malformed endpoint or key.
        PermissionError: others can read the key file.
        ConnectionError: nothing answers, or the executor refuses, for example because it has no
            device of that index; the message says why.
    """
    extension = ensure_loaded()
    endpoint = text("endpoint", endpoint, "tcp://127.0.0.1:5555")
    which = whole_number("device_index", device_index, 0, _DEVICE_INDEX_MAX)
    threads = 0 if num_threads is None else thread_count(num_threads)
    timeouts = (
        seconds("timeout_s", timeout_s),
        seconds("reconnect_timeout_s", reconnect_timeout_s),
    )
    secret_key = None
    if server_key is not None:
        server_key = text("server_key", server_key, "the text that `torch-remote keys` printed")
        server_key = server_key.partition(" #")[0].strip()  # the file says whose it is
        path = find_or_make_keys().secret_file if key_file is None else Path(key_file)
        secret_key = read_secret_key(path)
    elif key_file is not None:
        raise ValueError("key_file needs server_key, the executor's public key, beside it")
    return adopt(
        extension.connect(
            endpoint, which, threads, torch.initial_seed(), *timeouts, server_key, secret_key
        )
    )


def null_device() -> torch.device:
    """A device that computes nothing and reads zeros: what the client itself costs."""
    return adopt(ensure_loaded().null_device(torch.initial_seed()))


def stats(device: torch.device | str | int | None = None) -> Statistics:
    """Counts of a device: operations, plans, round trips, bytes each way, memory."""
    return Statistics(**ensure_loaded().statistics(device_index(device)))


def device_index(device: torch.device | str | int | None) -> int:
    """The index that a device argument means; None is the current device."""
    extension = ensure_loaded()
    if isinstance(device, str):
        device = torch.device(device)
    if isinstance(device, torch.device):
        if not is_remote(device):
            raise ValueError(f"expected a remote device, but got {device}")
        device = remote_index(device)
    index = int(extension.current_device()) if device is None else operator.index(device)
    count = int(extension.device_count())
    if not 0 <= index < count:
        raise ValueError(f"there is no device remote:{index}; {_existing(count)}")
    return index


def device_properties(device: torch.device | str | int | None = None) -> GpuProperties:
    """The properties of a device, as torch.cuda.get_device_properties gives them."""
    index = device_index(device)
    model = ensure_loaded().emulated_gpu(index)
    if model is not None:
        return watched(properties_of(model))
    description: dict[str, str] = ensure_loaded().description(index)
    if "gpu_name" in description:
        return _real_properties(description)
    return GpuProperties(name=description.get("device", "remote"))


@contextlib.contextmanager
def emulate_gives(device: torch.device) -> Iterator[None]:
    """While it lasts, emulate() gives this device, whatever it is asked for."""
    global _emulate_gives
    before, _emulate_gives = _emulate_gives, device
    try:
        yield
    finally:
        _emulate_gives = before


@contextlib.contextmanager
def all_or_none() -> Iterator[list[torch.device]]:
    """A list for the devices of one machine: if not all of them can be made, none stays."""
    made: list[torch.device] = []
    try:
        yield made
    except BaseException:
        for device in made:
            ensure_loaded().stop(made_index(device))
        raise


def _real_properties(description: Mapping[str, str]) -> GpuProperties:
    """Of a GPU that the executor computes on: its keys are "gpu_" and the properties' names."""
    told = {
        one.name: description["gpu_" + one.name]
        for one in fields(GpuProperties)
        if "gpu_" + one.name in description
    }
    name, gpu_type = told.pop("name"), reported_gpu_type(description)
    told.pop("type", None)
    return GpuProperties(name, gpu_type or "", **{key: int(text) for key, text in told.items()})


def _existing(count: int) -> str:
    if count == 0:
        return "make one with torch_remote.emulate(gpu_type) or torch_remote.connect(endpoint)"
    return "there is only remote:0" if count == 1 else f"there are remote:0 to remote:{count - 1}"


def adopt(index: int) -> torch.device:
    try:
        _check_autograd_knows(index)
    except BaseException:
        ensure_loaded().stop(index)
        raise
    return torch.device("remote", index)


def _check_autograd_knows(index: int) -> None:
    """Autograd makes its queues at the first backward; one before the registration leaves remote out."""
    try:
        # Whatever the program has switched off around this call.
        with torch.inference_mode(False), torch.enable_grad():
            nothing = torch.empty(0, device=torch.device("remote", index))
            # Without a byte on the device: its statistics begin with the program's own tensors.
            nothing.clone().requires_grad_().clone().backward(nothing)
    except RuntimeError as error:
        if "device_ready_queues_" not in str(error):
            raise
        raise RuntimeError(
            "a backward pass ran before torch_remote was imported, and PyTorch's autograd takes no new device "
            "after that: import torch_remote at the top of the program"
        ) from error


def check_autograd_order() -> None:
    """Raises RuntimeError where autograd can take no new device, without needing one to be started."""
    index = ensure_loaded().null_device(0)
    try:
        _check_autograd_knows(index)
    finally:
        ensure_loaded().stop(index)
