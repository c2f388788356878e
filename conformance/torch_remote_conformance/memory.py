# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Cases of allocation: what a new tensor is, where it lies, and that its memory comes back."""

import copy
import gc
import itertools
from collections.abc import Callable

import torch

from torch_remote_conformance.case import Level
from torch_remote_conformance.comparing import assert_same
from torch_remote_conformance.counting import assert_nothing_left, can_count, live_bytes
from torch_remote_conformance.family import Family, assert_refused
from torch_remote_conformance.target import Target

FAMILY = Family("memory", Level.L1)
cases = FAMILY.cases

#: All dtypes of dense tensors that every version of PyTorch from 2.11 on has.
DTYPES: tuple[torch.dtype, ...] = (
    *(torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
    *(torch.uint16, torch.uint32, torch.uint64),
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64),
    *(torch.complex32, torch.complex64, torch.complex128),
    *(torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz),
)
SHAPES: tuple[tuple[int, ...], ...] = (
    *((), (1,), (0,), (7,), (2, 0, 3), (3, 4), (1, 1, 1), (2, 3, 4, 5), (1000, 1000)),
    (1, 2, 1, 3, 1, 2),
)
#: What every allocator of PyTorch's own devices promises, and vector instructions need.
_ALIGNMENT = 16


@FAMILY.case("empty/every_dtype", each=DTYPES)
def _empty(target: Target, dtype: torch.dtype) -> None:
    for shape in SHAPES:
        _assert_is_new(torch.empty(shape, dtype=dtype, device=target.device), target, dtype, shape)


def _assert_is_new(
    made: torch.Tensor, target: Target, dtype: torch.dtype, shape: tuple[int, ...]
) -> None:
    like = torch.empty(shape, dtype=dtype, device="meta")
    assert made.device == target.device, made.device
    assert (made.dtype, tuple(made.shape)) == (dtype, shape)
    assert made.stride() == like.stride(), made.stride()
    assert made.storage_offset() == 0
    assert made.nbytes == like.nbytes
    assert made.untyped_storage().nbytes() == like.nbytes
    assert made.is_contiguous()
    assert not made.requires_grad
    assert made._version == 0


@FAMILY.case("zeros_ones_full/every_dtype", each=DTYPES)
def _filled(target: Target, dtype: torch.dtype) -> None:
    zeros = torch.zeros(3, 4, dtype=dtype, device=target.device)
    assert not zeros.cpu().view(torch.uint8).any()
    ones = torch.ones(3, 4, dtype=dtype)
    assert_same(torch.ones(3, 4, dtype=dtype, device=target.device), ones)
    assert_same(torch.full((3, 4), 1, dtype=dtype, device=target.device), ones)


FAMILY.compared(
    "factories",
    {
        "empty_strided": lambda d: _layout(torch.empty_strided((2, 3), (7, 2), device=d)),
        "empty_strided that overlaps": lambda d: _layout(
            torch.empty_strided((2, 3), (1, 1), device=d)
        ),
        "empty_strided, expanded": lambda d: _layout(torch.empty_strided((2, 3), (0, 1), device=d)),
        "empty_strided of nothing": lambda d: _layout(
            torch.empty_strided((2, 0), (5, 3), device=d)
        ),
        "empty_permuted": lambda d: _layout(torch.empty_permuted((2, 3, 4), (2, 0, 1), device=d)),
        "channels_last": lambda d: _layout(
            torch.empty(2, 3, 4, 5, device=d, memory_format=torch.channels_last)
        ),
        "channels_last_3d": lambda d: _layout(
            torch.empty(2, 3, 4, 5, 6, device=d, memory_format=torch.channels_last_3d)
        ),
        "empty_like keeps gaps out": lambda d: _layout(
            torch.empty_like(torch.zeros(4, 6, device=d)[:, ::2])
        ),
        "empty_like keeps a permutation": lambda d: _layout(
            torch.empty_like(torch.zeros(4, 6, device=d).t())
        ),
        "new_empty": lambda d: _layout(
            torch.zeros(2, device=d).new_empty((3, 2), dtype=torch.int16)
        ),
        "new_empty_strided": lambda d: _layout(
            torch.zeros(2, device=d).new_empty_strided((3, 2), (4, 1))
        ),
        "arange, linspace, eye": lambda d: (
            torch.arange(7, device=d),
            torch.linspace(0, 1, 5, device=d),
            torch.eye(3, 4, device=d),
        ),
        "tensor of numbers": lambda d: torch.tensor([[1, 2], [3, 4]], device=d),
        "scalar tensor": lambda d: torch.scalar_tensor(3, dtype=torch.float64, device=d),
    },
)

