# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Copies between CPU and devices, and within one: every layout and dtype, and no byte more than the view."""

import pytest
import torch
from comparing import Counting, assert_same, bits
from hypothesis import given
from hypothesis import strategies as st

NUMBERS = [
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.complex128,
    torch.complex64,
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
    torch.uint8,
    torch.bool,
]
# Copied, but hardly computed with.
STORED = [
    torch.float8_e4m3fn,
    torch.float8_e5m2,
    torch.float8_e4m3fnuz,
    torch.float8_e5m2fnuz,
    torch.complex32,
    torch.uint16,
    torch.uint32,
    torch.uint64,
]


def filled(count: int, dtype: torch.dtype) -> torch.Tensor:
    """Elements that differ, special values among them."""
    if dtype.is_complex:
        part = {
            torch.complex32: torch.float16,
            torch.complex64: torch.float32,
            torch.complex128: torch.float64,
        }[dtype]
        return (
            torch.view_as_complex(filled(2 * count, part).reshape(count, 2))
            if count
            else torch.empty(0, dtype=dtype)
        )
    values = torch.arange(count, dtype=torch.float64) * 0.75 - 3
    if dtype.is_floating_point and count > 4 and dtype.itemsize != 1:
        values[1], values[2], values[3] = float("nan"), float("-inf"), -0.0
    if not dtype.is_floating_point and dtype not in (
        torch.bool,
        torch.int8,
        torch.int16,
        torch.int32,
        torch.int64,
    ):
        values = values.abs()
    return values.to(dtype)


@st.composite
def layouts(draw: st.DrawFn) -> tuple[list[int], list[int], int]:
    """Sizes, strides and offset: transposed, sliced, expanded and overlapping ones."""
    sizes = draw(st.lists(st.sampled_from([0, 1, 2, 3, 5]), max_size=4))
    strides = draw(
        st.lists(st.sampled_from([0, 1, 2, 3, 5, 7]), min_size=len(sizes), max_size=len(sizes))
    )
    if draw(st.booleans()):  # dense, in some order
        order = draw(st.permutations(range(len(sizes))))
        step = 1
        for dimension in order:
            strides[dimension] = step
            step *= max(sizes[dimension], 1)
    return sizes, strides, draw(st.integers(0, 4))


@st.composite
def dense_layouts(draw: st.DrawFn, sizes: list[int]) -> tuple[list[int], int]:
    """Strides and offset that let no two elements overlap, perhaps with gaps."""
    strides = [0] * len(sizes)
    step = draw(st.integers(1, 3))
    for dimension in draw(st.permutations(range(len(sizes)))):
        strides[dimension] = step
        step *= max(sizes[dimension], 1)
    return strides, draw(st.integers(0, 3))


def extent(sizes: list[int], strides: list[int], offset: int) -> int:
    return (
        offset
        + 1
        + sum(max(size - 1, 0) * stride for size, stride in zip(sizes, strides, strict=True))
    )


def strided(sizes: list[int], strides: list[int], offset: int, dtype: torch.dtype) -> torch.Tensor:
    return filled(extent(sizes, strides, offset), dtype).as_strided(sizes, strides, offset)


@given(layout=layouts(), dtype=st.sampled_from(NUMBERS + STORED))
def test_there_and_back_keeps_every_bit(
    device: torch.device, layout: tuple[list[int], list[int], int], dtype: torch.dtype
) -> None:
    source = strided(*layout, dtype)
    remote = source.to(device)
    assert remote.stride() == source.to("meta").stride()
    assert_same(remote, source, strides=False)
    assert_same(remote.cpu(), source, strides=False)


@given(layout=layouts(), dtype=st.sampled_from(NUMBERS + STORED))
def test_download_of_a_view(
    device: torch.device, layout: tuple[list[int], list[int], int], dtype: torch.dtype
) -> None:
    sizes, strides, offset = layout
    base = filled(extent(*layout), dtype)
    assert_same(
        base.to(device).as_strided(sizes, strides, offset).cpu(),
        base.as_strided(sizes, strides, offset),
        strides=False,
    )


