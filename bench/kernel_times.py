#!/usr/bin/env python3
# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""How far off the emulator's kernel times are, on data that they weren't fitted to.

Every figure is of a fit without what it is judged by: the GPU that is left out, or all operators
that the models and programs run. Beside each is the plain roofline at the data sheet's peaks.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "emulator" / "calibration"))

import torch_remote
from kernel_times import measured
from kernel_times.captured import Capture
from kernel_times.evaluation import Evaluator, Prediction, bias, mean_error, worst_error
from kernel_times.fitting import Fit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from kernel_times.measured import Sample

ITERATIONS = 12
# Two GPUs that are this close aren't ordered by a measurement.
TIE = 0.05
LIMITS = {
    "leave one GPU out, mean": 0.20,
    "leave one model out, mean": 0.20,
    "leave one model out, worst": 0.40,
    "pairs of GPUs in the right order": 0.90,
    "square products, mean": 0.15,
}


class HeldOut:
    """Fits without what is judged, and their predictions."""

    def __init__(self, iterations: int) -> None:
        self.kernels = measured.kernels_to_fit()
        self.models = measured.published_models()
        self.steps = measured.recorded_steps()
        self.capture = Capture()
        self.capture.capture([*self.kernels, *self.models, *self.steps])
        self.evaluator = Evaluator(self.capture, self.kernels)
        self.kernels = self.evaluator.samples
        self._fit = Fit(self.evaluator)
        self._iterations = iterations

    def without(self, is_left_out: Callable[[Sample], bool]) -> dict[str, float]:
        return self._fit.fit([s for s in self.kernels if not is_left_out(s)], self._iterations)

    def predict(self, samples: Sequence[Sample], values: Mapping[str, float]) -> list[Prediction]:
        return self.evaluator.predict(samples, values)

    def without_models(self) -> dict[str, float]:
        """A fit without any kernel of an operator, in its sizes, that a model or program runs."""
        used = {i for s in [*self.models, *self.steps] for i in self.capture.calls(s.key)}
        return self.without(
            lambda s: s.key[0] != "best product" and not used.isdisjoint(self.capture.calls(s.key))
        )


