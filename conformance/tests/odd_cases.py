# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""A family of cases that end in every way."""

import os
import time
from collections.abc import Iterator

from torch_remote_conformance.case import Case, Level, Recorder
from torch_remote_conformance.target import Target


def passes(recorder: Recorder) -> None:
    with recorder.sample("a sample"):
        pass


def fails(recorder: Recorder) -> None:
    for number in range(5):
        with recorder.sample(f"sample {number}"):
            assert number < 2, "too <large>"


def crashes(_: Recorder) -> None:
    os.abort()


def hangs(_: Recorder) -> None:
    time.sleep(1000)


def raises(_: Recorder) -> None:
    raise OSError("not a sample's error")


def cases(_: Target) -> Iterator[Case]:
    for function in (passes, fails, crashes, hangs, raises):
        name = function.__name__
        yield Case(f"odd/{name}", Level.L2, function, name)
    yield Case("odd/high", Level.L5, passes, "high")
