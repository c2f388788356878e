# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Pinned memory, and copies that nobody waits for: what CUDA promises of them holds here."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch_remote
from comparing import Counting, bits
from torch.utils.data import DataLoader, TensorDataset

MIB = 1 << 20
# Smaller copies travel among the commands, larger ones in frames of 1 MiB, reads in parts of 32 MiB.
SIZES = [1, 1000, 16 * 1024 + 4, 5 * MIB + 12, 33 * MIB]


@pytest.fixture
def own_tcp() -> Iterator[torch.device]:
    """An executor process of the test's own."""
    with torch_remote.LocalExecutor() as executor:
        device = torch_remote.connect(executor.endpoint, num_threads=1)
        yield device
        torch_remote.machine(device).stop()


def numbers(size_bytes: int) -> torch.Tensor:
    return torch.arange(size_bytes, dtype=torch.int64).mul_(2654435761).to(torch.uint8)


# ---- which memory is pinned ----


def test_pinned_tensors_know_it(device: torch.device) -> None:
    plain = torch.arange(10.0)
    assert not plain.is_pinned()
    pinned = plain.pin_memory()
    assert pinned.is_pinned()
    assert torch.equal(pinned, plain)
    assert pinned.pin_memory() is pinned
    assert pinned[3:].is_pinned()
    assert pinned.untyped_storage().is_pinned()
    assert torch.from_numpy(pinned.numpy()[2:]).is_pinned()
    assert not pinned.clone().is_pinned()
    assert not plain.to(device).is_pinned()


@pytest.mark.usefixtures("emulator")
def test_ways_to_make_pinned_tensors() -> None:
    for made in (
        torch.empty(3, pin_memory=True),
        torch.zeros(2, 3, pin_memory=True),
        torch.tensor([1.0, 2.0], pin_memory=True),
        torch.empty_strided((2, 3), (1, 2), pin_memory=True),
        torch.empty_like(torch.zeros(3), pin_memory=True),
        torch.zeros(4).untyped_storage().pin_memory(),
        torch.nn.utils.rnn.pack_sequence([torch.ones(3), torch.ones(2)]).pin_memory(),
    ):
        assert made.is_pinned()


def test_a_remote_tensor_can_not_be_pinned(device: torch.device) -> None:
    with pytest.raises(RuntimeError, match="only dense CPU tensors can be pinned"):
        torch.zeros(3, device=device).pin_memory()
    with pytest.raises(RuntimeError, match="Only dense CPU tensors can be pinned"):
        torch.zeros(3, device=device, pin_memory=True)


def test_blocks_are_used_again() -> None:
    first = torch.empty(1000, dtype=torch.uint8, pin_memory=True)
    address = first.data_ptr()
    del first
    second = torch.empty(1000, dtype=torch.uint8, pin_memory=True)
    assert second.data_ptr() == address


# ---- uploads ----


@pytest.mark.parametrize("size_bytes", SIZES)
@pytest.mark.parametrize("pinned", [False, True])
def test_uploads_without_waiting(device: torch.device, size_bytes: int, pinned: bool) -> None:
    source = numbers(size_bytes)
    if pinned:
        source = source.pin_memory()
    with Counting(device) as counting:
        there = source.to(device, non_blocking=True)
    assert counting.round_trips == 0
    assert torch.equal(there.cpu(), source)


def test_pageable_memory_may_change_after_the_call(device: torch.device) -> None:
    source = numbers(5 * MIB)
    expected = source.clone()
    there = source.to(device, non_blocking=True)
    source.zero_()
    assert torch.equal(there.cpu(), expected)


def test_pinned_memory_may_change_after_the_synchronization(device: torch.device) -> None:
    source = torch.empty(5 * MIB, dtype=torch.uint8, pin_memory=True)
    event = torch.Event("remote")
    copies = []
    for value in range(4):
        source.fill_(value)
        copies.append(source.to(device, non_blocking=True))
        with torch.remote.device(device):
            event.record()
        event.synchronize()
    for value, copy in enumerate(copies):
        assert (copy == value).all().item()


