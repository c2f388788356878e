# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Cases of what programs leave behind on a remote device: nothing, whatever they did and however they ended."""

import threading
from collections.abc import Callable

import torch

from torch_remote_conformance.case import Level
from torch_remote_conformance.counting import assert_nothing_left
from torch_remote_conformance.family import Family, assert_refused
from torch_remote_conformance.late_errors import fail
from torch_remote_conformance.target import Target

FAMILY = Family("leaks", Level.L3, lambda target: target.is_remote)
cases = FAMILY.cases


def _operations(target: Target) -> None:
    x = torch.ones(8, 8, device=target.device)
    for _ in range(300):
        torch.add(x, x).mul_(0.5)


def _failed_operations(target: Target) -> None:
    for _ in range(50):
        fail(target.device)
    for _ in range(20):
        assert_refused(target, target.synchronize, torch.linalg.LinAlgError)
        fail(target.device)
    assert_refused(target, target.synchronize, torch.linalg.LinAlgError)


def _failed_reads(target: Target) -> None:
    for _ in range(15):
        failed, _ = fail(target.device)
        assert_refused(target, (failed @ failed).cpu, torch.linalg.LinAlgError)
        assert_refused(target, failed.nonzero, torch.linalg.LinAlgError)


def _refused_calls(target: Target) -> None:
    x = torch.ones(2, 3, device=target.device)
    for _ in range(20):
        assert_refused(target, lambda: x @ x, RuntimeError)
        assert_refused(target, lambda: torch.empty(1 << 62, device=target.device), RuntimeError)


def _training(target: Target) -> None:
    model = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU(), torch.nn.Flatten()
    ).to(target.device)
    optimizer = torch.optim.AdamW(model.parameters())
    for _ in range(5):
        optimizer.zero_grad()
        model(torch.randn(2, 1, 6, 6, device=target.device)).square().mean().backward()
        optimizer.step()


def _exceptions_in_backward(target: Target) -> None:
    def refuse(_: torch.Tensor) -> None:
        raise ZeroDivisionError("a hook's own")

    for _ in range(20):
        leaf = torch.ones(5, device=target.device, requires_grad=True)
        middle = leaf.exp()
        middle.register_hook(refuse)
        assert_refused(target, (middle * 2).sum().backward, ZeroDivisionError)


def _views_of_freed_bases(target: Target) -> None:
    kept = []
    for number in range(50):
        base = torch.ones(64, 64, device=target.device)
        kept.append(base[number].view(8, 8).t()[1:])
        del base
    assert sum(one.sum().item() for one in kept) == 50 * 56


def _described_results(target: Target) -> None:
    x = torch.arange(20.0, device=target.device)
    for _ in range(50):
        x[x > 5].unique()
        x.nonzero()


def _copies(target: Target) -> None:
    for size in (0, 1, 1000, 1 << 19):
        there = torch.ones(size).to(target.device)
        there.cpu()
        there[::2].cpu()
        there.to(torch.float64).to(torch.int32)


def _resized(target: Target) -> None:
    x = torch.ones(4, device=target.device)
    for size in (100, 5, 0, 1000, 4):
        x.resize_(size)
        x.untyped_storage().resize_(4 * size + 8)
    x.set_(torch.empty(0, device=target.device).untyped_storage())


def _generators_and_events(target: Target) -> None:
    for _ in range(100):
        generator = torch.Generator(target.device)
        torch.rand(3, device=target.device, generator=generator)
        torch.accelerator.current_stream(target.device.index).record_event()


def _threads(target: Target) -> None:
    def work() -> None:
        x = torch.ones(16, 16, device=target.device, requires_grad=True)
        for _ in range(20):
            (x @ x).sum().backward()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _dropped_elsewhere(target: Target) -> None:
    """Tensors whose last reference another thread lets go."""
    made = [torch.ones(100, device=target.device) for _ in range(100)]
    thread = threading.Thread(target=made.clear)
    thread.start()
    thread.join()


_PROGRAMS: dict[str, Callable[[Target], None]] = {
    "operations": _operations,
    "failed operations": _failed_operations,
    "reads of failures": _failed_reads,
    "refused calls": _refused_calls,
    "training": _training,
    "exceptions in backward": _exceptions_in_backward,
    "views of freed bases": _views_of_freed_bases,
    "results of unknown shapes": _described_results,
    "copies": _copies,
    "resized tensors": _resized,
    "generators and events": _generators_and_events,
    "threads": _threads,
    "tensors dropped in another thread": _dropped_elsewhere,
}


@FAMILY.case("nothing_is_left", each=_PROGRAMS)
def _nothing_left(target: Target, program: Callable[[Target], None]) -> None:
    assert_nothing_left(target, lambda: program(target))
