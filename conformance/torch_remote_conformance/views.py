# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Cases of views: their metadata, what they share, what changes their form in place, and version counters."""

from collections.abc import Callable
from typing import Any

import torch

from torch_remote_conformance.case import Level
from torch_remote_conformance.comparing import assert_same
from torch_remote_conformance.copies import every_value
from torch_remote_conformance.family import Family
from torch_remote_conformance.memory import DTYPES
from torch_remote_conformance.target import Target

FAMILY = Family("views", Level.L1)
cases = FAMILY.cases

View = Callable[[torch.Tensor], torch.Tensor]
#: Its types know fewer forms than it has.
_set_: Callable[..., torch.Tensor] = torch.Tensor.set_

#: Of a contiguous tensor of 3 x 4 x 5.
VIEWS: dict[str, View] = {
    "view": lambda x: x.view(12, 5),
    "view with -1": lambda x: x.view(2, -1),
    "reshape": lambda x: x.reshape(5, 12),
    "flatten": lambda x: x.flatten(1),
    "unflatten": lambda x: x.unflatten(1, (2, 2)),
    "select": lambda x: x.select(1, 2),
    "negative index": lambda x: x[-1, -2],
    "slice": lambda x: x[1:, 1:3, ::2],
    "empty slice": lambda x: x[:, 4:],
    "ellipsis and None": lambda x: x[..., None, 2],
    "narrow": lambda x: x.narrow(2, 1, 3),
    "transpose": lambda x: x.transpose(0, 2),
    "permute": lambda x: x.permute(1, 2, 0),
    "mT": lambda x: x.mT,
    "movedim": lambda x: x.movedim(0, -1),
    "swapaxes": lambda x: x.swapaxes(1, 2),
    "unsqueeze": lambda x: x.unsqueeze(-1),
    "squeeze": lambda x: x[:1].squeeze(0),
    "squeeze of several": lambda x: x[:1, :1].squeeze((0, 1)),
    "diagonal": lambda x: x.diagonal(1, 1, 2),
    "unfold": lambda x: x.unfold(2, 3, 2),
    "expand": lambda x: x[:1].expand(7, 4, 5),
    "broadcast_to": lambda x: torch.broadcast_to(x, (2, 3, 4, 5)),
    "as_strided": lambda x: x.as_strided((3, 2), (7, 3), 2),
    "as_strided that overlaps": lambda x: x.as_strided((4, 4), (1, 1), 5),
    "split": lambda x: x.split(2, dim=1)[1],
    "chunk": lambda x: x.chunk(3, dim=2)[1],
    "tensor_split": lambda x: x.tensor_split(2, dim=1)[0],
    "unbind": lambda x: x.unbind(1)[3],
    "detach": lambda x: x.detach(),
    "view_as": lambda x: x.view_as(torch.empty(4, 15)),
    "alias": torch.ops.aten.alias.default,
    "chain": lambda x: x.transpose(0, 1)[1:].permute(2, 0, 1)[::2, :, 1:].unsqueeze(0),
}


def _metadata(tensor: torch.Tensor) -> list[Any]:
    return [
        tuple(tensor.shape),
        tensor.stride(),
        tensor.storage_offset(),
        tensor.dtype,
        tensor.is_contiguous(),
        tensor._is_view(),
        tensor.is_conj(),
        tensor.is_neg(),
        tensor.untyped_storage().nbytes(),
        tensor._version,
        tensor.is_inference(),
    ]


@FAMILY.case("metadata_and_sharing", each=VIEWS)
def _sharing(target: Target, view: View) -> None:
    for dtype in (torch.float32, torch.int64, torch.bool, torch.complex64, torch.uint8):
        here = every_value(dtype).view(3, 4, 5)
        there = here.to(target.device)
        local, remote = view(here), view(there)
        assert _metadata(remote) == _metadata(local), (_metadata(remote), _metadata(local))
        assert remote.untyped_storage()._cdata == there.untyped_storage()._cdata
        assert_same(remote, local)
        for base, one in ((here, local), (there, remote)):
            base[1:].zero_()
            if torch._debug_has_internal_overlap(one) == 0:
                one.fill_(1)
        assert_same(remote, local)
        assert_same(there, here)


_AS_BYTES = tuple(dtype for dtype in DTYPES if dtype != torch.bool)


@FAMILY.case("view_as_another_dtype", each=_AS_BYTES)
def _reinterpreted(target: Target, dtype: torch.dtype) -> None:
    bytes_here = (torch.arange(96) * 37 % 251).to(torch.uint8).view(6, 16)
    bytes_there = bytes_here.to(target.device)
    here, there = bytes_here.view(dtype), bytes_there.view(dtype)
    for other in _AS_BYTES:
        local, remote = here.view(other), there.view(other)
        assert _metadata(remote) == _metadata(local)
        assert_same(remote, local)
    assert_same(there[2:4].view(torch.uint8), here[2:4].view(torch.uint8))
    there[1:3].zero_()
    here[1:3].zero_()
    assert_same(bytes_there, bytes_here)