@given(
    data=st.data(),
    layout=layouts(),
    source_dtype=st.sampled_from(NUMBERS),
    dtype=st.sampled_from(NUMBERS),
)
@pytest.mark.parametrize("way", ["upload", "download", "within"])
def test_copy_into_a_view_of_another_dtype(
    device: torch.device,
    data: st.DataObject,
    way: str,
    layout: tuple[list[int], list[int], int],
    source_dtype: torch.dtype,
    dtype: torch.dtype,
) -> None:
    sizes = layout[0]
    strides, offset = data.draw(dense_layouts(sizes))
    source = strided(*layout, source_dtype)
    # Conversions of what the other type can't hold are undefined.
    if source_dtype.is_floating_point or source_dtype.is_complex:
        source = torch.nan_to_num(source, 0, 9, 0)
    if source_dtype.is_floating_point or (source_dtype.is_signed and not source_dtype.is_complex):
        source = source.abs()
    base = torch.zeros(extent(sizes, strides, offset), dtype=dtype)
    expected = base.clone()
    expected.as_strided(sizes, strides, offset).copy_(source)
    target = base.clone() if way == "download" else base.to(device)
    target.as_strided(sizes, strides, offset).copy_(
        source if way == "upload" else source.to(device)
    )
    assert_same(target, expected)


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
def test_conjugate_and_negative_views(device: torch.device, dtype: torch.dtype) -> None:
    base = filled(12, dtype).reshape(3, 4)
    remote = base.to(device)
    for view in (
        torch.conj,
        lambda t: t.conj().imag,
        lambda t: t.conj().t(),
        lambda t: t.conj()[1:, ::2],
    ):
        assert_same(view(base).to(device), view(base), strides=False)
        assert_same(view(remote).cpu(), view(base), strides=False)
        assert_same(view(remote).clone(), view(base), strides=False)
        assert view(remote).is_conj() == view(base).is_conj()
        assert view(remote).is_neg() == view(base).is_neg()
    # A conjugate view as the destination.
    expected, target = torch.zeros(3, 4, dtype=dtype), torch.zeros(3, 4, dtype=dtype, device=device)
    expected.conj().copy_(base)
    target.conj().copy_(base)
    assert_same(target, expected)
    target.zero_().conj().copy_(remote)
    assert_same(target, expected)
    local = torch.zeros(3, 4, dtype=dtype)
    local.conj().copy_(remote)
    assert_same(local, expected)
    # A negative view as the destination.
    expected.zero_().conj().imag.copy_(base.real)
    target.zero_().conj().imag.copy_(base.real)
    assert_same(target, expected)


def test_item_of_conjugate_and_of_one_element_tensors(device: torch.device) -> None:
    value = torch.tensor(1 + 2j)
    assert value.to(device).conj().item() == 1 - 2j
    assert value.to(device).conj().imag.item() == -2
    assert torch.tensor([[3.5]], device=device).item() == 3.5
    assert torch.arange(4, device=device)[2:3].item() == 2


def test_upload_sends_the_views_bytes_alone(device: torch.device) -> None:
    large = torch.randn(1_000_000)
    for view in (large[500_000:500_010], large[:1_000_000:100_000], large.view(1000, 1000)[:3, :3]):
        with Counting(device) as upload:
            remote = view.to(device)
            torch.remote.synchronize(device)
        assert upload.bytes_sent < 2000
        assert_same(remote.cpu(), view, strides=False)


def test_download_receives_the_views_bytes_alone(device: torch.device) -> None:
    remote = torch.randn(1_000_000).to(device)
    for view in (
        remote[500_000:500_010],
        remote[:1_000_000:100_000],
        remote.view(1000, 1000)[:3, :3],
    ):
        with Counting(device) as download:
            view.cpu()
        assert download.bytes_received < 2000
        assert download.round_trips == 1


def test_outputs_never_travel_to_the_executor(device: torch.device) -> None:
    ones = torch.ones(1000, 1000, device=device)
    out = torch.empty(1000, 1000, device=device)
    torch.remote.synchronize(device)
    with Counting(device) as calls:
        torch.add(ones, ones, out=out)
        ones.add_(1)
        ones @ ones
        torch.remote.synchronize(device)
    assert calls.bytes_sent < 5000


def test_expanded_source_sends_its_elements(device: torch.device) -> None:
    # The executor's tensor has them all, as on CUDA.
    source = torch.arange(3.0).expand(100, 3)
    remote = source.to(device)
    assert_same(remote.cpu(), source, strides=False)


