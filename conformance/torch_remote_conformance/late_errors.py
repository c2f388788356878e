# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Cases of operations that fail on the executor of a remote device, after their call has returned."""

import inspect
import os
import subprocess
import sys
from collections.abc import Callable

import torch

from torch_remote_conformance.case import Level
from torch_remote_conformance.comparing import Comparison, assert_same
from torch_remote_conformance.family import Family, assert_refused
from torch_remote_conformance.target import Address, Target

FAMILY = Family("late_errors", Level.L3, lambda target: target.is_remote)
cases = FAMILY.cases

_FAILURE = torch.linalg.LinAlgError


def _line() -> int:
    """The caller's."""
    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    return frame.f_back.f_lineno


def fail(device: torch.device) -> tuple[torch.Tensor, int]:
    """A result that no executor can compute, though nothing but its values is wrong; and the line of the call."""
    matrix = -torch.eye(2, device=device)
    return torch.linalg.cholesky_ex(matrix, check_errors=True)[0], _line()


def _assert_told(error: Exception, line: int, operator: str = "linalg_cholesky_ex") -> None:
    assert isinstance(error, _FAILURE), repr(error)
    text = str(error)
    assert operator in text, text
    assert f"{__file__}:{line}" in text, text


_READS: dict[str, Callable[[torch.Tensor], object]] = {
    "cpu": lambda x: x.cpu(),
    "item": lambda x: x.sum().item(),
    "tolist": lambda x: x.tolist(),
    "repr": repr,
    "bool": lambda x: bool(x[0, 0]),
    "of a view": lambda x: x.t()[1].cpu(),
    "of what was computed of it": lambda x: ((x + 1) @ x).relu().mean().item(),
    "its nonzero": lambda x: x.nonzero(),
    "its copy": lambda x: x.clone().double().cpu(),
    "joined": lambda x: torch.cat([torch.ones_like(x), x]).cpu(),
}


@FAMILY.case("raised_at_the_read", each=_READS)
def _at_the_read(target: Target, read: Callable[[torch.Tensor], object]) -> None:
    failed, line = fail(target.device)
    for _ in range(2):  # it stays what it is
        _assert_told(assert_refused(target, lambda: read(failed), _FAILURE), line)
    target.synchronize()  # it has been told


@FAMILY.case("raised_at_synchronize_once")
def _at_synchronize(target: Target) -> None:
    failed, line = fail(target.device)
    _assert_told(assert_refused(target, target.synchronize, _FAILURE), line)
    target.synchronize()
    del failed


@FAMILY.case("raised_though_the_result_was_dropped")
def _dropped(target: Target) -> None:
    _, line = fail(target.device)
    _assert_told(assert_refused(target, target.synchronize, _FAILURE), line)


@FAMILY.case("other_work_is_not_lost")
def _other_work(target: Target) -> None:
    x = torch.ones(2, 2, device=target.device)
    before = x + 1
    failed, line = fail(target.device)
    after = [x + number for number in range(50)]
    x.mul_(5)
    _assert_told(assert_refused(target, failed.cpu, _FAILURE), line)
    assert_same(before, torch.full((2, 2), 2.0))
    assert_same(after, [torch.full((2, 2), 1.0 + number) for number in range(50)])
    assert_same(x, torch.full((2, 2), 5.0))


@FAMILY.case("each_failure_is_told_with_its_own_line")
def _several(target: Target) -> None:
    first, first_line = fail(target.device)
    singular = torch.zeros(3, 3, device=target.device)
    second, second_line = torch.linalg.inv_ex(singular, check_errors=True)[0], _line()
    third, third_line = fail(target.device)
    assert first_line == third_line
    _assert_told(
        assert_refused(target, second.cpu, _FAILURE), second_line, operator="linalg_inv_ex"
    )
    for one in (third, first):
        _assert_told(assert_refused(target, one.cpu, _FAILURE), first_line)
    # What depends on two fails with the one that came first.
    both = torch.linalg.inv_ex(singular, check_errors=True)[0].sum() + first.sum()
    assert_refused(target, both.item, _FAILURE)


@FAMILY.case("what_was_written_by_a_failure_is_not_read")
def _written(target: Target) -> None:
    out, info = (
        torch.zeros(2, 2, device=target.device),
        torch.zeros((), dtype=torch.int32, device=target.device),
    )
    torch.linalg.cholesky_ex(
        -torch.eye(2, device=target.device), check_errors=True, out=(out, info)
    )
    assert_refused(target, out.cpu, _FAILURE)
    kept = torch.zeros(2, 2, device=target.device)
    kept.add_(fail(target.device)[0])
    assert_refused(target, kept.cpu, _FAILURE)
    assert torch.zeros(2, 2, device=target.device).sum().item() == 0


@FAMILY.case("one_of_many")
def _one_of_many(target: Target) -> None:
    x = torch.eye(2, device=target.device)
    results = []
    for number in range(300):
        sign = -1.0 if number == 177 else 1.0
        results.append(torch.linalg.cholesky_ex(x * sign, check_errors=True)[0])
        line = _line() - 1
    _assert_told(assert_refused(target, results[177].cpu, _FAILURE), line)
    for number in (0, 176, 178, 299):
        assert_same(results[number], torch.eye(2), Comparison(exact=True, strides=False))


@FAMILY.case("in_a_backward_pass")
def _in_backward(target: Target) -> None:
    leaf = torch.eye(2, device=target.device, requires_grad=True)
    total = torch.linalg.cholesky_ex(leaf * -1.0, check_errors=True)[0].sum()
    line = _line() - 1
    total.backward()
    assert leaf.grad is not None
    _assert_told(assert_refused(target, leaf.grad.cpu, _FAILURE), line)
    other = torch.eye(2, device=target.device, requires_grad=True)
    (other @ other).sum().backward()
    assert_same(other.grad, torch.full((2, 2), 2.0))


@FAMILY.case("the_line_is_the_programs_not_pytorchs", applies=lambda target: target.computes_as_cpu)
def _programs_line(target: Target) -> None:
    """Of an operator within PyTorch's Python code. A GPU does not survive such an index."""
    embedding = torch.nn.Embedding(3, 2, device=target.device)
    failed = embedding(torch.tensor([5], device=target.device))
    line = _line() - 1
    error = assert_refused(target, failed.cpu, IndexError)
    assert f"{__file__}:{line} in _programs_line" in str(error), str(error)


_SYNCHRONOUS = """
import torch
from torch_remote_conformance.target import Address, Endpoint, opened

with opened({address!r}) as target:
    matrix = -torch.eye(2, device=target.device)
    try:
        torch.linalg.cholesky_ex(matrix, check_errors=True)
        print("not raised at the call")
    except torch.linalg.LinAlgError as error:
        print("raised" if "<string>:8" in str(error) else error)
    target.synchronize()
"""


@FAMILY.case("synchronous_mode_raises_at_the_call")
def _synchronous(target: Target) -> None:
    address = target.address or Address(target.name)
    done = subprocess.run(
        [sys.executable, "-c", _SYNCHRONOUS.format(address=address)],
        env=os.environ | {"TORCH_REMOTE_SYNC": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "raised", done.stdout + done.stderr
