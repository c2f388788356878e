# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""An emulated GPU's peaks of memory are those of real GPUs: some programs of bench/memory_peaks, which has them all."""

import sys
from pathlib import Path
from typing import Any

import pytest
from libraries import library

BENCH = Path(__file__).parents[2] / "bench" / "memory_peaks"


@pytest.fixture(scope="module")
def peaks() -> Any:
    """The modules `recorded` and `published`."""
    before = list(sys.path)
    sys.path.insert(0, str(BENCH))
    try:
        import published
        import recorded
    finally:
        sys.path[:] = before

    class Modules:
        pass

    modules: Any = Modules()
    modules.published, modules.recorded = published, recorded
    return modules


# ---- recorded on real GPUs ----

EXACT = (
    ("mlp_adam", "H100"),
    ("adamw_foreach", "H200"),
    ("adamw_fused", "H100"),
    ("bert_base_inference_fp16", "H100"),
    ("gpt2_sdpa_bf16", "H100"),
    ("resnet18_fp32", "H100"),
    ("vit_small_bf16", "H200"),
)


@pytest.mark.parametrize(("program", "gpu"), EXACT)
def test_a_recorded_program(peaks: Any, program: str, gpu: str) -> None:
    """The peaks of its set-up and of each step."""
    comparison = peaks.recorded.compare(program, gpu)
    assert abs(comparison.allocated_error) < 0.001
    assert abs(comparison.reserved_error) < 0.001


@pytest.mark.parametrize("program", ["mlp_adam", "adamw_fused", "gpt2_sdpa_bf16"])
def test_the_requests_of_a_recorded_program(peaks: Any, program: str) -> None:
    """Every allocation of every step, in the same order and of the same size."""
    comparison = peaks.recorded.compare(program, "H100")
    assert len(comparison.emulated) == 4
    for found in comparison.differences():
        assert peaks.recorded.describe(found) == "the same requests"


def test_the_archives_have_every_program(peaks: Any) -> None:
    archives = peaks.recorded.archives()
    assert sorted(archives) == ["H100", "H200"]
    for archive in archives.values():
        for program in peaks.recorded.PROGRAMS:
            spans = peaks.recorded.recorded_spans(archive, program)
            assert len(spans) == 4  # the set-up and three steps
            assert all(span.max_reserved >= span.max_allocated > 0 for span in spans)


def test_where_requests_part(peaks: Any) -> None:
    difference = peaks.recorded.difference
    assert difference([1, 2], [1, 2]).position == -1
    found = difference([1, 2, 2, 5], [1, 2, 3])
    assert (found.position, found.real, found.emulated) == (2, 2, 3)
    assert (found.missing, found.additional) == ({2: 1, 5: 1}, {3: 1})
    assert difference([1, 2], [1]).position == 1
    assert "first at 2: 2 B, emulated 3 B" in peaks.recorded.describe(found)


# ---- published ----


@pytest.mark.parametrize(
    "program", ["gpt2_bf16_fused_attention", "gpt2_long_groups", "llama_1b", "qwen3_600m"]
)
def test_a_published_program(peaks: Any, program: str) -> None:
    assert_published(peaks, program)


@pytest.mark.parametrize("program", ["vit_large_bf16_batch_16"])
def test_a_published_program_of_torchvision(peaks: Any, program: str) -> None:
    library("torchvision")
    assert_published(peaks, program)


def assert_published(peaks: Any, program: str) -> None:
    figures, limits = peaks.published.read_figures()
    (figure,) = (figure for figure in figures if figure.program == program)
    assert abs(peaks.published.compare(figure).error) < limits.mean


def test_each_figure_can_be_checked(peaks: Any) -> None:
    figures, limits = peaks.published.read_figures()
    assert {figure.program for figure in figures} == set(peaks.published.PROGRAMS)
    assert len(figures) == len(peaks.published.PROGRAMS) >= 10
    assert (limits.mean, limits.worst) == (0.05, 0.10)
    for figure in figures:
        assert figure.source.startswith("https://github.com/")
        assert figure.measures in ("max_allocated", "max_reserved", "reserved")
        assert figure.unit_bytes in (10**9, 2**30)
