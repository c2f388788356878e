# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Views: metadata alone, no command, and the same storage."""

from collections.abc import Callable

import pytest
import torch
from comparing import Counting, assert_same
from hypothesis import given
from hypothesis import strategies as st

View = Callable[[torch.Tensor], torch.Tensor]

# Each on a 4x6x4 tensor.
VIEWS: dict[str, View] = {
    "view": lambda t: t.view(6, 16),
    "view_-1": lambda t: t.view(-1),
    "view_dtype_same_size": lambda t: t.view(torch.int32),
    "view_dtype_smaller": lambda t: t.view(torch.uint8),
    "view_dtype_larger": lambda t: t.view(torch.float64),
    "reshape": lambda t: t.reshape(24, 4),
    "flatten": lambda t: t.flatten(1),
    "unflatten": lambda t: t.unflatten(1, (2, 3)),
    "transpose": lambda t: t.transpose(0, 2),
    "permute": lambda t: t.permute(2, 0, 1),
    "movedim": lambda t: t.movedim(0, 2),
    "swapaxes": lambda t: t.swapaxes(0, 1),
    "t": lambda t: t[0].t(),
    "T": lambda t: t[0].T,
    "mT": lambda t: t.mT,
    "select": lambda t: t.select(1, 2),
    "index": lambda t: t[1],
    "index_negative": lambda t: t[-1, -2],
    "slice": lambda t: t[1:3, ::2, :-1],
    "ellipsis": lambda t: t[..., 1],
    "none": lambda t: t[:, None, 0],
    "narrow": lambda t: t.narrow(1, 2, 3),
    "unsqueeze": lambda t: t.unsqueeze(1),
    "squeeze": lambda t: t[:1].squeeze(0),
    "squeeze_many": lambda t: t[:1, :1].squeeze((0, 1)),
    "expand": lambda t: t[:1].expand(5, 6, 4),
    "expand_as": lambda t: t[:, :1].expand_as(t),
    "broadcast_to": lambda t: t[0].broadcast_to(3, 6, 4),
    "diagonal": lambda t: t.diagonal(0, 0, 2),
    "diagonal_offset": lambda t: t.diagonal(-1, 1, 2),
    "unfold": lambda t: t.unfold(1, 3, 2),
    "as_strided": lambda t: t.as_strided((3, 4), (7, 2), 5),
    "split": lambda t: t.split(2, 1)[1],
    "split_sizes": lambda t: t.split([1, 5], 1)[1],
    "chunk": lambda t: t.chunk(3, 1)[2],
    "tensor_split": lambda t: t.tensor_split(4, 1)[3],
    "unbind": lambda t: t.unbind(2)[3],
    "hsplit": lambda t: t.hsplit(2)[1],
    "detach": lambda t: t.detach(),
    "alias": lambda t: torch.ops.aten.alias(t),
    "view_as": lambda t: t.view_as(torch.empty(2, 48, device="meta")),
    "adjoint": lambda t: t.adjoint(),
}
COMPLEX_VIEWS: dict[str, View] = {
    "real": lambda t: t.real,
    "imag": lambda t: t.imag,
    "view_as_real": torch.view_as_real,
    "view_as_complex": lambda t: torch.view_as_complex(torch.view_as_real(t)),
    "conj": lambda t: t.conj(),
    "conj_twice": lambda t: t.conj().conj(),
    "conj_imag": lambda t: t.conj().imag,
    "mH": lambda t: t.mH,
    "view_dtype": lambda t: t.view(torch.float32),
}


def base_of(dtype: torch.dtype) -> torch.Tensor:
    values = torch.arange(96.0).reshape(4, 6, 4)
    return torch.complex(values, -values) if dtype.is_complex else values.to(dtype)


CASES = [pytest.param(view, torch.float32, id=name) for name, view in VIEWS.items()] + [
    pytest.param(view, torch.complex64, id=name) for name, view in COMPLEX_VIEWS.items()
]


