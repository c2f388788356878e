# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Runs of some cases on one mutant each: a process, forked when PyTorch's tables are there, and its server.

What hangs is killed after a time, what crashes ends its process or its server and nothing else.
"""

import contextlib
import datetime as dt
import multiprocessing
import os
import subprocess
import time
import traceback
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from torch_remote_conformance import catalogue, sources, waivers, workers
from torch_remote_conformance.case import Case, Level, Status, describe
from torch_remote_conformance.catalogue import Selection
from torch_remote_conformance.endpoint import Endpoint
from torch_remote_conformance.target import Address, Target, opened

if TYPE_CHECKING:
    from multiprocessing.context import ForkProcess

#: Fork: a new process would import torch and make PyTorch's tables for seconds. It is safe while no thread
#: runs and no device is made in the parent.
_CONTEXT = multiprocessing.get_context("fork")

#: Cases that are many or long begin like this: random programs, and those that are made from PyTorch's tables.
_LATER = ("optimizer/", "program/", "module/", "foreach/", "op/")

#: Levels that mutants have to be caught at.
SELECTION = Selection(Level.L3)


@dataclass(frozen=True)
class Task:
    """Cases that one mutant is tried on, in their order, until the first that fails."""

    mutant: int
    cases: Sequence[str]
    #: No further case is begun after so many seconds of this process's own work.
    budget_s: float
    #: And then on all others.
    then_all: bool = False


@dataclass
class Outcome:
    """What came of a task."""

    mutant: int
    #: The case that failed, and why; empty for a survivor.
    killer: str = ""
    why: str = ""
    seconds: float = 0.0
    ran: int = 0
    #: How often the mutant did something wrong, by its own count.
    acted: int = 0
    #: Whether all cases of the task were run.
    is_complete: bool = False


class Server:
    """A mutant_executor process."""

    def __init__(self, program: Path, seed: int) -> None:
        self._process = subprocess.Popen(
            [str(program), "--bind", "tcp://127.0.0.1:0", str(seed)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.endpoint = self._process.stdout.readline().strip()
        if not self.endpoint:
            raise RuntimeError(f"{program} does not serve")

    @property
    def is_alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def stop(self) -> None:
        """Ends it; waits for that."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


def prepare() -> None:
    """What all runs share: PyTorch's tables. Before the first run, in a process that uses no device."""
    torch.set_num_threads(1)
    sources.operators()
    sources.modules()
    sources.optimizers()
    import torch_remote  # noqa: F401 (each run would import it)


def run(
    tasks: Iterator[Task], program: Path, seed: int, worker_count: int, case_timeout_s: float
) -> Iterator[Outcome]:
    """The outcomes of all tasks, as they come."""
    slots = [_Slot(program, seed, case_timeout_s) for _ in range(worker_count)]
    try:
        busy: list[_Slot] = []
        idle = list(slots)
        while True:
            while idle and (task := next(tasks, None)) is not None:
                slot = idle.pop()
                slot.begin(task)
                busy.append(slot)
            if not busy:
                return
            wait([slot.pipe for slot in busy], timeout=1.0)
            for slot in list(busy):
                if (outcome := slot.poll()) is not None:
                    busy.remove(slot)
                    idle.append(slot)
                    yield outcome
    finally:
        for slot in slots:
            slot.close()


# --- In the parent -------------------------------------------------------------------------------


