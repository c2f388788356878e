# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Streams and events: torch.remote's, and PyTorch's own on a remote device."""

import math
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch_remote

remote = torch.remote
Event, Stream = remote.Event, remote.Stream


# ---- which stream is current ----


def test_the_default_stream(device: torch.device) -> None:
    assert remote.current_stream(device) == remote.default_stream(device)
    assert remote.default_stream(device).stream_id == 0
    assert remote.default_stream(device).device == device
    assert isinstance(remote.current_stream(device), Stream)
    assert isinstance(remote.current_stream(device), torch.Stream)


def test_a_context_changes_the_stream_and_the_device(
    emulator: torch.device, tcp: torch.device
) -> None:
    first, other = Stream(emulator), Stream(tcp)
    with remote.device(emulator):
        context = remote.stream(first)
        with context, context:  # it may be used again
            assert remote.current_stream() == first
            with remote.stream(other):
                assert remote.current_device() == tcp.index
                assert remote.current_stream() == other
                assert remote.current_stream(emulator) == first
            with remote.stream(None):
                assert remote.current_stream() == first
            assert remote.current_stream(tcp) == remote.default_stream(tcp)
        assert remote.current_device() == emulator.index
        assert remote.current_stream() == remote.default_stream()
        with pytest.raises(KeyError), remote.stream(first):
            raise KeyError
        assert remote.current_stream() == remote.default_stream()


def test_a_stream_is_a_context_itself(device: torch.device) -> None:
    with Stream(device) as stream:
        assert remote.current_stream(device) == stream
    assert remote.current_stream(device) == remote.default_stream(device)


def test_set_stream(emulator: torch.device) -> None:
    stream = Stream(emulator)
    before = remote.current_device()
    remote.set_stream(stream)
    try:
        assert remote.current_device() == emulator.index
        assert remote.current_stream() == stream
    finally:
        remote.set_stream(remote.default_stream(emulator))
        remote.set_device(before)


def test_each_thread_has_its_own_current_stream(device: torch.device) -> None:
    stream = Stream(device)
    together = threading.Barrier(2)

    def use(own: torch.Stream) -> bool:
        with remote.stream(own):
            together.wait()
            x = torch.ones(3, device=device) * 2
            together.wait()
            return remote.current_stream(device) == own and x.sum().item() == 6

    with ThreadPoolExecutor(2) as pool:
        assert all(pool.map(use, [stream, remote.default_stream(device)]))
    assert remote.current_stream(device) == remote.default_stream(device)


def test_priorities(emulator: torch.device) -> None:
    usual = {Stream(emulator).stream_id for _ in range(40)}
    high = {Stream(emulator, priority=-1).stream_id for _ in range(40)}
    assert usual == set(range(1, 33))
    assert high == set(range(33, 65))
    for priority in (0, -1):
        with remote.stream(Stream(emulator, priority=priority)):
            assert (torch.ones(2, device=emulator) + 1).tolist() == [2, 2]


def test_streams_are_told_apart(emulator: torch.device, tcp: torch.device) -> None:
    first, second = Stream(emulator), Stream(emulator)
    again = Stream(
        stream_id=first.stream_id, device_index=first.device_index, device_type=first.device_type
    )
    assert first != second
    assert (again, hash(again)) == (first, hash(first))
    assert remote.default_stream(emulator) != remote.default_stream(tcp)
    assert repr(first) == f"<torch.remote.Stream device={emulator} stream_id={first.stream_id}>"
    with pytest.raises(ValueError, match="expected a remote device, but got cpu"):
        Stream("cpu")
    before = remote.current_device()
    numbers = {"device_index": tcp.index, "device_type": first.device_type}
    with pytest.raises(ValueError, match="there is no stream 65"):
        remote.set_stream(Stream(stream_id=65, **numbers))
    assert remote.current_device() == before


# ---- results ----


def test_operations_in_another_stream(device: torch.device) -> None:
    x = torch.arange(1000.0, device=device)
    stream = Stream(device)
    stream.wait_stream(remote.current_stream(device))
    with remote.stream(stream):
        y = x * 2
        z = (y + 1).cpu()
    remote.current_stream(device).wait_stream(stream)
    y.record_stream(stream)
    assert torch.equal(z, torch.arange(1000.0) * 2 + 1)
    assert torch.equal((y - x).cpu(), torch.arange(1000.0))


