# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""The suite's own machinery: which cases run, how they end, and what the report says."""

import datetime as dt
import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import torch
from torch_remote_conformance import catalogue, cli, report, sources, waivers, workers
from torch_remote_conformance.case import Failure, Level, Recorder, Result, Status
from torch_remote_conformance.catalogue import Selection
from torch_remote_conformance.comparing import assert_same
from torch_remote_conformance.placing import placed
from torch_remote_conformance.target import Address, Target

ADDRESS = Address("torch:cpu")
CPU = Target("torch:cpu", torch.device("cpu"), computes_as_cpu=True, draws_as_cpu=True)
ODD = ("odd_cases",)
TODAY = dt.date(2026, 1, 2)


@pytest.fixture(scope="module")
def odd_results() -> dict[str, Result]:
    options = workers.Options(worker_count=2, timeout_s=5.0)
    selection = Selection(Level.L4, families=ODD)
    return {one.id: one for one in workers.run(ADDRESS, selection, options)}


def test_every_end_of_a_case(odd_results: dict[str, Result]) -> None:
    assert {name: one.status for name, one in odd_results.items()} == {
        "odd/passes": Status.PASSED,
        "odd/fails": Status.FAILED,
        "odd/crashes": Status.CRASHED,
        "odd/hangs": Status.TIMED_OUT,
        "odd/raises": Status.FAILED,
    }


def test_failures_are_counted_and_told(odd_results: dict[str, Result]) -> None:
    fails = odd_results["odd/fails"]
    assert (fails.samples, fails.failed) == (5, 3)
    assert fails.failures[0].label == "sample 2"
    assert "too <large>" in fails.failures[0].message
    assert "not a sample's error" in odd_results["odd/raises"].failures[0].message
    assert "exit code -6" in odd_results["odd/crashes"].failures[0].message


def test_fail_fast_names_what_did_not_run() -> None:
    options = workers.Options(fail_fast=True)
    results = list(workers.run(ADDRESS, Selection(Level.L4, families=ODD), options))
    assert [one.status for one in results] == [Status.PASSED, Status.FAILED] + [Status.NOT_RUN] * 3


def test_target_that_cannot_be_had() -> None:
    with pytest.raises(workers.WorkerError, match="torch has no such device here"):
        list(workers.run(Address("torch:xyz"), Selection(families=ODD), workers.Options()))


def test_case_that_breaks_the_target_costs_no_other() -> None:
    selection = Selection(pattern="remote/*", families=ODD)
    results = list(workers.run(Address("emulator:T4"), selection, workers.Options()))
    assert [(one.id, one.status) for one in results] == [
        ("remote/breaks", Status.FAILED),
        ("remote/computes", Status.PASSED),
    ]


def test_shards_are_a_partition() -> None:
    whole = {case.id for case in catalogue.cases(CPU, Selection(Level.L2))}
    parts = [
        {case.id for case in catalogue.cases(CPU, Selection(Level.L2, shard=(number, 3)))}
        for number in (1, 2, 3)
    ]
    assert set.union(*parts) == whole
    assert sum(map(len, parts)) == len(whole)
    assert min(map(len, parts)) > len(whole) / 4


def test_ids_are_unique_and_levels_are_used() -> None:
    cases = list(catalogue.cases(CPU, Selection()))
    assert len({case.id for case in cases}) == len(cases) > 10_000
    assert {case.level for case in cases} >= {Level.L2, Level.L3, Level.L4}


def waiver(**changes: str) -> waivers.Waiver:
    fields = {"id": "op/a/*", "reason": "known", "kind": "expected failure"}
    return waivers.Waiver(**(fields | changes))


@pytest.mark.parametrize(
    ("changes", "status", "expected"),
    [
        ({}, Status.FAILED, Status.EXPECTED_FAILURE),
        ({"kind": "unsupported"}, Status.FAILED, Status.UNSUPPORTED),
        ({}, Status.PASSED, Status.UNEXPECTED_PASS),
        ({}, Status.CRASHED, Status.CRASHED),
        ({}, Status.NOT_RUN, Status.NOT_RUN),
        ({"expires": "2026-01-01"}, Status.FAILED, Status.FAILED),
        ({"expires": "2026-01-02"}, Status.FAILED, Status.EXPECTED_FAILURE),
        ({"versions": "<2.13"}, Status.FAILED, Status.FAILED),
        ({"targets": "local:*"}, Status.FAILED, Status.FAILED),
        ({"except_targets": "emulator:*"}, Status.FAILED, Status.FAILED),
        ({"id": "op/b/*"}, Status.FAILED, Status.FAILED),
    ],
)
def test_waivers(changes: dict[str, str], status: Status, expected: Status) -> None:
    known = waivers.Waivers([waiver(**changes)], "emulator:T4", "2.13.0", TODAY)
    assert known.apply(Result("op/a/b", 2, "a", status)).status is expected


@pytest.mark.parametrize(
    "changes", [{"reason": " "}, {"kind": "skip"}, {"versions": "two"}, {"expires": "soon"}]
)
def test_bad_waivers_are_refused(tmp_path: Path, changes: dict[str, str]) -> None:
    entry = {"id": "op/a/*", "reason": "known", "kind": "unsupported"} | changes
    file = tmp_path / "waivers.json"
    file.write_text(json.dumps([entry]))
    with pytest.raises(ValueError, match=r"waivers\.json"):
        waivers.read(file)