@pytest.mark.parametrize(
    "count", [16 * 1024, 16 * 1024 + 1, 1 << 20, (1 << 20) + 1, 8 << 20, (33 << 20) + 5]
)
def test_large_copies_in_several_frames(device: torch.device, count: int) -> None:
    source = torch.arange(count, dtype=torch.int64).to(torch.uint8).add_(torch.arange(count) // 251)
    remote = source.to(device)
    assert torch.equal(remote.cpu(), source)
    assert torch.equal(remote[7:].cpu(), source[7:])


def test_source_may_change_after_the_upload(device: torch.device) -> None:
    source = torch.zeros(1 << 20)
    remotes = []
    for value in range(5):
        source.fill_(value)
        remotes.append(source.to(device, non_blocking=True))
    source.fill_(-1)
    assert [remote.sum().item() for remote in remotes] == [value * (1 << 20) for value in range(5)]


def test_between_devices(emulator: torch.device, tcp: torch.device) -> None:
    source = torch.randn(40, 50)
    there = source.to(emulator)
    across = there.to(tcp)
    assert across.device == tcp
    assert_same(across, source)
    assert_same(across.t().to(emulator), source.t())
    assert_same(there[::2, 1].to(tcp, torch.float64), source[::2, 1].double(), strides=False)
    target = torch.zeros(50, 40, device=emulator)
    target.t().copy_(across)
    assert_same(target, source.t().contiguous())


def test_broadcasting(device: torch.device) -> None:
    row = torch.arange(3.0)
    expected = row.expand(4, 3).clone()
    for source in (row, row.to(device), row.double(), row.to(device, torch.int64)):
        target = torch.zeros(4, 3, device=device)
        target.copy_(source)
        assert_same(target, expected)
        local = torch.zeros(4, 3)
        local.copy_(source)
        assert_same(local, expected)
    assert_same(torch.zeros(2, 2, device=device).copy_(torch.tensor(5.0)), torch.full((2, 2), 5.0))


@pytest.mark.parametrize("way", ["upload", "download", "within"])
def test_wrong_shapes_raise(device: torch.device, way: str) -> None:
    source = torch.zeros(3, device="cpu" if way == "upload" else device)
    target = torch.zeros(2, 2, device="cpu" if way == "download" else device)
    with pytest.raises(RuntimeError, match=r"size of tensor a .* must match|shape"):
        target.copy_(source)
    with pytest.raises(RuntimeError, match=r"shape"):
        target[0, 0].copy_(source[:2])
    assert_same(target, torch.zeros(2, 2))


def test_empty_tensors_cost_no_round_trip_up(device: torch.device) -> None:
    with Counting(device) as copies:
        remote = torch.empty(3, 0, 2).to(device)
    assert copies.round_trips == 0
    assert_same(remote.cpu(), torch.empty(3, 0, 2))


def test_constructors(device: torch.device) -> None:
    assert_same(torch.tensor([[1, 2], [3, 4]], device=device), torch.tensor([[1, 2], [3, 4]]))
    assert_same(torch.as_tensor([1.5, 2.5], device=device), torch.tensor([1.5, 2.5]))
    assert_same(torch.zeros(2, dtype=torch.bool, device=device), torch.zeros(2, dtype=torch.bool))
    assert_same(torch.full((2, 3), 7, device=device), torch.full((2, 3), 7))
    assert_same(torch.arange(1, 10, 2, device=device), torch.arange(1, 10, 2))
    assert_same(torch.linspace(0, 1, 7, device=device), torch.linspace(0, 1, 7))
    assert_same(torch.eye(3, device=device), torch.eye(3))
    assert_same(torch.tril_indices(3, 3, device=device), torch.tril_indices(3, 3))
    with device:
        assert torch.ones(2).device == device


def test_numpy_and_lists(device: torch.device) -> None:
    source = torch.arange(6.0).reshape(2, 3)
    assert source.to(device).tolist() == source.tolist()
    assert bits(source.to(device)).tolist() == bits(source).tolist()
    with pytest.raises(TypeError, match=r"[Cc]onvert remote.*numpy|can't convert"):
        source.to(device).numpy()
