# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Devices that tests share: there are at most 16 at a time, and each costs some threads.

What a test leaves undone on a shared device counts as that test's: each ends in a synchronize, which
raises the failures that nothing has read.
"""

from collections.abc import Callable, Iterator

import hypothesis
import pytest
import torch
import torch_remote

pytest.register_assert_rewrite("comparing", "libraries", "programs", "sparse_cases")

# Bits depend on the number of threads; one is the fastest for small tensors.
torch.set_num_threads(1)

hypothesis.settings.register_profile(
    "torch_remote",
    deadline=None,
    derandomize=True,
    max_examples=60,
    # Shared devices are meant to be used by many examples.
    suppress_health_check=[
        hypothesis.HealthCheck.function_scoped_fixture,
        hypothesis.HealthCheck.too_slow,
    ],
)
hypothesis.settings.load_profile("torch_remote")

GPU_TYPE = "A100-80GB"


@pytest.fixture(scope="session")
def executor() -> Iterator[torch_remote.LocalExecutor]:
    """An executor process of this session."""
    with torch_remote.LocalExecutor(emulate=GPU_TYPE) as running:
        yield running


@pytest.fixture(scope="session")
def _emulator() -> Iterator[torch.device]:
    device = torch_remote.emulate(GPU_TYPE, num_threads=1)
    yield device
    torch_remote.machine(device).stop()


@pytest.fixture(scope="session")
def _tcp(executor: torch_remote.LocalExecutor) -> Iterator[torch.device]:
    device = torch_remote.connect(executor.endpoint, num_threads=1)
    yield device
    torch_remote.machine(device).stop()


@pytest.fixture(scope="session")
def draws_as_cpu() -> Iterator[torch.device]:
    """A device whose executor emulates nothing: its random numbers are those of CPU."""
    with torch_remote.LocalExecutor() as running:
        device = torch_remote.connect(running.endpoint, num_threads=1)
        yield device
        torch_remote.machine(device).stop()


def _checked(device: torch.device) -> Iterator[torch.device]:
    yield device
    torch.remote.synchronize(device)


@pytest.fixture
def emulator(_emulator: torch.device) -> Iterator[torch.device]:
    """An emulated GPU in this process."""
    yield from _checked(_emulator)


@pytest.fixture
def tcp(_tcp: torch.device) -> Iterator[torch.device]:
    """The executor process, reached over TCP."""
    yield from _checked(_tcp)


@pytest.fixture(params=["emulator", "tcp"])
def device(request: pytest.FixtureRequest) -> Iterator[torch.device]:
    """Each of the two in turn: what works on one has to work on the other."""
    yield from _checked(request.getfixturevalue("_" + request.param))


@pytest.fixture
def null() -> Iterator[torch.device]:
    """A device that computes nothing."""
    made = torch_remote.null_device()
    yield made
    torch_remote.machine(made).stop()


@pytest.fixture
def make_emulator() -> Iterator[Callable[..., torch.device]]:
    """Makes devices of the test's own, which end with it."""
    made: list[torch.device] = []

    def make(gpu_type: str = GPU_TYPE, **options: int) -> torch.device:
        made.append(torch_remote.emulate(gpu_type, **({"num_threads": 1} | options)))
        return made[-1]

    yield make
    for device in made:
        torch_remote.machine(device).stop()


@pytest.fixture
def cuda(make_emulator: Callable[..., torch.device]) -> Iterator[torch.device]:
    """A device whose number isn't CUDA's: there is another one before it."""
    make_emulator("T4")
    device = make_emulator("A100-80GB")
    with torch_remote.replace_cuda(device):
        yield device
