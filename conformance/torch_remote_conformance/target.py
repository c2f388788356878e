# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is proven: a device, how it is named, and what it claims."""

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch

from torch_remote_conformance.endpoint import Endpoint

_FORMS = (
    "emulator:GPU_TYPE (in this process), local:GPU_TYPE (an executor process), null, tcp://host:port or "
    "ipc://path (an executor that runs), PROVIDER:GPU_TYPE such as modal:H100, or torch:DEVICE such as torch:cpu"
)


@dataclass(frozen=True)
class Target:
    """A device under test."""

    #: As it was named on the command line.
    name: str
    device: torch.device
    #: Its kernels are CPU's: what it computes is compared bit for bit.
    computes_as_cpu: bool
    #: Its generator draws CPU's numbers.
    draws_as_cpu: bool
    #: What the executor says of itself, or torch of the device.
    description: dict[str, str] = field(default_factory=dict, compare=False)
    #: How it was reached; None for one that was made otherwise.
    address: "Address | None" = field(default=None, compare=False)
    #: Where clients other than this process's device reach the executor; None where there is none.
    endpoint: Endpoint | None = field(default=None, compare=False)

    @property
    def claims(self) -> str:
        """Whose column of PyTorch's tables says which dtypes it takes: "cpu" or "cuda"."""
        computes_on = self.description.get("device", self.device.type)
        return "cuda" if computes_on.startswith("cuda") else "cpu"

    @property
    def is_remote(self) -> bool:
        """Whether it is this project's device, rather than another one of torch."""
        return self.device.type == "remote"

    def executor_storages(self) -> tuple[int, int] | None:
        """How many storages the executor holds for this device, and their bytes; by its own count.

        None where it has none: for other devices of torch, and where an allocator's statistics are the answer,
        which has memory of its own beside.
        """
        if not self.is_remote:
            return None
        import torch_remote

        extension = torch_remote.ensure_loaded()
        if "allocator" in self.description:
            return None
        numbers = extension.executor_memory_statistics(self.device.index)
        if "active.all.current" not in numbers:
            return None
        return numbers["active.all.current"], numbers["active_bytes.all.current"]

    def client_storages(self) -> tuple[int, int]:
        """The same by the client's count, at this point of the program. Of this project's device alone."""
        import torch_remote

        counts = torch_remote.stats(self.device)
        return counts.storages, counts.allocated_bytes

    def synchronize(self) -> None:
        """Waits for what the device has to do; raises what failed and nothing has read yet."""
        if self.device.type != "cpu":
            torch.accelerator.synchronize(self.device)


@dataclass(frozen=True)
class Address:
    """How a process reaches a target: what the workers of a run share."""

    name: str
    #: Of an executor that runs, whoever started it.
    endpoint: Endpoint | None = None
    #: Which of its devices.
    device_index: int = 0
    #: Of a provider's machine, for torch_remote.attach.
    machine: str | None = None


@contextlib.contextmanager
def provided(
    name: str, *, server_key: str | None = None, key_file: str | None = None
) -> Iterator[Address]:
    """Starts what a target needs beside the process that uses it: an executor, or a provider's machine.

    Args:
        name: one of the forms that the error lists.
        server_key: public key of an executor that runs already.
        key_file: the client's secret key for it.

    Raises:
        ValueError: no such form of target.
        ProviderError: the machine can't be had.
    """
    kind, _, rest = name.partition(":")
    if kind in ("tcp", "ipc") and rest.startswith("//"):
        yield Address(name, Endpoint(name, server_key, key_file))
        return
    if server_key is not None or key_file is not None:
        raise ValueError(
            "keys are for the endpoint of an executor that runs, such as tcp://host:port"
        )
    if (kind in ("torch", "emulator") and rest) or name == "null":
        yield Address(name)
    elif kind == "local":
        import torch_remote

        with torch_remote.LocalExecutor(emulate=rest or None) as executor:
            yield Address(name, Endpoint(executor.endpoint))
    elif kind and rest:
        import torch_remote

        device = torch_remote.create_device(kind, rest)
        machine = torch_remote.machine(device)
        try:
            yield Address(name, endpoint_of(machine.name), machine=machine.name)
        finally:
            machine.stop()
    else:
        raise ValueError(f"{name!r} is no target; there are {_FORMS}")


