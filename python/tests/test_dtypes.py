# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Dtypes: views of bits, complex numbers and their lazy conjugates, small floats, unsigned integers."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch_remote
from comparing import Counting, assert_like_cpu, assert_same, bits
from torch import Tensor

FLOAT8 = (
    torch.float8_e4m3fn,
    torch.float8_e5m2,
    torch.float8_e4m3fnuz,
    torch.float8_e5m2fnuz,
    torch.float8_e8m0fnu,
)
UNSIGNED = (torch.uint16, torch.uint32, torch.uint64)
HALVES = (torch.float16, torch.bfloat16)
Program = Callable[[torch.device], Any]


def numbers(where: torch.device | str, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.tensor([[0.0, 1.5, -2.25, 3e-3], [1e4, -0.0, 0.1, 7.0]]).to(where, dtype)


def imaginary(where: torch.device | str, dtype: torch.dtype = torch.complex64) -> Tensor:
    return torch.complex(numbers("cpu"), numbers("cpu").flip(1)).to(where, dtype)


# ---- complex ----


def parts_of_complex(where: torch.device) -> Any:
    x = imaginary(where)
    pairs = torch.view_as_real(x)
    x.real[0] += 1
    x.imag.mul_(2)
    pairs[1, 0] = 5
    again = torch.view_as_complex(pairs.clone())
    return x, pairs, again, x.real.t(), x.imag[:, 1:], torch.polar(x.abs(), x.angle())


def lazy_conjugates(where: torch.device) -> Any:
    x = imaginary(where)
    conjugate, negative = x.conj(), x.conj().imag
    flags = [conjugate.is_conj(), negative.is_neg(), conjugate.conj().is_conj(), x.mH.is_conj()]
    changed = x.clone()
    changed.conj()[0, 0] = 1 + 2j
    changed.conj().mul_(1j)
    return [
        flags,
        conjugate,
        negative,
        conjugate.resolve_conj(),
        negative.resolve_neg(),
        conjugate @ x.t(),
        x.mH @ x,
        torch.cat([conjugate, x]),
        negative + negative.abs(),
        conjugate[0, 1:].conj_physical(),
        torch.stack([conjugate.real, negative]),
        changed,
    ]


def gradients_of_complex(where: torch.device) -> Any:
    x = imaginary(where).requires_grad_()
    (x * x.conj() + x.real.exp().clamp(max=3) * 1j).abs().sum().backward()
    real = numbers(where).requires_grad_()
    torch.view_as_real(torch.complex(real, real * 2) ** 2).sum().backward()
    return x.grad, real.grad


def half_complex(where: torch.device) -> Any:
    x = imaginary(where, torch.complex32)
    return x, x.real, x.imag, x + x, x * 2, x.to(torch.complex64), torch.view_as_real(x), x.conj()


# ---- bits ----


def views_of_bits(where: torch.device) -> Any:
    x = numbers(where)
    x.view(torch.int32)[0, 0] = 0x3F800000
    return [
        x.view(torch.int32),
        x.view(torch.int16),
        x.view(torch.uint8)[:, ::4],
        x.view(torch.float64),
        x.view(torch.complex64),
        x.view(torch.bfloat16)[..., 1::2],
        imaginary(where).view(torch.float32),
        numbers(where, torch.bfloat16).view(torch.uint16),
        (x > 1).view(torch.uint8),
        x,
    ]


def unsigned(where: torch.device) -> Any:
    results = []
    for dtype in UNSIGNED:
        x = torch.tensor([[1, 2], [250, 60000]], dtype=torch.int64).to(where, dtype)
        results += [
            x,
            x.t(),
            x.to(torch.int64),
            x.to(torch.float32),
            x[1],
            x == x.t(),
            x.view(torch.uint8),
        ]
        results += [
            torch.zeros(3, dtype=dtype, device=where),
            torch.full((2,), 7, dtype=dtype, device=where),
        ]
        results += [torch.cat([x, x]), x.clone().fill_(3), x.tolist()]
    return results


def integers(where: torch.device) -> Any:
    results = []
    for dtype in (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.bool):
        x = torch.tensor([0, 1, 100, 120], dtype=torch.uint8).to(where, dtype)
        results += [
            x + x,
            x & 3 if dtype != torch.bool else x ^ x,
            ~x,
            x.sum(),
            x.float() / 3,
            x * 1.5,
        ]
        if dtype != torch.bool:
            results += [
                x // 7,
                x % 7,
                x << 1,
                -x,
                x.bitwise_right_shift(1),
                x.cumsum(0),
                x.clamp(2, 90),
            ]
    return results


def halves(where: torch.device) -> Any:
    results = []
    for dtype in HALVES:
        x = numbers(where, dtype).requires_grad_()
        y = torch.nn.functional.gelu(x @ x.t()).softmax(-1) + x.sum()
        y.sum().backward()
        results += [
            y.detach(),
            x.grad,
            x.detach().double(),
            x.detach().frexp(),
            x.detach().nextafter(x.detach() + 1),
        ]
    return results


def float8(where: torch.device) -> Any:
    results: list[Any] = []
    for dtype in FLOAT8:
        x = numbers(where).abs().to(dtype)
        results += [
            x,
            x.float(),
            x.half(),
            x.t(),
            x[0, 1:],
            x.clone(),
            torch.empty_like(x).copy_(x),
        ]
        results += [
            x.view(torch.uint8),
            x.view(torch.uint8).view(dtype),
            x.reshape(-1),
            torch.cat([x, x]),
        ]
        results += [
            torch.zeros(3, dtype=dtype, device=where),
            x.to(torch.bfloat16).to(torch.float8_e5m2),
        ]
    return results


def promotions(where: torch.device) -> Any:
    dtypes = [
        torch.bool,
        torch.uint8,
        torch.int32,
        torch.float16,
        torch.bfloat16,
        torch.float64,
        torch.complex64,
    ]
    one = torch.ones(2, device=where)
    results = [one.to(a) + one.to(b) for a in dtypes for b in dtypes]
    results += [
        one.to(a) * one.to(b)[0] for a in dtypes for b in dtypes
    ]  # no dimensions decide less
    return [
        *results,
        one.int() / 2,
        one.half() * 1e-3,
        one.bool() + 1,
        one * 1j,
        torch.tensor(2.0) * one.half(),
    ]


PROGRAMS: list[Program] = [
    parts_of_complex,
    lazy_conjugates,
    gradients_of_complex,
    half_complex,
    views_of_bits,
    unsigned,
    integers,
    halves,
    float8,
    promotions,
]


@pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental")
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_programs(device: torch.device, program: Program) -> None:
    assert_like_cpu(device, program)


@pytest.mark.parametrize(
    "dtype", [*FLOAT8, *UNSIGNED, *HALVES, torch.complex32, torch.bool, torch.int8]
)
def test_there_and_back(device: torch.device, dtype: torch.dtype) -> None:
    local = torch.arange(24, dtype=torch.uint8)
    local = (local % 2 == 0 if dtype == torch.bool else local.view(dtype)).unflatten(0, (-1, 1))
    with Counting(device) as counting:
        there = local.to(device)
        assert torch.equal(bits(there), bits(local))
    assert counting.operations == 0  # bytes alone


@pytest.fixture(params=["emulator", "tcp"])
def hopper(request: pytest.FixtureRequest) -> Iterator[torch.device]:
    """A GPU that has float8."""
    if request.param == "emulator":
        device = torch_remote.emulate("H100", num_threads=1)
        yield device
        torch_remote.machine(device).stop()
        return
    with torch_remote.LocalExecutor(emulate="H100") as executor:
        device = torch_remote.connect(executor.endpoint, num_threads=1)
        yield device
        torch_remote.machine(device).stop()


@pytest.mark.parametrize(
    "pair", [(torch.float8_e4m3fn,) * 2, (torch.float8_e5m2, torch.float8_e4m3fn)]
)
def test_scaled_products_of_small_floats(
    hopper: torch.device, pair: tuple[torch.dtype, torch.dtype]
) -> None:
    def program(where: torch.device) -> Any:
        x = torch.linspace(-2, 2, 16 * 32).reshape(16, 32).to(where, pair[0])
        y = torch.linspace(-1, 1, 32 * 16).reshape(16, 32).to(where, pair[1]).t()
        scale = torch.tensor(0.5, device=where)
        return [
            torch._scaled_mm(x, y, scale_a=scale, scale_b=scale, out_dtype=dtype)
            for dtype in (torch.float32, torch.bfloat16)
        ]

    assert_like_cpu(hopper, program)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("batched", [False, True], ids=["matrices", "batches"])
def test_products_of_a_wider_type(device: torch.device, batched: bool, dtype: torch.dtype) -> None:
    """Of accelerators alone; nothing is rounded before the sum."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(3, 4, 6), (3, 6, 5), (4, 5)] if batched else [(4, 6), (6, 5), (5,)]
    first, second, added = (torch.randn(shape, generator=generator) for shape in shapes)
    first, second = first.to(dtype), second.to(dtype)
    there = first.to(device), second.to(device)
    product, with_sum = (torch.bmm, torch.baddbmm) if batched else (torch.mm, torch.addmm)

    expected = product(first.float(), second.float())
    assert_same(product(*there, out_dtype=torch.float32), expected)
    out = torch.empty_like(expected, device=device)
    assert product(*there, out_dtype=torch.float32, out=out) is out
    assert_same(out, expected)

    factors = {"beta": 0.5, "alpha": 2}
    for one in (added, added.to(dtype)):
        expected = with_sum(one.float(), first.float(), second.float(), **factors)
        actual = with_sum(one.to(device), *there, out_dtype=torch.float32, **factors)
        assert_same(actual, expected)
    with_sum(one.to(device), *there, out_dtype=torch.float32, out=out, **factors)
    assert_same(out, expected)
    # In place, as programs gather sums.
    with_sum(out, *there, out_dtype=torch.float32, out=out)
    assert_same(out, with_sum(expected, first.float(), second.float()))

    with pytest.raises(RuntimeError, match="dtype"):
        with_sum(out, *there, out_dtype=torch.float32, out=out.double())
    for wrong in (torch.float64, torch.int32):
        with pytest.raises(RuntimeError, match=r"out_dtype .*same as input dtype"):
            product(*there, out_dtype=wrong)


def test_batched_products_of_a_wider_type_are_checked(device: torch.device) -> None:
    batch = torch.ones(2, 3, 4, dtype=torch.float16, device=device)
    other = torch.ones(2, 4, 5, dtype=torch.float16, device=device)
    added = torch.ones(2, 3, 5, device=device)
    for arguments, text in (
        ((added, batch, batch), "cannot be multiplied"),
        ((added, batch[0], other), "must be 3D"),
        ((added, batch, other.bfloat16()), "same dtype"),
        ((added.double(), batch, other), "dtype of batch1 or out_dtype"),
        ((added[:, :2], batch, other), "cannot be expanded"),
    ):
        with pytest.raises(RuntimeError, match=text):
            torch.baddbmm(*arguments, out_dtype=torch.float32)
    with pytest.raises(RuntimeError, match="out_dtype must be the same"):
        torch.baddbmm(added, batch, other, out_dtype=torch.float64)


def test_reading_numbers(device: torch.device) -> None:
    """Scalars come back as Python has them."""
    cases: dict[torch.dtype, Any] = {
        torch.bool: True,
        torch.uint8: 200,
        torch.int64: -(2**62),
        torch.uint64: 2**64 - 1,
        torch.float64: 0.1,
        torch.bfloat16: 1.5,
        torch.complex128: 1.5 - 2j,
        torch.float8_e5m2: 0.25,
    }
    for dtype, value in cases.items():
        scalar = (
            torch.full((), value, dtype=dtype, device=device)
            if dtype != torch.float8_e5m2
            else (torch.tensor(value, device=device).to(dtype))
        )
        assert_same(scalar.item(), value)
    assert int(torch.tensor(7.9, device=device)) == 7
    assert range(3)[torch.tensor(1, device=device)] == 1
    assert f"{torch.tensor(0.5, device=device):.2f}" == "0.50"
    with pytest.raises(RuntimeError, match="cannot be converted"):
        torch.ones(2, device=device).item()
    wide = torch.ones(2, dtype=torch.uint64, device=device).fill_(2**64 - 1)
    assert wide.tolist() == [2**64 - 1] * 2
    assert torch.full((1,), 2**63, dtype=torch.float32, device=device).tolist() == [2.0**63]
    torch.zeros(1, dtype=torch.uint8, device=device).fill_(300)
    with pytest.raises(RuntimeError, match="without overflow"):
        torch.remote.synchronize(device)