def _complex(device: torch.device) -> torch.Tensor:
    return torch.arange(12.0).view(3, 2, 2).to(device)


FAMILY.compared(
    "complex",
    {
        "view_as_complex": lambda d: torch.view_as_complex(_complex(d)),
        "view_as_real": lambda d: torch.view_as_real(torch.view_as_complex(_complex(d)).t()),
        "real and imag": lambda d: [
            _told(one)
            for x in [torch.view_as_complex(_complex(d))]
            for one in (x.real, x.imag, x.conj().real, x.conj().imag, x.mH)
        ],
        "written through imag": lambda d: _written(
            torch.view_as_complex(_complex(d)), lambda x: x.imag.zero_()
        ),
        "written through conj": lambda d: _written(
            torch.view_as_complex(_complex(d)), lambda x: x.conj().mul_(2j)
        ),
        "written through the imag of conj": lambda d: _written(
            torch.view_as_complex(_complex(d)), lambda x: x.conj().imag.add_(1)
        ),
        "resolved": lambda d: [
            _told(one)
            for x in [torch.view_as_complex(_complex(d)).conj()]
            for one in (x, x.resolve_conj(), x.imag.resolve_neg(), x.conj())
        ],
    },
)

FAMILY.refused(
    "complex_refused",
    {
        "view_as_complex of odd strides": lambda d: torch.view_as_complex(_complex(d)[..., ::2]),
        "imag of real": lambda d: _complex(d).imag,
    },
)


def _told(tensor: torch.Tensor) -> list[Any]:
    return [tensor, *_metadata(tensor)]


def _written(tensor: torch.Tensor, write: Callable[[torch.Tensor], Any]) -> torch.Tensor:
    write(tensor)
    return tensor


def _numbered(device: torch.device, *sizes: int) -> torch.Tensor:
    return torch.arange(float(torch.Size(sizes).numel())).view(sizes).to(device).clone()


def _changed(device: torch.device, change: Callable[[torch.Tensor], Any], *sizes: int) -> list[Any]:
    """A tensor and a view of it that was made before, after something changed it."""
    base = _numbered(device, *sizes)
    view = base[1:]
    result = change(base)
    same = result is base
    return [
        same,
        *_told(base),
        *_told(view),
        base.untyped_storage()._cdata == view.untyped_storage()._cdata,
    ]


FAMILY.compared(
    "form_changed_in_place",
    {
        "unsqueeze_": lambda d: _changed(d, lambda x: x.unsqueeze_(1), 3, 4),
        "squeeze_": lambda d: _changed(d, lambda x: x.squeeze_(), 3, 1),
        "t_": lambda d: _changed(d, lambda x: x.t_(), 3, 4),
        "transpose_": lambda d: _changed(d, lambda x: x.transpose_(0, 2), 3, 4, 2),
        "swapaxes_": lambda d: _changed(d, lambda x: x.swapaxes_(0, 1), 3, 4),
        "as_strided_": lambda d: _changed(d, lambda x: x.as_strided_((2, 3), (1, 4), 1), 3, 4),
        "detach_": lambda d: _changed(d, lambda x: x.detach_(), 3, 4),
        "data": lambda d: _changed(d, lambda x: setattr(x, "data", _numbered(x.device, 5)), 3, 4),
        "resize_ smaller": lambda d: _changed(d, lambda x: x.resize_(2, 2), 3, 4),
        "resize_ other form": lambda d: _changed(d, lambda x: x.resize_(4, 3), 3, 4),
        "resize_as_": lambda d: _changed(d, lambda x: x.resize_as_(torch.empty(2, 5)), 3, 4),
        "resize_ channels_last": lambda d: _changed(
            d, lambda x: x.resize_(1, 2, 3, 2, memory_format=torch.channels_last), 3, 4
        ),
    },
)

FAMILY.refused(
    "form_refused",
    {
        "detach_ of a view": lambda d: _numbered(d, 3, 4)[1:].detach_(),
        "resize_ of a leaf that wants a gradient": lambda d: torch.ones(
            3, device=d, requires_grad=True
        ).resize_(4),
    },
)


@FAMILY.case("resize_keeps_what_was_there")
def _resized(target: Target) -> None:
    for sizes in ((5, 4), (100,), (1000, 100)):
        x = _numbered(target.device, 3, 4)
        x.resize_(sizes)
        assert tuple(x.shape) == sizes
        assert x.untyped_storage().nbytes() == x.nbytes
        assert_same(x.flatten()[:12], torch.arange(12.0))
    x.resize_(3)
    assert x.untyped_storage().nbytes() == 400_000
    view = _numbered(target.device, 10)[4:6]
    view.resize_(3)
    assert_same(view, torch.tensor([4.0, 5.0, 6.0]))