def endpoint_of(machine: str | None) -> Endpoint | None:
    """Of a provider's machine; None where the provider works in the process."""
    if machine is None:
        return None
    from torch_remote._machines import records

    record = records.get(machine)
    assert record.endpoint is not None
    return Endpoint(record.endpoint, record.server_key)


#: The device of a target that was opened without its own.
_NO_DEVICE = torch.device("meta")


@contextlib.contextmanager
def opened(address: Address, *, with_device: bool = True) -> Iterator[Target]:
    """The target, ready in this process; closed at the end.

    Args:
        with_device: False leaves PyTorch's device out, for cases that speak to the executor themselves.

    Raises:
        ValueError: torch has no such device, or there is no such GPU type.
        ConnectionError: the executor does not answer.
    """
    torch.set_num_threads(1)  # bits depend on the number of threads
    kind, _, rest = address.name.partition(":")
    if kind == "torch":
        yield _torch_target(address, rest)
        return
    with _served(address, rest) as endpoint:
        if not with_device:
            yield Target(
                address.name,
                _NO_DEVICE,
                computes_as_cpu=False,
                draws_as_cpu=False,
                endpoint=endpoint,
            )
            return
        device = _made(address, rest)
        try:
            yield _remote_target(address, device, endpoint)
        finally:
            import torch_remote

            torch_remote.machine(device).stop()


@contextlib.contextmanager
def _served(address: Address, gpu_type: str) -> Iterator[Endpoint | None]:
    """The target's endpoint. What works in the process is served at one for as long: the same executor."""
    is_null = address.name == "null"
    if address.endpoint is not None or not (is_null or address.name.startswith("emulator:")):
        yield address.endpoint
        return
    from torch_remote._loading import ensure_loaded

    # A folder of our own: nobody else can connect, and names are short enough for a socket.
    with tempfile.TemporaryDirectory(prefix="torch-remote-") as folder:
        server = ensure_loaded().serve(f"ipc://{folder}/executor", None if is_null else gpu_type)
        try:
            yield Endpoint(server.endpoint)
        finally:
            server.end("the conformance suite is done")


def _made(address: Address, gpu_type: str) -> torch.device:
    import torch_remote

    if address.machine is not None:
        return torch_remote.attach(address.machine)
    if address.endpoint is not None:
        return torch_remote.connect(
            address.endpoint.address,
            server_key=address.endpoint.server_key,
            key_file=address.endpoint.key_file,
            device_index=address.device_index,
            num_threads=1,
        )
    if address.name == "null":
        return torch_remote.null_device()
    return torch_remote.emulate(gpu_type, num_threads=1)


def _torch_target(address: Address, text: str) -> Target:
    try:
        device = torch.device(text)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"{address.name!r}: torch has no such device here: {error}") from None
    is_cpu = device.type == "cpu"
    return Target(
        address.name,
        device,
        computes_as_cpu=is_cpu,
        draws_as_cpu=is_cpu,
        description={"device": text},
        address=address,
    )


def _remote_target(address: Address, device: torch.device, endpoint: Endpoint | None) -> Target:
    import torch_remote

    description = torch_remote.machine(device).description
    # With more threads some of its kernels round otherwise.
    on_cpu = description.get("device") == "cpu" and description.get("thread_count") == "1"
    return Target(
        address.name,
        device,
        computes_as_cpu=on_cpu,
        draws_as_cpu=on_cpu and "random_numbers" not in description,
        description=description,
        address=address,
        endpoint=endpoint,
    )
