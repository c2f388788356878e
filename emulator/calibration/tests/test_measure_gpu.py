# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""The tool as a program, and what its records are written with."""

import json
import math
from pathlib import Path

import measure_gpu
import pytest
from gpu_measurements import sections
from gpu_measurements.kernels import Kernel, short_name, split_at_markers, summarize
from gpu_measurements.recording import (
    FAILURES_IN_A_ROW_LIMIT,
    Recorder,
    SectionEnded,
    read_records,
    rounded,
)
from gpu_measurements.sections import run_section
from gpu_measurements.target import Session


@pytest.mark.slow
def test_the_program_writes_an_index_and_files(tmp_path: Path) -> None:
    arguments = ["--out", str(tmp_path / "new"), "--device=cpu", "--budget-s=200", "--parallel=2"]
    assert measure_gpu.main([*arguments, "--only=device,allocator:default"]) == 0
    index = json.loads((tmp_path / "new/index.json").read_text())
    assert set(index["tasks"]) == {"device", "allocator:default"}
    assert all(task["complete"] for task in index["tasks"].values())
    assert set(index["files"]) == {"device.jsonl", "allocator-default.jsonl"}
    records = read_records(tmp_path / "new", "allocator-default")
    assert [record["kind"] for record in records] == ["file", "program", "skipped", "end"]


def test_a_process_that_runs_too_long_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure_gpu, "GRACE_S", -1000.0)
    assert measure_gpu.main(["--out", str(tmp_path), "--device=cpu", "--only=device"]) == 1
    index = json.loads((tmp_path / "index.json").read_text())
    assert "past its time" in index["tasks"]["device"]["reason"]


@pytest.mark.slow
def test_tasks_without_time_are_told(tmp_path: Path) -> None:
    arguments = ["--out", str(tmp_path), "--device=cpu", "--budget-s=0", "--parallel=1"]
    only = "--only=allocator:default,allocator:two_streams"
    assert measure_gpu.main([*arguments, only]) == 1
    index = json.loads((tmp_path / "index.json").read_text())
    assert index["tasks"]["allocator:two_streams"]["reason"] == "no time was left"


def test_unknown_sections_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        measure_gpu.main(["--out", str(tmp_path), "--only=device,tim"])
    assert "no such section: tim" in capsys.readouterr().err


def test_a_section_that_raises_ends_in_a_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(session: Session) -> None:
        session.recorder.write("first")
        raise RuntimeError("broken")

    monkeypatch.setitem(sections.SECTIONS, "device", fail)
    assert not run_section("device", "", tmp_path, "cpu", 10, True)
    kinds = [record["kind"] for record in read_records(tmp_path, "device")]
    assert kinds == ["file", "first", "error", "end"]


def test_records_are_on_disk_at_once_and_files_are_split(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, "part", part_limit_bytes=500)
    for number in range(20):
        recorder.write("record", number=number, text="x" * 80)
        assert read_records(tmp_path, "part")[-1]["number"] == number
    assert recorder.intern("name") == recorder.intern("name") == 0
    recorder.close()
    paths = sorted(tmp_path.glob("part*.jsonl"))
    assert len(paths) > 3
    assert all(path.stat().st_size < 700 for path in paths)
    numbers = [r["number"] for r in read_records(tmp_path, "part") if r["kind"] == "record"]
    assert numbers == list(range(20))
    assert [r["text"] for r in read_records(tmp_path, "part") if r["kind"] == "text"] == ["name"]


def test_a_line_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "cut.jsonl").write_text('{"kind":"file"}\n{"kind":"rec')
    assert read_records(tmp_path, "cut") == [{"kind": "file"}]


def test_failures_are_recorded_and_too_many_end_a_section(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, "failures")
    assert recorder.attempt("fine", lambda: 5) == 5

    def refuse() -> None:
        raise NotImplementedError("no such kernel")

    def fail() -> None:
        raise ValueError("broken")

    for _ in range(2 * FAILURES_IN_A_ROW_LIMIT):
        assert recorder.attempt("refused", refuse) is None
    for _ in range(FAILURES_IN_A_ROW_LIMIT - 1):
        recorder.attempt("failing", fail)
    recorder.attempt("fine", lambda: 5)
    for _ in range(FAILURES_IN_A_ROW_LIMIT - 1):
        recorder.attempt("failing", fail)
    with pytest.raises(SectionEnded, match="failures in a row"):
        recorder.attempt("failing", fail)
    recorder.close()
    error = next(r for r in read_records(tmp_path, "failures") if r["kind"] == "error")
    assert error["what"] == "failing"
    assert 'ValueError("broken")' in error["traceback"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1234567, 1234567),
        (123456.7, 123500),
        (0.000123456, 0.0001235),
        (-2.0, -2),
        (0.0, 0),
        (math.inf, "inf"),
        ({"a": (1.00001, None, True)}, {"a": [1, None, True]}),
    ],
)
def test_floats_are_rounded(value: object, expected: object) -> None:
    assert rounded(value) == expected


def test_segments_between_markers_belong_to_their_labels() -> None:
    def kernel(name: str, start_ns: int, duration_ns: int = 1000) -> Kernel:
        return Kernel(name, start_ns, duration_ns)

    kernels = [
        kernel("at::cuda::spin_kernel(long)", 0),
        kernel("flush", 1),
        kernel("spin_kernel", 2),
        kernel("a", 10000),
        kernel("b", 12000, 3000),
        kernel("a", 16000),
        kernel("spin_kernel", 20000),
        kernel("a", 30000, 3000),
        kernel("b", 34000, 5000),
        kernel("a", 40000, 1000),
        kernel("spin_kernel", 50000),
    ]
    by_label = split_at_markers(kernels, [None, None, "x", "x"])
    assert list(by_label) == ["x"]
    summary = summarize(by_label["x"])
    assert summary.kernels == [("a", 2, 3.0), ("b", 1, 4.0)]
    assert summary.gpu_us == 7.0
    assert summary.span_us == 9.0
    with pytest.raises(RuntimeError, match="4 markers of 3"):
        split_at_markers(kernels, [None, None, "x"])


def test_names_of_kernels_are_short() -> None:
    name = "void at::native::(anonymous namespace)::softmax_kernel<c10::Half, float>(float*)"
    assert short_name(name) == "softmax_kernel<Half, float>(float*)"
    assert len(short_name("x" * 1000)) == 110
