# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""The executor for CUDA: what it says of the GPU, and that it computes what others compute.

With --executor-device cpu the same tests run without a GPU; those of what only a GPU has are skipped.
"""

import copy
import gc
import warnings
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 (as everybody calls it)
import torch_remote

pytestmark = pytest.mark.gpu

MIB = 2**20


def assert_near(actual: torch.Tensor, expected: torch.Tensor, tolerance: float) -> None:
    """The whole tensor's error, relative to it: single elements may be nearly zero."""
    assert actual.dtype == expected.dtype
    assert actual.shape == expected.shape
    error = (actual.detach().cpu().double() - expected.detach().double()).norm()
    assert error <= tolerance * expected.detach().double().norm()


# ---- what the GPU is ----


def test_says_which_gpu_it_has(gpu: torch.device, description: dict[str, str]) -> None:
    assert description["device"] == "cuda:0"
    assert description["allocator"] == "caching"
    assert torch.remote.get_device_name(gpu) == description["gpu_name"]
    properties = torch.remote.get_device_properties(gpu)
    assert properties.total_memory == int(description["gpu_total_memory"])
    assert torch.remote.get_device_capability(gpu) >= (7, 5)
    for key in ("cuda_driver_version", "cuda_runtime_version"):
        assert int(description[key]) >= 12000


def test_properties_are_those_of_torch_cuda(
    gpu: torch.device, description: dict[str, str], local_gpu: torch.device
) -> None:
    expected = torch.cuda.get_device_properties(local_gpu)
    properties = torch.remote.get_device_properties(gpu)
    compared = 0
    for key, text in description.items():
        name = key.removeprefix("gpu_")
        if key.startswith("gpu_") and hasattr(expected, name):
            assert text == str(getattr(expected, name)), key
            assert str(getattr(properties, name)) == text
            compared += 1
    assert compared >= 8


def test_every_device_by_its_index(executor: torch_remote.LocalExecutor) -> None:
    first = torch_remote.connect(executor.endpoint, timeout_s=120)
    count = torch_remote.ensure_loaded().executor_device_count(first.index)
    assert count >= 1
    for index in range(count):
        one = torch_remote.connect(executor.endpoint, device_index=index)
        assert torch_remote.machine(one).description["device"] in ("cpu", f"cuda:{index}")
        assert (torch.full((3,), 2.0, device=one) * index).tolist() == [2.0 * index] * 3
        torch_remote.machine(one).stop()
    with pytest.raises(ConnectionError, match=f"no device {count}"):
        torch_remote.connect(executor.endpoint, device_index=count)
    torch_remote.machine(first).stop()


# ---- results ----

FUNCTIONS: dict[str, tuple[Callable[..., torch.Tensor], list[tuple[int, ...]]]] = {
    "mm": (torch.mm, [(64, 96), (96, 32)]),
    "conv2d": (lambda x, w, b: F.conv2d(x, w, b, padding=1), [(4, 3, 32, 32), (8, 3, 3, 3), (8,)]),
    "softmax": (lambda x: F.softmax(x, -1), [(16, 100)]),
    "layer_norm": (lambda x, w, b: F.layer_norm(x, (64,), w, b), [(8, 32, 64), (64,), (64,)]),
    "attention": (
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True),
        [(2, 4, 64, 32)] * 3,
    ),
}


# GPUs multiply float32 in fewer bits in some of these.
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 2e-3)])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_results_and_gradients(
    device: torch.device, name: str, dtype: torch.dtype, tolerance: float
) -> None:
    function, shapes = FUNCTIONS[name]
    torch.manual_seed(3)
    inputs = [torch.randn(shape, dtype=dtype, requires_grad=True) for shape in shapes]
    remote = [x.detach().to(device).requires_grad_() for x in inputs]
    expected, actual = function(*inputs), function(*remote)
    gradient = torch.randn_like(expected)
    expected.backward(gradient)
    actual.backward(gradient.to(device))
    assert_near(actual, expected, tolerance)
    for one, other in zip(remote, inputs, strict=True):
        assert one.grad is not None
        assert other.grad is not None
        assert_near(one.grad, other.grad, tolerance)


def train(model: torch.nn.Module, inputs: torch.Tensor, targets: torch.Tensor) -> list[float]:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    losses = []
    for _ in range(3):
        optimizer.zero_grad()
        loss = F.mse_loss(model(inputs), targets)
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return [loss.item() for loss in losses]


def test_a_transformer_learns_the_same(device: torch.device) -> None:
    torch.manual_seed(5)
    layer = torch.nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
    local = torch.nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).double()
    remote = copy.deepcopy(local).to(device)
    inputs, targets = torch.randn(2, 8, 20, 32, dtype=torch.float64)
    expected = train(local, inputs, targets)
    assert train(remote, inputs.to(device), targets.to(device)) == pytest.approx(expected, rel=1e-9)
    for one, other in zip(remote.parameters(), local.parameters(), strict=True):
        assert_near(one, other, 1e-9)


# ---- random numbers ----


def draw(device: torch.device) -> list[torch.Tensor]:
    ones = torch.ones(100_000, device=device)
    return [
        torch.randn(100_001, device=device),
        torch.randint(1000, (1000,), device=device),
        F.dropout(ones, 0.3),
        torch.native_dropout(ones, 0.5, True)[1],
        torch.randperm(1000, device=device),
    ]


