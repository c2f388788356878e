# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Cases of random programs: of views and memory, of inference, and of training.

The run's seed decides which. A failure is made short, and its report holds a program that shows it again.
"""

from collections.abc import Callable, Iterator
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase, Verbosity

from torch_remote_conformance import program_steps as steps
from torch_remote_conformance.case import Case, Level, Recorder
from torch_remote_conformance.comparing import CLASS_FACTORS, Comparison
from torch_remote_conformance.family import finished
from torch_remote_conformance.random_programs import Lines, programs, replay, script, shortened
from torch_remote_conformance.target import Target

_SHORT = (3, 6, 10)

#: What a case draws, its level, how many programs, and which class of tolerances they have elsewhere.
_CASES: dict[str, tuple[Any, Level, int, str]] = {
    "views": (
        programs((steps.create, *steps.VIEWS, *steps.WRITES), steps.start),
        Level.L1,
        25,
        "pointwise",
    ),
    "memory": (programs(steps.MEMORY, steps.start), Level.L1, 30, "pointwise"),
    "strides": (
        programs(
            (steps.create_strided, steps.restride, steps.assign, steps.duplicate),
            steps.create_strided,
            lengths=_SHORT,
        ),
        Level.L1,
        150,
        "pointwise",
    ),
    "inference": (programs(steps.INFERENCE, steps.start), Level.L2, 30, "reduction"),
    "short_inference": (
        programs(steps.COMPUTING, steps.start, lengths=_SHORT),
        Level.L2,
        150,
        "reduction",
    ),
    "training": (
        programs(steps.DIFFERENTIABLE, steps.leaves, steps.backward, lengths=(30, 60)),
        Level.L3,
        25,
        "decomposition",
    ),
    "short_training": (
        programs(steps.DIFFERENTIABLE, steps.leaves, steps.backward, lengths=_SHORT),
        Level.L3,
        120,
        "decomposition",
    ),
}


def cases(_: Target) -> Iterator[Case]:
    """Those of each kind of program."""
    for name, (drawn, level, count, tolerance) in _CASES.items():
        yield Case(f"program/{name}", level, _explorer(drawn, count, tolerance), "random programs")


def _explorer(drawn: Any, count: int, tolerance: str) -> Callable[[Recorder], None]:
    def run(recorder: Recorder) -> None:
        how = Comparison(recorder.target.computes_as_cpu, CLASS_FACTORS[tolerance])
        explore(recorder, drawn, count, how)

    return run


def explore(recorder: Recorder, drawn: Any, count: int, how: Comparison) -> None:
    """Runs programs until one fails, and records a short form of that one.

    Args:
        recorder: gets a sample for each program.
        drawn: a strategy of programs.
        count: how many.
        how: their results are compared.
    """
    target = recorder.target
    failing: Lines | None = None

    def attempt(lines: Lines) -> None:
        nonlocal failing
        if failing is None:
            recorder.samples += 1
        try:
            with finished(target):
                replay(lines, target, how)
        except Exception:
            failing = lines  # the last one is hypothesis' smallest
            raise

    # Not all versions of hypothesis have types for it.
    given: Callable[..., Any] = hypothesis.given
    settings = hypothesis.settings(
        max_examples=count,
        database=None,
        deadline=None,
        derandomize=False,
        verbosity=Verbosity.quiet,
        phases=(Phase.generate, Phase.shrink),
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    explored: Callable[[], None] = hypothesis.seed(recorder.seed)(settings(given(drawn)(attempt)))
    try:
        explored()
    except Exception:
        if failing is None:
            raise  # the suite's own error
    if failing is not None:
        _record(recorder, failing, how)


def _record(recorder: Recorder, failing: Lines, how: Comparison) -> None:
    lines = shortened(failing, lambda some: _failure(some, recorder.target, how) is not None)
    message = _failure(lines, recorder.target, how) or "does not fail again"
    recorder.fail(max(recorder.samples - 1, 0), "; ".join(lines)[-300:], message)
    recorder.script = script(lines, recorder.target, how)


def _failure(lines: Lines, target: Target, how: Comparison) -> str | None:
    """What a program fails with; None where it doesn't, or is none any more."""
    try:
        with finished(target):
            replay(lines, target, how)
    except NameError:
        return None
    except Exception as error:  # noqa: BLE001 (it is what is asked for)
        return str(error) or type(error).__name__
    return None