def _set(device: torch.device, how: Callable[[torch.Tensor, torch.Tensor], Any]) -> list[Any]:
    x, source = _numbered(device, 2, 3), _numbered(device, 4, 5)[1:].t()
    how(x, source)
    shares = x.untyped_storage()._cdata == source.untyped_storage()._cdata
    if shares and x.numel():
        source.add_(100)
    return [*_told(x), shares, x.is_set_to(source), x.numel()]


FAMILY.compared(
    "set_",
    {
        "nothing": lambda d: _set(d, lambda x, _: _set_(x)),
        "a tensor": lambda d: _set(d, lambda x, source: _set_(x, source)),
        "a storage": lambda d: _set(d, lambda x, source: _set_(x, source.untyped_storage())),
        "a storage and a form": lambda d: _set(
            d, lambda x, source: _set_(x, source.untyped_storage(), 3, (2, 2), (5, 2))
        ),
        "its own storage": lambda d: _set(
            d, lambda x, _: _set_(x, x.untyped_storage(), 1, (2,), (3,))
        ),
        "a form beyond the end": lambda d: _set(
            d,
            lambda x, source: (
                _set_(x, source.untyped_storage(), 15, (10,), (1,)).untyped_storage().nbytes()
            ),
        )[1:],
    },
)

FAMILY.refused(
    "set_refused",
    {
        "a negative offset": lambda d: _set(
            d, lambda x, source: _set_(x, source.untyped_storage(), -1, (2,), (1,))
        ),
        "a tensor and a form": lambda d: _set(d, lambda x, source: _set_(x, source, 2, (3,), (4,))),
        "another dtype": lambda d: _set(d, lambda x, source: _set_(x, source.int())),
    },
)

FAMILY.compared(
    "is_set_to",
    {
        "all pairs": lambda d: [
            one.is_set_to(other)
            for x in [_numbered(d, 4, 4)]
            for one in (x, x.view(4, 4), x.t(), x[1:], x.clone())
            for other in (x, x[:], x.t(), x[1:], x[:1])
        ]
    },
)


def _image(device: torch.device) -> torch.Tensor:
    return _numbered(device, 2, 3, 4, 5)


_LAST, _LAST_3D = torch.channels_last, torch.channels_last_3d
FAMILY.compared(
    "channels_last",
    {
        "to and back": lambda d: [
            _told(one)
            for x in [_image(d)]
            for y in [x.to(memory_format=_LAST)]
            for one in (
                y,
                y.contiguous(),
                y.contiguous(memory_format=_LAST),
                y.clone(),
                y[:, 1],
                y[:1],
            )
        ],
        "predicates": lambda d: [
            one.is_contiguous(memory_format=_LAST)
            for x in [_image(d)]
            for one in (
                x,
                x.to(memory_format=_LAST),
                x[:, :1],
                x.permute(0, 2, 3, 1),
                x[:1, :1, :1, :1],
            )
        ],
        "preserved": lambda d: [
            _told(one)
            for x in [_image(d).to(memory_format=_LAST)]
            for one in (torch.empty_like(x).fill_(1), x.clone(), x.double(), x.to(torch.int32))
        ],
        "copied into": lambda d: _told(
            torch.zeros(2, 3, 4, 5, device=d).to(memory_format=_LAST).copy_(_image(d))
        ),
        "three dimensions": lambda d: _told(_numbered(d, 1, 2, 3, 2, 2).to(memory_format=_LAST_3D)),
        "one channel": lambda d: _told(_numbered(d, 2, 1, 3, 4).to(memory_format=_LAST)),
    },
)

FAMILY.refused(
    "channels_last_refused",
    {
        "wrong dimensions": lambda d: _numbered(d, 2, 3).to(memory_format=_LAST),
    },
)


def _versions(
    device: torch.device, change: Callable[[torch.Tensor, torch.Tensor], Any]
) -> list[int]:
    base = _numbered(device, 4, 4)
    view, detached = base[1:], base.detach()
    change(base, view)
    return [base._version, view._version, detached._version, base.data._version, view[0]._version]


