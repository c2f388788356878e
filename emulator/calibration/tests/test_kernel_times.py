# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""The data that kernel times are fitted to, and the model as Python sees it."""

import math

import pytest
import torch

torch_remote = pytest.importorskip("torch_remote")

from kernel_times import measured  # noqa: E402
from kernel_times.captured import Capture  # noqa: E402
from kernel_times.evaluation import Evaluator, mean_error  # noqa: E402
from kernel_times.fitting import fitted_names, priors, sample_weights  # noqa: E402
from kernel_times.host_costs import host_values  # noqa: E402
from torch_remote._loading import ensure_loaded  # noqa: E402


@pytest.fixture(scope="module")
def capture() -> Capture:
    return Capture()


def test_every_row_of_the_calibration_has_a_prior_and_a_source() -> None:
    rows = ensure_loaded().calibration_rows()
    assert [name for name, _, _ in rows] == list(priors())
    assert all(value > 0 and math.isfinite(value) for _, value, _ in rows)
    assert {source for _, _, source in rows} == {"fit", "recorded", "estimate"}


def test_recorded_costs_of_the_host_are_in_the_calibration() -> None:
    values = {name: value for name, value, _ in ensure_loaded().calibration_rows()}
    for name, value in host_values().items():
        assert values[name] == pytest.approx(value, rel=1e-3), name


def test_published_tables_name_cards_that_are_known() -> None:
    known = set(measured.cards()) | set(torch_remote.GPU_TYPES)
    samples = [
        *measured.published_kernels(),
        *measured.published_models(),
        *measured.square_products(),
    ]
    assert {sample.card.name for sample in samples} <= known
    # Every emulated type has a square product to be judged by.
    squares = {sample.card.emulated for sample in measured.square_products()}
    assert squares >= set(torch_remote.GPU_TYPES)


def test_recordings_have_kernels_of_both_gpus() -> None:
    samples = measured.recorded_kernels()
    assert {sample.card.name for sample in samples} == {"H100", "H200"}
    assert all(sample.us > 0 for sample in samples)
    assert {sample.settings.cache for sample in samples} == {"repeated", "cold"}


def test_steps_are_without_copies_to_the_host() -> None:
    (step,) = (
        sample
        for sample in measured.recorded_steps()
        if sample.group == "resnet18_fp32" and sample.card.name == "H100"
    )
    assert step.us == pytest.approx(19430 - 5190, rel=0.001)  # gpu_ms less "Memcpy HtoD"


def test_groups_weigh_as_their_source_says() -> None:
    samples = [*measured.published_kernels(), *measured.square_products()]
    weights = sample_weights(samples)
    total = sum(
        weight**2
        for sample, weight in zip(samples, weights, strict=True)
        if sample.source == "NeuSight"
    )
    assert total == pytest.approx(0.7)


def test_the_recorder_knows_the_operators_of_a_program(capture: Capture) -> None:
    capture.recorder.take()
    x = torch.empty(64, 64, device=capture.device)
    torch.relu(x @ x)
    names = [capture.recorder.name(i) for i in capture.recorder.take()]
    assert names == ["aten::mm", "aten::relu"]


def test_an_operator_survives_its_dump(capture: Capture) -> None:
    capture.recorder.take()
    x = torch.empty(64, 64, device=capture.device)
    x @ x
    (index,) = capture.recorder.take()
    copy = ensure_loaded().OperatorRecorder()
    assert copy.add(*capture.recorder.dump(index)) == 0
    arguments = ("L40S", {}, {}, "program", False, True)
    assert copy.gpu_us([0], *arguments) == capture.recorder.gpu_us([index], *arguments)


def test_changed_values_change_times(capture: Capture) -> None:
    capture.recorder.take()
    x = torch.empty(1 << 26, device=capture.device)
    x + x
    (index,) = capture.recorder.take()

    def us(gpu_changes: dict[str, float], calibration: dict[str, float]) -> float:
        times = capture.recorder.gpu_us(
            [index], "T4", gpu_changes, calibration, "program", False, True
        )
        return float(times[0])

    base = us({}, {})
    assert us({"dram_bandwidth_gb_per_s": 640}, {}) == pytest.approx(base / 2, rel=0.05)
    assert us({}, {"dram_share_gddr": 0.1}) > 3 * base
    with pytest.raises(ValueError, match="calibration_rows"):
        us({}, {"no_such_value": 1})
    with pytest.raises(ValueError, match="bandwidth_mb"):
        us({"bandwidth_mb": 1}, {})


def test_published_operators_are_within_a_fifth(capture: Capture) -> None:
    samples = measured.published_kernels()[::20]
    capture.capture(samples)
    predictions = Evaluator(capture, samples).predict()
    assert len(predictions) == len(samples)
    assert mean_error(predictions) < 0.2


def test_every_value_that_is_fitted_matters() -> None:
    assert set(fitted_names()) < set(priors())
    assert not {"host_call_us", "kernel_gap_us", "link_share"} & set(fitted_names())