@pytest.mark.parametrize(("view", "dtype"), CASES)
def test_views_alias_their_base(emulator: torch.device, view: View, dtype: torch.dtype) -> None:
    expected_base = base_of(dtype)
    base = expected_base.to(emulator)
    with Counting(emulator) as making:
        seen = view(base)
    assert making.operations == 0
    assert making.bytes_sent == 0
    expected = view(expected_base)
    assert seen.storage_offset() == expected.storage_offset()
    assert seen.is_conj() == expected.is_conj()
    assert seen.is_neg() == expected.is_neg()
    assert seen._is_view() == expected._is_view()
    assert seen.untyped_storage().data_ptr() == base.untyped_storage().data_ptr()
    assert seen.data_ptr() - base.data_ptr() == expected.storage_offset() * expected.itemsize
    assert_same(seen, expected)
    # What is written through the base is seen in the view, and the other way round.
    base.mul_(2)
    expected_base.mul_(2)
    assert_same(seen, expected)
    if 0 not in expected.stride():
        seen.fill_(1)
        expected.fill_(1)
        assert_same(base, expected_base)
        seen.copy_(expected + 3)
        expected.copy_(expected + 3)
        assert_same(base, expected_base)
    assert base._version == expected_base._version


@st.composite
def view_chains(draw: st.DrawFn) -> list[View]:
    chain: list[View] = []
    for _ in range(draw(st.integers(1, 5))):
        kind = draw(
            st.sampled_from(
                ["slice", "transpose", "unsqueeze", "select", "expand", "diagonal", "unfold"]
            )
        )
        a, b, c = draw(st.integers(0, 3)), draw(st.integers(0, 3)), draw(st.integers(1, 3))

        def step(
            t: torch.Tensor, kind: str = kind, a: int = a, b: int = b, c: int = c
        ) -> torch.Tensor:
            if t.dim() == 0 or kind == "unsqueeze":
                return t.unsqueeze(a % (t.dim() + 1))
            dimension, other = a % t.dim(), b % t.dim()
            if kind == "slice":
                return t[(slice(None),) * dimension + (slice(b, None, c),)]
            if kind == "transpose":
                return t.transpose(dimension, other)
            if kind == "select" and t.size(dimension) > b:
                return t.select(dimension, b)
            if kind == "expand" and t.size(dimension) == 1:
                return t.expand(*t.shape[:dimension], 3, *t.shape[dimension + 1 :])
            if kind == "diagonal" and dimension != other:
                return t.diagonal(0, dimension, other)
            if kind == "unfold" and t.size(dimension) >= c:
                return t.unfold(dimension, c, b + 1)
            return t

        chain.append(step)
    return chain


@given(chain=view_chains())
def test_views_of_views(emulator: torch.device, chain: list[View]) -> None:
    expected_base = base_of(torch.float32)
    base = expected_base.to(emulator)
    seen, expected = base, expected_base
    for view in chain:
        seen, expected = view(seen), view(expected)
        assert seen.storage_offset() == expected.storage_offset()
    assert_same(seen, expected)
    assert_same(seen + 1, expected + 1)
    if 0 not in expected.stride():
        seen.zero_()
        expected.zero_()
        assert_same(base, expected_base)


def test_in_place_views(device: torch.device) -> None:
    expected = torch.arange(6.0).reshape(1, 2, 3)
    seen = expected.to(device)
    steps: list[Callable[[torch.Tensor], torch.Tensor]] = [
        lambda t: t.squeeze_(0),
        lambda t: t.unsqueeze_(-1),
        lambda t: t.transpose_(0, 1),
        lambda t: t.squeeze_(),
        lambda t: t.t_(),
        lambda t: t.swapaxes_(0, 1),
        lambda t: t.swapdims_(0, 1),
        lambda t: t.as_strided_((2, 2), (1, 2), 1),
    ]
    for step in steps:
        address = seen.untyped_storage().data_ptr()
        assert step(seen) is seen
        step(expected)
        assert seen.untyped_storage().data_ptr() == address
        assert_same(seen, expected)
        assert_same(seen * 2, expected * 2)


@pytest.mark.parametrize("sizes", [(2, 3, 4, 5), (0, 3, 4, 5), (2, 1, 4, 5), (1, 1, 1, 1)])
def test_channels_last(device: torch.device, sizes: tuple[int, ...]) -> None:
    expected = torch.randn(sizes)
    for make in (
        lambda t: t.contiguous(memory_format=torch.channels_last),
        lambda t: t.to(memory_format=torch.channels_last),
        lambda t: torch.empty(sizes, device=t.device, memory_format=torch.channels_last).copy_(t),
        lambda t: torch.empty_like(t, memory_format=torch.channels_last).copy_(t),
        lambda t: t.clone(memory_format=torch.channels_last).relu() + 1,
    ):
        assert_same(make(expected.to(device)), make(expected))
    volume = torch.randn(2, 3, 4, 5, 6)
    assert_same(
        volume.to(device).contiguous(memory_format=torch.channels_last_3d),
        volume.contiguous(memory_format=torch.channels_last_3d),
    )
    there = expected.contiguous(memory_format=torch.channels_last).to(device)
    assert_same(there, expected.contiguous(memory_format=torch.channels_last))