def test_a_chain_through_many_streams(device: torch.device) -> None:
    x = torch.zeros(10, device=device)
    streams = [Stream(device, priority=-(i % 2)) for i in range(8)]
    event = remote.current_stream(device).record_event()
    for _ in range(20):
        for stream in streams:
            stream.wait_event(event)
            with remote.stream(stream):
                x += 1
                event = stream.record_event()
    event.wait(remote.current_stream(device))
    assert x.tolist() == [160.0] * 10


def test_copies_between_devices_in_streams(emulator: torch.device, tcp: torch.device) -> None:
    stream = Stream(emulator)
    stream.wait_stream(remote.current_stream(emulator))
    with remote.stream(stream):
        x = torch.arange(5.0, device=emulator) * 3
        event = stream.record_event()
    other = Stream(tcp)
    other.wait_event(event)  # of another machine: the program waits
    with remote.stream(other):
        assert x.to(tcp).tolist() == [0, 3, 6, 9, 12]


def test_backward_in_a_side_stream(device: torch.device) -> None:
    weight = torch.ones(4, device=device, requires_grad=True)
    stream = Stream(device)
    stream.wait_stream(remote.current_stream(device))
    with remote.stream(stream):
        loss = (weight * torch.arange(4.0, device=device)).sum()
        loss.backward()
    remote.current_stream(device).wait_stream(stream)
    assert weight.grad is not None
    assert weight.grad.tolist() == [0, 1, 2, 3]
    assert loss.item() == 6


def test_an_error_in_a_stream_is_raised_where_it_is_read(emulator: torch.device) -> None:
    with remote.stream(Stream(emulator)):
        taken = torch.zeros(2, device=emulator)[torch.tensor([7], device=emulator)]
        with pytest.raises(IndexError, match="out of bounds"):
            taken.cpu()


# ---- events ----


def test_events(device: torch.device) -> None:
    event = Event()
    assert isinstance(event, Event)
    assert isinstance(event, torch.Event)
    assert not isinstance(torch.Event("cpu"), Event)
    assert event.query(), "one that was never recorded stands for nothing"
    event.synchronize()
    with remote.device(device):
        x = torch.ones(100, 100, device=device)
        y = x @ x
        event.record()
        event.synchronize()
        assert event.query()
        event.record(remote.current_stream())  # once more
        event.wait()
    assert event.device == device
    assert y[0, 0].item() == 100


@pytest.mark.parametrize("make", [Event, lambda **kind: torch.Event("remote", **kind)])
def test_the_time_between_events(device: torch.device, make: Callable[..., torch.Event]) -> None:
    with remote.device(device):
        events = [make(enable_timing=True) for _ in range(3)]
        x = torch.rand(50, 50, device=device)
        for event in events:
            event.record()
            x = x @ x
        events[-1].synchronize()
    first, second, third = events
    times = [first.elapsed_time(second), second.elapsed_time(third), first.elapsed_time(third)]
    assert all(math.isfinite(time) and time >= 0 for time in times)
    assert times[2] == pytest.approx(times[0] + times[1], rel=1e-6, abs=1e-3)
    assert third.elapsed_time(first) == -times[2]


def test_events_without_a_time(emulator: torch.device) -> None:
    with remote.device(emulator):
        timed, untimed = Event(enable_timing=True), Event()
        with pytest.raises((RuntimeError, ValueError), match="must be recorded"):
            timed.elapsed_time(Event(enable_timing=True))
        timed.record()
        untimed.record()
        with pytest.raises((RuntimeError, ValueError), match="enable_timing=True"):
            timed.elapsed_time(untimed)
        timed.synchronize()  # nothing of that is left


def test_events_of_two_devices(emulator: torch.device, tcp: torch.device) -> None:
    one, other = Event(enable_timing=True), Event(enable_timing=True)
    one.record(remote.current_stream(emulator))
    other.record(remote.current_stream(tcp))
    with pytest.raises(RuntimeError):
        one.elapsed_time(other)
    with pytest.raises(RuntimeError):
        one.record(remote.current_stream(tcp))
    assert one.query()
    assert other.query()


