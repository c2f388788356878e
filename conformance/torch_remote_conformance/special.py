# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Cases of what is special to a remote device: round trips, plans, ids, and that nothing falls back to CPU.

Its late errors are in late_errors.py, what it leaves behind in leaks.py.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch

from torch_remote_conformance.case import Level
from torch_remote_conformance.comparing import assert_same
from torch_remote_conformance.counting import Counted
from torch_remote_conformance.family import Family, assert_refused
from torch_remote_conformance.target import Target

FAMILY = Family("special", Level.L3, lambda target: target.is_remote)
cases = FAMILY.cases


# --- Round trips ---------------------------------------------------------------------------------


class _Things:
    """What the programs below work with, on the device."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.device = target.device
        self.x = torch.arange(12.0, device=self.device).view(3, 4)
        self.mask = self.x > 5
        self.index = torch.tensor([2, 0], device=self.device)
        self.scalar = torch.tensor(2.0, device=self.device)
        self.model = torch.nn.Sequential(
            *(torch.nn.Linear(4, 8), torch.nn.GELU(), torch.nn.Dropout(0.5)),
            *(torch.nn.LayerNorm(8), torch.nn.Linear(8, 2)),
        ).to(self.device)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3)
        self.scheduler = torch.optim.lr_scheduler.StepLR(self.optimizer, 1, 0.9)
        self.host = torch.randn(3, 4)
        self.labels = torch.tensor([0, 1, 0])

    def train(self) -> torch.Tensor:
        """A step without a read."""
        self.optimizer.zero_grad()
        result = self.model(self.host.to(self.device, non_blocking=True))
        loss = torch.nn.functional.cross_entropy(result, self.labels.to(self.device))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.scheduler.step()
        return loss


#: How many replies a program waits for: by these a network makes programs slow.
_ROUND_TRIPS: dict[str, tuple[Callable[[_Things], Any], int]] = {
    "arithmetic": (lambda t: ((t.x + 1) @ t.x.t()).relu().sum(), 0),
    "training": (lambda t: [t.train() for _ in range(3)], 0),
    "training, loss read each step": (lambda t: [t.train().item() for _ in range(3)], 3),
    "inference": (lambda t: torch.no_grad()(t.model)(t.x), 0),
    "uploads": (lambda t: [t.host.to(t.device) for _ in range(5)], 0),
    "metadata": (lambda t: (t.x.shape, t.x.stride(), t.x.data_ptr(), t.x.is_contiguous()), 0),
    "views": (lambda t: t.x[1:, ::2].t().unsqueeze(0).view(torch.int32), 0),
    "index by numbers": (lambda t: t.x[t.index], 0),
    "index by numbers of the host": (lambda t: t.x[torch.tensor([1, 0])], 0),
    "index by a list": (lambda t: t.x[[0, 2]], 0),
    "assignment": (lambda t: t.x.clone().__setitem__(1, 5.0), 0),
    "assignment where a mask is true": (lambda t: t.x.clone().__setitem__(t.mask, 5.0), 0),
    "masked_fill and where": (lambda t: torch.where(t.mask, t.x.masked_fill(t.mask, 0), 1.0), 0),
    "sort and topk": (lambda t: (t.x.sort(), t.x.topk(2), t.x.argmax(0)), 0),
    "number of the host": (lambda t: t.x + torch.tensor(2.0), 0),
    "scalar of the device": (lambda t: t.x * t.scalar, 0),
    "random numbers": (lambda t: torch.rand(4, device=t.device).bernoulli().multinomial(1), 0),
    "seeding": (lambda t: (torch.manual_seed(1), torch.rand(2, device=t.device)), 0),
    "random permutation": (lambda t: torch.randperm(5, device=t.device), 0),
    "copies": (lambda t: (t.x.clone(), t.x.double(), t.x.contiguous()), 0),
    "lists": (lambda t: torch._foreach_mul([t.x, t.x + 1], 2.0), 0),
    "empty reads": (lambda t: t.x[3:].cpu(), 0),
    "events": (lambda t: torch.accelerator.current_stream(t.device.index).record_event().wait(), 0),
    "item": (lambda t: t.scalar.item(), 1),
    "tolist": (lambda t: t.x.tolist(), 1),
    "cpu": (lambda t: t.x.cpu(), 1),
    "cpu of a view": (lambda t: t.x[:, 1].cpu(), 1),
    "numpy": (lambda t: t.x.cpu().numpy(), 1),
    "if": (lambda t: 1 if t.scalar > 1 else 0, 1),
    "float and int": (lambda t: (float(t.scalar), int(t.scalar)), 2),
    "print": (lambda t: repr(t.x), 1),
    "boolean mask": (lambda t: t.x[t.mask], 1),
    "masked_select": (lambda t: t.x.masked_select(t.mask), 1),
    "nonzero": (lambda t: t.x.nonzero(), 1),
    "where of one argument": (lambda t: torch.where(t.mask), 1),
    "unique": (lambda t: t.x.unique(), 1),
    "equal": (lambda t: torch.equal(t.x, t.x.clone()), 1),
    "repeat_interleave by a tensor": (lambda t: t.index.repeat_interleave(t.index), 1),
    "number argument of the device": (lambda t: t.x.clamp(min=t.scalar.item()), 1),
    "synchronize": (lambda t: t.target.synchronize(), 1),
    "all in one read": (lambda t: torch.stack([t.x.sum(), t.x.mean(), t.x.max()]).tolist(), 1),
}


@FAMILY.case("round_trips", each=_ROUND_TRIPS)
def _round_trips(target: Target, row: tuple[Callable[[_Things], Any], int]) -> None:
    program, expected = row
    things = _Things(target)
    program(things)  # plans are made, and what is learned by asking is asked for
    with Counted(target) as counted:
        program(things)
    assert counted.round_trips == expected, f"{counted.round_trips} instead of {expected}"


@FAMILY.case("bytes_of_a_view_travel_alone")
def _bytes_of_views(target: Target) -> None:
    host = torch.zeros(1000, 1000)
    there = host.to(target.device)
    target.synchronize()
    with Counted(target) as up:
        host[:, 3].to(target.device)
        target.synchronize()
    with Counted(target) as down:
        there[:, 3].cpu()
    assert 4000 <= up.bytes_sent < 6000, up.bytes_sent
    assert 4000 <= down.bytes_received < 6000, down.bytes_received


@FAMILY.case("results_never_travel_up")
def _results_stay(target: Target) -> None:
    x = torch.ones(500, 500, device=target.device)
    out = torch.empty_like(x)
    torch.add(x, x, out=out)
    with Counted(target) as counted:
        for _ in range(20):
            torch.add(x, x, out=out)
            (x @ x).copy_(out)
        target.synchronize()
    assert counted.bytes_sent < 20 * 500, counted.bytes_sent


# --- Plans ---------------------------------------------------------------------------------------

#: Each with numbers that are others every time.
_VARYING: dict[str, Callable[[_Things, int], Any]] = {
    "training": lambda t, _: t.train(),
    "numbers": lambda t, i: (t.x + i, t.x * (i + 0.5), t.x ** (i + 0.25), t.x.clamp(-i, i + 1)),
    "alpha and value": lambda t, i: (
        torch.add(t.x, t.x, alpha=i + 0.5),
        torch.addcdiv(t.x, t.x, t.x + 1, value=i + 0.5),
    ),
    "fill": lambda t, i: (t.x.clone().fill_(i + 0.5), torch.full((2,), i + 0.5, device=t.device)),
    "offsets": lambda t, i: t.x[1 + i % 2, 1 + i % 3] + 1,
    "assignments": lambda t, i: t.x.__setitem__((1 + i % 2, 1 + i % 3), float(i)),
    "lists": lambda t, i: torch._foreach_add([t.x, t.x], [i + 0.5, i - 0.5]),
    "seeds": lambda t, i: (torch.manual_seed(i), torch.rand(3, device=t.device)),
    "uploads": lambda t, i: torch.full((2, 2), float(i)).to(t.device),
    "numbers of the host": lambda t, i: t.x + torch.tensor(i + 0.5),
    "learning rates": lambda t, i: torch.optim.SGD([t.scalar], lr=0.1 / (i + 1)).step(),
    "reads": lambda t, i: t.x[i % 3].sum().item(),
}


@FAMILY.case("numbers_make_no_plan", each=_VARYING)
def _plans(target: Target, program: Callable[[_Things, int], Any]) -> None:
    things = _Things(target)
    for turn in range(3):
        program(things, turn)
    with Counted(target) as counted:
        for turn in range(3, 20):
            program(things, turn)
    assert counted.plans == 0, f"{counted.plans} new plans"


@FAMILY.case("repeated_programs_send_the_same")
def _same_bytes(target: Target) -> None:
    """Command for command the same bytes, and the same bits back."""
    things = _Things(target)
    start = {name: value.clone() for name, value in things.model.state_dict().items()}

    def run() -> tuple[list[torch.Tensor], Counted]:
        things.model.load_state_dict(start)
        optimizer = torch.optim.SGD(things.model.parameters(), lr=0.1, momentum=0.9)
        torch.manual_seed(3)
        with Counted(target) as counted:
            for _ in range(3):
                optimizer.zero_grad()
                things.model(things.x).square().mean().backward()
                optimizer.step()
            target.synchronize()
        return [value.cpu() for value in things.model.state_dict().values()], counted

    run()
    first, counted = run()
    second, again = run()
    assert_same(second, first)
    # Batches are cut by time: a few headers more or less.
    assert again.operations == counted.operations
    assert abs(again.bytes_sent - counted.bytes_sent) < 0.1 * counted.bytes_sent
    assert counted.plans == again.plans == 0


# --- Ids -----------------------------------------------------------------------------------------


@FAMILY.case("ids_are_no_addresses")
def _ids(target: Target) -> None:
    """No process can map them: bits 47 to 63 are neither all zero nor all one."""
    for size in (1, 100, 1 << 20):
        address = torch.empty(size, device=target.device).data_ptr()
        assert (address >> 47) & 0x1FFFF not in (0, 0x1FFFF), hex(address)


@FAMILY.case("ids_of_live_tensors_are_unique")
def _unique_ids(target: Target) -> None:
    kept: dict[int, torch.Tensor] = {}
    for turn in range(3000):
        made = torch.empty(1 + turn % 700, device=target.device)
        assert made.data_ptr() not in kept
        if turn % 7 == 0:
            kept[made.data_ptr()] = made
        if turn % 70 == 69:
            kept.pop(next(iter(kept)))


@FAMILY.case("host_memory_is_not_given_out")
def _no_host_memory(target: Target) -> None:
    x = torch.ones(3, device=target.device)
    for export in (x.numpy, x.__array__, x.__dlpack__, lambda: torch.from_dlpack(x)):
        assert_refused(target, export, (TypeError, RuntimeError, BufferError, ValueError))


# --- No fallback ---------------------------------------------------------------------------------


@contextlib.contextmanager
def _operator(schema: str) -> Iterator[torch.library.Library]:
    with torch.library._scoped_library("torch_remote_conformance", "FRAGMENT") as library:
        library.define(schema)
        yield library


@FAMILY.case("an_operator_without_a_kernel_is_refused")
def _no_kernel(target: Target) -> None:
    x = torch.ones(2, device=target.device)
    with _operator("no_kernel(Tensor x) -> Tensor"):
        call = torch.ops.torch_remote_conformance.no_kernel
        error = assert_refused(target, lambda: call(x), NotImplementedError)
    assert "torch_remote_conformance::no_kernel" in str(error)
    assert (x + 1).tolist() == [2.0, 2.0]


@FAMILY.case("an_operator_that_the_executor_lacks_is_refused")
def _no_such_operator(target: Target) -> None:
    x = torch.ones(2, device=target.device)
    with _operator("only_here(Tensor x) -> Tensor") as library:
        library.impl("only_here", torch.empty_like, "Meta")
        error = assert_refused(
            target,
            lambda: torch.ops.torch_remote_conformance.only_here(x).cpu(),
            NotImplementedError,
        )
    assert "torch_remote_conformance::only_here" in str(error)
    assert (x + 1).tolist() == [2.0, 2.0]


_MIXTURES: dict[str, Callable[[torch.Tensor, torch.Tensor], Any]] = {
    "add": torch.add,
    "matmul": torch.matmul,
    "cat": lambda a, b: torch.cat([a, b]),
    "where": lambda a, b: torch.where(a > 0, a, b),
    "in place": lambda a, b: a.mul_(b),
    "out=": lambda a, b: torch.neg(a, out=b),
    "index_copy": lambda a, b: a.index_copy(0, torch.tensor([0, 1], device=a.device), b),
    "layer_norm": lambda a, b: torch.nn.functional.layer_norm(a, (2,), b[0]),
}


@FAMILY.case("tensors_of_the_host_are_refused", each=_MIXTURES)
def _mixtures(target: Target, call: Callable[[torch.Tensor, torch.Tensor], Any]) -> None:
    """Nothing moves but where the program says so."""
    host, there = torch.ones(2, 2), torch.ones(2, 2, device=target.device)
    for one, other in ((host, there), (there, host)):
        error = assert_refused(target, lambda one=one, other=other: call(one, other), RuntimeError)  # type: ignore[misc]
        assert "device" in str(error)
    assert_same(there, host)


# --- What autograd sees --------------------------------------------------------------------------

_OPTIMIZERS: dict[str, Callable[[list[torch.Tensor]], torch.optim.Optimizer]] = {
    "for loop": lambda p: torch.optim.SGD(p, lr=0.1, foreach=False),
    "lists": lambda p: torch.optim.SGD(p, lr=0.1, foreach=True),
    "Adam on lists": lambda p: torch.optim.Adam(p, foreach=True),
    "fused": lambda p: torch.optim.Adam(p, fused=True),
}


@FAMILY.case("optimizers_count_versions", each=_OPTIMIZERS)
def _versions(target: Target, make: Callable[[list[torch.Tensor]], torch.optim.Optimizer]) -> None:
    """A backward pass that needs the values from before a step is refused, whatever has done the step."""
    weight = torch.ones(3, device=target.device, requires_grad=True)
    optimizer = make([weight])
    loss = (weight * weight).sum()
    loss.backward(retain_graph=True)
    before = weight._version
    optimizer.step()
    assert weight._version > before
    error = assert_refused(target, loss.backward, RuntimeError)
    assert "modified by an inplace operation" in str(error)
