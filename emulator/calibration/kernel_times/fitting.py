# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Fits the calibration's values to samples: least squares of the logarithms, robust to outliers."""

import csv
import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
from scipy.optimize import least_squares  # type: ignore[import-untyped]

from kernel_times.evaluation import Evaluator
from kernel_times.measured import FOLDER, Sample

# What launches and copies cost is measured directly (see host_values in fit_kernel_times.py).
HOST_PREFIXES = ("host_", "link_", "pageable_", "copy_", "launch_", "kernel_gap")
HOST_NAMES = {
    "synchronize_us",
    "event_synchronize_us",
    "read_scalar_us",
    "record_event_us",
    "query_event_us",
    "wait_event_us",
    "make_stream_us",
}
# Steps, where a derivative is zero, and values of one kind of kernel that nothing here measures.
FIXED_NAMES = {
    "foreach_tensors_per_launch",
    "foreach_elements_per_launch",
    "sort_block_row",
    "sorted_scatter_from",
    "topk_single_elements",
    "reduction_split_row",
    "row_kept_share",
    "l2_hits_in_programs",
    "transform_bandwidth_share",
    "transform_cycles",
    "factor_column_us",
    "eigenvalue_column_us",
    "attention_flash_pairs",
    "attention_flash_backward_pairs",
    "attention_efficient_pairs",
    "attention_efficient_backward_pairs",
}
# How much weight all samples of a source have together.
SOURCE_WEIGHTS = {"recorded": 1.0, "NeuSight": 0.7, "square products": 0.5}
TYPICAL_ERROR = 0.15
# How much it counts that a value leaves its prior by a factor of e, and how far it may leave it.
PRIOR_WEIGHT = 0.006
BOUND = math.log(8)
STEP = 0.02
# How much it counts that a generation of GPUs reaches another share of its peak than the others: one
# that no sample is of then takes their mean.
TIE_WEIGHT = 0.02
SHARE_LIMIT = 1.05
TIED_PREFIXES = ("tensor_share_", "fp32_share_")


def priors() -> dict[str, float]:
    """Where a fit begins, and what it is drawn to: estimates that no measurement of a card was
    needed for, or that were read off single recorded kernels."""
    with (FOLDER / "kernel_times" / "priors.csv").open() as file:
        return {row["name"]: float(row["value"]) for row in csv.DictReader(file)}


def fitted_names() -> list[str]:
    return [
        name
        for name in priors()
        if not name.startswith(HOST_PREFIXES) and name not in HOST_NAMES | FIXED_NAMES
    ]


class Fit:
    """Fits values to samples; remembers which samples a value matters for, from fit to fit."""

    def __init__(self, evaluator: Evaluator) -> None:
        self._evaluator = evaluator
        self._names = fitted_names()
        self._prior = np.array([math.log(priors()[name]) for name in self._names])
        self._affected = self._find_affected()

    def fit(self, samples: Sequence[Sample], iterations: int = 10) -> dict[str, float]:
        """The fitted values by name. Deterministic: the same samples give the same values.

        A value that none of the samples depends on keeps its prior.
        """
        weights = sample_weights(samples)
        position = {id(sample): i for i, sample in enumerate(samples)}
        subsets = [[position[i] for i in affected if i in position] for affected in self._affected]

        whole = self._evaluator.predictor(samples)
        parts = [
            self._evaluator.predictor([samples[i] for i in subset]) if subset else None
            for subset in subsets
        ]
        measured = np.log([sample.us for sample in samples])

        def errors(logs: np.ndarray) -> np.ndarray:
            return np.asarray(np.log(np.maximum(whole.us(self._values(logs)), 1e-3)) - measured)

        ties = self._ties()

        def residuals(logs: np.ndarray) -> np.ndarray:
            return np.concatenate(
                [
                    errors(logs) * weights,
                    (logs - self._prior) * PRIOR_WEIGHT,
                    ties @ logs,
                ]
            )

        def jacobian(logs: np.ndarray) -> np.ndarray:
            matrix = np.zeros((len(samples) + len(logs) + len(ties), len(logs)))
            matrix[len(samples) + len(logs) :] = ties
            base = errors(logs)
            for column, (subset, part) in enumerate(zip(subsets, parts, strict=True)):
                matrix[len(samples) + column, column] = PRIOR_WEIGHT
                if part is None:
                    continue
                changed = logs.copy()
                changed[column] += STEP
                moved = np.log(np.maximum(part.us(self._values(changed)), 1e-3))
                slope = (moved - measured[subset] - base[subset]) / STEP
                matrix[subset, column] = slope * weights[subset]
            return matrix

        result = least_squares(
            residuals,
            self._prior,
            jac=jacobian,
            loss="soft_l1",
            f_scale=TYPICAL_ERROR * float(np.median(weights)) * 2,
            max_nfev=iterations,
            bounds=(self._prior - BOUND, np.minimum(self._prior + BOUND, self._limits())),
        )
        return self._values(result.x)

    def _values(self, logs: np.ndarray) -> dict[str, float]:
        return {name: float(math.exp(x)) for name, x in zip(self._names, logs, strict=True)}

    def _limits(self) -> np.ndarray:
        """Nothing runs above its peak."""
        return np.array(
            [
                math.log(SHARE_LIMIT) if name.startswith(TIED_PREFIXES) else math.inf
                for name in self._names
            ]
        )

    def _ties(self) -> np.ndarray:
        """Rows that give each tied value's distance from the mean of its kind."""
        rows = []
        for prefix in TIED_PREFIXES:
            columns = [i for i, name in enumerate(self._names) if name.startswith(prefix)]
            for column in columns:
                row = np.zeros(len(self._names))
                row[columns] -= TIE_WEIGHT / len(columns)
                row[column] += TIE_WEIGHT
                rows.append(row)
        return np.array(rows)

    def _find_affected(self) -> list[list[int]]:
        """For each value, the samples (by identity) whose prediction moves with it."""
        samples = self._evaluator.samples
        predictor = self._evaluator.predictor(samples)
        base = predictor.us(self._values(self._prior))
        affected = []
        for column in range(len(self._names)):
            moved = set()
            for factor in (0.6, 1.6):
                changed = self._prior.copy()
                changed[column] += math.log(factor)
                moved.update(np.flatnonzero(predictor.us(self._values(changed)) != base).tolist())
            affected.append([id(samples[i]) for i in sorted(moved)])
        return affected


def sample_weights(samples: Sequence[Sample]) -> np.ndarray:
    """Groups of the same source count alike, but for the square root of their sizes."""
    sizes = Counter((sample.source, sample.group) for sample in samples)
    raw = np.array([sizes[sample.source, sample.group] ** -0.25 for sample in samples])
    totals: Counter[str] = Counter()
    for sample, weight in zip(samples, raw, strict=True):
        totals[sample.source] += weight**2
    return np.array(
        [
            weight * math.sqrt(SOURCE_WEIGHTS.get(sample.source, 1.0) / totals[sample.source])
            for sample, weight in zip(samples, raw, strict=True)
        ]
    )
