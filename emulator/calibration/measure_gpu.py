# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Measures what a GPU shows to PyTorch, as reference data for the emulator; README.md says what.

    python emulator/calibration/measure_gpu.py --out FOLDER [--only SECTION,...] [--budget-s 300]

Needs a CUDA build of PyTorch and nothing else. Each section runs in processes of its own, so that
one that crashes or hangs costs no other; records are on disk as soon as they are made.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from gpu_measurements.allocator_scripts import SETTINGS
from gpu_measurements.device import device_memory, smi
from gpu_measurements.programs import PROGRAMS
from gpu_measurements.recording import FORMAT_VERSION, Budget
from gpu_measurements.sections import SECTIONS, run_section

GRACE_S = 15.0
LEAST_BUDGET_S = 5.0
MEMORY_OF_A_PROCESS_MIB = 12_000
ALLOCATOR_VARIABLES = ("PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF")
# Sections that run side by side, with each phase's share of the time. Those that measure time run alone.
PHASES: list[tuple[float, list[str]]] = [
    (12, ["device"]),
    (32, ["random_numbers", "temporaries", "memory", "allocator"]),
    (37, ["time"]),
    (19, ["steps"]),
]
ARGUMENTS: dict[str, list[str]] = {"memory": list(PROGRAMS), "allocator": list(SETTINGS)}


@dataclasses.dataclass
class Task:
    """One process: a section, and the part of it that the process does."""

    section: str
    argument: str = ""
    process: subprocess.Popen[bytes] | None = None
    stderr: IO[bytes] | None = None
    start_s: float = 0.0
    deadline_s: float = 0.0
    result: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.section}:{self.argument}" if self.argument else self.section


