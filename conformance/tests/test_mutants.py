# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""The runner of mutants; ./dev mutants runs all of them, conformance/mutants has the tests of the mutants."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch_remote_conformance import catalogue, mutant_runs, mutants, reach
from torch_remote_conformance.case import Case, Recorder
from torch_remote_conformance.catalogue import Selection
from torch_remote_conformance.mutant_runs import Task
from torch_remote_conformance.target import Target

CPU = Target("torch:cpu", torch.device("cpu"), computes_as_cpu=True, draws_as_cpu=True)


def test_reached_cases_are_kept(tmp_path: Path) -> None:
    reached = {"calls.aten::add.Tensor": ["op/b", "op/a"], "commands.seed": ["op/a"]}
    file = tmp_path / "reach.json"
    assert reach.read(file) == {}
    reach.write(file, reached)
    assert reach.read(file) == reached


def test_records_are_merged() -> None:
    old = {"calls.x": ["op/a", "op/b"], "calls.y": ["op/a"]}
    new = {"calls.x": ["op/b", "op/c"], "calls.z": ["op/d"]}
    assert reach.merged(old, new) == {
        "calls.x": ["op/a", "op/b", "op/c"],
        "calls.y": ["op/a"],
        "calls.z": ["op/d"],
    }


def test_cases_of_the_operator_come_first_then_the_smallest() -> None:
    found = {
        "op/large/forward/float32": {"calls.aten::neg": 1, "calls.aten::add.Tensor": 500},
        "op/small/forward/float32": {"calls.aten::neg": 2},
        "op/neg/forward/float32": {"calls.aten::neg": 90},
        "op/middle/forward/float32": {"calls.aten::neg": 50},
        "module/nn.Neg/train/float32": {"calls.aten::neg": 60},
    }
    assert reach._chosen(found)["calls.aten::neg"] == [
        "op/neg/forward/float32",
        "op/small/forward/float32",
        "module/nn.Neg/train/float32",
    ]


def test_few_samples_are_recorded() -> None:
    recorder = reach._FewSamples(CPU, seed=0)
    ran = []

    def run(recorder: Recorder) -> None:
        for number in range(1000):
            with recorder.sample():
                ran.append(number)

    with pytest.raises(reach._FewSamples.Enough):
        run(recorder)
    assert len(ran) == reach._SAMPLES


@pytest.mark.parametrize(
    ("text", "taken"),
    [("1,5", {1, 5}), ("3-6", {3, 4, 5, 6}), ("1,8-9", {1, 8, 9}), ("4n", {4, 8})],
)
def test_some_mutants_are_taken(text: str, taken: set[int]) -> None:
    numbers = mutants._numbers(text)
    assert {number for number in range(1, 10) if numbers(number)} == taken


def test_the_order_is_given_cases_then_programs_then_tables() -> None:
    cases = {
        name: Case(name, mutant_runs.SELECTION.level, lambda _: None, name)
        for name in ("op/b/forward/float32", "storages/x", "op/a/forward/float32", "module/m")
    }
    task = Task(1, ["op/a/forward/float32", "op/gone"], 1.0)
    assert mutant_runs._order(task, cases) == ["op/a/forward/float32"]
    whole = mutant_runs._order(Task(1, ["op/a/forward/float32"], 1.0, then_all=True), cases)
    assert whole[:2] == ["op/a/forward/float32", "storages/x"]
    # Of those given, too.
    given = Task(1, ["op/a/forward/float32", "storages/x"], 1.0, then_all=True)
    assert mutant_runs._order(given, cases)[:2] == ["storages/x", "op/a/forward/float32"]
    assert sorted(whole) == sorted(cases)


def test_recorded_cases_exist() -> None:
    """Cases keep their ids, so those of the record are there, at a level that mutants are caught at."""
    remote = Target("mutant", torch.device("remote", 0), computes_as_cpu=True, draws_as_cpu=True)
    tables = [
        "torch_remote_conformance.operators",
        "torch_remote_conformance.modules",
        "torch_remote_conformance.optimizers",
        "torch_remote_conformance.foreach",
    ]
    selection = Selection(mutant_runs.SELECTION.level, families=tables)
    known = {case.id for case in catalogue.cases(remote, selection)}
    prefixes = ("op/", "module/", "optimizer/", "foreach/")
    recorded = {
        case
        for which in reach.read(mutants._REACH).values()
        for case in which
        if case.startswith(prefixes)
    }
    assert recorded
    assert len(recorded - known) < len(recorded) / 20, sorted(recorded - known)[:10]


@pytest.mark.slow
def test_a_mutant_is_caught_and_reported(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    if not mutants._PROGRAM.exists():
        pytest.skip("build/dev/bin/mutant_executor is built with the tests: ./dev build")
    report = tmp_path / "report.json"
    # One of an operator, of which an empty record has no cases, and one that frees late.
    command = [sys.executable, "-m", "torch_remote_conformance.mutants", "--workers", "1"]
    command += ["--only", "1,196", "--reach", str(tmp_path / "none.json"), "--json", str(report)]
    ended = subprocess.run(command, check=False, timeout=300)
    results = {one["number"]: one for one in json.loads(report.read_text())}
    assert results[196]["killer"].startswith("executor_storages/")
    assert results[196]["acted"] > 0
    assert not results[1]["killer"]
    assert results[1]["is_complete"]
    assert results[1]["ran"] == 0
    assert ended.returncode == 1
    assert "mutants FAILED: 1 of 2 caught" in capfd.readouterr().out