def test_a_source_that_was_dropped_is_sent_all_the_same(device: torch.device) -> None:
    copies = []
    for value in range(20):
        source = torch.full((MIB,), value, dtype=torch.uint8, pin_memory=True)
        copies.append(source.to(device, non_blocking=True))
        del source  # its memory waits for the copy
    for value, copy in enumerate(copies):
        assert (copy == value).all().item()


def test_views_and_conversions(device: torch.device) -> None:
    base = torch.arange(60_000.0).view(3, 100, 200).pin_memory()
    for view in (base[1], base[:, ::2], base.transpose(0, 2), base.expand(2, 3, 100, 200)):
        there = view.to(device, non_blocking=True)
        assert torch.equal(there.cpu(), view)
    assert torch.equal(base.to(device, torch.float64, non_blocking=True).cpu(), base.double())
    lazy = torch.complex(base, -base).pin_memory().conj()
    assert torch.equal(lazy.to(device, non_blocking=True).cpu(), lazy)


# ---- downloads ----


@pytest.mark.parametrize("size_bytes", SIZES)
def test_downloads_without_waiting(device: torch.device, size_bytes: int) -> None:
    expected = numbers(size_bytes)
    there = expected.to(device)
    torch.remote.synchronize(device)
    with Counting(device) as counting:
        here = there.to("cpu", non_blocking=True)
    assert counting.round_trips == 0
    assert here.is_pinned()
    torch.remote.synchronize(device)
    assert torch.equal(here, expected)


@pytest.mark.parametrize("how", ["device", "accelerator", "event", "query", "stream", "read"])
def test_what_a_download_is_seen_after(device: torch.device, how: str) -> None:
    x = torch.rand(300, 300, device=device)
    here = torch.zeros(300, 300, pin_memory=True)
    with torch.remote.device(device):
        here.copy_(x @ x, non_blocking=True)
        event = torch.Event("remote")
        event.record()
        if how == "device":
            torch.remote.synchronize()
        elif how == "accelerator":
            torch.accelerator.synchronize(device)
        elif how == "event":
            event.synchronize()
        elif how == "query":
            while not event.query():
                pass
        elif how == "stream":
            torch.accelerator.current_stream().synchronize()
        else:
            x.sum().item()
    assert torch.equal(here, (x @ x).cpu())


def test_without_pinned_memory_a_download_waits(device: torch.device) -> None:
    x = torch.arange(1000.0, device=device)
    here = torch.zeros(1000)
    with Counting(device) as counting:
        here.copy_(x, non_blocking=True)
    assert counting.round_trips == 1
    assert torch.equal(here, torch.arange(1000.0))


def test_a_blocking_download_into_pinned_memory_waits(device: torch.device) -> None:
    here = torch.zeros(1000, pin_memory=True)
    with Counting(device) as counting:
        here.copy_(torch.arange(1000.0, device=device))
    assert counting.round_trips == 1
    assert torch.equal(here, torch.arange(1000.0))


def test_a_destination_that_was_dropped_is_not_used_again_too_early(device: torch.device) -> None:
    x = torch.full((MIB,), 255, dtype=torch.uint8, device=device)
    for _ in range(20):
        x.to("cpu", non_blocking=True)  # dropped at once, with its bytes on their way
        other = torch.zeros(MIB, dtype=torch.uint8, pin_memory=True)
        torch.remote.synchronize(device)
        assert not other.any()


def test_layouts_and_conversions(device: torch.device) -> None:
    x = torch.arange(6000.0, device=device).view(3, 20, 100)
    expected = x.cpu()
    for view, reference in (
        (x.transpose(0, 2), expected.transpose(0, 2)),
        (x[:, ::3], expected[:, ::3]),
        (x[1], expected[1]),
        (x.to(torch.float16), expected.to(torch.float16)),
    ):
        here = view.to("cpu", non_blocking=True)
        torch.remote.synchronize(device)
        assert here.stride() == reference.to("cpu", copy=True).stride()
        assert torch.equal(bits(here), bits(reference))
    for destination in (
        torch.empty(3, 20, 100, dtype=torch.float64, pin_memory=True),
        torch.empty(100, 20, 3, pin_memory=True).transpose(0, 2),
        torch.empty(3, 20, 200, pin_memory=True)[:, :, ::2],  # with gaps
        torch.empty(2, 3, 20, 100, pin_memory=True),  # broadcast
    ):
        destination.copy_(x, non_blocking=True)
        torch.remote.synchronize(device)
        assert torch.equal(destination, expected.to(destination.dtype).expand_as(destination))


