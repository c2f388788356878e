# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""A family of cases that end in every way."""

import os
import time
from collections.abc import Iterator

import torch
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


def breaks(recorder: Recorder) -> None:
    if recorder.target.is_remote:
        import torch_remote

        torch_remote.machine(recorder.target.device).stop()
    with recorder.sample():
        torch.zeros(1, device=recorder.target.device).item()


def computes(recorder: Recorder) -> None:
    with recorder.sample():
        assert torch.ones(2, device=recorder.target.device).sum().item() == 2


def cases(target: Target) -> Iterator[Case]:
    for function in (passes, fails, crashes, hangs, raises):
        name = function.__name__
        yield Case(f"odd/{name}", Level.L2, function, name)
    if target.is_remote:
        yield Case("remote/breaks", Level.L2, breaks, "breaks")
        yield Case("remote/computes", Level.L2, computes, "computes")
    yield Case("odd/high", Level.L5, passes, "high")