def test_addresses_of_views_can_be_computed(device: torch.device) -> None:
    base = torch.zeros(10, 10, dtype=torch.float64, device=device)
    assert base[3, 4].data_ptr() - base.data_ptr() == 34 * 8
    assert base.view(torch.int32)[1].data_ptr() - base.data_ptr() == 80
    other = torch.zeros(10, 10, device=device)
    assert not base.data_ptr() <= other.data_ptr() < base.data_ptr() + 800
    # What PyTorch's overlap checks see.
    with pytest.raises(RuntimeError, match="more than one element of the written-to tensor"):
        base[0, :1].expand(3).add_(1)
    # The executor makes the check of different tensors that overlap, which may be any two of a call.
    torch.add(base[0], 1, out=base.flatten()[5:15])
    with pytest.raises(
        RuntimeError, match="some elements of the input tensor and the written-to tensor"
    ):
        torch.remote.synchronize(device)


def test_resize(device: torch.device) -> None:
    expected = torch.arange(6.0)
    seen = expected.to(device)
    view = seen[2:4]
    for sizes in ((2, 3), (4,), (0,), (5,)):
        assert_same(seen.resize_(sizes), expected.resize_(sizes))
    seen.resize_(10)
    expected.resize_(10)
    # Growing keeps the values; the rest is not initialized.
    assert_same(seen[:6], expected[:6])
    seen[2] = -1
    assert view[0].item() == -1  # and its views still look at it
    assert_same(torch.empty(0, device=device).resize_(2, 2).fill_(3), torch.full((2, 2), 3.0))
    large = torch.arange(1000.0, device=device)
    large.resize_(100_000)
    assert_same(large[:1000], torch.arange(1000.0))
    assert_same(
        torch.empty(0, device=device)
        .resize_(2, 3, 4, 5, memory_format=torch.channels_last)
        .fill_(1),
        torch.empty(0).resize_(2, 3, 4, 5, memory_format=torch.channels_last).fill_(1),
    )
    storage = large.untyped_storage()
    storage.resize_(8)
    assert storage.nbytes() == 8
    assert_same(large[:2], torch.tensor([0.0, 1.0]))


def test_set(device: torch.device) -> None:
    expected_source = torch.arange(12.0)
    source = expected_source.to(device)
    for make in (
        lambda t: torch.empty(0, device=t.device).set_(t),
        lambda t: torch.empty(0, device=t.device).set_(t[2:8]),
        lambda t: torch.empty(0, device=t.device).set_(t.untyped_storage()),
        lambda t: torch.empty(0, device=t.device).set_(t.untyped_storage(), 3, (2, 2), (1, 4)),
        lambda t: torch.empty(3, device=t.device).set_(),
    ):
        seen, expected = make(source), make(expected_source)
        assert seen.storage_offset() == expected.storage_offset()
        assert_same(seen, expected)
    shared = torch.empty(0, device=device).set_(source)
    assert shared.is_set_to(source)
    shared[0] = 100
    assert source[0].item() == 100
    parameter = torch.nn.Parameter(torch.zeros(2, device=device))
    parameter.data = torch.ones(3, device=device)
    assert_same(parameter.data, torch.ones(3))


def test_autograd_through_views(device: torch.device) -> None:
    def program(t: torch.Tensor) -> torch.Tensor:
        leaf = t.clone().requires_grad_()
        base = leaf * 1
        base[1:3].mul_(2)
        base.view(-1)[::5].add_(leaf.flatten()[::5])
        base.diagonal().copy_(base[0])
        (
            base.t().unfold(0, 2, 1).sin() * base.unsqueeze(0).expand(5, 6, 6)[..., :2].sum()
        ).sum().backward()
        assert leaf.grad is not None
        return leaf.grad

    values = torch.randn(6, 6)
    assert_same(program(values.to(device)), program(values))
