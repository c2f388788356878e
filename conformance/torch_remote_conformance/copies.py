# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Cases of copies: up, down and on the device, in every dtype and layout; and what PyTorch makes of copies."""

import copy
import io
import pickle
from collections.abc import Callable

import torch

from torch_remote_conformance.case import Level
from torch_remote_conformance.comparing import Comparison, assert_same
from torch_remote_conformance.family import Family
from torch_remote_conformance.memory import DTYPES
from torch_remote_conformance.placing import placed
from torch_remote_conformance.target import Target

FAMILY = Family("copies", Level.L1)
cases = FAMILY.cases

#: Layouts of a tensor of 60 elements, or of some of them.
LAYOUTS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "contiguous": lambda x: x.view(3, 4, 5),
    "permuted": lambda x: x.view(3, 4, 5).permute(2, 0, 1),
    "gaps": lambda x: x.view(3, 4, 5)[:, ::2, 1::3],
    "offset": lambda x: x[7:31],
    "row": lambda x: x.view(6, 10)[3],
    "column": lambda x: x.view(6, 10)[:, 3],
    "expanded": lambda x: x.view(60, 1)[:4].expand(4, 3),
    "overlapping": lambda x: x.as_strided((5, 4), (2, 1), 3),
    "one element": lambda x: x[11:12],
    "scalar": lambda x: x[11],
    "nothing": lambda x: x[11:11].view(0, 3),
    "channels_last": lambda x: x.view(1, 3, 4, 5).to(memory_format=torch.channels_last),
    "size one steps": lambda x: x.as_strided((1, 3, 1), (17, 2, 99), 1),
}
#: Those that can be written to: no two of their elements are one.
_WRITABLE = {k: v for k, v in LAYOUTS.items() if k not in ("expanded", "overlapping")}


#: Where a copy is none, its strides are the source's.
_VALUES = Comparison(exact=True, strides=False)


def every_value(dtype: torch.dtype, count: int = 60) -> torch.Tensor:
    """Elements of all kinds, without a pattern; the same every time."""
    if dtype == torch.bool:
        return torch.arange(count) % 3 == 0
    made = torch.arange(count * dtype.itemsize, dtype=torch.int64).mul_(37).add_(11).remainder_(251)
    return made.to(torch.uint8).view(dtype)


def _in_layouts(
    tensor: torch.Tensor, layouts: dict[str, Callable[[torch.Tensor], torch.Tensor]] = LAYOUTS
) -> list[tuple[str, torch.Tensor]]:
    return [(name, make(tensor)) for name, make in layouts.items()]


@FAMILY.case("up/every_dtype_and_layout", each=DTYPES)
def _up(target: Target, dtype: torch.dtype) -> None:
    for name, source in _in_layouts(every_value(dtype)):
        for moved in (
            source.to(target.device),
            source.to(target.device, copy=True),
            source.to(target.device, non_blocking=True),
            torch.empty_like(source, device=target.device).copy_(source),
        ):
            assert moved.device == target.device
            _assert_copied(moved, source, name)
            assert moved is source or moved.data_ptr() != source.data_ptr() or not source.numel()


@FAMILY.case("down/every_dtype_and_layout", each=DTYPES)
def _down(target: Target, dtype: torch.dtype) -> None:
    local = every_value(dtype)
    remote = local.to(target.device)
    for name, make in LAYOUTS.items():
        there, here = make(remote), make(local)
        copied = there.to("cpu", non_blocking=True)
        target.synchronize()
        for moved in (there.cpu(), copied, torch.empty_like(here).copy_(there)):
            assert moved.device.type == "cpu"
            _assert_copied(moved, moved if moved is there else here, name)
        assert there.tolist() == here.tolist() or dtype.is_floating_point or dtype.is_complex, name


def _assert_copied(moved: torch.Tensor, source: torch.Tensor, name: str) -> None:
    expected = source if moved is source else torch.empty_like(source).copy_(source)
    try:
        assert_same(moved, expected)
    except AssertionError as error:
        raise AssertionError(f"{name}: {error}") from None


@FAMILY.case("into_layouts", each=DTYPES)
def _into(target: Target, dtype: torch.dtype) -> None:
    """Copies into views leave what lies between their elements alone."""
    for name, make in _WRITABLE.items():
        base = torch.zeros(60, dtype=torch.uint8).repeat(dtype.itemsize).view(dtype)
        remote = placed(base, target.device)
        shape = make(base).shape
        source = every_value(dtype, 120)[1 : 1 + shape.numel()].view(shape)
        for one in (base, remote):
            make(one).copy_(source)
        _assert_copied(remote, base, name)
        back = torch.zeros_like(base)
        make(back).copy_(make(remote))
        _assert_copied(back, base, name)


