# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""The streams and events of `torch.remote`, as torch.cuda has them: PyTorch's own, made for remote."""

from typing import Any

import torch

from torch_remote._devices import device_index
from torch_remote._loading import ensure_loaded
from torch_remote._names import is_remote

_DeviceArgument = torch.device | str | int | None


class Stream(torch.Stream):
    """A queue of a device's operations: its own are in order, and wait for no other stream's.

    Args:
        device: default: the current device.
        priority: 0, or negative for a high one. There are 32 streams of each; the next one made
            after these is the first again.
    """

    def __new__(cls, device: _DeviceArgument = None, priority: int = 0, **numbers: int) -> "Stream":
        """numbers: stream_id, device_index and device_type, as PyTorch names a stream that there is."""
        if numbers:
            return super().__new__(cls, **numbers)
        where = torch.device("remote", device_index(device))
        return super().__new__(cls, where, priority=priority)

    def record_event(self, event: torch.Event | None = None) -> torch.Event:
        """Records an event, by default a new one, which is returned."""
        event = Event() if event is None else event
        event.record(self)
        return event

    def wait_event(self, event: torch.Event) -> None:
        """What is called in this stream from now on waits for the event."""
        event.wait(self)

    def wait_stream(self, stream: torch.Stream) -> None:
        """What is called in this stream from now on waits for all that the other has to do now."""
        self.wait_event(stream.record_event())

    def __repr__(self) -> str:
        return f"<torch.remote.Stream device={self.device} stream_id={self.stream_id}>"


class _EventType(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, torch.Event) and is_remote(instance.device)


class Event(metaclass=_EventType):
    """A point in the work of a stream: Event(...) makes a torch.Event of the device type remote.

    No class of its own is derived, since torch.Event.elapsed_time takes none but torch.Event itself.

    Args:
        enable_timing: it keeps its time, for elapsed_time.
        blocking: without a meaning here: whoever waits for an event gives the processor away.
        interprocess: not supported.

    Raises:
        NotImplementedError: interprocess is True.
    """

    def __new__(  # type: ignore[misc]  # see above
        cls, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False
    ) -> torch.Event:
        if interprocess:
            raise NotImplementedError("events of a remote device belong to one process")
        return torch.Event("remote", enable_timing=enable_timing, blocking=blocking)


def current_stream(device: _DeviceArgument = None) -> Stream:
    """This thread's current stream of a device."""
    index = device_index(device)
    return _stream(index, ensure_loaded().current_stream(index))


def default_stream(device: _DeviceArgument = None) -> Stream:
    """The stream that is current where no other was set."""
    return _stream(device_index(device), 0)


def set_stream(stream: torch.Stream) -> None:
    """Makes a stream the current one of its device, and its device the current one, in this thread."""
    extension = ensure_loaded()
    index = device_index(stream.device)
    extension.exchange_stream(index, stream.stream_id)
    extension.exchange_device(index)


class StreamContext:
    """Makes a stream current within a with statement, and its device. None changes nothing."""

    def __init__(self, stream: torch.Stream | None) -> None:
        self.stream = stream
        self._before: list[tuple[int, int, int]] = []  # it may be entered again within itself

    def __enter__(self) -> None:
        if self.stream is not None:
            extension = ensure_loaded()
            index = device_index(self.stream.device)
            stream = extension.exchange_stream(index, self.stream.stream_id)
            device = extension.exchange_device(index)
            self._before.append((index, stream, device))

    def __exit__(self, *_: Any) -> None:
        if self.stream is not None:
            index, stream, device = self._before.pop()
            ensure_loaded().exchange_stream(index, stream)
            ensure_loaded().exchange_device(device)


def stream(stream: torch.Stream | None) -> StreamContext:
    """A context in which a stream is the current one, and its device the current device."""
    return StreamContext(stream)


def _stream(index: int, number: int) -> Stream:
    device_type = ensure_loaded().DEVICE_TYPE
    return Stream(stream_id=number, device_index=index, device_type=device_type)
