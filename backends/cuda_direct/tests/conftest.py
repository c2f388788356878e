# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""An executor on the GPUs of this machine, or on its processor with --executor-device cpu."""

from collections.abc import Iterator

import pytest
import torch
import torch_remote

# How the program says that there is nothing here to test.
_NOTHING_TO_TEST = ("no CUDA device", "was built without CUDA")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--executor-device",
        choices=("cuda", "cpu"),
        help="what the tests of cuda_direct run on; default: cuda, or nothing where it can't be used",
    )


@pytest.fixture(scope="session")
def executor(pytestconfig: pytest.Config) -> Iterator[torch_remote.LocalExecutor]:
    """The process that all of these tests share."""
    chosen = pytestconfig.getoption("--executor-device")
    count = 2 if chosen == "cpu" else 1  # with cuda the GPUs count themselves
    try:
        running = torch_remote.LocalExecutor(device=chosen or "cuda", device_count=count)
    except RuntimeError as error:
        if chosen is None and any(words in str(error) for words in _NOTHING_TO_TEST):
            pytest.skip(str(error).partition(";")[0])  # the rest is advice
        raise
    with running:
        yield running


@pytest.fixture(scope="session")
def _device(executor: torch_remote.LocalExecutor) -> Iterator[torch.device]:
    # The first session loads CUDA's libraries, gigabytes of them.
    device = torch_remote.connect(executor.endpoint, timeout_s=120)
    yield device
    torch_remote.machine(device).stop()


@pytest.fixture
def device(_device: torch.device) -> Iterator[torch.device]:
    """The executor's first device; what a test leaves undone on it counts as that test's."""
    yield _device
    torch.remote.synchronize(_device)


@pytest.fixture
def description(device: torch.device) -> dict[str, str]:
    """What the executor says of itself."""
    return torch_remote.machine(device).description


@pytest.fixture
def gpu(device: torch.device, description: dict[str, str]) -> torch.device:
    """The device, for tests of what only a GPU has."""
    if description["executor"] != "cuda":
        pytest.skip(f"needs a GPU: this executor computes on {description['device']}")
    return device


@pytest.fixture
def local_gpu(gpu: torch.device) -> torch.device:
    """The same GPU as this process's own PyTorch reaches it."""
    del gpu
    if not torch.cuda.is_available():
        pytest.skip("needs a torch that can use the GPU itself, to compare with")
    return torch.device("cuda", 0)