FAMILY.compared(
    "version_counters",
    {
        "nothing": lambda d: _versions(d, lambda _, __: None),
        "base in place": lambda d: _versions(d, lambda base, _: base.add_(1)),
        "view in place": lambda d: _versions(d, lambda _, view: view.mul_(2).add_(1)),
        "index assignment": lambda d: _versions(d, lambda base, _: base.__setitem__(1, 5.0)),
        "copy_": lambda d: _versions(d, lambda _, view: view.copy_(torch.ones(4))),
        "out=": lambda d: _versions(d, lambda base, _: torch.add(base, 1, out=base)),
        "zero_, fill_, random": lambda d: _versions(
            d, lambda base, view: (base.zero_(), view.fill_(2), base.uniform_())
        ),
        "data in place": lambda d: _versions(d, lambda base, _: base.data.add_(1)),
        "lists": lambda d: _versions(d, lambda base, view: torch._foreach_add_([base, view[0]], 1)),
        "form": lambda d: _versions(d, lambda base, _: base.t_()),
        "set_": lambda d: _versions(
            d, lambda base, _: _set_(base, torch.ones(4, 4, device=base.device))
        ),
        "resize_": lambda d: _versions(d, lambda base, _: base.resize_(2, 2)),
        "reads": lambda d: _versions(
            d, lambda base, view: (base + view[0], base.cpu(), base.sum().item())
        ),
    },
)


def _in_inference_mode(device: torch.device) -> list[Any]:
    normal = _numbered(device, 3)
    with torch.inference_mode():
        made, view, result = torch.ones(3, device=device), normal[1:], normal + 1
        normal.add_(1)
        told = [one.is_inference() for one in (normal, made, view, result, made[1:])]
    return [*told, normal._version, view.is_inference(), made * 2, view]


def _saved_for_backward(device: torch.device) -> None:
    with torch.inference_mode():
        made = torch.ones(3, device=device)
    (torch.ones(3, device=device, requires_grad=True) * made).sum().backward()


def _changed_after_use(device: torch.device) -> None:
    leaf = torch.ones(3, device=device, requires_grad=True)
    middle = leaf * 2
    result = middle.exp()
    result[1:].mul_(2)
    result.sum().backward()


FAMILY.compared(
    "inference_mode",
    {
        "flags": _in_inference_mode,
    },
)

FAMILY.refused(
    "inference_mode_refused",
    {
        "saved for backward": _saved_for_backward,
        "changed outside": lambda d: torch.inference_mode()(torch.ones)(3, device=d).add_(1),
        "version of an inference tensor": lambda d: (
            torch.inference_mode()(torch.ones)(3, device=d)._version
        ),
    },
)

FAMILY.compared(
    "autograd_rules",
    {
        "in place under no_grad": lambda d: torch.no_grad()(torch.Tensor.add_)(
            torch.ones(3, device=d, requires_grad=True), 1
        ),
        "detach shares": lambda d: _written(_numbered(d, 3), lambda x: x.detach().add_(5)),
    },
)

FAMILY.refused(
    "autograd_refused",
    {
        "changed after use": _changed_after_use,
        "leaf in place": lambda d: torch.ones(3, device=d, requires_grad=True).add_(1),
        "view of a leaf in place": lambda d: torch.ones(3, device=d, requires_grad=True)[1:].add_(
            1
        ),
        "view of several in place": lambda d: (
            (torch.ones(3, device=d, requires_grad=True) * 1).unbind()[0].add_(1)
        ),
    },
)

FAMILY.refused(
    "refused",
    {
        "view of strides that don't fit": lambda d: _numbered(d, 3, 4).t().view(12),
        "view of another size": lambda d: _numbered(d, 3, 4).view(5),
        "expand of a size that isn't one": lambda d: _numbered(d, 3, 4).expand(2, 4),
        "select out of range": lambda d: _numbered(d, 3).select(0, 5),
        "narrow out of range": lambda d: _numbered(d, 3).narrow(0, 1, 5),
        "dimension out of range": lambda d: _numbered(d, 3).unsqueeze(4),
        "permute with one twice": lambda d: _numbered(d, 3, 4).permute(0, 0),
        "as_strided beyond the end": lambda d: _numbered(d, 3).as_strided((4,), (1,)),
        "as_strided of negative strides": lambda d: _numbered(d, 3).as_strided((2,), (-1,), 2),
        "in place on an expanded tensor": lambda d: (
            _numbered(d, 1).expand(3).add_(torch.ones(3, device=d))
        ),
        "in place into another shape": lambda d: _numbered(d, 3).add_(torch.ones(2, 3, device=d)),
        "view as a dtype that doesn't fit": lambda d: _numbered(d, 3)[:1].view(torch.float64),
        "view of gaps as smaller": lambda d: _numbered(d, 4, 4)[:, ::2].view(torch.uint8),
        "t of three dimensions": lambda d: _numbered(d, 3, 4, 2).t(),
        "step of zero": lambda d: _numbered(d, 3)[::0],
        "negative step": lambda d: _numbered(d, 3)[::-1],
        "partly overlapping out=": lambda d: (
            torch.add(x[:-1], 1, out=x[1:]) if (x := _numbered(d, 5)) is not None else None
        ),
        "storage of a meta tensor": lambda d: _set_(
            _numbered(d, 3), torch.empty(3, device="meta").untyped_storage()
        ),
    },
)
