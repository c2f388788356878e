# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Cases of several devices at once: what they share (nothing), and what goes from one to the other."""

import contextlib
import copy
import gc
import threading
from collections.abc import Callable, Iterator

import torch

from torch_remote_conformance.case import Level
from torch_remote_conformance.comparing import CLASS_FACTORS, Comparison, assert_same
from torch_remote_conformance.copies import LAYOUTS, every_value
from torch_remote_conformance.counting import can_count, live_bytes
from torch_remote_conformance.family import Family, assert_refused
from torch_remote_conformance.late_errors import fail
from torch_remote_conformance.memory import DTYPES
from torch_remote_conformance.target import Target, opened


def can_have_two(target: Target) -> bool:
    """Whether a second device of the same kind can be had."""
    return _can_open(target) or bool(_others(target))


@contextlib.contextmanager
def second(target: Target) -> Iterator[Target]:
    """Another device of the same kind: one that is there, or one that is made and ends here."""
    others = _others(target)
    if others:
        yield Target(
            target.name, others[0], target.computes_as_cpu, target.draws_as_cpu, target.description
        )
    else:
        assert target.address is not None
        with opened(target.address) as other:
            yield other


def _can_open(target: Target) -> bool:
    """Whether its address leads to a new device each time."""
    return target.is_remote and target.address is not None and target.address.machine is None


def _others(target: Target) -> list[torch.device]:
    if target.is_remote:
        import torch_remote

        there = torch_remote.machine(target.device).devices
        return [one for one in there if one != target.device]
    if target.device.type in ("cpu", "meta"):
        return []
    count = torch.accelerator.device_count()
    found = [torch.device(target.device.type, index) for index in range(count)]
    return [one for one in found if one.index != (target.device.index or 0)]


FAMILY = Family("several_devices", Level.L5, can_have_two)
cases = FAMILY.cases


def _how(target: Target) -> Comparison:
    return Comparison(target.computes_as_cpu, CLASS_FACTORS["reduction"])


@FAMILY.case("copies", each=DTYPES)
def _copies(target: Target, dtype: torch.dtype) -> None:
    local = every_value(dtype)
    with second(target) as other:
        remote = local.to(target.device)
        for make in LAYOUTS.values():
            here = make(local)
            moved = make(remote).to(other.device)
            assert moved.device == other.device
            expected = torch.empty_like(here).copy_(here)
            assert_same(moved, expected)
            assert_same(moved.to(target.device), expected)
            assert_same(torch.empty_like(moved).copy_(make(remote)), expected)
            assert_same(make(remote).to(other.device, torch.float64), here.to(torch.float64), _ANY)


#: Where a copy on CPU is none, its strides are the source's.
_ANY = Comparison(exact=True, strides=False)


@FAMILY.case("source_may_change_after_the_copy")
def _source_changes(target: Target) -> None:
    with second(target) as other:
        x = torch.ones(1000, device=target.device)
        moved = x.to(other.device, non_blocking=True)
        x.zero_()
        target.synchronize()
        assert_same(moved, torch.ones(1000))


_MIXTURES: dict[str, Callable[[torch.Tensor, torch.Tensor], object]] = {
    "add": torch.add,
    "matmul": torch.matmul,
    "cat": lambda a, b: torch.cat([a, b]),
    "in place": lambda a, b: a.add_(b),
    "out=": lambda a, b: torch.neg(a, out=b),
    "where": lambda a, b: torch.where(a > 0, a, b),
}


@FAMILY.case("mixtures_are_refused", each=_MIXTURES)
def _mixtures(target: Target, call: Callable[[torch.Tensor, torch.Tensor], object]) -> None:
    with second(target) as other:
        a, b = (torch.ones(2, 2, device=one.device) for one in (target, other))
        error = assert_refused(target, lambda: call(a, b), RuntimeError)
        for one in (target, other):
            assert str(one.device) in str(error), str(error)
        assert_same([a, b], [torch.ones(2, 2)] * 2)


@FAMILY.case("current_device")
def _current(target: Target) -> None:
    kind = target.device.type
    before = torch.accelerator.current_device_index()
    with second(target) as other:
        for one in (target, other):
            torch.accelerator.set_device_index(one.device.index)
            assert torch.empty(1, device=kind).device == one.device
        torch.accelerator.set_device_index(before)
        with target.device, other.device:
            assert torch.zeros(1).device == other.device
    assert torch.accelerator.current_device_index() == before


