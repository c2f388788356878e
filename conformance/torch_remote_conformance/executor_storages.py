# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Cases of what the executor holds: the client's storages, each from its first to its last moment, and no others.

After each step of a program the executor's own count has to be what the client has counted, so storages that are
leaked, or freed later than their last tensor, are seen. L1 has memory, copies and views, L2 operators and what fails,
L3 gradients. Targets that don't count (Target.executor_storages) have no such cases.
"""

import contextlib
import functools
import gc
import random
from collections.abc import Callable, Iterator

import torch

from torch_remote_conformance.case import Case, Level, Recorder
from torch_remote_conformance.target import Target

#: Bytes of one tensor: nothing, less than a cache line, a message of its own, and several payload frames.
_COUNTS = (0, 1, 7, 1024, 70_000, 300_001)

#: Takes the device, and a function that compares the counts of both sides; the text says after what.
Program = Callable[[torch.device, Callable[[str], None]], None]


def cases(target: Target) -> Iterator[Case]:
    """The cases, if the target counts."""
    if target.executor_storages() is None:
        return
    for level, programs in _PROGRAMS.items():
        for program in programs:
            name = program.__name__.strip("_")
            run = functools.partial(_check, program)
            yield Case(f"executor_storages/{name}", level, run, "executor storages")


def _check(program: Program, recorder: Recorder) -> None:
    """Both counts agree all along, and at the end are what they were before."""
    target = recorder.target
    gc.collect()
    target.synchronize()
    before = _agreed(target, "the cases before")

    def compare(what: str) -> None:
        with recorder.sample(what):
            _agreed(target, what)

    program(target.device, compare)
    gc.collect()
    with recorder.sample("all of it"):
        after = _agreed(target, "all of it")
        assert after == before, f"{after} storages and bytes are left instead of {before}"


def _agreed(target: Target, what: str) -> tuple[int, int]:
    # The request is a command like others: it tells what there is at this point of the program.
    executor, client = target.executor_storages(), target.client_storages()
    if executor != client:
        raise AssertionError(
            f"after {what} the executor holds {executor} storages and bytes, the client {client}"
        )
    return client


# --- Memory, copies and views ----------------------------------------------------------------------


def _made_and_freed(device: torch.device, compare: Callable[[str], None]) -> None:
    kept = []
    for count in _COUNTS:
        kept.append(torch.empty(count, dtype=torch.uint8, device=device))
        compare(f"making {count} bytes")
    for count in _COUNTS:
        del kept[0]
        compare(f"freeing {count} bytes")


def _freed_in_any_order(device: torch.device, compare: Callable[[str], None]) -> None:
    kept = [torch.ones(10 + index, device=device) for index in range(20)]
    for index in (19, 0, 7, 7, 3, 14, 1):
        del kept[index]
        compare(f"freeing number {index} of {len(kept) + 1}")
    kept.clear()
    compare("freeing the others")


def _copied(device: torch.device, compare: Callable[[str], None]) -> None:
    for count in _COUNTS:
        local = torch.arange(count, dtype=torch.int32)
        remote = local.to(device)
        compare(f"copying {count} elements in")
        clone = remote.clone()
        compare("a copy on the device")
        assert torch.equal(remote.cpu(), local)
        compare("copying out")
        clone.copy_(local.double())
        compare("copying with a conversion")
        remote.to(torch.float16).cpu()
        compare("a result that is only read")
        assert torch.equal(clone.cpu(), local)
        del remote, clone
        compare("freeing both")


def _read_as_numbers(device: torch.device, compare: Callable[[str], None]) -> None:
    values = torch.arange(10, device=device)
    for index in range(10):
        assert values[index].item() == index
    compare("reading elements as numbers")
    assert values.tolist() == list(range(10))
    assert bool((values >= 0).all())
    assert float(values.sum()) == 45.0
    compare("reading results as numbers")


def _views(device: torch.device, compare: Callable[[str], None]) -> None:
    base = torch.zeros(6, 8, device=device)
    views = [base[1], base.t(), base.view(48), base[:, ::2], base.expand(3, 6, 8), base.detach()]
    compare("views, which have no storage of their own")
    del base
    compare("freeing the tensor that the views are of")
    while len(views) > 1:
        del views[0]
        compare("freeing a view that was not the last")
    assert float(views[0].sum()) == 0.0
    views.clear()
    compare("freeing the last view")


def _resized(device: torch.device, compare: Callable[[str], None]) -> None:
    tensor = torch.arange(4, device=device)
    for size in (100, 3, 0, 1000):
        tensor.resize_(size)
        compare(f"resizing to {size} elements")
    tensor.untyped_storage().resize_(0)
    compare("giving a storage's bytes back")
    tensor.untyped_storage().resize_(64)
    compare("and taking others")
    other = torch.ones(5, device=device)
    tensor.set_(other.to(torch.int64).untyped_storage())
    compare("a tensor that takes another storage")
    tensor.data = torch.zeros(9, dtype=torch.int64, device=device)
    compare("a tensor whose data is replaced")


def _cycles(device: torch.device, compare: Callable[[str], None]) -> None:
    def leave_behind() -> None:
        tensor = torch.ones(50, device=device)
        cycle: list[object] = [tensor]
        cycle.append(cycle)

    gc.disable()
    try:
        leave_behind()
        compare("what only a cycle of references holds")
    finally:
        gc.enable()
    gc.collect()
    compare("the collector's end of it")


def _any_program(device: torch.device, compare: Callable[[str], None]) -> None:
    choices = random.Random(20)
    alive: list[torch.Tensor] = [torch.ones(4, device=device)]
    steps: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        "a new tensor": lambda _: torch.full((choices.randrange(1, 50),), 2.0, device=device),
        "a view": lambda one: one[choices.randrange(one.numel()) :],
        "a copy": lambda one: one.clone(),
        "a result": lambda one: one + 1,
        "an operation in place": lambda one: one.mul_(0.5),
        "another size": lambda one: one.clone().resize_(choices.randrange(1, 40)),
        "a host tensor": lambda one: one.cpu().to(device),
    }
    for _ in range(60):
        name = choices.choice(list(steps))
        alive.append(steps[name](choices.choice(alive)))
        compare(name)
        while len(alive) > choices.randrange(1, 9):
            del alive[choices.randrange(len(alive))]
            compare("freeing a tensor")


# --- Operators -------------------------------------------------------------------------------------


def _results(device: torch.device, compare: Callable[[str], None]) -> None:
    left, right = torch.rand(6, 6).to(device), torch.rand(6, 6).to(device)
    for _ in range(30):
        left = torch.softmax(left @ right + left.sum(0), dim=1)
        compare("an expression, of which one result is left")
    left.add_(right).mul_(2).clamp_(0, 1)
    compare("operations in place")
    torch.add(left, right, out=right)
    compare("an out= argument that fits")
    out = torch.empty(0, device=device)
    torch.mm(left, right, out=out)
    compare("an out= argument that grows")


def _several_results(device: torch.device, compare: Callable[[str], None]) -> None:
    square = torch.rand(5, 5).to(device)
    values, indices = square.sort()
    compare("an operator with two results")
    del values
    compare("freeing one of them")
    del indices
    compare("freeing the other one")
    factors = torch.linalg.svd(square)
    compare("an operator with three results")
    del factors
    compare("freeing all three")
    parts = list(torch._foreach_add([square, square[0], square[1, 1]], 1.0))
    compare("an operator with a list of results")
    del parts[1]
    compare("freeing one element of the list")
    torch._foreach_mul_(parts, 2.0)
    compare("an operator that writes a list")
    parts.clear()
    compare("freeing the list")
    torch.var_mean(square)[1].item()
    compare("results of which one is read and one is not")


def _results_of_unknown_shape(device: torch.device, compare: Callable[[str], None]) -> None:
    values = torch.tensor([3, 0, 1, 3, 0], device=device)
    for call in (torch.nonzero, torch.unique, torch.bincount):
        result = call(values)
        compare(f"{call.__name__}, whose result the executor describes")
        del result
        compare("freeing it")
    chosen = values[values > 0]
    compare("a mask")
    values[values > 0] = 7
    compare("writing through a mask")
    del chosen
    compare("freeing what a mask chose")
    torch.unique(values, return_inverse=True, return_counts=True)
    compare("several described results, which nobody takes")


def _failures(device: torch.device, compare: Callable[[str], None]) -> None:
    fine = torch.ones(3, 3, device=device)
    index = torch.tensor([5], device=device)
    for _ in range(3):
        failed = fine.index_select(0, index)
        dependent = failed + 1
        with contextlib.suppress(IndexError, RuntimeError):
            dependent.cpu()
        del failed, dependent  # the executor has none of them
        compare("an operation that failed, and one that depended on it")
        with contextlib.suppress(RuntimeError):
            torch.linalg.cholesky(-fine).cpu()
        compare("a factorization that there is none of")
        with contextlib.suppress(RuntimeError):
            fine.add_(torch.ones(4, 5, device=device))
        compare("what the client refuses")
    assert float(fine.sum()) == 9.0


def _random_numbers(device: torch.device, compare: Callable[[str], None]) -> None:
    torch.manual_seed(1)
    drawn = [torch.rand(5, device=device), torch.randn(7, device=device)]
    drawn += [torch.randperm(9, device=device), torch.bernoulli(drawn[0])]
    compare("drawing random numbers")
    generator = torch.Generator(device)
    generator.set_state(generator.get_state())
    compare("a generator's state")
    drawn.clear()
    compare("freeing them")


# --- Gradients -------------------------------------------------------------------------------------


def _gradients(device: torch.device, compare: Callable[[str], None]) -> None:
    weight = torch.rand(4, 4).to(device).requires_grad_()
    hidden = weight
    for _ in range(4):
        hidden = torch.tanh(hidden @ weight)
    compare("a graph, which keeps what the backward needs")
    loss = hidden.sum()
    del hidden
    compare("freeing results that the graph keeps")
    loss.backward()
    compare("a backward, after which the graph keeps nothing")
    weight.grad = None
    compare("freeing a gradient")
    for _ in range(3):
        (weight * 2).sum().backward()
    compare("a gradient that is added up")


def _training(device: torch.device, compare: Callable[[str], None]) -> None:
    model = torch.nn.Sequential(
        torch.nn.Linear(6, 8), torch.nn.LayerNorm(8), torch.nn.GELU(), torch.nn.Linear(8, 3)
    ).to(device)
    compare("a model")
    optimizer = torch.optim.AdamW(model.parameters(), foreach=True)
    inputs = torch.rand(10, 6).to(device)
    wanted = torch.randint(3, (10,)).to(device)
    for _ in range(4):
        optimizer.zero_grad()
        compare("freeing the gradients")
        loss = torch.nn.functional.cross_entropy(model(inputs), wanted)
        compare("a forward")
        loss.backward()
        compare("a backward")
        optimizer.step()
        compare("an optimizer's step")
        del loss


_PROGRAMS: dict[Level, tuple[Program, ...]] = {
    Level.L1: (
        _made_and_freed,
        _freed_in_any_order,
        _copied,
        _read_as_numbers,
        _views,
        _resized,
        _cycles,
        _any_program,
    ),
    Level.L2: (_results, _several_results, _results_of_unknown_shape, _failures, _random_numbers),
    Level.L3: (_gradients, _training),
}