class Measurement:
    """Runs the tasks of all phases, and keeps index.json up to date with what became of them."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._folder: Path = options.out
        self._budget = Budget(options.budget_s)
        self._parallel = options.parallel or default_parallel(options.device)
        self._tasks: list[Task] = []
        self._memory_at_start = device_memory()

    def run(self) -> bool:
        """Whether all that was asked for came to its end."""
        wanted = self._options.only.split(",") if self._options.only else list(SECTIONS)
        phases = [(share, list(tasks_of(names, wanted))) for share, names in PHASES]
        phases = [(share, tasks) for share, tasks in phases if tasks]
        self._tasks = [task for _, tasks in phases for task in tasks]
        shares = sum(share for share, _ in phases)
        self._write_index()
        try:
            for share, tasks in phases:
                # Time that earlier phases left over is shared by those that follow.
                phase_s = max(self._budget.left_s(), 0) * share / shares
                shares -= share
                self._run_phase(tasks, Budget(phase_s))
        finally:
            for task in self._tasks:
                self._stop(task, "the measurement ended")
            self._write_index()
        return all(task.result.get("complete") for task in self._tasks)

    def _run_phase(self, tasks: list[Task], budget: Budget) -> None:
        waiting = list(tasks)
        running: list[Task] = []
        while waiting or running:
            while waiting and len(running) < self._parallel:
                task = waiting.pop(0)
                left_s = budget.left_s()
                if left_s < LEAST_BUDGET_S and task is not tasks[0]:
                    task.result = {"complete": False, "reason": "no time was left"}
                    self._say(f"{task.name}: no time was left")
                    continue
                self._start(task, max(left_s, LEAST_BUDGET_S), len(tasks))
                running.append(task)
            time.sleep(0.05)
            for task in list(running):
                if self._has_ended(task):
                    running.remove(task)
                    self._write_index()

    def _start(self, task: Task, budget_s: float, task_count: int) -> None:
        environment = {
            name: value for name, value in os.environ.items() if name not in ALLOCATOR_VARIABLES
        }
        if task.section == "allocator" and SETTINGS[task.argument].configuration:
            environment[ALLOCATOR_VARIABLES[0]] = SETTINGS[task.argument].configuration
        if task_count > 1:
            threads = max((os.cpu_count() or 1) // min(self._parallel, task_count), 1)
            environment.setdefault("OMP_NUM_THREADS", str(threads))
        task.stderr = tempfile.TemporaryFile()  # noqa: SIM115 (closed when the task ends)
        task.start_s = time.monotonic()
        task.deadline_s = task.start_s + budget_s + GRACE_S
        task.process = subprocess.Popen(
            [
                sys.executable,
                str(Path(__file__).resolve()),
                f"--worker={task.name}",
                f"--out={self._folder}",
                f"--device={self._options.device}",
                f"--size={self._options.size}",
                f"--budget-s={budget_s:.1f}",
            ],
            stderr=task.stderr,
            env=environment,
        )

    def _has_ended(self, task: Task) -> bool:
        assert task.process is not None
        code = task.process.poll()
        if code is None:
            if time.monotonic() < task.deadline_s:
                return False
            self._stop(task, "stopped: it ran past its time")
            return True
        self._note_end(task, {"complete": code == 0, "exit_code": code})
        return True

    def _stop(self, task: Task, reason: str) -> None:
        if task.process is None or task.result:
            return
        task.process.kill()
        task.process.wait()
        self._note_end(task, {"complete": False, "reason": reason})

    def _note_end(self, task: Task, result: dict[str, Any]) -> None:
        seconds = time.monotonic() - task.start_s
        task.result = {**result, "seconds": round(seconds, 1)}
        if task.stderr is not None:
            size = task.stderr.seek(0, os.SEEK_END)
            task.stderr.seek(max(size - 1500, 0))
            text = task.stderr.read().decode(errors="replace")
            task.stderr.close()
            if text:
                task.result["stderr"] = text
        self._say(f"{task.name}: {'done' if result['complete'] else result} in {seconds:.1f} s")

    def _write_index(self) -> None:
        """Replace index.json in one step, so that it is whole at any moment."""
        index = {
            "format": FORMAT_VERSION,
            "device": self._options.device,
            "size": self._options.size,
            "parallel": self._parallel,
            "budget_s": self._options.budget_s,
            "seconds": round(self._budget.spent_s(), 1),
            "device_memory_mib_at_start": self._memory_at_start,
            "tasks": {task.name: task.result for task in self._tasks},
            "files": {
                path.name: path.stat().st_size for path in sorted(self._folder.glob("*.jsonl"))
            },
        }
        new = self._folder / "index.json.new"
        new.write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
        new.replace(self._folder / "index.json")

    def _say(self, text: str) -> None:
        print(f"[{self._budget.spent_s():6.1f} s] {text}", flush=True)


def tasks_of(sections: list[str], wanted: list[str]) -> Iterator[Task]:
    """The tasks of `sections` that `wanted` names, as a whole ("memory") or in part ("memory:unet_fp32")."""
    for section in sections:
        for argument in ARGUMENTS.get(section, [""]):
            task = Task(section, argument)
            if section in wanted or task.name in wanted:
                yield task


def default_parallel(device: str) -> int:
    """How many processes may share the GPU while no time is measured."""
    processors = os.cpu_count() or 1
    if device == "cpu":
        return min(2, processors)
    rows = smi("--query-gpu=memory.total,compute_mode", "--format=csv,noheader,nounits")
    memory_mib, mode = [*rows[0].split(","), ""][:2] if rows else ("0", "")
    if "Exclusive" in mode:
        return 1
    with contextlib.suppress(ValueError):
        by_memory = int(memory_mib) // MEMORY_OF_A_PROCESS_MIB
        return max(min(6, processors // 2, by_memory), 1)
    return 1


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--out", type=Path, required=True, help="the folder to write to")
    parser.add_argument(
        "--only", default="", help=f"sections, separated by commas, of {', '.join(SECTIONS)}; "
        "memory and allocator also in part, as memory:PROGRAM"
    )  # fmt: skip
    parser.add_argument("--budget-s", type=float, default=300.0, help="seconds for all of it")
    parser.add_argument(
        "--device", choices=("cuda", "cpu"), default="cuda", help="cpu is for tests"
    )
    parser.add_argument(
        "--size", choices=("full", "tiny"), help="of the tensors; tiny is the default on the CPU"
    )
    parser.add_argument(
        "--parallel",
        type=int,
        default=0,
        help="processes on the GPU at once, while none measures time",
    )
    parser.add_argument("--worker", default="", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    options.size = options.size or ("tiny" if options.device == "cpu" else "full")
    known = {*SECTIONS, *(task.name for task in tasks_of(list(SECTIONS), list(SECTIONS)))}
    unknown = {*options.only.split(",")} - known - {""}
    if unknown:
        parser.error(
            f"no such section: {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}"
        )
    return options


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    if options.worker:
        section, _, argument = options.worker.partition(":")
        is_tiny = options.size == "tiny"
        complete = run_section(
            section, argument, options.out, options.device, options.budget_s, is_tiny
        )
    else:
        # So that a stop from outside, too, ends the processes and leaves an index.
        previous = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        try:
            complete = Measurement(options).run()
        finally:
            signal.signal(signal.SIGTERM, previous)
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main())
