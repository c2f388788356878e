# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Making devices, and what runs behind them."""

import atexit
import contextlib
import math
import operator
import os
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import torch

from torch_remote._gpus import GpuProperties, gpu_properties
from torch_remote._keys import find_or_make_keys, read_secret_key
from torch_remote._loading import ensure_loaded


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


def emulate(gpu_type: str, *, num_threads: int | None = None) -> torch.device:
    """An emulated GPU in this process.

    Args:
        gpu_type: one of :data:`torch_remote.GPU_TYPES`.
        num_threads: threads within one operation; default: this thread's torch.get_num_threads().
            It changes the last bits of some results, as it does on CPU.

    Raises:
        ValueError: unknown GPU type; the message names the nearest. Or more threads than this
            machine should have.
    """
    extension = ensure_loaded()
    gpu_type = _text("gpu_type", gpu_type, "H100")
    threads = _thread_count(torch.get_num_threads() if num_threads is None else num_threads)
    try:
        return _made(extension.emulate(gpu_type, threads, torch.initial_seed()))
    except ConnectionError as error:
        raise ValueError(str(error)) from None


def connect(
    endpoint: str,
    *,
    server_key: str | None = None,
    key_file: str | os.PathLike[str] | None = None,
    num_threads: int | None = None,
    timeout_s: float = 10.0,
    reconnect_timeout_s: float = 20.0,
) -> torch.device:
    """A device on an executor that runs already (`torch-remote-executor`).

    Args:
        endpoint: "tcp://host:port" or "ipc://path".
        server_key: the executor's public key: the connection is encrypted, and both sides know each
            other. Without it only executors on this machine can be reached.
        key_file: this side's secret key; default: the one that `torch-remote keys` makes. Its
            public key has to be on the executor's list.
        num_threads: threads within one operation on the executor; default: its own choice.
        timeout_s: how long to wait for the executor's answer; math.inf for ever.
        reconnect_timeout_s: how long a connection that broke may take to come back, unnoticed by
            the program, before the device is given up.

    Raises:
        ValueError: malformed endpoint or key.
        PermissionError: others can read the key file.
        ConnectionError: nothing answers, or the executor refuses; the message says why.
    """
    extension = ensure_loaded()
    endpoint = _text("endpoint", endpoint, "tcp://127.0.0.1:5555")
    threads = 0 if num_threads is None else _thread_count(num_threads)
    timeouts = (
        _seconds("timeout_s", timeout_s),
        _seconds("reconnect_timeout_s", reconnect_timeout_s),
    )
    secret_key = None
    if server_key is not None:
        server_key = _text("server_key", server_key, "the text that `torch-remote keys` printed")
        path = find_or_make_keys().secret_file if key_file is None else Path(key_file)
        secret_key = read_secret_key(path)
    elif key_file is not None:
        raise ValueError("key_file needs server_key, the executor's public key, beside it")
    return _made(
        extension.connect(
            endpoint, threads, torch.initial_seed(), *timeouts, server_key, secret_key
        )
    )


def null_device() -> torch.device:
    """A device that computes nothing and reads zeros: what the client itself costs."""
    return _made(ensure_loaded().null_device(torch.initial_seed()))


def stats(device: torch.device | str | int | None = None) -> Statistics:
    """Counts of a device: operations, plans, round trips, bytes each way, memory."""
    return Statistics(**ensure_loaded().statistics(device_index(device)))


@dataclass(frozen=True)
class Machine:
    """What a device runs on."""

    device: torch.device
    description: dict[str, str] = field(hash=False)
    _serial: int = field(repr=False)

    @property
    def running(self) -> bool:
        """Whether the device can be used."""
        return self._is_same() and bool(ensure_loaded().is_running(self.device.index))

    def stop(self) -> None:
        """Ends the device's session and frees what it holds. Its tensors can't be used any more."""
        if not self._is_same():
            return
        for failure in ensure_loaded().stop(self.device.index):
            warnings.warn(
                f"an operation on {self.device} failed and nothing read its result: {failure}",
                stacklevel=2,
            )

    def _is_same(self) -> bool:
        """Whether the index is not another device's by now."""
        return bool(ensure_loaded().serial(self.device.index) == self._serial)

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"the machine behind {self.device} belongs to this process: make the device in the other one"
        )


def machine(device: torch.device | str | int | None = None) -> Machine:
    """The machine behind a device."""
    index = device_index(device)
    extension = ensure_loaded()
    return Machine(
        torch.device("remote", index), dict(extension.description(index)), extension.serial(index)
    )


def machines() -> list[Machine]:
    """The machines of this process that run."""
    extension = ensure_loaded()
    return [
        machine(index) for index in range(extension.device_count()) if extension.is_running(index)
    ]


def device_index(device: torch.device | str | int | None) -> int:
    """The index that a device argument means; None is the current device."""
    extension = ensure_loaded()
    if isinstance(device, str):
        device = torch.device(device)
    if isinstance(device, torch.device):
        if device.type != "remote":
            raise ValueError(f"expected a remote device, but got {device}")
        device = device.index
    index = int(extension.current_device()) if device is None else operator.index(device)
    count = int(extension.device_count())
    if not 0 <= index < count:
        raise ValueError(f"there is no device remote:{index}; {_existing(count)}")
    return index


def device_properties(device: torch.device | str | int | None = None) -> GpuProperties:
    """The properties of a device, as torch.cuda.get_device_properties gives them."""
    description: dict[str, str] = ensure_loaded().description(device_index(device))
    if "emulates" in description:
        return gpu_properties(description["emulates"])
    return GpuProperties(name=description.get("device", "remote"))


def _existing(count: int) -> str:
    if count == 0:
        return "make one with torch_remote.emulate(gpu_type) or torch_remote.connect(endpoint)"
    return "there is only remote:0" if count == 1 else f"there are remote:0 to remote:{count - 1}"


def _thread_count(count: int) -> int:
    try:
        number = operator.index(count)
    except TypeError:
        raise TypeError(f"num_threads has to be a whole number, not {count!r}") from None
    if not 1 <= number <= 4096:
        raise ValueError(f"num_threads is {number}; it has to be from 1 to 4096")
    return number


def _seconds(name: str, value: float) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"{name} has to be a number of seconds, not {value!r}")
    if math.isnan(value) or value <= 0:
        raise ValueError(f"{name} is {value}; it has to be more than 0 seconds")
    return float(value)


def _text(name: str, value: str, example: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name} has to be a text such as {example!r}, not {value!r}")
    return value


def _made(index: int) -> torch.device:
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
            probe = torch.empty(0, device=torch.device("remote", index), requires_grad=True)
            probe.sum().backward()
    except RuntimeError as error:
        if "device_ready_queues_" not in str(error):
            raise
        raise RuntimeError(
            "a backward pass ran before torch_remote was imported, and PyTorch's autograd takes no new device "
            "after that: import torch_remote at the top of the program"
        ) from error


@atexit.register
def _stop_all() -> None:
    from torch_remote import _loading

    if _loading._extension is not None:
        for running in machines():
            with contextlib.suppress(
                Warning
            ):  # where warnings are errors, the others have to end too
                running.stop()