def table(title: str, rows: Iterable[Sequence[str]], head: Sequence[str]) -> None:
    lines = [list(head), *(list(row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    print(f"\n{title}")
    for line in lines:
        cells = [
            cell.ljust(w) if i == 0 else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(line, widths, strict=True))
        ]
        print("  " + "  ".join(cells))


def percent(x: float) -> str:
    return f"{x:.1%}"


def leave_gpus_out(held_out: HeldOut) -> list[Prediction]:
    """Prints the table; the predictions of kernels by fits without their GPU."""
    groups = {gpu: (gpu,) for gpu in torch_remote.GPU_TYPES} | {"H100, H200": ("H100", "H200")}
    kernels: list[Prediction] = []
    rows = []
    for name, gpus in groups.items():
        values = held_out.without(lambda s, gpus=gpus: s.card.emulated in gpus)  # type: ignore[misc]
        of_kernels = [s for s in held_out.kernels if s.card.emulated in gpus]
        of_models = [s for s in held_out.models if s.card.emulated in gpus]
        k, m = held_out.predict(of_kernels, values), held_out.predict(of_models, values)
        roof = held_out.evaluator.roofline(of_kernels)
        print(f"{name}: a fit without it is done", file=sys.stderr)
        rows.append(
            [
                name,
                str(len(k)),
                percent(mean_error(k)),
                f"{bias(k):.2f}",
                percent(mean_error(roof)),
                str(len(m)),
                percent(mean_error(m)) if m else "-",
                percent(mean_error(held_out.evaluator.roofline(of_models))) if m else "-",
            ]
        )
        if len(gpus) == 1:
            kernels += k
    table(
        "Leave one GPU out",
        rows,
        ["GPU", "kernels", "mean error", "bias", "roofline", "models", "mean error", "roofline"],
    )
    return kernels


def by_gpu(predictions: Iterable[Prediction]) -> dict[str, list[Prediction]]:
    found: dict[str, list[Prediction]] = defaultdict(list)
    for p in predictions:
        found[p.sample.card.emulated].append(p)
    return found


def by_source(title: str, predictions: Sequence[Prediction], held_out: HeldOut) -> None:
    groups: dict[str, list[Prediction]] = defaultdict(list)
    for p in predictions:
        name = p.sample.group.split(":")[0] if p.sample.source == "recorded" else p.sample.group
        groups[name].append(p)
    rows = []
    for name, of in sorted(groups.items()):
        roof = held_out.evaluator.roofline([p.sample for p in of])
        rows.append(
            [
                name,
                str(len(of)),
                percent(mean_error(of)),
                f"{bias(of):.2f}",
                percent(mean_error(roof)),
            ]
        )
    table(title, rows, ["kernels", "samples", "mean error", "bias", "roofline"])


def judge_models(held_out: HeldOut) -> list[Prediction]:
    values = held_out.without_models()
    rows = []
    predictions = held_out.predict([*held_out.models, *held_out.steps], values)
    groups: dict[str, list[Prediction]] = defaultdict(list)
    for p in predictions:
        groups[p.sample.group].append(p)
    for name, of in groups.items():
        roof = held_out.evaluator.roofline([p.sample for p in of])
        cards = " ".join(f"{p.sample.card.name} {p.ratio:.2f}" for p in of)
        rows.append(
            [
                name,
                percent(mean_error(of)),
                percent(worst_error(of)),
                percent(mean_error(roof)),
                cards,
            ]
        )
    table(
        "Leave all models out: predicted over measured",
        rows,
        ["model", "mean", "worst", "roofline", "by GPU"],
    )
    return predictions


def pair_order(predictions: Iterable[Prediction]) -> tuple[int, int, int, int]:
    """Pairs of GPUs with the same work: right and all, without near ties; right and all, with them."""
    work: dict[tuple[Any, ...], dict[str, list[Prediction]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for p in predictions:
        if p.sample.key[0] != "product":
            work[p.sample.source, p.sample.key, p.sample.settings][p.sample.card.name].append(p)
    counts = [0, 0, 0, 0]
    for cards in work.values():
        means = [
            (
                sum(p.sample.us for p in of) / len(of),
                sum(p.us for p in of) / len(of),
            )
            for of in cards.values()
        ]
        for (measured_a, us_a), (measured_b, us_b) in itertools.combinations(means, 2):
            is_right = (measured_a < measured_b) == (us_a < us_b)
            counts[2] += is_right
            counts[3] += 1
            if abs(math.log(measured_a / measured_b)) > TIE:
                counts[0] += is_right
                counts[1] += 1
    return counts[0], counts[1], counts[2], counts[3]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--iterations", type=int, default=ITERATIONS, help="of each fit")
    parser.add_argument("--quick", action="store_true", help="a short run, to see that it works")
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a limit isn't kept")
    arguments = parser.parse_args()
    held_out = HeldOut(1 if arguments.quick else arguments.iterations)
    kernels = leave_gpus_out(held_out)
    by_source("Leave one GPU out, by kind of kernel", kernels, held_out)
    squares = [p for p in kernels if p.sample.source == "square products"]
    best = [p for p in squares if p.sample.key[0] == "best product"]
    rows = [
        [
            gpu,
            *(
                next((f"{p.ratio:.2f}" for p in of if p.sample.key[1] == dtype), "-")
                for dtype in ("float32", "tf32", "float16", "bfloat16")
            ),
        ]
        for gpu, of in by_gpu(best).items()
    ]
    table(
        "Best square product, by fits without the GPU: predicted over measured",
        rows,
        ["GPU", "float32", "tf32", "float16", "bfloat16"],
    )
    judged = judge_models(held_out)
    # Programs and models by the fit that knows none of them, square products by those without their
    # GPU.
    ordered = [*judged, *best]
    right, pairs, right_all, pairs_all = pair_order(ordered)
    kernel_right, kernel_pairs, _, _ = pair_order([p for p in kernels if p not in best])
    roof_right, roof_pairs, _, _ = pair_order(
        held_out.evaluator.roofline([p.sample for p in ordered])
    )
    gpu_means = {gpu: mean_error(of) for gpu, of in by_gpu(kernels).items()}
    figures = {
        "leave one GPU out, mean": sum(gpu_means.values()) / len(gpu_means),
        "leave one model out, mean": mean_error(judged),
        "leave one model out, worst": worst_error(judged),
        "pairs of GPUs in the right order": right / pairs,
        "square products, mean": mean_error(squares),
    }
    rooflines = {
        "leave one GPU out, mean": mean_error(
            held_out.evaluator.roofline([p.sample for p in kernels])
        ),
        "leave one model out, mean": mean_error(
            held_out.evaluator.roofline([p.sample for p in judged])
        ),
        "leave one model out, worst": worst_error(
            held_out.evaluator.roofline([p.sample for p in judged])
        ),
        "pairs of GPUs in the right order": roof_right / roof_pairs,
        "square products, mean": mean_error(
            held_out.evaluator.roofline([p.sample for p in squares])
        ),
    }
    table(
        "Held-out figures",
        [
            [
                name,
                percent(value),
                percent(rooflines[name]),
                percent(LIMITS[name]),
                "yes" if keeps(name, value) else "NO",
            ]
            for name, value in figures.items()
        ],
        ["figure", "model", "roofline", "limit", "kept"],
    )
    print(
        f"\nOf {pairs} pairs {right} are in the right order; of all {pairs_all}, near ties included, "
        f"{right_all}.\nOf {kernel_pairs} pairs of single kernels, nearly all of an H100 and an H200, "
        f"{kernel_right / kernel_pairs:.0%} are."
    )
    if arguments.json:
        arguments.json.write_text(
            json.dumps({"figures": figures, "roofline": rooflines, "gpus": gpu_means}, indent=1)
        )
    return int(arguments.check and not all(keeps(name, value) for name, value in figures.items()))


def keeps(name: str, value: float) -> bool:
    return value >= LIMITS[name] if name.startswith("pairs") else value <= LIMITS[name]


if __name__ == "__main__":
    sys.exit(main())
