# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Tests the suite: 200 executors with a defect each, which it has to catch. In a checkout, after ./dev build.

    python -m torch_remote_conformance.mutants

conformance/mutants draws the defects from a seed and serves them; the suite knows nothing of them. A mutant is tried on
cases up to L3 until one fails. Those of one operator are tried on cases that call it (reach.json), the others on all
cases in a fixed order, for a limited time. At the end the cases that caught something are run on the executor without a
defect, where all of them have to pass.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from torch_remote_conformance import mutant_runs, reach
from torch_remote_conformance.mutant_runs import Outcome, Task

_CHECKOUT = Path(__file__).resolve().parents[2]
_PROGRAM = _CHECKOUT / "build/dev/bin/mutant_executor"
_REACH = _CHECKOUT / "conformance/mutants/reach.json"

#: Kinds whose effect shows in programs that do more than call one operator.
_OF_COMMANDS = frozenset({"lost", "repeated", "reordered", "stale read", "leaked", "late free"})
#: What part of the mutants has to be caught.
_WANTED = 0.98


@dataclass(frozen=True)
class Mutant:
    """An executor with a defect, as mutant_executor --list tells."""

    number: int
    kind: str
    #: What a case has to do to meet it, as reach.py names it; empty where every case does.
    met_by: str
    text: str


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command. 0: enough mutants are caught; 1: too few; 2: wrong usage."""
    options = _parser().parse_args(arguments)
    if not options.program.exists():
        print(f"{options.program} is missing: run ./dev build", file=sys.stderr)
        return 2
    mutant_runs.prepare()
    if options.record:
        found = reach.record(options.program, options.seed, options.workers, options.record)
        reach.write(options.reach, reach.merged(reach.read(options.reach), found))
        print(f"{options.reach}: cases of {len(found)} operators and commands")
        return 0
    start = time.monotonic()
    mutants = [one for one in listed(options.program, options.seed) if options.takes(one.number)]
    outcomes = _tried(mutants, options)
    wrong = _control(outcomes.values(), options)
    _show(mutants, outcomes, time.monotonic() - start)
    if options.json:
        results = [asdict(one) | asdict(outcomes[one.number]) for one in mutants]
        options.json.write_text(json.dumps(results, indent=1), encoding="utf-8")
    if wrong:
        print(f"fails without a defect as well: {wrong}", file=sys.stderr)
    caught = sum(bool(one.killer) for one in outcomes.values())
    return 0 if not wrong and caught >= _WANTED * len(mutants) else 1


def listed(program: Path, seed: int) -> list[Mutant]:
    """The mutants of a seed."""
    lines = subprocess.run(
        [str(program), "--list", str(seed)], check=True, capture_output=True, text=True
    ).stdout
    return [Mutant(**json.loads(line)) for line in lines.splitlines()]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="torch_remote_conformance.mutants",
        description="Tests the conformance suite on executors with a defect.",
    )
    parser.add_argument("--program", type=Path, default=_PROGRAM, help="mutant_executor")
    parser.add_argument("--reach", type=Path, default=_REACH, metavar="FILE")
    parser.add_argument("--seed", type=int, default=20, help="of the mutants")
    parser.add_argument(
        "--only",
        dest="takes",
        type=_numbers,
        default=lambda _: True,
        metavar="NUMBERS",
        help="such as 1,5,80-95, or 5n: every fifth",
    )
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, metavar="COUNT")
    parser.add_argument(
        "--budget-s",
        type=float,
        default=30.0,
        metavar="SECONDS",
        help="of work for one mutant; inf: all cases up to L3",
    )
    parser.add_argument("--case-timeout-s", type=float, default=300.0, metavar="SECONDS")
    parser.add_argument("--json", type=Path, metavar="FILE", help="writes the results")
    parser.add_argument(
        "--record",
        metavar="PATTERN",
        help="adds to reach.json what these cases call, such as '*'; remove the file to begin anew",
    )
    return parser


class _numbers:  # noqa: N801 (a function that is made of a text)
    """Which mutants are meant."""

    def __init__(self, text: str) -> None:
        self._every = int(text[:-1]) if text.endswith("n") else 0
        self._numbers: set[int] = set()
        for part in [] if self._every else text.split(","):
            first, _, last = part.partition("-")
            self._numbers |= set(range(int(first), int(last or first) + 1))

    def __call__(self, number: int) -> bool:
        return number % self._every == 0 if self._every else number in self._numbers


def _tried(mutants: Sequence[Mutant], options: argparse.Namespace) -> dict[int, Outcome]:
    reached = reach.read(options.reach)
    by_number = {one.number: one for one in mutants}
    is_whole = options.budget_s == float("inf")
    tasks = (
        Task(
            one.number,
            reached.get(one.met_by, []),
            options.budget_s,
            then_all=is_whole or one.kind in _OF_COMMANDS,
        )
        for one in mutants
    )
    outcomes: dict[int, Outcome] = {}
    for outcome in mutant_runs.run(
        tasks, options.program, options.seed, options.workers, options.case_timeout_s
    ):
        outcomes[outcome.mutant] = outcome
        _show_one(by_number[outcome.mutant], outcome, len(outcomes))
    return outcomes


def _control(outcomes: Iterable[Outcome], options: argparse.Namespace) -> str:
    """A case that has caught something and fails without a defect as well; empty if there is none."""
    killers = sorted({one.killer for one in outcomes if one.killer})
    parts = [killers[number :: options.workers] for number in range(options.workers)]
    for outcome in mutant_runs.run(
        (Task(0, part, float("inf")) for part in parts if part),
        options.program,
        options.seed,
        options.workers,
        3 * options.case_timeout_s,
    ):
        if outcome.killer:
            return f"{outcome.killer}: {outcome.why}"
    return ""


def _show_one(mutant: Mutant, outcome: Outcome, count: int) -> None:
    fate = f"caught by {outcome.killer}" if outcome.killer else "SURVIVED"
    print(
        f"{count:3} mutant {mutant.number}: {mutant.text}: {fate} "
        f"({outcome.ran} cases, {outcome.seconds:.1f} s, acted {outcome.acted} times)",
        flush=True,
    )


def _show(mutants: Sequence[Mutant], outcomes: dict[int, Outcome], seconds: float) -> None:
    by_kind: dict[str, list[Outcome]] = defaultdict(list)
    for one in mutants:
        by_kind[one.kind].append(outcomes[one.number])
    print(f"\n{'kind':14} {'mutants':>8} {'caught':>7} {'cases each':>11} {'seconds each':>13}")
    for kind, those in by_kind.items():
        caught = sum(bool(one.killer) for one in those)
        cases = sum(one.ran for one in those) / len(those)
        each_s = sum(one.seconds for one in those) / len(those)
        print(f"{kind:14} {len(those):8} {caught:7} {cases:11.1f} {each_s:13.1f}")
    survivors = [one for one in mutants if not outcomes[one.number].killer]
    for one in survivors:
        outcome = outcomes[one.number]
        extent = "all its cases" if outcome.is_complete else "cases as long as the time allowed"
        print(
            f"survivor {one.number}: {one.text}; {outcome.ran} cases ({extent}), "
            f"acted {outcome.acted} times"
        )
    caught = len(mutants) - len(survivors)
    verdict = "passed" if caught >= _WANTED * len(mutants) else "FAILED"
    print(
        f"mutants {verdict}: {caught} of {len(mutants)} caught "
        f"({100 * caught / len(mutants):.1f} %), {seconds:.0f} s"
    )


if __name__ == "__main__":
    sys.exit(main())
