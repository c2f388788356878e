# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""The modelled time of emulated GPUs: events, streams, copies, a network; the same on every run."""

from collections.abc import Callable

import pytest
import torch
import torch_remote
from torch_remote import Network

Maker = Callable[..., torch.device]


def timing_event() -> torch.Event:
    return torch.Event("remote", enable_timing=True)


def modelled(device: torch.device) -> torch_remote.ModelledTime:
    time = torch_remote.modelled_time(device)
    assert time is not None
    return time


def host_us(device: torch.device, call: Callable[[], object]) -> float:
    """What a call takes of the program's modelled time."""
    before = modelled(device)
    call()
    return modelled(device).host_us - before.host_us


def square(device: torch.device, size: int = 1024) -> torch.Tensor:
    """A matrix, when nothing is left to do."""
    x = torch.ones(size, size, device=device)
    torch.remote.synchronize(device)
    return x


def train(device: torch.device) -> list[float]:
    """A small program with two streams, copies and waits; its events' times."""
    with torch.remote.device(device):
        torch.manual_seed(0)
        model = torch.nn.Sequential(
            torch.nn.Linear(64, 64), torch.nn.GELU(), torch.nn.Linear(64, 1)
        )
        model.to(device)
        optimizer = torch.optim.Adam(model.parameters())
        other = torch.Stream(device)
        events = [timing_event()]
        events[0].record()
        for _ in range(3):
            batch = torch.ones(32, 64).pin_memory().to(device, non_blocking=True)
            loss = model(batch).square().mean()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            with other:
                torch.ones(100_000, device=device).cumsum(0)
            assert loss.item() >= 0
            events.append(timing_event())
            events[-1].record()
        torch.remote.synchronize(device)
        return [events[0].elapsed_time(event) for event in events[1:]]


# ---- events ----


def test_elapsed_time_is_the_models(make_emulator: Maker) -> None:
    device = make_emulator("H100")
    x = square(device)
    start, end = timing_event(), timing_event()
    with torch.remote.device(device), torch_remote.profile() as prof:
        x @ x
        start.record()
        for _ in range(5):
            x @ x
        end.record()
        end.synchronize()
    products = [one for one in prof.operations if one.name == "aten::mm"]
    # The GPU is behind, so that an event has the time when the operation before it ended.
    assert start.elapsed_time(end) * 1e6 == pytest.approx(
        products[-1].end_ns - products[0].end_ns, abs=0.5
    )


def test_every_run_has_the_same_times(make_emulator: Maker) -> None:
    times = [train(make_emulator("A10G")) for _ in range(3)]
    assert times[0] == times[1] == times[2]
    assert 0 < times[0][0] < times[0][1] < times[0][2]


def test_a_profile_changes_no_time(make_emulator: Maker) -> None:
    plain = train(make_emulator("L4"))
    with torch_remote.profile():
        assert train(make_emulator("L4")) == plain


def test_gpus_differ(make_emulator: Maker) -> None:
    times = {}
    for gpu_type in ("T4", "H100"):
        device = make_emulator(gpu_type)
        x = square(device)
        start, end = timing_event(), timing_event()
        with torch.remote.device(device):
            start.record()
            for _ in range(10):
                x @ x
            end.record()
            end.synchronize()
        times[gpu_type] = start.elapsed_time(end)
    assert times["T4"] > 4 * times["H100"]


def test_queries_are_answered_by_the_clock(make_emulator: Maker) -> None:
    def queries(device: torch.device) -> int:
        x = square(device)
        with torch.remote.device(device):
            x @ x
            event = torch.Event("remote")
            event.record()
        count = 0
        while not event.query():
            count += 1
        return count

    counts = {queries(make_emulator("T4")) for _ in range(2)}
    assert len(counts) == 1
    assert counts.pop() > 10


def test_a_stream_that_has_work_is_not_done(make_emulator: Maker) -> None:
    device = make_emulator("T4")
    x = square(device)
    with torch.remote.device(device):
        stream = torch.remote.current_stream(device)
        assert stream.query()
        x @ x
        assert not stream.query()
        stream.synchronize()
        assert stream.query()


