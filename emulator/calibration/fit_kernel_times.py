#!/usr/bin/env python3
# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Rebuilds emulator/time/calibration_rows.inc from recordings of measure_gpu.py and published tables.

Needs the built package, numpy and scipy, and no GPU: what was measured is in `measurements` and
`published`, and which operators it was is found by running the programs on a device that only
records. To add a GPU, put its recording beside the others. Takes about two minutes.
"""

import argparse
import sys
from pathlib import Path

from kernel_times import measured
from kernel_times.captured import Capture
from kernel_times.evaluation import Evaluator, bias, mean_error
from kernel_times.fitting import Fit, priors
from kernel_times.host_costs import host_values
from kernel_times.recurrent_values import recurrent_values

ROWS = Path(__file__).resolve().parent.parent / "time" / "calibration_rows.inc"
HEADER = """// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Values of the model's parameters, one a row: name, value, source. Written by
// emulator/calibration/fit_kernel_times.py, which is to be run again rather than this be edited.
// "fit": to the recordings of H100 and H200 (emulator/calibration/measurements) and the tables of
// NeuSight and of square products (emulator/calibration/published). "recorded": read off the
// recordings. "estimate": kernel_times/priors.csv, which no measurement here bears on.

"""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=ROWS)
    parser.add_argument("--iterations", type=int, default=25)
    arguments = parser.parse_args()
    samples = measured.kernels_to_fit()
    capture = Capture()
    capture.capture(samples)
    evaluator = Evaluator(capture, samples)
    fitted = Fit(evaluator).fit(evaluator.samples, arguments.iterations)
    host = host_values() | recurrent_values()
    arguments.out.write_text(HEADER + "".join(rows(fitted, host)))
    for source in sorted({sample.source for sample in evaluator.samples}):
        of = [p for p in evaluator.predict(calibration=fitted) if p.sample.source == source]
        print(f"{source}: {len(of)} samples, mean error {mean_error(of):.1%}, bias {bias(of):.2f}")
    print(f"{arguments.out} is written; build, then run bench/kernel_times.py")
    return 0


def rows(fitted: dict[str, float], host: dict[str, float]) -> list[str]:
    """The lines of the file, in the order of the priors."""
    lines = []
    for name, prior in priors().items():
        if name in fitted:
            value, source = fitted[name], "fit"
        elif name in host:
            value, source = host[name], "recorded"
        else:
            value, source = prior, "estimate"
        lines.append(f'TORCH_REMOTE_CALIBRATION_ROW({name}, {value:.4g}, "{source}")\n')
    return lines


if __name__ == "__main__":
    sys.exit(main())
