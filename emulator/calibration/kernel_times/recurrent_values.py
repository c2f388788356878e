# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a step of a small recurrent network takes whose state stays in the multiprocessors: from an H200's records.

All steps of a layer are one kernel, so the whole call is bound by the GPU, and its time is told by
emulator/workspace/recorded/recurrent_networks.txt.
"""

from pathlib import Path

import numpy as np

RECORDS = Path(__file__).resolve().parents[2] / "workspace" / "recorded" / "recurrent_networks.txt"
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
# As keeps_state_on_chip (emulator/workspace/recurrent_workspace.h).
HIDDEN_SIZE_MAX = {"LSTM": 64, "GRU": 64, "RNN": 256}
# A profile of one of them, an LSTM with a state of 64 over 35 steps: its one kernel.
PROFILED_KERNEL_US, PROFILED_STEPS, PROFILED_MATRIX = 24.35, 35, 64 * 64 * 2.0


def recurrent_values() -> dict[str, float]:
    """Values of the calibration by name."""
    rows, times = [], []
    for line in RECORDS.read_text().splitlines():
        if line.startswith("#"):
            continue
        network, figures = line.split(":")
        kind, layers, directions, _, hidden, _, steps, dtype, *_ = network.split()
        if dtype == "bfloat16" or int(hidden) > HIDDEN_SIZE_MAX[kind]:
            continue
        chains = int(layers) * int(directions)
        matrix = int(hidden) ** 2 * GATES[kind] ** 0.5
        # Per call, chain, chain and element, step, step and element.
        rows.append([1, chains, chains * matrix, chains * int(steps), chains * int(steps) * matrix])
        times.append(float(figures.split()[3]))
    relative = np.array(rows, dtype=float) / np.array(times)[:, None]
    solution = np.linalg.lstsq(relative, np.ones(len(times)), rcond=None)[0]
    step_us, per_element = float(solution[3]), float(solution[4])
    chain_us = PROFILED_KERNEL_US - PROFILED_STEPS * (step_us + per_element * PROFILED_MATRIX)
    return {
        "recurrent_chain_us": chain_us,
        "recurrent_step_us": step_us,
        "recurrent_step_us_per_element": per_element,
    }
