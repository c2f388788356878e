# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Emulated GPUs draw the numbers of the real ones: against what users have published, an independent model of
CUDA's generator, and what an H100 and an H200 have drawn."""

import base64
import functools
import hashlib
import importlib
import json
import math
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch_remote
from torch_remote_conformance.philox import CARDS, Philox

CALIBRATION = Path(__file__).parents[2] / "emulator" / "calibration"
FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


@functools.cache
def gpu(gpu_type: str) -> torch.device:
    return torch_remote.emulate(gpu_type)


@pytest.fixture(autouse=True, scope="module")
def _stop_all() -> Iterator[None]:
    yield
    for gpu_type in CARDS:
        torch_remote.machine(gpu(gpu_type)).stop()
    gpu.cache_clear()


def offset(device: torch.device) -> int:
    return int.from_bytes(bytes(torch.remote.get_rng_state(device).tolist())[8:], "little")


# ---- what users have published ----


def test_values_of_seed_0() -> None:
    for gpu_type in CARDS:
        device = gpu(gpu_type)
        torch.manual_seed(0)
        drawn = torch.rand(5, device=device).cpu()
        expected = torch.tensor([0.39904648, 0.51667917, 0.02493039, 0.9400794, 0.9458541])
        torch.testing.assert_close(drawn, expected, atol=5e-9, rtol=2**-24)
        torch.manual_seed(0)
        normal = torch.randn(4, device=device).cpu()
        expected = torch.tensor([-0.9247, -0.4253, -2.6438, 0.1452])
        torch.testing.assert_close(normal, expected, atol=5e-5, rtol=0)


@pytest.mark.parametrize(
    ("gpu_type", "expected"),
    [("A100-80GB", [0.1549, -0.6797, -0.1656]), ("H100", [-0.6970, -0.7780, 0.3267])],
)
def test_last_of_nine_million_numbers(gpu_type: str, expected: list[float]) -> None:
    """pytorch/pytorch#143086: the same seed, another GPU, other numbers."""
    torch.manual_seed(1)
    drawn = torch.randn(9483264, device=gpu(gpu_type))[-3:].cpu()
    torch.testing.assert_close(drawn, torch.tensor(expected), atol=5e-5, rtol=0)


