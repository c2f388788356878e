# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Batches made by worker processes on CPU, and trained on a remote device."""

import multiprocessing

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset, default_collate


class Digits(Dataset[tuple[torch.Tensor, int]]):
    """Vectors whose sum tells their class."""

    def __len__(self) -> int:
        return 32

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        generator = torch.Generator().manual_seed(index)
        values = torch.randn(8, generator=generator)
        return values, int(values.sum() > 0)


class Remote(Dataset[torch.Tensor]):
    """What a dataset can't do in a forked worker."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.full((2,), index, device=self.device)


def train(
    loader: DataLoader[tuple[torch.Tensor, torch.Tensor]], device: torch.device | str
) -> list[torch.Tensor]:
    torch.manual_seed(0)
    model = nn.Linear(8, 2).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        for values, labels in loader:
            assert values.device.type == "cpu"
            optimizer.zero_grad()
            output = model(values.to(device, non_blocking=True))
            nn.functional.cross_entropy(output, labels.to(device, non_blocking=True)).backward()
            optimizer.step()
    return [parameter.detach().cpu() for parameter in model.parameters()]


@pytest.mark.parametrize("start_method", ["fork", "spawn"])
def test_workers_make_batches_while_the_device_trains(
    device: torch.device, start_method: str
) -> None:
    if start_method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this system can't {start_method}")
    loader = DataLoader(Digits(), batch_size=8, num_workers=2, multiprocessing_context=start_method)
    expected = train(DataLoader(Digits(), batch_size=8), "cpu")
    for actual, reference in zip(train(loader, device), expected, strict=True):
        torch.testing.assert_close(actual, reference)


def test_workers_that_stay(device: torch.device) -> None:
    loader = DataLoader(
        Digits(),
        batch_size=8,
        num_workers=2,
        multiprocessing_context="fork",
        persistent_workers=True,
        prefetch_factor=1,
    )
    data = Digits()
    expected = torch.stack([data[index][0] for index in range(len(data))])
    for _ in range(3):
        values = torch.cat([values.to(device) for values, _ in loader])
        assert values.device == device
        assert torch.equal(values.cpu(), expected)


@pytest.mark.parametrize("workers", [0, 2])
def test_pinned_batches(device: torch.device, workers: int) -> None:
    data = TensorDataset(torch.arange(32.0).view(16, 2))
    with torch.remote.device(device):
        loader = DataLoader(
            data,
            batch_size=4,
            pin_memory=True,
            num_workers=workers,
            multiprocessing_context="fork" if workers else None,
        )
        batches = [batch.to(device, non_blocking=True) for (batch,) in loader]
    assert torch.equal(torch.cat(batches).cpu(), data.tensors[0])


def test_pin_memory(device: torch.device) -> None:
    x = torch.arange(4.0)
    pinned = x.pin_memory()
    assert torch.equal(pinned, x)
    assert torch.equal(pinned.to(device, non_blocking=True).cpu(), x)
    with pytest.raises(RuntimeError, match="only dense CPU tensors can be pinned"):
        x.to(device).pin_memory()


def test_remote_tensors_in_a_dataset_without_workers(device: torch.device) -> None:
    batches = list(DataLoader(Remote(device), batch_size=2))
    assert [batch.tolist() for batch in batches] == [[[0, 0], [1, 1]]]
    assert batches[0].device == device
    assert default_collate([torch.zeros(1, device=device)]).device == device


def test_remote_tensors_in_a_worker_are_refused(emulator: torch.device) -> None:
    loader = DataLoader(Remote(emulator), num_workers=1, multiprocessing_context="fork")
    with pytest.raises(RuntimeError, match="Cannot use a remote device in a forked process"):
        next(iter(loader))