def test_events_of_other_processes() -> None:
    with pytest.raises(NotImplementedError, match="belong to one process"):
        Event(interprocess=True)


def test_an_event_of_a_device_that_was_stopped(make_emulator: Callable[..., torch.device]) -> None:
    device = make_emulator()
    event = remote.current_stream(device).record_event()
    torch.remote.synchronize(device)
    torch_remote.machine(device).stop()
    with pytest.raises(RuntimeError, match=r"stopped|ended|not usable"):
        event.query()
    del event  # which is no error


def test_many_events(device: torch.device) -> None:
    stream = remote.current_stream(device)
    events = [stream.record_event() for _ in range(500)]
    assert all(event.query() for event in events)
    del events
    remote.synchronize(device)
    assert stream.query()
    stream.synchronize()


def test_pytorchs_own_streams(device: torch.device) -> None:
    stream = torch.Stream(device)
    event = torch.Event("remote")
    with stream:
        x = torch.ones(3, device=device) * 4
        event.record(stream)
    event.synchronize()
    remote.current_stream(device).wait_stream(stream)
    assert x.sum().item() == 12
    assert isinstance(remote.current_stream(device).record_event(event), torch.Event)


def test_a_device_is_not_started_for_its_stream() -> None:
    extension = torch_remote.ensure_loaded()

    def start(_: int) -> None:
        raise AssertionError("nothing was computed")

    index = extension.add_pending(start)
    stream = Stream(index)
    with remote.stream(stream):
        assert remote.current_stream(index) == stream
    assert remote.memory_allocated(index) == 0
    remote.reset_peak_memory_stats(index)
    extension.stop(index)


def test_all_of_pytorchs_own_stream(device: torch.device) -> None:
    first, second = torch.Stream(device), torch.Stream(device, priority=-1)
    assert (first.device, first.device_index) == (device, device.index)
    assert first != second
    again = torch.Stream(
        stream_id=first.stream_id, device_index=first.device_index, device_type=first.device_type
    )
    assert (again, hash(again)) == (first, hash(first))
    x = torch.ones(100, device=device)
    event = torch.Event("remote")
    with first:
        x.mul_(3)
        assert first.record_event(event) is event
    made = first.record_event()
    assert made.device == device
    second.wait_event(event)
    second.wait_stream(first)
    with second:
        x.add_(1)
    second.synchronize()
    assert second.query()
    assert not second.is_capturing() if hasattr(second, "is_capturing") else True
    torch.accelerator.current_stream(device).wait_stream(second)
    assert x.sum().item() == 400


def test_a_stream_context_is_left_after_an_error(device: torch.device) -> None:
    before = torch.accelerator.current_stream(device)
    with pytest.raises(KeyError), torch.Stream(device):
        raise KeyError
    assert torch.accelerator.current_stream(device) == before


def test_pytorchs_own_events(device: torch.device) -> None:
    start, end = (torch.Event(device, enable_timing=True) for _ in range(2))
    stream = torch.Stream(device)
    assert start.query()
    start.synchronize()
    start.record(stream)
    with stream:
        x = torch.rand(100, 100, device=device)
        x @ x
    end.record(stream)
    end.wait(torch.accelerator.current_stream(device))
    end.synchronize()
    assert start.query()
    assert end.query()
    assert start.elapsed_time(end) > 0
    untimed = torch.Event(device)
    untimed.record(stream)
    with pytest.raises((RuntimeError, ValueError), match="enable_timing=True"):
        start.elapsed_time(untimed)
    with pytest.raises(NotImplementedError, match="ipc"):
        untimed.ipc_handle()


def test_an_event_is_of_one_device(emulator: torch.device, tcp: torch.device) -> None:
    event = torch.Event("remote")
    event.record(torch.remote.default_stream(emulator))
    with pytest.raises(RuntimeError):
        event.record(torch.remote.default_stream(tcp))
    event.wait(torch.remote.default_stream(tcp))  # the program waits
    event.synchronize()
