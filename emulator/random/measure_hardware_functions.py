# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Makes hardware_tables.cpp: the parabolas by which a GPU has its sine, base-2 logarithm and exponential.

    python emulator/random/measure_hardware_functions.py [MEASURED.npz]

asks the GPU of this machine (CUDA build of PyTorch 2.11 or newer), keeps the answers in MEASURED.npz where that is
named and not there yet, and fits. A GPU cuts the argument into 64 parts, takes a parabola in each, and rounds; a fit
by least squares to the rounded values finds the parabolas to a few percent of a last place.
"""

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
PARTS = 64
SINE_BITS = 23  # of an argument within a quarter turn
INVERSE_TURN = np.float32(0.15915494309)
KERNEL = """
extern "C" __global__ void ask(const float* x, float* y, int function, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  float a = x[i], r;
  if (function == 0) asm("lg2.approx.f32 %0, %1;" : "=f"(r) : "f"(a));
  if (function == 1) asm("sin.approx.f32 %0, %1;" : "=f"(r) : "f"(a));
  if (function == 2) asm("ex2.approx.f32 %0, %1;" : "=f"(r) : "f"(a));
  y[i] = r;
}
"""


def floats_from(first_bits: int, last_bits: int, step: int) -> npt.NDArray[np.float32]:
    return np.arange(first_bits, last_bits, step, dtype=np.int64).astype(np.int32).view(np.float32)


def arguments() -> dict[str, npt.NDArray[np.float32]]:
    """For the logarithm [1/2, 1), for the sine a turn, for the exponential [1, 2)."""
    return {
        "lg_s": floats_from(0x3F000000, 0x3F800000, 8),
        "sin": (np.arange(1 << 20) * np.float64(2 * np.pi) / (1 << 20)).astype(np.float32),
        "ex": floats_from(0x3F800000, 0x40000000, 16),
    }


def measure() -> dict[str, npt.NDArray[np.float32]]:
    import torch

    kernel = torch.cuda._compile_kernel(KERNEL, "ask")  # type: ignore[attr-defined]
    answers = {}
    for function, (name, values) in enumerate(arguments().items()):
        x = torch.from_numpy(values).cuda()
        y = torch.empty_like(x)
        blocks = ((x.numel() + 255) // 256, 1, 1)
        kernel(grid=blocks, block=(256, 1, 1), args=(x, y, function, x.numel()))
        answers[name] = y.cpu().numpy()
        if name == "sin":
            answers["ang"] = values
    return answers


def fit(position: Floats, values: Floats) -> Floats:
    """Coefficients of each part's parabola, of an argument in [-1, 1]; position is in [0, 1)."""
    part = np.minimum((position * PARTS).astype(int), PARTS - 1)
    local = (position * PARTS - part) * 2 - 1
    return np.array(
        [
            np.polynomial.polynomial.polyfit(local[part == k], values[part == k], 2)
            for k in range(PARTS)
        ]
    )


def sine(angle: Floats, values: Floats) -> Floats:
    """Of a quarter turn, from the third quarter, whose arguments have no more bits than the GPU keeps."""
    exact = angle * np.float64(INVERSE_TURN)
    rounded = exact.astype(np.float32)
    turns = np.where(rounded > exact, np.nextafter(rounded, np.float32(0)), rounded)
    steps = np.floor(turns.astype(np.float64) * 2.0 ** (SINE_BITS + 2)).astype(np.int64)
    third = steps >> SINE_BITS == 2
    position = (steps & ((1 << SINE_BITS) - 1)) / 2.0**SINE_BITS
    return fit(position[third], -values[third])


def logarithm(x: Floats, values: Floats) -> Floats:
    """Rounded towards zero: half of a last place is missing on average."""
    last_place = np.spacing(np.maximum(np.abs(values), 2.0**-20).astype(np.float32))
    return fit((x - 0.5) * 2, values - last_place.astype(np.float64) / 2)


def rows(name: str, comment: str, table: Floats) -> str:
    lines = [f"// {comment}", f"const Parabolas {name} = {{{{"]
    lines += ["    {" + ", ".join(float(c).hex() for c in row) + "}," for row in table]
    return "\n".join([*lines, "}};", ""])


def main() -> None:
    kept = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    if kept is not None and kept.exists():
        answers = dict(np.load(kept))
    else:
        answers = measure()
        if kept is not None:
            np.savez_compressed(kept, **answers)  # type: ignore[arg-type]
    asked = arguments()
    as_doubles = {name: values.astype(np.float64) for name, values in answers.items()}
    text = "\n".join(
        [
            HEADER,
            rows("kSine", "Of a quarter turn.", sine(as_doubles["ang"], as_doubles["sin"])),
            rows(
                "kLogarithm",
                "Base 2, of [1/2, 1).",
                logarithm(asked["lg_s"].astype(np.float64), as_doubles["lg_s"]),
            ),
            rows(
                "kExponential",
                "Base 2, of [0, 1).",
                fit(asked["ex"].astype(np.float64) - 1, as_doubles["ex"] / 2),
            ),
            "}  // namespace torch_remote::emulator::random",
        ]
    )
    Path(__file__).with_name("hardware_tables.cpp").write_text(text + "\n")


HEADER = """// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Made by measure_hardware_functions.py of the answers of an H100 (CUDA 13.0, November 2026).
// clang-format off
#include "emulator/random/hardware_tables.h"

namespace torch_remote::emulator::random {
"""

if __name__ == "__main__":
    main()