SAMPLERS: dict[str, Callable[[torch.device, int], torch.Tensor]] = {
    "rand": lambda d, n: torch.rand(n, device=d),
    "randn": lambda d, n: torch.randn(n, device=d),
    "randint": lambda d, n: torch.randint(10, (n,), device=d),
    "exponential_": lambda d, n: torch.empty(n, device=d).exponential_(),
    "bernoulli_": lambda d, n: torch.empty(n, device=d).bernoulli_(0.5),
    "dropout": lambda d, n: torch.nn.functional.dropout(torch.ones(n, device=d)),
    "cauchy_": lambda d, n: torch.empty(n, device=d).cauchy_(),
    "log_normal_": lambda d, n: torch.empty(n, device=d).log_normal_(),
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_t4_and_an_l4_part_above_the_smaller_grid(name: str) -> None:
    """pytorch/pytorch#194676: they agree in all samplers at 40,960 elements, and in none at 40,961."""

    def drawn(gpu_type: str, count: int) -> torch.Tensor:
        torch.manual_seed(0)
        return SAMPLERS[name](gpu(gpu_type), count).cpu()

    assert torch.equal(drawn("T4", 40960), drawn("L4", 40960))
    assert not torch.equal(drawn("T4", 40961), drawn("L4", 40961))


# ---- an independent model ----


def assert_close_to(drawn: torch.Tensor, expected: torch.Tensor, scale: float) -> None:
    last_places = torch.finfo(drawn.dtype).eps * expected.abs() + 2.0**-24
    worst = ((drawn.double() - expected).abs() - last_places).max().item()
    assert worst <= 2.0**-20 * scale


def around_the_wrap(model: Philox, dtype: torch.dtype) -> list[int]:
    """Within a block, at the largest grid and above it; on small GPUs above what a grid draws at once, too."""
    threads = model.threads_max
    has_second_draw = threads < 100_000 and dtype.itemsize == 4
    return [1, 257, threads, threads + 8, *([4 * threads + 5] if has_second_draw else [])]


@pytest.mark.parametrize("gpu_type", CARDS)
@pytest.mark.parametrize("dtype", FLOATS)
def test_floats_of_each_gpu(gpu_type: str, dtype: torch.dtype) -> None:
    device, model = gpu(gpu_type), Philox(gpu_type, seed=2**40 + 3)
    torch.manual_seed(2**40 + 3)
    for count in around_the_wrap(model, dtype):
        assert torch.equal(
            torch.rand(count, dtype=dtype, device=device).cpu(), model.rand(count, dtype)
        )
        x = torch.zeros(count, dtype=dtype, device=device)
        assert torch.equal(x.bernoulli_(0.3).cpu(), model.bernoulli(0.3, count, dtype))
        chances = (torch.arange(count) % 64 / 64).to(dtype)
        assert torch.equal(torch.bernoulli(chances.to(device)).cpu(), model.bernoulli_of(chances))
        ones = torch.ones(count, dtype=dtype, device=device)
        _, mask = torch.native_dropout(ones, 0.3, True)
        assert torch.equal(mask.cpu(), model.dropout_mask(0.3, count, dtype))
        assert_close_to(
            torch.randn(count, dtype=dtype, device=device).cpu(), model.normal(count, dtype), 1
        )
        assert_close_to(x.exponential_(2).cpu(), model.exponential(2, count, dtype), 0.5)
        assert offset(device) == model.offset


@pytest.mark.parametrize("gpu_type", CARDS)
def test_integers_of_each_gpu(gpu_type: str) -> None:
    device, model = gpu(gpu_type), Philox(gpu_type, seed=5)
    torch.manual_seed(5)
    for count in around_the_wrap(model, torch.int32):
        for low, high in ((0, 10), (-7, 1000), (0, 2**28 - 1), (0, 2**28), (-(2**40), 2**40)):
            drawn = torch.randint(low, high, (count,), device=device).cpu()
            assert torch.equal(drawn, model.randint(low, high, count)), (low, high, count)
        assert offset(device) == model.offset


@pytest.mark.parametrize("gpu_type", ["T4", "L4", "H100"])
def test_permutations(gpu_type: str) -> None:
    """Keys of 32 and of 64 bits, islands of equal ones, and more than a T4's grid."""
    device, model = gpu(gpu_type), Philox(gpu_type, seed=7)
    torch.manual_seed(7)
    for count in (2, 3, 10, 1000, 25000, 30083, 30084, 90001):
        assert torch.equal(torch.randperm(count, device=device).cpu(), model.randperm(count)), count
        assert offset(device) == model.offset


def test_islands_are_shuffled() -> None:
    """One draw in ten has equal keys: of so many small ones, some do."""
    device, model = gpu("T4"), Philox("T4")
    torch.manual_seed(0)
    for _ in range(60):
        assert torch.equal(torch.randperm(40, device=device).cpu(), model.randperm(40))


@pytest.mark.parametrize(
    "dtype", [torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64, torch.bool, *FLOATS]
)
def test_random_of_each_dtype(dtype: torch.dtype) -> None:
    device, model = gpu("T4"), Philox("T4", seed=3)
    torch.manual_seed(3)
    count = 100_003
    drawn = torch.zeros(count, dtype=dtype, device=device).random_().cpu()
    if dtype in (torch.int64, torch.float64):
        span = 2**63 if dtype == torch.int64 else 2**53 + 1
        bits = model.bits64(count)
        half = bits >> 1 & (1 << 63) - 1
        expected = (
            bits & (1 << 63) - 1 if dtype == torch.int64 else (half % span * 2 + (bits & 1)) % span
        )
    else:
        digits = {torch.float32: 24, torch.float16: 11, torch.bfloat16: 8}
        span = 2 ** digits[dtype] + 1 if dtype in digits else 2 if dtype == torch.bool else 0
        span = span or torch.iinfo(dtype).max + 1
        expected = model.bits32(count) % span
    assert torch.equal(drawn, expected.to(dtype))
    assert offset(device) == model.offset


def test_complex_numbers() -> None:
    device, model = gpu("T4"), Philox("T4", seed=3)
    torch.manual_seed(3)
    drawn = torch.rand(1000, dtype=torch.complex64, device=device).cpu()
    assert torch.equal(torch.view_as_real(drawn).flatten(), model.rand(2000))
    normal = torch.randn(1000, dtype=torch.complex128, device=device).cpu()
    expected = model.normal(2000, torch.float64) / math.sqrt(2)
    assert_close_to(torch.view_as_real(normal).flatten(), expected, 1)


def test_the_order_of_elements_is_that_of_their_strides() -> None:
    device, model = gpu("T4"), Philox("T4", seed=4)
    torch.manual_seed(4)
    transposed = torch.zeros(300, 700, device=device).t().uniform_().cpu()
    assert torch.equal(transposed.t().flatten(), model.rand(210_000))
    gaps = torch.zeros(500, 1000, device=device)
    gaps[:, ::2].uniform_()
    assert torch.equal(gaps[:, ::2].cpu().flatten(), model.rand(250_000))
    assert gaps[:, 1::2].count_nonzero().item() == 0
    last = torch.zeros(2, 3, 50, 40, device=device).to(memory_format=torch.channels_last)
    last.uniform_()
    assert torch.equal(last.permute(0, 2, 3, 1).cpu().flatten(), model.rand(12_000))


@pytest.mark.parametrize("dtype", FLOATS)
def test_dropout_in_rows_of_as_many_as_a_load_holds(dtype: torch.dtype) -> None:
    """The rows of a half are twice as long as those of a float; a grid of them, and a second one."""
    device, model = gpu("T4"), Philox("T4", seed=4)
    torch.manual_seed(4)
    for count in (8, 12, 1002, 8 * model.threads_max, 8 * model.threads_max + 8):
        _, mask = torch.native_dropout(torch.ones(count, dtype=dtype, device=device), 0.25, True)
        assert torch.equal(mask.cpu(), model.dropout_mask(0.25, count, dtype)), count
        assert offset(device) == model.offset


def test_dropout_of_strided_tensors() -> None:
    """In a row of the memory where a whole number of vectors is there; by rows of the sizes where not."""
    device, model = gpu("T4"), Philox("T4", seed=4)
    torch.manual_seed(4)
    dense = torch.ones(60, 1000, device=device).t()
    _, mask = torch.native_dropout(dense, 0.5, True)
    assert mask.stride() == dense.stride()
    assert torch.equal(mask.t().cpu().flatten(), model.dropout_mask(0.5, 60_000))
    gaps = torch.ones(100, 1202, device=device)[:, ::2]
    _, mask = torch.native_dropout(gaps, 0.5, True)
    assert torch.equal(mask.cpu().flatten(), model.uniform(60_100) < 0.5)
    odd = torch.ones(4001, device=device)[1:]  # its address is no multiple of a vector's size
    _, mask = torch.native_dropout(odd, 0.5, True)
    assert torch.equal(mask.cpu(), model.uniform(4000) < 0.5)


def test_tensors_beyond_32_bit_indexing_are_drawn_in_parts() -> None:
    """Of a storage of 6 GiB, of which little is touched: the whole reserves, and then each part for itself."""
    device, model = gpu("T4"), Philox("T4", seed=4)
    x = torch.empty_strided((2, 1000), (3 << 28, 1), device=device)
    torch.manual_seed(4)
    x.uniform_()
    model.reserve(4)
    assert torch.equal(x[0].cpu(), model.rand(1000))
    assert torch.equal(x[1].cpu(), model.rand(1000))
    assert offset(device) == model.offset == 12


def test_poisson_numbers_of_small_rates_are_products() -> None:
    device, model = gpu("T4"), Philox("T4", seed=9)
    torch.manual_seed(9)
    rates = torch.arange(1, 201) / 8
    drawn = torch.poisson(rates.to(device)).cpu()
    first = model.reserve(20)
    for thread, rate in enumerate(rates.tolist()):
        product, count = math.exp(rate), 0
        for number in model.numbers(thread, first):
            product *= number * 2.0**-32 + 2.0**-33
            if product <= 1:
                break
            count += 1
        assert drawn[thread] == count
    assert offset(device) == model.offset


@pytest.mark.parametrize("rate", [100.0, 1000.0, 5000.0])
def test_poisson_numbers_of_large_rates_have_their_law(rate: float) -> None:
    torch.manual_seed(1)
    drawn = torch.poisson(torch.full((20_000,), rate, device=gpu("T4"))).cpu().double()
    assert abs(drawn.mean().item() - rate) < 5 * math.sqrt(rate / 20_000)
    assert abs(drawn.var().item() / rate - 1) < 5 * math.sqrt(2 / 20_000)


def test_multinomial_with_replacement_looks_up_one_number_a_sample() -> None:
    device, model = gpu("T4"), Philox("T4", seed=9)
    torch.manual_seed(9)
    weights = torch.tensor([[1.0, 0.0, 3.0, 4.0], [2.0, 2.0, 0.0, 0.0]])
    drawn = torch.multinomial(weights.to(device), 200, replacement=True).cpu()
    first = model.reserve(4)
    sums = (weights / weights.sum(1, keepdim=True)).cumsum(1)
    for row in range(2):
        numbers = torch.tensor([next(model.numbers(row * 256 + s, first)) for s in range(200)])
        unit = numbers.float() * 2.0**-32 + 2.0**-33
        assert torch.equal(drawn[row], torch.searchsorted(sums[row], unit))
    assert offset(device) == model.offset


# ---- generators ----


def test_the_state_is_cudas() -> None:
    device = gpu("A100-40GB")
    generator = torch.Generator(device)
    assert generator.initial_seed() == 67280421310721
    state = generator.get_state()
    assert bytes(state.tolist()) == (67280421310721).to_bytes(8, "little") + bytes(8)
    torch.rand(300_000, device=device, generator=generator)
    assert generator.get_offset() == 4
    torch.rand(900_000, device=device, generator=generator)
    assert generator.get_offset() == 12
    generator.set_offset(1 << 40)
    assert (generator.get_offset(), generator.initial_seed()) == (1 << 40, 67280421310721)
    with pytest.raises(RuntimeError, match="offset must be a multiple of 4"):
        generator.set_offset(6)
    generator.manual_seed(3)
    assert (generator.get_offset(), generator.initial_seed()) == (0, 3)


def test_a_state_brings_its_seed_along() -> None:
    device = gpu("T4")
    wanted = (12).to_bytes(8, "little") + (8).to_bytes(8, "little")
    generator = torch.Generator(device)
    generator.set_state(torch.tensor(list(wanted), dtype=torch.uint8))
    assert (generator.initial_seed(), generator.get_offset()) == (12, 8)
    torch.remote.set_rng_state(torch.tensor(list(wanted[:8]), dtype=torch.uint8), device)
    assert (torch.remote.initial_seed(device), offset(device)) == (12, 0)
    clone = generator.clone_state()
    expected = torch.rand(5, device=device, generator=generator).cpu()
    assert torch.equal(torch.rand(5, device=device, generator=clone).cpu(), expected)


def test_states_that_are_none_of_cudas_are_refused() -> None:
    device = gpu("T4")
    generator = torch.Generator(device)
    generator.set_state(torch.zeros(5056, dtype=torch.uint8))
    with pytest.raises(RuntimeError, match="RNG state is wrong size"):
        torch.remote.synchronize(device)


def test_offsets_of_all_operators_are_multiples_of_four() -> None:
    device = gpu("T4")
    torch.manual_seed(0)
    x = torch.rand(5, device=device)
    for draw in (
        lambda: torch.randperm(7, device=device),
        lambda: torch.bernoulli(x),
        lambda: torch.poisson(x),
        lambda: torch.binomial(x.ceil(), x),
        lambda: torch._standard_gamma(x),
        lambda: torch._sample_dirichlet(x),
        lambda: torch.multinomial(x, 3, replacement=True),
        lambda: torch.nn.functional.rrelu(-x, training=True),
    ):
        before = offset(device)
        draw()
        assert offset(device) % 4 == 0
        assert offset(device) > before


def test_an_executor_program_that_emulates_draws_the_same() -> None:
    with torch_remote.LocalExecutor(emulate="L4") as executor:
        remote = torch_remote.connect(executor.endpoint)
        assert torch_remote.machine(remote).description["random_numbers"] == "philox, L4"
        torch.manual_seed(6)
        expected = torch.randn(200_001, device=gpu("L4")).cpu()
        torch.manual_seed(6)
        assert torch.equal(torch.randn(200_001, device=remote).cpu(), expected)
        torch_remote.machine(remote).stop()


def test_an_executor_that_emulates_nothing_draws_cpus_numbers() -> None:
    with torch_remote.LocalExecutor() as executor:
        remote = torch_remote.connect(executor.endpoint)
        assert "random_numbers" not in torch_remote.machine(remote).description
        for size in (5, 16, 1000):
            torch.manual_seed(3)
            here = torch.randn(size)
            assert torch.equal(torch.randn(size, device=remote).cpu(), here)
        with pytest.raises(NotImplementedError, match="has no offset; use get_state and set_state"):
            torch.Generator(remote).get_offset()
        torch_remote.machine(remote).stop()


# ---- what real GPUs have drawn ----

#: What goes through functions that the GPU rounds by itself: the largest error, and how many of a thousand floats are
#: other ones. In doubles the errors are a few last places, or those of floats that are in between.
APPROXIMATE = {
    "randn": (2.0**-21, 0),
    "normal_(1,2)": (2.0**-20, 0),
    "normal(tensor,tensor)": (2.0**-20, 0),
    "exponential_()": (2.0**-50, 0),
    "exponential_(2.5)": (2.0**-50, 0),
    "log_normal_(1,0.5)": (2.0**-18, 0),
    "cauchy_(0.5,2)": (2.0**-14, 150),
    "_standard_gamma": (2.0**-17, 250),
    "_sample_dirichlet": (2.0**-21, 700),
    "gumbel_softmax": (2.0**-22, 700),
}
#: The interpolators of Hopper are known bit for bit; what goes through nothing else is the GPU's in all dtypes but float64.
EXACT_BUT_FOR_DOUBLES = (
    "randn",
    "normal_(1,2)",
    "normal(tensor,tensor)",
    "exponential_()",
    "exponential_(2.5)",
    "log_normal_(1,0.5)",
)
#: The sums of 40,961 categories, which a GPU adds in a tree: one sample in thousands is the neighbour.
NEIGHBOURS = ("multinomial(100,replacement)", "multinomial(300,replacement,3 rows)")
#: Large results are drawn again in one dtype of each width, for time.
LARGE = 50_000


@functools.cache
def records(gpu_type: str) -> list[dict[str, Any]]:
    archive = CALIBRATION / "measurements" / f"{gpu_type.lower()}-torch-2.11-cuda-13.0.tar.xz"
    with tarfile.open(archive) as tar:
        content = tar.extractfile("./random_numbers.jsonl")
        assert content is not None
        return [json.loads(line) for line in content]


@functools.cache
def operators() -> dict[str, Any]:
    sys.path.insert(0, str(CALIBRATION))
    try:
        module = importlib.import_module("gpu_measurements.random_operators")
    finally:
        sys.path.remove(str(CALIBRATION))
    return {operator.name: operator for operator in module.OPERATORS}


def recorded_names() -> list[str]:
    # trunc_normal_ is Python, which draws again what lies outside since torch 2.13. Kernels of attention have a test
    # of their own, since programs reach them by scaled_dot_product_attention.
    return [name for name in operators() if name != "trunc_normal_" and "attention" not in name]


def raw(tensor: torch.Tensor) -> bytes:
    return (
        tensor.cpu()
        .clone(memory_format=torch.contiguous_format)
        .reshape(-1)
        .view(torch.uint8)
        .numpy()
        .tobytes()
    )


def draw_again(record: dict[str, Any], device: torch.device) -> tuple[torch.Tensor, int]:
    """The result that the record is of, and the offset that the generator has then."""
    dtype = getattr(torch, record["dtype"])
    make = operators()[record["operator"]].prepare(record["size"], dtype, device)
    seed, start = record["seed"], record["offset_before"]
    state = seed.to_bytes(8, "little") + start.to_bytes(8, "little")
    torch.remote.set_rng_state(torch.tensor(list(state), dtype=torch.uint8), device)
    result = make()
    return result[record.get("output", 0)] if isinstance(result, tuple) else result, offset(device)


def windows(record: dict[str, Any], data: bytes, width: int) -> Iterator[tuple[bytes, bytes]]:
    """Ours and the GPU's: pieces, and all where all is recorded."""
    if "base64" in record:
        yield data, base64.b64decode(record["base64"])
    for start, text in record["windows"].items():
        theirs = b"".join(bytes.fromhex(element)[::-1] for element in text.split())
        yield data[int(start) * width :][: len(theirs)], theirs


@pytest.mark.parametrize("gpu_type", ["H100", "H200"])
@pytest.mark.parametrize("name", recorded_names())
def test_what_a_real_gpu_has_drawn(gpu_type: str, name: str) -> None:
    device = gpu(gpu_type)
    for record in records(gpu_type):
        if record.get("operator") != name:
            continue
        if record["size"] > LARGE and (
            record["dtype"] not in ("float32", "int64", "float16") or gpu_type == "H200"
        ):
            continue
        result, moved = draw_again(record, device)
        what = {key: record[key] for key in ("operator", "dtype", "size", "seed")}
        assert moved == record["offset_after"], what
        assert list(result.shape) == record["shape"], what
        data = raw(result)
        is_exact = name not in APPROXIMATE or (
            name in EXACT_BUT_FOR_DOUBLES and result.dtype != torch.float64
        )
        if is_exact and not (name in NEIGHBOURS and record["size"] >= 40_961):
            assert hashlib.sha256(data).hexdigest()[:32] == record["sha256"], what
            continue
        for ours, theirs in windows(record, data, result.element_size()):
            assert_nearly(name, result.dtype, ours, theirs, what)


@pytest.mark.parametrize("gpu_type", ["H100", "H200"])
@pytest.mark.parametrize("kernel", ["flash", "efficient"])
def test_what_attention_has_dropped_on_a_real_gpu(gpu_type: str, kernel: str) -> None:
    """Equal scores and a unit matrix as values show which probabilities stayed.

    A T4 has the memory-efficient kernel alone, whose numbers depend on no grid; newer GPUs take it for floats.
    """
    names = [r for r in records(gpu_type) if r.get("operator") == f"{kernel} attention dropout"]
    assert len(names) == 12
    for record in names:
        dtype = getattr(torch, record["dtype"])
        device = gpu("T4" if kernel == "efficient" and dtype.itemsize == 2 else gpu_type)
        zeros = torch.zeros(record["shape"], dtype=dtype, device=device)
        values = torch.eye(zeros.size(2), 64, dtype=dtype, device=device).expand_as(zeros)
        state = record["seed"].to_bytes(8, "little") + record["offset_before"].to_bytes(8, "little")
        torch.remote.set_rng_state(torch.tensor(list(state), dtype=torch.uint8), device)
        result = torch.nn.functional.scaled_dot_product_attention(
            zeros, zeros, values.contiguous(), dropout_p=0.3
        )
        assert offset(device) == record["offset_after"]
        data = raw(result)
        if dtype != torch.float32:
            assert hashlib.sha256(data).hexdigest()[:32] == record["sha256"]
        for ours, theirs in windows(record, data, dtype.itemsize):
            a, b = (torch.frombuffer(bytearray(one), dtype=dtype) for one in (ours, theirs))
            assert torch.equal(a != 0, b != 0)
            torch.testing.assert_close(a, b, rtol=2.0**-22, atol=0)


def test_attention_drops_the_same_in_the_backward() -> None:
    for gpu_type, dtype in (("T4", torch.float16), ("A100-40GB", torch.bfloat16)):
        x = torch.randn(2, 3, 40, 16, dtype=dtype, device=gpu(gpu_type))
        v = torch.zeros_like(x).requires_grad_()
        torch.manual_seed(5)
        torch.nn.functional.scaled_dot_product_attention(x, x, v, dropout_p=0.5).sum().backward()
        every_one = torch.eye(40, dtype=dtype, device=x.device).expand(2, 3, 40, 40)
        wide = torch.nn.functional.pad(x, (0, 24))
        torch.manual_seed(5)
        shares = torch.nn.functional.scaled_dot_product_attention(
            wide, wide, every_one, dropout_p=0.5, scale=16**-0.5
        )
        assert v.grad is not None
        torch.testing.assert_close(v.grad[..., 0], shares.sum(-2), rtol=0.02, atol=0.02)


def assert_nearly(name: str, dtype: torch.dtype, ours: bytes, theirs: bytes, what: object) -> None:
    a, b = (torch.frombuffer(bytearray(one), dtype=dtype).double() for one in (ours, theirs))
    others = int((a != b).sum())
    if name in NEIGHBOURS:
        assert (a - b).abs().max() <= 1, what
        assert others <= 1, what
        return
    bound, others_max = APPROXIMATE[name]
    tolerance = bound * b.abs().clamp(min=1) + torch.finfo(dtype).eps * b.abs()
    if dtype in (torch.float16, torch.bfloat16):
        assert others == 0, what
    assert (a - b).abs().le(tolerance).all(), (what, (a - b).abs().max())
    if dtype == torch.float32 and len(a) == 1000:
        assert others <= others_max, (what, others)