class _Slot:
    """One process at a time, and the server that it uses."""

    def __init__(self, program: Path, seed: int, case_timeout_s: float) -> None:
        self._make_server: Callable[[], Server] = lambda: Server(program, seed)
        self._case_timeout_s = case_timeout_s
        self._server: Server | None = None
        self._process: ForkProcess | None = None
        self.pipe: Connection

    def begin(self, task: Task) -> None:
        if self._server is None or not self._server.is_alive:
            self._server = self._make_server()
        self.pipe, theirs = _CONTEXT.Pipe(duplex=False)
        self._outcome = Outcome(task.mutant)
        self._start = self._last_heard = time.monotonic()
        self._case = ""
        self._process = _CONTEXT.Process(
            target=_work, args=(task, self._server.endpoint, theirs), daemon=True
        )
        self._process.start()
        theirs.close()

    def poll(self) -> Outcome | None:
        """The outcome, if there is one by now."""
        try:
            while self.pipe.poll():
                message = self.pipe.recv()
                self._last_heard = time.monotonic()
                if isinstance(message, Outcome):
                    return self._ended(message)
                self._case = message
                self._outcome.ran += 1
        except (EOFError, OSError):
            self._outcome.killer, self._outcome.why = self._case, "the process of the case crashed"
            return self._ended(self._outcome)
        if time.monotonic() - self._last_heard > self._case_timeout_s:
            self._outcome.killer, self._outcome.why = self._case, "the case hung"
            return self._ended(self._outcome)
        return None

    def _ended(self, outcome: Outcome) -> Outcome:
        assert self._process is not None
        self._process.kill()
        self._process.join()
        self.pipe.close()
        self._process = None
        outcome.seconds = round(time.monotonic() - self._start, 2)
        return outcome

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
        if self._server is not None:
            self._server.stop()


# --- In a run's process --------------------------------------------------------------------------


def _work(task: Task, endpoint: str, pipe: Connection) -> None:
    outcome = Outcome(task.mutant)
    resources = contextlib.ExitStack()
    try:
        pipe.send("opening the device")
        target = resources.enter_context(opened_mutant(endpoint, task.mutant))
        _try(task, target, pipe, outcome)
    except Exception as error:  # noqa: BLE001 (whatever it is, the mutant has broken something)
        outcome.killer = outcome.killer or "opening the device"
        outcome.why = f"{describe(error)}\n{traceback.format_exc(limit=2)}"
    pipe.send(outcome)
    os._exit(0)  # a mutant's device may not end well, which is no part of a case


def _try(task: Task, target: Target, pipe: Connection, outcome: Outcome) -> None:
    start_s = time.process_time()  # a machine that is busy with other things changes no outcome
    known = known_failures(target)
    cases = {case.id: case for case in catalogue.cases(target, SELECTION)}
    outcome.is_complete = True
    for name in _order(task, cases):
        if time.process_time() - start_s > task.budget_s:
            outcome.is_complete = False
            break
        pipe.send(name)
        outcome.ran += 1
        result = known.apply(workers.run_case(cases[name], target, seed=0))
        if result.status is Status.FAILED:
            outcome.killer = name
            outcome.why = f"{result.failures[0].label}\n{result.failures[0].message}"
            break
    with contextlib.suppress(Exception):  # what is left of the device may not answer
        outcome.acted = counts(target).get("mutant.acted", 0)


def _order(task: Task, cases: dict[str, Case]) -> list[str]:
    order = [name for name in task.cases if name in cases]
    if task.then_all:
        # Single programs first; then the others, the largest last, shuffled: neighbours there are much alike.
        order.sort(key=lambda name: name.startswith(_LATER))
        order += [name for name in cases if not name.startswith(_LATER)]
        for group in _LATER:
            names = (name for name in cases if name.startswith(group))
            order += sorted(names, key=lambda name: zlib.crc32(name.encode()))
    return list(dict.fromkeys(order))


@contextlib.contextmanager
def opened_mutant(endpoint: str, mutant: int) -> Iterator[Target]:
    """A mutant as the suite sees it; 0 is the executor without a defect."""
    with opened(Address("mutant", Endpoint(endpoint), mutant)) as target:
        yield target


def known_failures(target: Target) -> waivers.Waivers:
    """The waivers that hold for a target."""
    return waivers.Waivers(waivers.read(), target.name, metadata.version("torch"), dt.date.today())


def counts(target: Target) -> dict[str, int]:
    """What a mutant counts beside its own work (conformance/mutants/mutant_executor.h)."""
    import torch_remote

    numbers = torch_remote.ensure_loaded().executor_memory_statistics(target.device.index)
    return {name: int(count) for name, count in numbers.items()}
