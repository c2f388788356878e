# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Cases of streams and events: order, what is current, and times. For every device that has streams."""

import math
import threading
from collections.abc import Callable

import torch

from torch_remote_conformance.case import Level
from torch_remote_conformance.comparing import CLASS_FACTORS, Comparison, assert_same
from torch_remote_conformance.family import Family, assert_refused
from torch_remote_conformance.target import Target

FAMILY = Family("streams", Level.L5, lambda target: target.device.type not in ("cpu", "meta"))
cases = FAMILY.cases


def _current(target: Target) -> torch.Stream:
    return torch.accelerator.current_stream(target.device.index)


def _event(target: Target, *, timed: bool = False) -> torch.Event:
    return torch.Event(target.device, enable_timing=timed)


@FAMILY.case("current_stream_is_restored")
def _restored(target: Target) -> None:
    before = _current(target)
    outer, inner = torch.Stream(target.device), torch.Stream(target.device)
    assert outer != inner
    with outer:
        assert _current(target) == outer
        with inner:
            assert _current(target) == inner
        assert _current(target) == outer
    assert _current(target) == before
    try:
        with outer:
            raise ZeroDivisionError
    except ZeroDivisionError:
        assert _current(target) == before
    torch.accelerator.set_stream(outer)
    assert _current(target) == outer
    torch.accelerator.set_stream(before)


@FAMILY.case("current_stream_is_the_threads_own")
def _per_thread(target: Target) -> None:
    seen: list[torch.Stream] = []
    before = _current(target)
    with torch.Stream(target.device) as stream:
        thread = threading.Thread(target=lambda: seen.append(_current(target)))
        thread.start()
        thread.join()
        assert _current(target) == stream
    assert seen == [before]


@FAMILY.case("results_of_another_stream")
def _results(target: Target) -> None:
    x = torch.arange(1000.0, device=target.device)
    stream = torch.Stream(target.device)
    stream.wait_stream(_current(target))
    with stream:
        y = x * 2
        z = (y + 1).cpu()
    _current(target).wait_stream(stream)
    assert_same(z, torch.arange(1000.0) * 2 + 1)
    assert_same(y - x, torch.arange(1000.0))


@FAMILY.case("order_through_events")
def _order(target: Target) -> None:
    """Many streams write one after the other, and each waits for the one before."""
    x = torch.zeros(100, device=target.device)
    streams = [torch.Stream(target.device, priority=-(number % 2)) for number in range(8)]
    event = _current(target).record_event()
    expected = torch.zeros(100)
    for turn in range(10):
        for number, stream in enumerate(streams):
            stream.wait_event(event)
            with stream:
                x.mul_(0.5).add_(number + turn)
                event = stream.record_event()
            expected.mul_(0.5).add_(number + turn)
    _current(target).wait_event(event)
    assert_same(x, expected)


@FAMILY.case("memory_freed_while_a_stream_uses_it")
def _record_stream(target: Target) -> None:
    """record_stream: new tensors don't take what another stream still reads."""
    stream = torch.Stream(target.device)
    results = []
    for number in range(20):
        x = torch.full((5000,), float(number), device=target.device)
        stream.wait_stream(_current(target))
        with stream:
            results.append((x + 1).sum())
        x.record_stream(stream)
        del x
        torch.full((5000,), -1.0, device=target.device)
    _current(target).wait_stream(stream)
    assert [one.item() for one in results] == [5000.0 * (number + 1) for number in range(20)]


@FAMILY.case("copies_in_streams")
def _copies(target: Target) -> None:
    up, down = torch.Stream(target.device), torch.Stream(target.device)
    host = [torch.full((2000,), float(number)) for number in range(8)]
    back = []
    for one in host:
        with up:
            there = one.to(target.device, non_blocking=True)
            event = up.record_event()
        down.wait_event(event)
        with down:
            back.append((there * 3).to("cpu", non_blocking=True))
    target.synchronize()
    assert_same(back, [one * 3 for one in host])


@FAMILY.case("backward_in_a_stream")
def _backward(target: Target) -> None:
    def run(device: torch.device) -> list[torch.Tensor | None]:
        weight = torch.linspace(-1, 1, 12).view(3, 4).to(device).requires_grad_()
        loss = (weight @ weight.t()).tanh().sum()
        loss.backward()
        return [loss, weight.grad]

    stream = torch.Stream(target.device)
    with stream:
        actual = run(target.device)
    _current(target).wait_stream(stream)
    how = Comparison(target.computes_as_cpu, CLASS_FACTORS["reduction"])
    assert_same(actual, run(torch.device("cpu")), how)


@FAMILY.case("random_numbers_in_streams")
def _random(target: Target) -> None:
    """One generator for all streams of a device: the same numbers in the same order."""
    torch.manual_seed(4)
    expected = [torch.rand(5, device=target.device).cpu() for _ in range(4)]
    torch.manual_seed(4)
    streams = [torch.Stream(target.device) for _ in range(2)]
    actual = []
    for number in range(4):
        with streams[number % 2]:
            actual.append(torch.rand(5, device=target.device).cpu())
    assert_same(actual, expected)


_WAITS: dict[str, Callable[[Target, torch.Stream], object]] = {
    "stream": lambda _, stream: stream.synchronize(),
    "event": lambda _, stream: stream.record_event().synchronize(),
    "device": lambda target, _: target.synchronize(),
}


@FAMILY.case("waits", each=_WAITS)
def _waits(target: Target, wait: Callable[[Target, torch.Stream], object]) -> None:
    stream = torch.Stream(target.device)
    with stream:
        x = torch.ones(200, 200, device=target.device)
        for _ in range(5):
            x = x @ x / 200
        event = stream.record_event()
    wait(target, stream)
    assert event.query()
    assert stream.query()
    assert x[0, 0].item() == 1


@FAMILY.case("events")
def _events(target: Target) -> None:
    event = _event(target)
    assert event.query(), "one that was never recorded stands for nothing"
    event.synchronize()
    for _ in range(3):
        event.record(_current(target))
        event.synchronize()
        assert event.query()
    event.wait(_current(target))
    assert event.device == target.device
    many = [_current(target).record_event() for _ in range(300)]
    target.synchronize()
    assert all(one.query() for one in many)


@FAMILY.case("times_between_events")
def _times(target: Target) -> None:
    events = [_event(target, timed=True) for _ in range(3)]
    x = torch.rand(50, 50, device=target.device)
    for event in events:
        event.record(_current(target))
        x = x @ x
    events[-1].synchronize()
    first, middle, last = events
    times = [first.elapsed_time(middle), middle.elapsed_time(last), first.elapsed_time(last)]
    assert all(math.isfinite(time) and time >= 0 for time in times), times
    assert abs(times[0] + times[1] - times[2]) < 0.01 + 1e-5 * times[2], times


@FAMILY.case("times_that_there_are_not")
def _no_times(target: Target) -> None:
    timed, untimed = _event(target, timed=True), _event(target)
    kinds = (RuntimeError, ValueError)
    assert_refused(target, lambda: timed.elapsed_time(_event(target, timed=True)), kinds)
    for one in (timed, untimed):
        one.record(_current(target))
    assert_refused(target, lambda: timed.elapsed_time(untimed), kinds)


@FAMILY.case("streams_are_values")
def _values(target: Target) -> None:
    stream = torch.Stream(target.device)
    again = torch.Stream(
        stream_id=stream.stream_id,
        device_index=stream.device_index,
        device_type=stream.device_type,
    )
    assert again == stream
    assert hash(again) == hash(stream)
    assert stream.device == target.device
    assert len({torch.Stream(target.device) for _ in range(4)}) == 4