def test_a_seed_gives_the_same_numbers_again(device: torch.device) -> None:
    torch.manual_seed(7)
    first = draw(device)
    torch.manual_seed(7)
    for one, other in zip(first, draw(device), strict=True):
        assert torch.equal(one, other)
    assert abs(first[0].mean().item()) < 0.02
    assert abs((first[2] == 0).double().mean().item() - 0.3) < 0.02


def test_numbers_are_those_of_torch_cuda(gpu: torch.device, local_gpu: torch.device) -> None:
    torch.manual_seed(7)  # every device's
    for one, other in zip(draw(gpu), draw(local_gpu), strict=True):
        assert torch.equal(one.cpu(), other.cpu())


def test_a_state_goes_back(device: torch.device) -> None:
    state = torch.remote.get_rng_state(device)
    first = torch.randn(100, device=device)
    torch.remote.set_rng_state(state, device)
    assert torch.equal(torch.randn(100, device=device), first)


# ---- copies ----


@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8])
def test_large_copies(device: torch.device, dtype: torch.dtype) -> None:
    host = torch.randint(0, 256, (64 * MIB,), dtype=torch.uint8).view(dtype)
    remote = host.to(device)
    assert torch.equal(remote.view(torch.uint8).cpu(), host.view(torch.uint8))
    doubled = torch.cat([remote, remote])
    assert torch.equal(doubled[host.numel() :].view(torch.uint8).cpu(), host.view(torch.uint8))


def test_copies_that_are_not_contiguous(device: torch.device) -> None:
    host = torch.randn(2000, 3000)
    assert torch.equal(host[:, ::3].to(device).cpu(), host[:, ::3])
    remote = host.to(device)
    assert torch.equal(remote.t()[1::2].cpu(), host.t()[1::2])
    remote[5:1500:2, 7:900] = host.t()[5:753, 7:900]
    host[5:1500:2, 7:900] = host.t()[5:753, 7:900].clone()
    assert torch.equal(remote.cpu(), host)


# ---- errors ----


def test_out_of_memory_leaves_the_session_usable(
    device: torch.device, description: dict[str, str]
) -> None:
    size_bytes = 2 * int(description.get("gpu_total_memory", 2**45))
    with pytest.raises(torch.OutOfMemoryError):
        torch.empty(size_bytes, dtype=torch.uint8, device=device)[:1].cpu()
    assert torch.ones(3, device=device).sum().item() == 3


def test_an_error_of_cuda_has_its_type(gpu: torch.device) -> None:
    del gpu
    # It ends all work of its process on the GPU: an executor of its own.
    with torch_remote.LocalExecutor(device="cuda") as executor:
        device = torch_remote.connect(executor.endpoint, timeout_s=120)
        with pytest.raises(torch.AcceleratorError, match="device-side assert"):
            torch.ones(3, device=device)[torch.tensor([5], device=device)].cpu()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch_remote.machine(device).stop()


# ---- streams, events, memory ----


def test_streams_and_events(device: torch.device) -> None:
    host = torch.randn(512, 512, dtype=torch.float64) / 23  # powers of it neither grow nor vanish
    x = host.to(device)
    main, side = torch.remote.current_stream(device), torch.Stream(device=device)
    start = torch.Event(device=device, enable_timing=True)
    end = torch.Event(device=device, enable_timing=True)
    side.wait_event(main.record_event())
    with torch.remote.stream(side):
        start.record(side)
        y = x
        for _ in range(10):
            y = y @ x
        end.record(side)
    main.wait_event(end)
    y.record_stream(main)
    z = y + 1
    end.synchronize()
    assert end.query()
    assert start.elapsed_time(end) > 0
    assert_near(z, torch.linalg.matrix_power(host, 11) + 1, 1e-9)


def test_memory_is_counted(device: torch.device) -> None:
    gc.collect()
    torch.remote.reset_peak_memory_stats(device)
    before = torch.remote.memory_allocated(device)
    x = torch.empty(64 * MIB, dtype=torch.uint8, device=device)
    added = torch.remote.memory_allocated(device) - before
    assert 64 * MIB <= added < 66 * MIB  # an allocator may round
    del x
    assert torch.remote.memory_allocated(device) == before
    assert torch.remote.max_memory_allocated(device) == before + added


def test_memory_of_the_gpu(gpu: torch.device) -> None:
    # More than any other test leaves in the allocator's cache, where it could be found instead.
    x = torch.empty(1024 * MIB, dtype=torch.uint8, device=gpu)
    free, total = torch.remote.mem_get_info(gpu)
    assert 0 < free < total
    assert total == pytest.approx(torch.remote.get_device_properties(gpu).total_memory, rel=0.05)
    reserved = torch.remote.memory_reserved(gpu)
    assert reserved >= torch.remote.memory_allocated(gpu) >= 1024 * MIB
    numbers = torch.remote.memory_stats(gpu)
    assert numbers["segment.large_pool.current"] >= 1
    assert numbers["num_device_alloc"] >= 1
    del x
    torch.remote.empty_cache()
    assert torch.remote.memory_reserved(gpu) <= reserved - 1024 * MIB