@FAMILY.case("on_the_device/every_dtype_and_layout", each=DTYPES)
def _on_the_device(target: Target, dtype: torch.dtype) -> None:
    local = every_value(dtype)
    remote = local.to(target.device)
    for make in LAYOUTS.values():
        here, there = make(local), make(remote)
        assert_same(there.clone(), here.clone())
        assert_same(there.contiguous(), here.contiguous())
        into = torch.zeros_like(there.t() if there.dim() == 2 else there)
        into = into.t() if there.dim() == 2 else into
        assert_same(into.copy_(there), here, _VALUES)


_CONVERTED = (
    *(torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64),
)


@FAMILY.case("conversions", each=_CONVERTED)
def _conversions(target: Target, dtype: torch.dtype) -> None:
    """From one dtype to each other one, on the way up, on the device and on the way down."""
    numbers = torch.tensor([0, 1, 2, 3, 100, 7, 0, 5, 64, 1, 12, 99]).view(3, 4)
    source = numbers.to(dtype)
    remote = source.to(target.device)
    for other in _CONVERTED:
        for here, there in (
            (source, remote),
            (source.t(), remote.t()),
            (source[:, 1:3], remote[:, 1:3]),
        ):
            expected = here.to(other)
            assert_same(there.to(other), expected)
            for converted in (
                here.to(target.device, other),
                there.to("cpu", other),
                torch.zeros_like(there, dtype=other).copy_(here),
                torch.zeros_like(here, dtype=other).copy_(there),
            ):
                assert_same(converted, expected, _VALUES)


@FAMILY.case("lazy_bits", each=(torch.complex64, torch.complex128))
def _lazy_bits(target: Target, dtype: torch.dtype) -> None:
    """Conjugates and negatives that aren't computed yet, as sources and as destinations, on either side."""
    x = torch.complex(torch.arange(6.0), torch.arange(6.0).add(0.5).neg()).to(dtype).view(2, 3)
    views: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        "plain": lambda t: t,
        "conj": torch.conj,
        "neg": torch._neg_view,
        "both": lambda t: torch._neg_view(t.conj()),
        "imag of conj": lambda t: t.conj().imag,
        "transposed conj": lambda t: t.t().conj().t(),
    }
    for name, view in views.items():
        there, here = view(x.to(target.device)), view(x)
        assert_same(there, here)
        assert_same(there.cpu().resolve_conj().resolve_neg(), here.resolve_conj().resolve_neg())
        assert there.tolist() == here.tolist(), name
        assert there[1, 2].item() == here[1, 2].item(), name
        assert_same(there.clone(), here.clone())
        resolved = here.resolve_conj().resolve_neg()
        assert_same(here.to(target.device).resolve_conj().resolve_neg(), resolved)
        for other in views.values():
            if other(x).dtype != here.dtype:
                continue
            for source in (here, there):
                written = torch.zeros_like(x, device=target.device)
                other(written).copy_(source)
                expected = torch.zeros_like(x)
                other(expected).copy_(here)
                assert_same(written, expected)
            back = torch.zeros_like(x)
            other(back).copy_(there)
            assert_same(back, expected)


@FAMILY.case("broadcasting")
def _broadcasting(target: Target) -> None:
    for shape in ((), (1,), (4,), (3, 1), (1, 1, 4)):
        source = torch.arange(torch.Size(shape).numel(), dtype=torch.float32).view(shape)
        expected = torch.zeros(2, 3, 4).copy_(source)
        for one in (source, source.to(target.device)):
            assert_same(torch.zeros(2, 3, 4, device=target.device).copy_(one), expected)
        assert_same(torch.zeros(2, 3, 4).copy_(source.to(target.device)), expected)


FAMILY.refused(
    "shapes_that_do_not_fit",
    {
        "up": lambda d: torch.zeros(2, 3, device=d).copy_(torch.zeros(4)),
        "down": lambda d: torch.zeros(2, 3).copy_(torch.zeros(4, device=d)),
        "on the device": lambda d: torch.zeros(2, 3, device=d).copy_(torch.zeros(4, device=d)),
        "into an expanded tensor": lambda d: (
            torch.zeros(1, device=d).expand(3).copy_(torch.ones(3))
        ),
    },
)


@FAMILY.case("large", each=((1 << 20) - 1, 1 << 20, (1 << 20) + 1, 5_000_011))
def _large(target: Target, count: int) -> None:
    source = (torch.arange(count, dtype=torch.int64) * 37 % 251).to(torch.uint8)
    assert_same(source.to(target.device), source)
    gaps = source.to(target.device)[3::7]
    assert_same(gaps, source[3::7])


@FAMILY.case("source_may_change_after_the_call")
def _source_changes(target: Target) -> None:
    for size in (1, 100, 1 << 20):
        source = torch.ones(size)
        moved = source.to(target.device, copy=True)
        source.zero_()
        assert_same(moved, torch.ones(size))
        doubled = moved * 2
        moved.zero_()
        assert_same(doubled, torch.full((size,), 2.0))


#: Ways of writing into 64 numbers; the second argument is another one each time.
_WRITES: tuple[Callable[[torch.Tensor, int], object], ...] = (
    lambda x, turn: x.copy_(torch.arange(64.0) / (turn + 1)),
    lambda x, turn: x.add_(turn),
    lambda x, turn: x[10:50].copy_(torch.arange(40.0) - turn),
    lambda x, turn: x.mul_(turn - 2.5),
    lambda x, _: x[::2].mul_(x[1::2]),
)


