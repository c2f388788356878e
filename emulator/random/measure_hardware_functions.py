# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Makes hardware_tables.cpp: the integers by which a GPU has its sine, base-2 logarithm and exponential.

    python emulator/random/measure_hardware_functions.py [MEASURED.npz]

asks the GPU of this machine (CUDA build of PyTorch 2.11 or newer) for all 2^23 answers of each, keeps them in
MEASURED.npz where that is named and not there yet, and solves. interpolator.h says what the unit computes. An answer is
a sum cut off to 24 bits, so each one bounds the sum from both sides: least squares find the two factors of a part,
whose errors are far below a half, and all bounds together find the constant. Integers that fail to give one of the
answers again are an error.
"""

import itertools
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
MANTISSA_BITS, PART_BITS = 23, 17
UNIT = 2.0**-38
INVERSE_TURN = np.float32(0.15915494309)
#: What constants are multiples of, and what is added to all of them: several constants may meet a part's bounds, but
#: only one of this form. Sine's and logarithm's squares have even factors. What is added to the exponential's is what
#: the sha256 of a million recorded log-normal numbers leaves.
CONSTANT_STEPS = {"sine": 1 << 13, "logarithm": 1 << 10, "exponential": 1 << 13}
CUT_OFF = {"sine": 0, "logarithm": 837, "exponential": 6114}
SQUARE_STEPS = {"sine": 2, "logarithm": 2, "exponential": 1}
LOGARITHM_STEP = 4  # of its sums, which lose two bits
KERNEL = """
extern "C" __global__ void ask(const float* x, float* y, int function, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  float a = x[i], r;
  if (function == 0) asm("sin.approx.f32 %0, %1;" : "=f"(r) : "f"(a));
  if (function == 1) asm("lg2.approx.f32 %0, %1;" : "=f"(r) : "f"(a));
  if (function == 2) asm("ex2.approx.f32 %0, %1;" : "=f"(r) : "f"(a));
  y[i] = r;
}
"""


def mantissas() -> Integers:
    return np.arange(1 << MANTISSA_BITS, dtype=np.int64)


def arguments() -> dict[str, npt.NDArray[np.float32]]:
    """One for each mantissa: of a quarter turn, of [1/2, 1), of [1, 2)."""
    middles = (mantissas() + 0.5) * 2.0 ** -(MANTISSA_BITS + 2)
    return {
        "sine": (middles * 2 * np.pi).astype(np.float32),
        "logarithm": (mantissas() + 0x3F000000).astype(np.int32).view(np.float32),
        "exponential": (mantissas() + 0x3F800000).astype(np.int32).view(np.float32),
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
    return answers


def sine_mantissas(angle: npt.NDArray[np.float32]) -> Integers:
    """The kernel's product with 1 / (2 pi) is cut off, and so is what is behind 25 bits."""
    exact = angle.astype(np.float64) * np.float64(INVERSE_TURN)
    rounded = exact.astype(np.float32)
    turns = np.where(rounded > exact, np.nextafter(rounded, np.float32(0)), rounded)
    return np.floor(turns.astype(np.float64) * 2.0 ** (MANTISSA_BITS + 2)).astype(np.int64)


def short_square(x: Integers) -> Integers:
    """As in interpolator.h."""
    upper, lower = x >> 10, x >> 2 & 0xFF
    crossed = sum((upper >> bit & 1) * (lower >> (6 - bit)) for bit in range(7))
    return np.asarray(2 * upper * upper + crossed)


def cut_off(values: Floats, step: int) -> tuple[Integers, Integers]:
    """The least and the largest sum, in UNITs, that give each positive value when they are cut off."""
    last_place = np.spacing(values.astype(np.float32)).astype(np.float64)
    least = (values / UNIT).astype(np.int64)
    return least, least + np.maximum(last_place / UNIT, step).astype(np.int64) - 1


def bounds(name: str, answers: npt.NDArray[np.float32]) -> tuple[Integers, Integers]:
    values = answers.astype(np.float64)
    if name == "logarithm":  # the exponent is -1, and a negative sum is complemented
        least, largest = cut_off(-values, LOGARITHM_STEP)
        last = (1 << 38) - 1
        return last - largest, last - least
    return cut_off(values / 2 if name == "exponential" else values, 1)


def solve(name: str, mantissa: Integers, least: Integers, largest: Integers) -> list[list[int]]:
    """(constant, linear, square) of each part."""
    table = []
    starts = np.searchsorted(mantissa, np.arange(0, (1 << MANTISSA_BITS) + 1, 1 << PART_BITS))
    for part, (start, end) in enumerate(itertools.pairwise(starts)):
        x = mantissa[start:end] & ((1 << PART_BITS) - 1)
        low, high = least[start:end], largest[start:end]
        square = short_square(x)
        terms = np.stack([np.ones_like(x), x, square], 1).astype(np.float64)
        middle = (low + high) / 2
        _, fitted_linear, fitted_square = np.linalg.lstsq(terms, middle - middle[0], rcond=None)[0]
        linear, step = round(fitted_linear), SQUARE_STEPS[name]
        factor = round(fitted_square / step) * step
        rest = linear * x + factor * square
        first, last = int((low - rest).max()), int((high - rest).min())
        added, step = CUT_OFF[name], CONSTANT_STEPS[name]
        constant = -(-(first - added) // step) * step + added
        if constant > last:
            raise RuntimeError(f"no integers give all answers of part {part} of the {name} again")
        table.append([constant, linear, factor])
    return table


def rows(name: str, comment: str, table: list[list[int]]) -> str:
    lines = [f"// {comment}", f"const Interpolator {name} = {{{{"]
    lines += ["    {" + ", ".join(map(str, row)) + "}," for row in table]
    return "\n".join([*lines, "}};", ""])


def tables(answers: dict[str, npt.NDArray[np.float32]]) -> str:
    asked = arguments()
    parts = {}
    for name, given in answers.items():
        mantissa = sine_mantissas(asked[name]) if name == "sine" else mantissas()
        parts[name] = solve(name, mantissa, *bounds(name, given))
    return "\n".join(
        [
            HEADER,
            rows("kSine", "Of a quarter turn.", parts["sine"]),
            rows("kLogarithm", "Base 2, of [1, 2).", parts["logarithm"]),
            rows("kExponential", "Base 2, of [0, 1).", parts["exponential"]),
            "}  // namespace torch_remote::emulator::random",
        ]
    )


def main() -> None:
    kept = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    if kept is not None and kept.exists():
        answers = dict(np.load(kept))
    else:
        answers = measure()
        if kept is not None:
            np.savez_compressed(kept, **answers)  # type: ignore[arg-type]
    Path(__file__).with_name("hardware_tables.cpp").write_text(tables(answers) + "\n")


HEADER = """// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Made by measure_hardware_functions.py of the answers of an H100 and an H200 (CUDA 13.0, November 2026).
// clang-format off
#include "emulator/random/interpolator.h"

namespace torch_remote::emulator::random {
"""

if __name__ == "__main__":
    main()