def test_a_wait_takes_the_gpus_time(make_emulator: Maker) -> None:
    device = make_emulator("T4")
    x = square(device)
    call_us = host_us(device, lambda: x @ x)
    wait_us = host_us(device, lambda: torch.remote.synchronize(device))
    assert 0 < call_us < 50 < wait_us
    assert modelled(device).host_us >= modelled(device).gpu_us
    assert host_us(device, lambda: torch.remote.synchronize(device)) < 20


# ---- streams and copies ----


def test_copies_overlap_with_kernels(make_emulator: Maker) -> None:
    device = make_emulator("A100-80GB")
    x = square(device)
    pinned = torch.ones(1_000_000).pin_memory()
    other = torch.Stream(device)

    def compute_us(copies: bool) -> float:
        torch.remote.synchronize(device)
        start = modelled(device).host_us
        for _ in range(8):
            if copies:
                with other:
                    pinned.to(device, non_blocking=True)
            x @ x
        torch.remote.synchronize(device)
        return modelled(device).host_us - start

    alone_us = compute_us(copies=False)
    copy_us = host_us(device, lambda: pinned.to(device))
    assert copy_us > 100
    assert compute_us(copies=True) < alone_us + 4 * copy_us


def test_pinned_memory_is_faster_and_waited_for_only_when_asked(make_emulator: Maker) -> None:
    device = make_emulator("H100")
    pageable, pinned = torch.ones(4_000_000), torch.ones(4_000_000).pin_memory()
    staged_us = host_us(device, lambda: pageable.to(device))
    blocking_us = host_us(device, lambda: pinned.to(device))
    later_us = host_us(device, lambda: pinned.to(device, non_blocking=True))
    assert staged_us > 2 * blocking_us > 20 * later_us
    back = torch.empty(4_000_000).pin_memory()
    there = torch.ones(4_000_000, device=device)
    assert host_us(device, lambda: back.copy_(there, non_blocking=True)) < 50
    assert host_us(device, lambda: back.copy_(there)) > 100


def test_reading_a_number_waits_for_it(make_emulator: Maker) -> None:
    device = make_emulator("T4")
    x = square(device)
    assert host_us(device, x[0, 0].item) < 20
    y = (x @ x)[0, 0]
    assert host_us(device, y.item) > 50


# ---- a network ----


def test_a_read_through_a_network_takes_a_round_trip(make_emulator: Maker) -> None:
    network = Network(round_trip_ms=30, bandwidth_mbit_per_s=200)
    device = make_emulator("H100", network=network)
    x = square(device)
    assert host_us(device, lambda: [x + 1 for _ in range(10)]) < 1000
    assert host_us(device, x[0, 0].item) == pytest.approx(30_000, rel=0.01)
    assert host_us(device, lambda: torch.remote.synchronize(device)) == pytest.approx(
        30_000, rel=0.01
    )
    # 4 MiB at 25 bytes a microsecond
    assert host_us(device, x.cpu) == pytest.approx(30_000 + 4 * 2**20 / 25, rel=0.01)


def test_uploads_take_the_networks_time_when_they_are_waited_for(make_emulator: Maker) -> None:
    device = make_emulator("H100", network=Network(bandwidth_mbit_per_s=800))
    source = torch.ones(1_000_000)
    assert host_us(device, lambda: source.to(device)) < 50
    assert host_us(device, lambda: torch.remote.synchronize(device)) == pytest.approx(
        40_000, rel=0.02
    )


def test_impossible_networks_are_refused() -> None:
    with pytest.raises(ValueError, match="round_trip_ms"):
        Network(round_trip_ms=-1)
    with pytest.raises(ValueError, match="bandwidth_mbit_per_s"):
        Network(bandwidth_mbit_per_s=0)
    with pytest.raises(TypeError, match="Network"):
        torch_remote.emulate("T4", network=30)  # type: ignore[arg-type]


# ---- where nothing is modelled ----


def test_a_device_without_a_model_has_no_modelled_time(null: torch.device) -> None:
    assert torch_remote.modelled_time(null) is None


def test_modelled_time_of_an_executor_that_emulates(tcp: torch.device) -> None:
    x = square(tcp)
    before = modelled(tcp)
    x @ x
    after = modelled(tcp)
    assert after.host_us > before.host_us
    assert after.gpu_busy_us > before.gpu_busy_us
    assert after.gpu_us > before.gpu_us
