# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Predictions of samples, and how far off they are."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kernel_times.captured import Capture
from kernel_times.measured import Card, Sample, Settings

# Events around a single call also measure its launch (NeuSight's tables).
EVENT_OVERHEAD_US = {"NeuSight": 8.0}


@dataclass(frozen=True)
class Prediction:
    sample: Sample
    us: float

    @property
    def ratio(self) -> float:
        return self.us / self.sample.us

    @property
    def error(self) -> float:
        """As a share of what was measured."""
        return abs(self.ratio - 1)


class Evaluator:
    """Evaluates emulator/time on samples whose operators are captured."""

    def __init__(self, capture: Capture, samples: Iterable[Sample]) -> None:
        self._capture = capture
        self.samples = [sample for sample in samples if capture.knows(sample.key)]

    def predict(
        self,
        samples: Sequence[Sample] | None = None,
        calibration: Mapping[str, float] | None = None,
    ) -> list[Prediction]:
        """With changed values of the calibration, by name."""
        chosen = self.samples if samples is None else samples
        times = Predictor(self._capture, chosen).us(calibration or {})
        return [Prediction(s, float(us)) for s, us in zip(chosen, times, strict=True)]

    def predictor(self, samples: Sequence[Sample]) -> "Predictor":
        """Of the same samples over and over."""
        return Predictor(self._capture, samples)

    def roofline(self, samples: Sequence[Sample] | None = None) -> list[Prediction]:
        """The same by the plain roofline at the data sheet's peaks."""
        chosen = self.samples if samples is None else samples
        predictions = []
        for sample in chosen:
            needed = self._needed(sample)
            card, settings = sample.card, sample.settings
            values = self._capture.recorder.roofline_us(
                needed,
                card.like,
                card.changes,
                settings.tf32_products,
                settings.tf32_convolutions,
            )
            predictions.append(
                Prediction(sample, self._sample_us(sample, dict(zip(needed, values, strict=True))))
            )
        return predictions

    def _needed(self, sample: Sample) -> list[int]:
        if sample.key[0] == "best product":
            return [i for _, calls in self._capture.square_sizes(sample.key) for i in calls]
        return list(self._capture.calls(sample.key))

    def _sample_us(self, sample: Sample, times: Mapping[int, float]) -> float:
        if sample.key[0] == "best product":
            rates = [
                2 * size**3 / sum(times[i] * count for i, count in calls.items())
                for size, calls in self._capture.square_sizes(sample.key)
            ]
            us: float = 2 * sample.key[2] ** 3 / max(rates)
            return us
        calls = self._capture.calls(sample.key)
        return sum(times[i] * count for i, count in calls.items()) + EVENT_OVERHEAD_US.get(
            sample.source, 0
        )


class Predictor:
    """Predicts the same samples with changing values. Each operator is timed once a GPU."""

    def __init__(self, capture: Capture, samples: Sequence[Sample]) -> None:
        self._recorder = capture.recorder
        self._overhead = np.array([EVENT_OVERHEAD_US.get(s.source, 0.0) for s in samples])
        self._places: dict[tuple[str, Settings], dict[int, int]] = defaultdict(dict)
        self._cards: dict[str, Card] = {}
        self._rows: list[
            tuple[np.ndarray, np.ndarray]
        ] = []  # places of operators, and their counts
        self._best: dict[int, list[tuple[int, np.ndarray, np.ndarray]]] = {}
        placed: list[tuple[tuple[str, Settings], Mapping[int, int]]] = []
        for number, sample in enumerate(samples):
            self._cards[sample.card.name] = sample.card
            group = (sample.card.name, sample.settings)
            if sample.key[0] == "best product":
                placed.append((group, {}))
                self._best[number] = [
                    (size, *self._place(group, calls))
                    for size, calls in capture.square_sizes(sample.key)
                ]
            else:
                placed.append((group, capture.calls(sample.key)))
        self._rows = [self._place(group, calls) for group, calls in placed]
        starts = np.cumsum([0, *(len(places) for places in self._places.values())])
        self._starts = dict(zip(self._places, starts, strict=False))
        self._groups = [group for group, _ in placed]
        lengths = np.array([len(places) for places, _ in self._rows], dtype=np.int64)
        self._owner = np.repeat(np.arange(len(self._rows)), lengths)
        offsets = np.repeat(
            np.array([self._starts[group] for group in self._groups], dtype=np.int64), lengths
        )
        empty = np.zeros(0, dtype=np.int64)
        self._flat = np.concatenate([empty, *(places for places, _ in self._rows)]) + offsets
        self._counts = np.concatenate([empty, *(counts for _, counts in self._rows)])

    def us(self, calibration: Mapping[str, float]) -> np.ndarray:
        """In the samples' order."""
        changes = dict(calibration)
        times = np.concatenate(
            [np.zeros(0), *(self._times(group, changes) for group in self._places)]
        )
        result = np.bincount(
            self._owner,
            weights=times[self._flat] * self._counts,
            minlength=len(self._rows),
        )
        for number, sizes in self._best.items():
            start = self._starts[self._groups[number]]
            largest = sizes[-1][0]
            rate = max(
                size**3 / float(times[places + start] @ counts) for size, places, counts in sizes
            )
            result[number] = largest**3 / rate
        return np.asarray(result + self._overhead)

    def _place(
        self, group: tuple[str, Settings], calls: Mapping[int, int]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Where the group's times have those of the operators, and how often each is called."""
        places = self._places[group]
        return (
            np.array([places.setdefault(i, len(places)) for i in calls], dtype=np.int64),
            np.array(list(calls.values()), dtype=np.int64),
        )

    def _times(self, group: tuple[str, Settings], calibration: dict[str, float]) -> np.ndarray:
        card, settings = self._cards[group[0]], group[1]
        return np.array(
            self._recorder.gpu_us(
                list(self._places[group]),
                card.like,
                card.changes,
                calibration,
                settings.cache,
                settings.tf32_products,
                settings.tf32_convolutions,
            )
        )


def mean_error(predictions: Sequence[Prediction]) -> float:
    return sum(p.error for p in predictions) / max(1, len(predictions))


def worst_error(predictions: Sequence[Prediction]) -> float:
    return max((p.error for p in predictions), default=0.0)


def bias(predictions: Sequence[Prediction]) -> float:
    """Geometric mean of predicted over measured."""
    logs = [math.log(max(p.ratio, 1e-3)) for p in predictions]
    return math.exp(sum(logs) / max(1, len(logs)))