@FAMILY.case("reads_after_writes")
def _reads_after_writes(target: Target) -> None:
    """Each read sees what was written last, by whatever way, and however often it was read before."""
    there, here = torch.zeros(64, device=target.device), torch.zeros(64)
    for turn in range(6):
        for write in _WRITES:
            write(there, turn)
            write(here, turn)
            assert_same(there.cpu(), here)
            assert_same(there[40:].cpu(), here[40:])
        assert_same(there.clone().cpu(), here)


@FAMILY.case("same_device_is_no_copy")
def _no_copy(target: Target) -> None:
    x = torch.ones(3, device=target.device)
    assert x.to(target.device) is x
    assert x.to(torch.float32) is x
    assert x.contiguous() is x
    assert x.to(target.device, copy=True) is not x
    assert x.clone().data_ptr() != x.data_ptr()


@FAMILY.case("scalars", each=_CONVERTED)
def _scalars(target: Target, dtype: torch.dtype) -> None:
    here = every_value(dtype, 8) if not dtype.is_floating_point else torch.arange(8).to(dtype)
    there = here.to(target.device)
    for index in range(8):
        one, other = there[index].item(), here[index].item()
        assert type(one) is type(other)
        assert one == other or one != one
    assert bool(there[0]) == bool(here[0])
    assert there[:1].item() == here[:1].item()


@FAMILY.case("from_and_to_python")
def _python(target: Target) -> None:
    rows = [[1, 2, 3], [4, 5, 6]]
    there = torch.tensor(rows, device=target.device)
    assert there.tolist() == rows
    assert there.cpu().numpy().tolist() == rows
    assert torch.as_tensor(there.cpu().numpy(), device=target.device).tolist() == rows
    assert int(there[1, 2]) == 6
    assert float(there.float()[0, 1]) == 2.0
    assert [row.tolist() for row in there] == rows
    assert 5 in there
    assert str(target.device) in repr(there) or target.device.type == "cpu"


@FAMILY.case("deepcopy_keeps_sharing")
def _deepcopy(target: Target) -> None:
    base = torch.arange(12.0, device=target.device)
    pair = {"base": base, "view": base.view(3, 4)[1:], "again": base}
    copied = copy.deepcopy(pair)
    assert copied["base"] is copied["again"]
    copied["view"].zero_()
    assert copied["base"].tolist() == [0.0, 1.0, 2.0, 3.0] + [0.0] * 8
    assert base.tolist() == torch.arange(12.0).tolist()
    assert copied["view"].storage_offset() == 4
    assert copied["base"].device == target.device
    parameter = torch.nn.Parameter(base.clone())
    again = copy.deepcopy(parameter)
    assert isinstance(again, torch.nn.Parameter)
    assert again.requires_grad
    assert_same(again, parameter.cpu())


@FAMILY.case("saved_and_loaded", each=DTYPES)
def _saved(target: Target, dtype: torch.dtype) -> None:
    here = every_value(dtype)
    there = here.to(target.device)
    file = io.BytesIO()
    torch.save({"whole": there, "column": there.view(6, 10)[:, 2]}, file)
    for place in (None, "cpu", target.device):
        file.seek(0)
        loaded = torch.load(file, map_location=place, weights_only=True)
        assert loaded["whole"].device == (torch.device("cpu") if place == "cpu" else target.device)
        assert_same(loaded["whole"], here)
        assert_same(loaded["column"], here.view(6, 10)[:, 2])
        assert loaded["whole"].untyped_storage()._cdata == loaded["column"].untyped_storage()._cdata


@FAMILY.case("pickled")
def _pickled(target: Target) -> None:
    x = torch.arange(6.0, device=target.device).view(2, 3).requires_grad_()
    again = pickle.loads(pickle.dumps(x))
    assert again.device == target.device
    assert again.requires_grad
    assert_same(again, torch.arange(6.0).view(2, 3).requires_grad_())


def _siblings(target: Target) -> list[torch.device]:
    """The other devices of the same kind, or machine, that there are already."""
    if target.is_remote:
        import torch_remote

        found = torch_remote.machine(target.device).devices
    elif target.device.type in ("cpu", "meta"):
        found = ()
    else:
        count = torch.accelerator.device_count()
        found = tuple(torch.device(target.device.type, index) for index in range(count))
    return [one for one in found if one != target.device]


@FAMILY.case("between_devices", each=DTYPES, applies=lambda target: bool(_siblings(target)))
def _between(target: Target, dtype: torch.dtype) -> None:
    local = every_value(dtype)
    remote = local.to(target.device)
    for name, make in LAYOUTS.items():
        for other in _siblings(target):
            moved = make(remote).to(other)
            assert moved.device == other
            _assert_copied(moved, make(local), name)
            _assert_copied(moved.to(target.device), make(local), name)