FAMILY.refused(
    "sizes_that_are_none",
    {
        "negative size": lambda d: torch.empty(2, -1, device=d),
        "negative stride": lambda d: torch.empty_strided((2,), (-1,), device=d),
        "more bytes than there are addresses": lambda d: torch.empty(1 << 62, 1 << 3, device=d),
        "a stride without its size": lambda d: torch.empty_strided((2, 3), (3,), device=d),
    },
)


def _layout(tensor: torch.Tensor) -> list[object]:
    return [
        tuple(tensor.shape),
        tensor.stride(),
        tensor.dtype,
        tensor.untyped_storage().nbytes(),
        tensor.is_contiguous(),
    ]


@FAMILY.case("addresses_do_not_overlap")
def _addresses(target: Target) -> None:
    live = [
        torch.empty(size, dtype=torch.uint8, device=target.device)
        for size in (1, 3, 16, 17, 100, 4096, 5000, 1 << 20, 1, 1, 12345)
    ]
    for turn in range(200):
        live[turn % len(live)] = torch.empty(
            1 + turn * 37 % 5000, dtype=torch.uint8, device=target.device
        )
        ranges = sorted((one.data_ptr(), one.nbytes) for one in live)
        for (start, size), (following, _) in itertools.pairwise(ranges):
            assert start + size <= following, (
                f"{size} bytes at {start:x}, the next at {following:x}"
            )


@FAMILY.case("addresses_are_aligned", each=DTYPES)
def _alignment(target: Target, dtype: torch.dtype) -> None:
    for count in (1, 2, 3, 5, 33):
        made = torch.empty(count, dtype=dtype, device=target.device)
        assert made.data_ptr() % _ALIGNMENT == 0, hex(made.data_ptr())


@FAMILY.case("addresses_of_views_are_computed", each=DTYPES)
def _address_arithmetic(target: Target, dtype: torch.dtype) -> None:
    base = torch.empty(4, 6, dtype=dtype, device=target.device)
    start = base.untyped_storage().data_ptr()
    assert base.data_ptr() == start
    for view, offset in ((base[2], 12), (base[1:, 3], 9), (base.t()[5], 5), (base[3, 5], 23)):
        assert view.storage_offset() == offset
        assert view.data_ptr() == start + offset * dtype.itemsize
        assert view.untyped_storage().data_ptr() == start


@FAMILY.case("empty_tensors_have_no_address")
def _no_address(target: Target) -> None:
    for shape in ((0,), (2, 0, 3)):
        assert torch.empty(shape, device=target.device).data_ptr() == 0


FAMILY.compared(
    "storage_sizes",
    {
        "of views": lambda d: [
            view.untyped_storage().nbytes()
            for base in [torch.zeros(4, 6, device=d)]
            for view in (base, base[1], base[:, ::2], base.t(), base.expand(3, 4, 6), base[4:])
        ],
        "grown and shrunk": lambda d: _resized_storage(torch.arange(6.0, device=d)),
        "of a copy of a view": lambda d: [
            torch.zeros(4, 6, device=d)[:, ::2].clone().untyped_storage().nbytes()
        ],
        "of a tensor that was resized": lambda d: [
            one.untyped_storage().nbytes()
            for base in [torch.zeros(4, device=d)]
            for one in (base.resize_(6), base.resize_(2), base.resize_(0))
        ],
    },
)


