# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""torch_remote.stats: what it counts, exactly."""

from collections.abc import Callable

import pytest
import torch
import torch_remote
from comparing import Counting


def test_starts_at_nothing(make_emulator: Callable[..., torch.device]) -> None:
    device = make_emulator("T4")
    counts = torch_remote.stats(device)
    # Making a device tries its autograd, on a tensor without elements.
    assert (counts.operations, counts.plans) == (3, 1)
    assert counts.round_trips == 0
    assert counts.storages == 0
    assert counts.allocated_bytes == 0


def test_operations_and_round_trips(device: torch.device) -> None:
    x = torch.ones(4, 4, device=device)
    with Counting(device) as counted:
        y = x + 1
        y.mul_(2)
        x @ y
        y.view(16)[3:5].t()
        y.shape, y.stride(), y.data_ptr(), str(y.device)
    assert counted.operations == 3
    assert counted.round_trips == 0
    for read in (
        y.cpu,
        y.tolist,
        y.sum().item,
        lambda: torch.remote.synchronize(device),
        y.nonzero,
        lambda: bool(y[0, 0]),
    ):
        with Counting(device) as counted:
            read()
        assert counted.round_trips == 1


@pytest.mark.parametrize("sizes", [(), (4, 4), (3, 2, 4), (2000,), (40, 50, 60)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.int64, torch.bool, torch.complex64])
def test_printing_reads_once(
    device: torch.device, sizes: tuple[int, ...], dtype: torch.dtype
) -> None:
    local = torch.arange(torch.Size(sizes).numel()).reshape(sizes).to(dtype)
    x = local.to(device)
    with Counting(device) as counted:
        text = repr(x)
    assert counted.round_trips == 1
    assert counted.bytes_received < 10_000 + 8 * min(x.numel(), 1000)
    assert f"device='{device}'" in text
    values = text.replace(f"device='{device}'", "").replace(" ", "").replace("\n", "")
    expected = repr(local).replace(" ", "").replace("\n", "")
    assert values.replace(",)", ")") == expected


def test_plans(device: torch.device) -> None:
    x = torch.ones(4, 11, 3, device=device)
    with Counting(device) as first:
        x + 1
        x * 2
    assert first.plans == 2
    with Counting(device) as second:
        x + 2
        x * 3
    assert second.plans == 0
    assert second.bytes_sent < first.bytes_sent


def test_bytes_each_way(device: torch.device) -> None:
    source = torch.ones(1000, 1000)
    with Counting(device) as up:
        x = source.to(device)
        torch.remote.synchronize(device)
    assert source.nbytes <= up.bytes_sent <= source.nbytes * 1.01
    assert up.bytes_received < 1000
    with Counting(device) as down:
        x.cpu()
    assert source.nbytes <= down.bytes_received <= source.nbytes * 1.01
    assert down.bytes_sent < 1000


def test_memory(device: torch.device) -> None:
    torch.remote.reset_peak_memory_stats(device)
    before = torch_remote.stats(device)
    allocated = torch.remote.memory_allocated(device)
    x = torch.empty(1024, device=device)  # a multiple of the allocator's blocks
    view = x[10:]
    y = x * 2
    during = torch_remote.stats(device)
    assert during.storages == before.storages + 2
    assert during.allocated_bytes == before.allocated_bytes + 8192
    assert torch.remote.memory_allocated(device) == allocated + 8192
    del x, y
    assert torch_remote.stats(device).storages == before.storages + 1
    del view
    after = torch_remote.stats(device)
    assert after.storages == before.storages
    assert after.allocated_bytes == before.allocated_bytes
    assert after.allocated_bytes_peak == before.allocated_bytes + 8192
    assert torch.remote.memory_allocated(device) == allocated
    assert torch.remote.max_memory_allocated(device) == allocated + 8192
    torch.remote.reset_peak_memory_stats(device)
    assert torch_remote.stats(device).allocated_bytes_peak == after.allocated_bytes


def test_devices_count_for_themselves(emulator: torch.device, tcp: torch.device) -> None:
    x = torch.ones(3, device=emulator)
    with Counting(tcp) as other, Counting(emulator) as own:
        (x + 1).sum()
    assert own.operations == 2
    assert other.operations == 0
    assert other.bytes_sent == 0


def test_device_arguments(emulator: torch.device) -> None:
    assert emulator.index is not None
    with torch.remote.device(emulator):
        for argument in (emulator, str(emulator), emulator.index, None, "remote"):
            assert torch_remote.stats(argument) == torch_remote.stats(emulator)
    with pytest.raises(ValueError, match="expected a remote device"):
        torch_remote.stats("cpu")


def test_a_training_step_makes_no_round_trip(device: torch.device) -> None:
    model = torch.nn.Sequential(
        torch.nn.Linear(8, 8), torch.nn.Dropout(0.5), torch.nn.LayerNorm(8)
    ).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    x = torch.randn(4, 8)
    with Counting(device) as counted:
        for _ in range(5):
            optimizer.zero_grad()
            model(x.to(device, non_blocking=True)).square().mean().backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
    assert counted.round_trips == 0
