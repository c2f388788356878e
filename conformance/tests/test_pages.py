# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a run shows people: the page, the badge, progress, the must-pass list and the environment's fingerprint."""

import dataclasses
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import torch
from torch_remote_conformance import cli, environment, must_pass, page, report
from torch_remote_conformance.case import Failure, Level, Result, Status
from torch_remote_conformance.catalogue import Selection
from torch_remote_conformance.progress import ProgressBar

CHOICES = {"target": "torch:cpu", "level": "L3", "filter": "odd/*", "shard": "1/1", "seed": 0}
ENVIRONMENT = environment.environment(CHOICES, {"device": "cpu"})
PASSED = Result("odd/fine/forward", 2, "fine", Status.PASSED, 3)
WAIVED = Result("odd/known/forward", 2, "known", Status.UNSUPPORTED, 1, 1, waiver="odd/known/*")
FAILED = Result(
    "odd/wrong/forward",
    3,
    "wrong",
    Status.FAILED,
    2,
    1,
    failures=[Failure(1, "float32[2]", "1 < 2 & <script>")],
    script="print('again')",
)


class Texts(HTMLParser):
    """The page's texts, and the classes of its tiles by what they are about."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""
        self.tiles: dict[str, str] = {}

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        if tag == "a":
            self.tiles[str(values["data-name"])] = str(values["class"])


def parsed(folder: Path, *results: Result) -> Texts:
    file = folder / "page.html"
    made = report.Report(ENVIRONMENT, list(results))
    page.write_page(made, file, {"odd/known/*": "because of <that>"})
    texts = Texts()
    texts.feed(file.read_text())
    return texts


def test_page_shows_what_fails(tmp_path: Path) -> None:
    texts = parsed(tmp_path, PASSED, WAIVED, FAILED)
    assert texts.tiles == {"fine": "passed", "known": "waived", "wrong": "failed"}
    for shown in ("1 < 2 & <script>", "float32[2]", "print('again')", "because of <that>"):
        assert shown in texts.text
    assert "torch:cpu failed" in texts.text


def test_page_of_a_good_run(tmp_path: Path) -> None:
    texts = parsed(tmp_path, PASSED)
    assert "torch:cpu passed" in texts.text
    assert "None." in texts.text


def test_a_subject_shows_the_worst_of_its_cases(tmp_path: Path) -> None:
    also = dataclasses.replace(FAILED, id="odd/fine/out", subject="fine", status=Status.CRASHED)
    assert parsed(tmp_path, PASSED, also).tiles == {"fine": "failed"}


@pytest.mark.parametrize(("result", "word"), [(PASSED, "passed"), (FAILED, "failed")])
def test_badge_is_svg(tmp_path: Path, result: Result, word: str) -> None:
    file = tmp_path / "badge.svg"
    page.write_badge(report.Report(ENVIRONMENT, [result]), file)
    root = ET.parse(file).getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.get("aria-label") == f"conformance: L3 {word}"


def test_progress_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressBar() as bar:
        bar.expect(20)
        for _ in range(19):
            bar.add(PASSED)
        bar.add(FAILED)
    shown = capsys.readouterr()
    assert shown.err.splitlines()[0] == "2 of 20 cases, 0 failed"
    assert shown.err.splitlines()[-1] == "20 of 20 cases, 1 failed"
    assert len(shown.err.splitlines()) == 10
    assert "failed: odd/wrong/forward: 1 of 2 samples" in shown.out


def test_fingerprint_follows_from_what_a_run_depends_on() -> None:
    again = environment.environment(CHOICES | {"seed": 5, "level": "L4"}, {"device": "cpu"})
    other = environment.environment(CHOICES, {"device": "cuda:0"})
    assert again["fingerprint"] == ENVIRONMENT["fingerprint"] != other["fingerprint"]
    restarted = environment.environment(CHOICES, {"device": "cpu", "epoch": "7"})
    assert restarted["fingerprint"] == ENVIRONMENT["fingerprint"]
    assert environment.torch_version(ENVIRONMENT) == torch.__version__


# ---- the must-pass list ----

SMALL = must_pass.MustPass(
    "2.13",
    {
        "op/a/forward/float32": Level.L2,
        "op/a/forward/float16": Level.L4,
        "op/a/backward/float32": Level.L3,
        "op/b/out/float32": Level.L2,
    },
)


def test_lists_are_read_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(must_pass, "FOLDER", tmp_path)
    file = must_pass.write(SMALL, tmp_path)
    first = file.read_bytes()
    assert must_pass.find("2.13.0+cpu") == SMALL
    assert must_pass.find("2.12.1") is None
    assert must_pass.write(SMALL, tmp_path).read_bytes() == first
    file.write_text("op/a L9:forward/float32\n")
    with pytest.raises(ValueError, match=r"torch-2\.13\.txt"):
        must_pass.find("2.13.0")


def test_a_run_has_to_show_what_it_selects() -> None:
    assert SMALL.within(Selection(Level.L2)) == {"op/a/forward/float32", "op/b/out/float32"}
    assert SMALL.within(Selection(Level.L3, "op/a/*")) == {
        "op/a/forward/float32",
        "op/a/backward/float32",
    }
    halves = [SMALL.within(Selection(shard=(number, 2))) for number in (1, 2)]
    assert halves[0] | halves[1] == set(SMALL.levels)
    assert not halves[0] & halves[1]


def test_a_case_that_is_not_there_fails_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(must_pass, "FOLDER", tmp_path)
    made = report.Report(ENVIRONMENT | {"filter": "op/*", "level": "L2"})
    made.results = [Result("op/b/out/float32", 2, "b", Status.PASSED, 1)]
    assert made.is_green  # there is no list yet
    must_pass.write(
        dataclasses.replace(SMALL, version=must_pass.minor(torch.__version__)), tmp_path
    )
    assert made.must_pass()["missing"] == ["op/a/forward/float32"]
    assert not made.is_green
    made.results.append(Result("op/a/forward/float32", 2, "a", Status.PASSED, 1))
    assert made.is_green
    made.results[-1].status = Status.EXPECTED_FAILURE
    assert made.must_pass()["missing"] == ["op/a/forward/float32"]


def test_the_own_list_is_up_to_date() -> None:
    if must_pass.find(torch.__version__) is None:
        pytest.skip(f"there is no list for torch {torch.__version__}")
    assert cli.main(["must-pass", "--check"]) == 0