def test_a_failure_is_told_by_the_synchronization(device: torch.device) -> None:
    index = torch.tensor([7], device=device)
    here = torch.zeros(2, device=device)[index].to("cpu", non_blocking=True)
    with pytest.raises(IndexError, match="out of bounds"):
        torch.remote.synchronize(device)
    torch.remote.synchronize(device)  # once
    del here


def test_a_failure_that_is_known_is_told_again_to_who_copies(device: torch.device) -> None:
    failed = torch.zeros(2, device=device)[torch.tensor([7], device=device)]
    with pytest.raises(IndexError, match="out of bounds"):
        failed.cpu()
    torch.remote.synchronize(device)
    failed.to("cpu", non_blocking=True)
    with pytest.raises(IndexError, match="out of bounds"):
        torch.remote.synchronize(device)


def test_many_downloads_under_way(device: torch.device) -> None:
    x = torch.arange(4096, dtype=torch.int32, device=device)
    here = [(x + i).to("cpu", non_blocking=True) for i in range(500)]
    torch.remote.synchronize(device)
    base = torch.arange(4096, dtype=torch.int32)
    assert all(torch.equal(one, base + i) for i, one in enumerate(here))


def test_more_than_may_be_under_way(tcp: torch.device) -> None:
    x = torch.arange(24 * MIB, dtype=torch.int32, device=tcp)  # 96 MiB, of 256 MiB at a time
    here = [(x + i).to("cpu", non_blocking=True) for i in range(4)]
    torch.remote.synchronize(tcp)
    assert all(one[-1].item() == 24 * MIB - 1 + i for i, one in enumerate(here))


def test_downloads_of_several_threads(device: torch.device) -> None:
    together = threading.Barrier(4)

    def use(value: int) -> bool:
        together.wait()
        x = torch.full((100_000,), value, device=device)
        here = [(x + i).to("cpu", non_blocking=True) for i in range(20)]
        torch.remote.synchronize(device)
        return all((one == value + i).all().item() for i, one in enumerate(here))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(use, range(4)))


def test_copies_under_way_when_the_device_is_stopped(own_tcp: torch.device) -> None:
    x = torch.ones(MIB, device=own_tcp)
    here = [x.to("cpu", non_blocking=True) for _ in range(8)]
    torch.ones(MIB, pin_memory=True).to(own_tcp, non_blocking=True)
    torch_remote.machine(own_tcp).stop()
    with pytest.raises(RuntimeError, match="not usable any more"):
        torch.remote.synchronize(own_tcp)
    del here
    assert torch.zeros(MIB, pin_memory=True).sum().item() == 0


def test_round_trips_through_pinned_memory_keep_every_bit(device: torch.device) -> None:
    for dtype in (torch.float32, torch.bfloat16, torch.int64, torch.bool, torch.complex64):
        source = torch.arange(5000).remainder(251).to(dtype).pin_memory()
        back = source.to(device, non_blocking=True).to("cpu", non_blocking=True)
        torch.remote.synchronize(device)
        assert torch.equal(bits(back), bits(source))


# ---- what uses it ----


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_of_a_data_loader_are_pinned(device: torch.device, workers: int) -> None:
    data = TensorDataset(torch.arange(32 * 4096.0).view(32, 4096))
    loader = DataLoader(
        data,
        batch_size=8,
        pin_memory=True,
        num_workers=workers,
        multiprocessing_context="fork" if workers else None,
    )
    with torch.remote.device(device):
        batches = []
        for (batch,) in loader:
            assert batch.is_pinned()
            batches.append(batch.to(device, non_blocking=True))
    assert torch.equal(torch.cat(batches).cpu(), data.tensors[0])


@pytest.mark.skipif(
    not hasattr(torch.accelerator, "empty_host_cache"), reason="this torch has no such function yet"
)
def test_the_cache_can_be_given_back() -> None:
    address = torch.empty(3 * MIB, dtype=torch.uint8, pin_memory=True).untyped_storage()
    del address
    torch.accelerator.empty_host_cache()
    assert torch.empty(3 * MIB, dtype=torch.uint8, pin_memory=True).is_pinned()
