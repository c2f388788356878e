# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which cases call an operator: where a mutant of it is looked for first.

It is recorded on the executor without a defect, which counts its calls. An old record costs time, for cases that are
tried in vain, and no truth: what is caught is caught by a case that fails.
"""

import contextlib
import json
from collections import defaultdict
from collections.abc import Iterator
from multiprocessing.connection import Connection, wait
from pathlib import Path

from torch_remote_conformance import catalogue, mutant_runs
from torch_remote_conformance.case import Case, Recorder, Status
from torch_remote_conformance.mutant_runs import SELECTION, Server, counts, opened_mutant
from torch_remote_conformance.target import Target
from torch_remote_conformance.workers import run_case

_SAMPLES = 20  # of a case: the others call the same operators, nearly always
_KEPT_PER_CHECK = 2
_RARE_COMMANDS = ("commands.seed", "commands.set_generator_state", "commands.resize")


def read(file: Path) -> dict[str, list[str]]:
    """The cases of each operator, those that call least first. Empty without a file."""
    if not file.exists():
        return {}
    data = json.loads(file.read_text(encoding="utf-8"))
    return {name: [data["cases"][i] for i in which] for name, which in data["operators"].items()}


def write(file: Path, reached: dict[str, list[str]]) -> None:
    """What read() reads."""
    cases = sorted({case for which in reached.values() for case in which})
    numbers = {case: number for number, case in enumerate(cases)}
    lines = [
        f"  {json.dumps(name)}: {json.dumps([numbers[case] for case in which])}"
        for name, which in sorted(reached.items())
    ]
    file.write_text(
        '{"cases": [\n  '
        + ",\n  ".join(map(json.dumps, cases))
        + '\n],\n"operators": {\n'
        + ",\n".join(lines)
        + "\n}}\n",
        encoding="utf-8",
    )


def merged(old: dict[str, list[str]], new: dict[str, list[str]]) -> dict[str, list[str]]:
    """The cases of both, the old ones first."""
    return {
        name: list(dict.fromkeys([*old.get(name, []), *new.get(name, [])]))
        for name in sorted({*old, *new})
    }


def record(program: Path, seed: int, worker_count: int, pattern: str) -> dict[str, list[str]]:
    """Runs the cases of a pattern, of each the first samples, and tells which operators they call."""
    server = Server(program, seed)
    context = mutant_runs._CONTEXT
    found: dict[str, dict[str, int]] = {}
    try:
        pipes = []
        for number in range(worker_count):
            ours, theirs = context.Pipe(duplex=False)
            arguments = (server.endpoint, pattern, number, worker_count, theirs)
            context.Process(target=_work, args=arguments, daemon=True).start()
            theirs.close()
            pipes.append(ours)
        while pipes:
            ready = wait(pipes)
            pipes = [pipe for pipe in pipes if pipe not in ready or _receive(pipe, found)]
    finally:
        server.stop()
    return _chosen(found)


def _receive(pipe: Connection, found: dict[str, dict[str, int]]) -> bool:
    """Takes what one case has called; False where there are no more."""
    try:
        name, called = pipe.recv()
    except EOFError:
        return False
    found[name] = called
    return True


def _chosen(found: dict[str, dict[str, int]]) -> dict[str, list[str]]:
    """Of each operator and each kind of check the cases with the fewest calls, its own first."""
    by_operator: dict[str, dict[str, list[tuple[bool, int, str]]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for case, called in found.items():
        family, subject, check = (*case.split("/"), "", "")[:3]
        total = sum(called.values())
        for operator in called:
            base = operator.removeprefix("calls.aten::").partition(".")[0].strip("_")
            is_own = subject.rpartition(".")[2] == base
            by_operator[operator][f"{family}/{check}"].append((not is_own, total, case))
    chosen = {}
    for operator, checks in by_operator.items():
        best = [one for cases in checks.values() for one in sorted(cases)[:_KEPT_PER_CHECK]]
        chosen[operator] = [case for _, _, case in sorted(best)]
    return chosen


class _FewSamples(Recorder):
    """Ends its case after the first samples."""

    class Enough(Exception):  # noqa: N818 (it is no error)
        """There were as many as are wanted."""

    @contextlib.contextmanager
    def sample(self, label: str = "") -> Iterator[None]:
        if self.samples >= _SAMPLES:
            raise self.Enough
        with super().sample(label):
            yield


def _work(endpoint: str, pattern: str, number: int, count: int, pipe: Connection) -> None:
    selection = catalogue.Selection(SELECTION.level, pattern)
    with opened_mutant(endpoint, 0) as target:
        before = _calls(target)
        for index, case in enumerate(catalogue.cases(target, selection)):
            if index % count != number or not _passes(case, target):
                continue
            after = _calls(target)
            called = {
                name: after[name] - before.get(name, 0)
                for name in after
                if after[name] > before.get(name, 0)
            }
            before = after
            pipe.send((case.id, called))


def _passes(case: Case, target: Target) -> bool:
    if not case.id.startswith("op/"):
        return run_case(case, target, seed=0).status is Status.PASSED
    recorder = _FewSamples(target, seed=0)
    with contextlib.suppress(_FewSamples.Enough):
        case.run(recorder)
    return recorder.failed == 0


def _calls(target: Target) -> dict[str, int]:
    """Counts of operators, and of the commands that only some programs send."""
    return {
        name: count
        for name, count in counts(target).items()
        if name.startswith("calls.") or name in _RARE_COMMANDS
    }