def test_own_waivers_concern_few_operators() -> None:
    known = waivers.Waivers(waivers.read(), "emulator:T4", torch.__version__, dt.date.today())
    touched = {
        case.subject
        for case in catalogue.cases(CPU, Selection(pattern="op/*"))
        if known.apply(Result(case.id, 2, "", Status.FAILED)).waiver
    }
    assert 0 < len(touched) <= 7, sorted(touched)


def reported(*results: Result) -> report.Report:
    return report.Report({"target": "torch:cpu"}, list(results))


PASSED = Result("op/a/b", 2, "a", Status.PASSED, 3)
FAILED = Result("op/c/d", 3, "c", Status.FAILED, 2, 1, 0.5, [Failure(1, "x", "a < b\x00")])


def test_reports_are_read_as_written(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    made = reported(PASSED, FAILED)
    made.write(file)
    assert report.read(file).results == made.results
    assert made.summary()["score"] == 0.5
    assert not made.is_green
    assert not reported().is_green
    assert reported(PASSED).is_green


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"status": "failed"', '"status": "passed"'),
        ('"id": "op/a/b"', '"id": "op/a/x"'),
        ('"samples": 3', '"samples": 9'),
        ('"schema": 1', '"schema": 9'),
        ('"id": "op/c/d"', '"id": "op/a/b"'),
        ("{", "["),
    ],
)
def test_reports_that_were_changed_are_refused(tmp_path: Path, old: str, new: str) -> None:
    file = tmp_path / "report.json"
    reported(PASSED, FAILED).write(file)
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    with pytest.raises(ValueError, match="report"):
        report.read(file)


def test_junit_is_xml(tmp_path: Path) -> None:
    file = tmp_path / "junit.xml"
    reported(PASSED, FAILED).write_junit(file)
    cases = ET.parse(file).getroot().findall("testcase")
    assert [case.get("name") for case in cases] == ["a/b", "c/d"]
    failure = cases[1].find("failure")
    assert failure is not None
    assert failure.text == "a < b"


def test_diff_fails_for_what_got_worse(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    reported(PASSED).write(old)
    reported(Result("op/a/b", 2, "a", Status.FAILED, 3, 1)).write(new)
    assert cli.main(["diff", str(old), str(new)]) == 1
    assert "op/a/b: passed -> failed" in capsys.readouterr().out
    assert cli.main(["diff", str(new), str(old)]) == 0


@pytest.mark.parametrize(
    "words", [["run", "--device", "x"], ["run", "--device", "torch:xyz"], ["verify", "/none.json"]]
)
def test_wrong_usage_is_told(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words) == 2
    assert capsys.readouterr().err.startswith("torch-remote conformance: ")


@pytest.mark.parametrize("words", [["--level", "L9"], ["--shard", "3/2"], ["--shard", "all"]])
def test_wrong_options_are_told(words: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main(["run", "--device", "torch:cpu", *words])


def test_copies_share_as_the_originals_do() -> None:
    base = torch.arange(12.0).view(3, 4)
    whole, column = placed((base, base[:, 1]), torch.device("cpu"))
    column.zero_()
    assert whole[:, 1].tolist() == [0.0, 0.0, 0.0]
    assert base[0, 1] == 1.0
    assert column.stride() == (4,)
    assert column.storage_offset() == 1


@pytest.mark.parametrize(
    ("actual", "expected"),
    [
        (torch.zeros(2), torch.zeros(3)),
        (torch.zeros(2), torch.zeros(2, dtype=torch.float64)),
        (torch.zeros(2, 2), torch.zeros(2, 2).t()),
        (torch.zeros(1), -torch.zeros(1)),
        (torch.zeros(2, dtype=torch.complex64).conj(), torch.zeros(2, dtype=torch.complex64)),
        ([torch.zeros(1)], [torch.zeros(1)] * 2),
        (1, 1.0),
    ],
)
def test_what_differs_is_seen(actual: object, expected: object) -> None:
    with pytest.raises(AssertionError):
        assert_same(actual, expected)


def test_scripts_run_by_themselves(tmp_path: Path) -> None:
    [case] = catalogue.cases(CPU, Selection(pattern="op/neg/forward/float32"))
    assert case.reproduce is not None
    script = tmp_path / "script.py"
    script.write_text(case.reproduce(CPU, 0, 1))
    # CPU agrees with itself.
    subprocess.run([sys.executable, str(script)], check=True, timeout=200)


def test_only_one_sample_counts_where_one_is_asked_for() -> None:
    recorder = Recorder(CPU, 0, only=1)
    for number in range(3):
        with recorder.sample(str(number)):
            raise ValueError(str(number))
    assert [failure.sample for failure in recorder.failures] == [1]


def test_samples_are_the_same_every_time() -> None:
    info = sources.operators()["add"]
    first, second = (
        sources.samples(info, torch.float32, 0, requires_grad=False)[1].positional[0]
        for _ in range(2)
    )
    assert first is not second
    assert torch.equal(first, second)
