# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Sessions for the sections, on the CPU and on a stand-in for CUDA."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from fake_cuda import FakeCuda, MakeSession
from gpu_measurements.recording import Budget, Recorder
from gpu_measurements.target import Session, Target


@pytest.fixture(autouse=True)
def _same_state_of_torch() -> Iterator[None]:
    state = torch.get_rng_state()
    # PyTorch's own test utilities, which other tests of this process import, lock the flags of backends.
    with torch.backends.__allow_nonbracketed_mutation():
        yield
    torch.set_rng_state(state)


@pytest.fixture
def make_session(tmp_path: Path) -> Iterator[MakeSession]:
    """make_session(name, argument="", budget_s=60): a tiny session on the CPU, writing to tmp_path."""
    recorders = []

    def make(name: str, argument: str = "", budget_s: float = 60) -> Session:
        recorder = Recorder(tmp_path, name)
        recorders.append(recorder)
        return Session(Target("cpu"), recorder, Budget(budget_s), True, argument)

    yield make
    for recorder in recorders:
        recorder.close()


@pytest.fixture
def fake_cuda(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    """torch.cuda replaced, and every Target taken for a GPU whose tensors are on the CPU."""
    fake = FakeCuda()
    fake.install(monkeypatch)

    def as_cuda(target: Target, _: str) -> None:
        target.device = torch.device("cpu")
        target.is_cuda = True

    monkeypatch.setattr(Target, "__init__", as_cuda)
    return fake