def _resized_storage(tensor: torch.Tensor) -> list[object]:
    storage = tensor.untyped_storage()
    storage.resize_(40)
    grown = (storage.nbytes(), tensor.clone())
    storage.resize_(8)
    return [*grown, storage.nbytes(), storage.size(), tensor[:2].clone()]


# --- Memory that comes back ----------------------------------------------------------------------


def _make_results(device: torch.device) -> None:
    x = torch.ones(32, 32, device=device)
    for _ in range(20):
        x = (x @ x).tanh() + 1


def _make_views(device: torch.device) -> None:
    row = torch.ones(64, 64, device=device).t()[3]
    column = row[::2]
    del row
    assert column.sum().item() == 32


def _make_graph(device: torch.device) -> None:
    leaf = torch.ones(16, 16, device=device, requires_grad=True)
    loss = (leaf @ leaf).exp().sum()
    loss.backward()
    (leaf * 2).sum()  # a graph that is never used


def _make_copies(device: torch.device) -> None:
    x = torch.arange(1000.0).to(device)
    copy.deepcopy([x, x[10:], {"again": x}])
    x.cpu()
    x.double().to(torch.int32).clone()


def _make_resized(device: torch.device) -> None:
    x = torch.ones(10, device=device)
    for size in (100, 10, 0, 5000):
        x.resize_(size)
    x.set_(torch.ones(5, device=device).untyped_storage())
    x.data = torch.ones(3, device=device)


def _make_cycle(device: torch.device) -> None:
    holder: list[object] = [torch.ones(1000, device=device)]
    holder.append(holder)


def _make_exception(device: torch.device) -> None:
    kept = torch.ones(300, device=device)
    try:
        kept @ torch.ones(5, 5, device=device)
    except RuntimeError:
        return
    raise AssertionError("a product of sizes that don't fit was accepted")


def _make_lists(device: torch.device) -> None:
    parts = torch.ones(60, device=device).split(7)
    stacked = torch._foreach_add(list(parts), 1.0)
    torch.cat(stacked).unbind()
    torch.stack([torch.ones(5, device=device)] * 3).chunk(2)


_MAKERS: dict[str, Callable[[torch.device], None]] = {
    "results": _make_results,
    "views that outlive their base": _make_views,
    "a graph": _make_graph,
    "copies": _make_copies,
    "tensors that were resized and set": _make_resized,
    "a reference cycle": _make_cycle,
    "a refused call": _make_exception,
    "lists": _make_lists,
}


@FAMILY.case("memory_comes_back", each=_MAKERS, applies=can_count)
def _freed(target: Target, make: Callable[[torch.device], None]) -> None:
    assert_nothing_left(target, lambda: make(target.device))


@FAMILY.case("allocated_bytes_follow_the_tensors", applies=can_count)
def _allocated(target: Target) -> None:
    gc.collect()
    before = live_bytes(target)
    made = torch.empty(8 << 20, dtype=torch.uint8, device=target.device)
    assert live_bytes(target) == before + made.nbytes
    view = made[100:]
    assert live_bytes(target) == before + made.nbytes
    del made
    assert live_bytes(target) == before + (8 << 20)
    del view
    assert live_bytes(target) == before


@FAMILY.case("peak_is_counted_and_reset", applies=can_count)
def _peak(target: Target) -> None:
    index = target.device.index
    gc.collect()
    torch.accelerator.reset_peak_memory_stats(index)
    before = live_bytes(target)
    torch.empty(6 << 20, dtype=torch.uint8, device=target.device)
    assert torch.accelerator.max_memory_allocated(index) == before + (6 << 20)
    torch.accelerator.reset_peak_memory_stats(index)
    assert torch.accelerator.max_memory_allocated(index) == before


@FAMILY.case("wrong_devices_are_refused")
def _no_such_device(target: Target) -> None:
    nowhere = torch.device(target.device.type, 101)
    if target.device.type != "cpu":  # CPU takes any index
        assert_refused(target, lambda: torch.empty(2, device=nowhere), (RuntimeError, ValueError))
    assert torch.empty(2, device=target.device).device == target.device