@FAMILY.case("generators_are_apart")
def _generators(target: Target) -> None:
    with second(target) as other:
        torch.manual_seed(5)
        first = torch.rand(10, device=target.device)
        torch.rand(33, device=target.device)
        assert_same(torch.rand(10, device=other.device), first.cpu())
        own = torch.Generator(other.device).manual_seed(5)
        assert_same(torch.rand(10, device=other.device, generator=own), first.cpu())
        assert_refused(
            target, lambda: torch.rand(1, device=target.device, generator=own), RuntimeError
        )


@FAMILY.case("memory_is_counted_apart", applies=can_count)
def _memory(target: Target) -> None:
    gc.collect()
    with second(target) as other:
        before = live_bytes(target), live_bytes(other)
        x = torch.empty(1 << 20, dtype=torch.uint8, device=other.device)
        assert (live_bytes(target), live_bytes(other)) == (before[0], before[1] + (1 << 20))
        del x
        assert live_bytes(other) == before[1]


def _across(first: torch.device, other: torch.device) -> list[torch.Tensor | None]:
    torch.manual_seed(1)
    layers = [torch.nn.Linear(6, 5), torch.nn.Linear(5, 4), torch.nn.Linear(4, 3)]
    places = [first, other, first]
    x = torch.randn(2, 6).to(first).requires_grad_()
    y = x
    for layer, place in zip(layers, places, strict=True):
        y = layer.to(place)(y.to(place)).tanh()
    y.square().sum().backward()
    return [y, x.grad, *(parameter.grad for layer in layers for parameter in layer.parameters())]


@FAMILY.case("autograd_across")
def _autograd(target: Target) -> None:
    """A model whose layers are on two devices."""
    expected = _across(torch.device("cpu"), torch.device("cpu"))
    with second(target) as other:
        actual = _across(target.device, other.device)
        assert_same(actual, expected, _how(target))
        assert actual[3] is not None
        assert actual[4] is not None
        assert (actual[2].device if actual[2] is not None else None) == target.device
        assert actual[4].device == other.device


def _trained(device: torch.device, seed: int, steps: int = 8) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(6, 6, generator=generator).to(device).requires_grad_()
    data = torch.randn(4, 6, generator=generator).to(device)
    optimizer = torch.optim.SGD([weight], lr=0.05, momentum=0.9)
    for _ in range(steps):
        optimizer.zero_grad()
        (data @ weight).tanh().square().sum().backward()
        optimizer.step()
    return [weight.detach(), data]


@FAMILY.case("threads_each_on_its_device")
def _threads(target: Target) -> None:
    with second(target) as other:
        places = [target.device, other.device, target.device, other.device]
        results: dict[int, list[torch.Tensor] | BaseException] = {}

        def work(number: int) -> None:
            try:
                results[number] = _trained(places[number], number)
            except BaseException as error:  # noqa: BLE001 (told below)
                results[number] = error

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for number in range(4):
            result = results[number]
            if isinstance(result, BaseException):
                raise result
            assert_same(result, _trained(torch.device("cpu"), number), _how(target))


@FAMILY.case("data_parallel")
def _data_parallel(target: Target) -> None:
    """Copies of a model, half of the batch each: the mean of their gradients is the whole batch's."""
    model = torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
    batch = torch.randn(8, 5)
    model(batch).mean().backward()
    expected = [parameter.grad for parameter in model.parameters()]
    with second(target) as other:
        gradients = []
        for one, part in zip((target, other), batch.chunk(2), strict=True):
            replica = copy.deepcopy(model).to(one.device)
            replica.zero_grad()
            replica(part.to(one.device)).mean().backward()
            gradients.append([parameter.grad for parameter in replica.parameters()])
        for one, two, whole in zip(*gradients, expected, strict=True):
            assert one is not None
            assert two is not None
            assert_same((one + two.to(one.device)) / 2, whole, Comparison(False, 10.0))


@FAMILY.case("failures_are_apart", applies=lambda target: target.is_remote)
def _failures(target: Target) -> None:
    with second(target) as other:
        failed, _ = fail(other.device)
        target.synchronize()  # which has nothing to tell
        assert torch.ones(2, device=target.device).sum().item() == 2
        assert_refused(target, failed.cpu, torch.linalg.LinAlgError)
        assert_refused(target, lambda: failed.to(target.device).cpu(), torch.linalg.LinAlgError)
        other.synchronize()


@FAMILY.case("one_ends_and_the_other_goes_on", applies=_can_open)
def _one_ends(target: Target) -> None:
    x = torch.ones(3, device=target.device)
    with second(target) as other:
        y = x.to(other.device)
        assert y.sum().item() == 3
    error = assert_refused(target, lambda: y + 1, RuntimeError)
    assert "not usable any more" in str(error)
    assert x.sum().item() == 3
    with second(target) as other:
        assert x.to(other.device).sum().item() == 3
