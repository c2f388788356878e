# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Processes that run cases: one that crashes or hangs costs its case and nothing else."""

import contextlib
import multiprocessing
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING

import torch

from torch_remote_conformance import catalogue
from torch_remote_conformance.case import Case, Failure, Recorder, Result, Status, describe
from torch_remote_conformance.catalogue import Selection
from torch_remote_conformance.target import Address, Target, opened

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

_CONTEXT = multiprocessing.get_context("spawn")


class WorkerError(Exception):
    """A worker could not reach the target, or could not list the cases."""


@dataclass(frozen=True)
class Options:
    """How cases are run."""

    seed: int = 0
    worker_count: int = 1
    #: A case that takes longer has failed.
    timeout_s: float = 600.0
    #: The run ends with the first failure.
    fail_fast: bool = False


@dataclass(frozen=True)
class Listing:
    """What a worker has found at the target."""

    #: Id, level and subject of each selected case.
    cases: list[tuple[str, int, str]]
    #: What the target says of itself.
    description: dict[str, str]


def run(
    address: Address,
    selection: Selection,
    options: Options,
    on_listing: Callable[[Listing], None] = lambda _: None,
) -> Iterator[Result]:
    """The results of all selected cases, as they come.

    Args:
        address: of the target.
        selection: of the cases.
        options: how they run.
        on_listing: called once, before the first result.

    Raises:
        WorkerError: the target can't be reached.
    """
    pool = _Pool(address, selection, options, on_listing)
    try:
        yield from pool.results()
    finally:
        pool.close()


# --- In the worker -------------------------------------------------------------------------------


def _work(address: Address, selection: Selection, seed: int, pipe: Connection) -> None:
    try:
        is_first = True
        while _serve(address, selection, seed, pipe, is_first=is_first):
            is_first = False
    except (EOFError, KeyboardInterrupt):
        return
    except Exception as error:  # noqa: BLE001 (told to the parent)
        pipe.send(WorkerError(f"{describe(error)}\n{traceback.format_exc(limit=3)}"))


def _serve(
    address: Address, selection: Selection, seed: int, pipe: Connection, *, is_first: bool
) -> bool:
    """Runs what the parent asks for, until there is no more, or a case has broken the target: then True."""
    with opened(address, with_device=selection.needs_device) as target:
        cases = {case.id: case for case in catalogue.cases(target, selection)}
        if is_first:
            listed = [(case.id, int(case.level), case.subject) for case in cases.values()]
            pipe.send(Listing(listed, target.description))
        while (wanted := pipe.recv()) is not None:
            result = run_case(cases[wanted], target, seed)
            pipe.send(result)
            if result.failed and not (selection.needs_device and _works(target)):
                return True
    return False


def _works(target: Target) -> bool:
    try:
        torch.zeros(1, device=target.device).cpu()
    except Exception:  # noqa: BLE001 (whatever it is, the next case needs another target)
        return False
    return True


def run_case(case: Case, target: Target, seed: int) -> Result:
    """Runs a case in this process."""
    recorder = Recorder(target, seed)
    start = time.perf_counter()
    try:
        case.run(recorder)
    except Exception as error:  # noqa: BLE001 (a suite reports, whatever it is)
        recorder.samples += 1
        recorder.fail(recorder.samples - 1, "the case itself", describe(error))
    result = Result(
        case.id,
        int(case.level),
        case.subject,
        Status.FAILED if recorder.failed else Status.PASSED,
        recorder.samples,
        recorder.failed,
        round(time.perf_counter() - start, 4),
        recorder.failures,
    )
    if recorder.failures and recorder.script:
        result.script = recorder.script
    elif recorder.failures and case.reproduce is not None:
        result.script = case.reproduce(target, seed, recorder.failures[0].sample)
    return result


# --- In the parent -------------------------------------------------------------------------------


class _Worker:
    """A process, the pipe to it, and what it does."""

    def __init__(self, address: Address, selection: Selection, seed: int) -> None:
        self.pipe, theirs = _CONTEXT.Pipe()
        self.process: SpawnProcess = _CONTEXT.Process(
            target=_work, args=(address, selection, seed, theirs), daemon=True
        )
        self.process.start()
        theirs.close()  # else the end of the process would not show
        self.case: tuple[str, int, str] | None = None
        self.deadline = float("inf")

    def give(self, case: tuple[str, int, str] | None, timeout_s: float) -> None:
        self.case = case
        self.deadline = time.monotonic() + timeout_s if case else float("inf")
        with contextlib.suppress(OSError):  # it has ended, which its pipe shows
            self.pipe.send(case[0] if case else None)

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


class _Pool:
    def __init__(
        self,
        address: Address,
        selection: Selection,
        options: Options,
        on_listing: Callable[[Listing], None],
    ) -> None:
        self._on_listing = on_listing
        self._address = address
        self._selection = selection
        self._options = options
        self._cases: list[tuple[str, int, str]] | None = None
        self._next = 0
        self._workers = [self._start() for _ in range(max(1, options.worker_count))]

    def _start(self) -> _Worker:
        return _Worker(self._address, self._selection, self._options.seed)

    def results(self) -> Iterator[Result]:
        while self._workers:
            for result in self._turn():
                yield result
                if self._options.fail_fast and result.status is not Status.PASSED:
                    yield from self._not_run()
                    return

    def _turn(self) -> Iterator[Result]:
        soonest = min(worker.deadline for worker in self._workers)
        timeout_s = max(0.0, soonest - time.monotonic())
        ready = wait([worker.pipe for worker in self._workers], min(timeout_s, 60.0))
        for worker in list(self._workers):
            if worker.pipe in ready:
                yield from self._receive(worker)
            elif time.monotonic() >= worker.deadline:
                yield self._lost(worker, Status.TIMED_OUT, f"after {self._options.timeout_s:g} s")

    def _receive(self, worker: _Worker) -> Iterator[Result]:
        try:
            message = worker.pipe.recv()
        except (EOFError, OSError):
            worker.process.join()
            if worker.case is None and self._cases is None:
                raise WorkerError(
                    f"a worker ended with {worker.process.exitcode} before its first case"
                ) from None
            if worker.case is None:
                self._workers.remove(worker)
                return
            yield self._lost(worker, Status.CRASHED, f"exit code {worker.process.exitcode}")
            return
        if isinstance(message, WorkerError):
            raise message
        if isinstance(message, Result):
            worker.case = None
            yield message
        elif self._cases is None:
            self._cases = message.cases
            self._on_listing(message)
        self._give_next(worker)

    def _lost(self, worker: _Worker, status: Status, why: str) -> Result:
        assert worker.case is not None
        name, level, subject = worker.case
        worker.end()
        self._workers[self._workers.index(worker)] = self._start()
        failures = [Failure(0, "", f"the process that ran it {status.value}: {why}")]
        return Result(name, level, subject, status, samples=1, failed=1, failures=failures)

    def _give_next(self, worker: _Worker) -> None:
        assert self._cases is not None
        if self._next < len(self._cases):
            worker.give(self._cases[self._next], self._options.timeout_s)
            self._next += 1
        else:
            worker.give(None, 0.0)
            self._workers.remove(worker)
            worker.process.join(timeout=60)
            worker.end()

    def _not_run(self) -> Iterator[Result]:
        pending = [worker.case for worker in self._workers if worker.case is not None]
        for name, level, subject in [*pending, *(self._cases or [])[self._next :]]:
            yield Result(name, level, subject, Status.NOT_RUN)

    def close(self) -> None:
        for worker in self._workers:
            worker.end()
