# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""The sections by name, and the process that runs one of them."""

from collections.abc import Callable
from pathlib import Path

from gpu_measurements import (
    allocator_scripts,
    device,
    memory,
    operator_time,
    random_numbers,
    steps,
    temporaries,
)
from gpu_measurements.recording import Budget, Recorder, SectionEnded
from gpu_measurements.target import Session, Target

SECTIONS: dict[str, Callable[[Session], None]] = {
    "device": device.run,
    "random_numbers": random_numbers.run,
    "memory": memory.run,
    "allocator": allocator_scripts.run,
    "temporaries": temporaries.run,
    "time": operator_time.run,
    "steps": steps.run,
}


def run_section(
    name: str, argument: str, folder: Path, device_name: str, budget_s: float, is_tiny: bool
) -> bool:
    """Run a section in this process; what it writes is in `folder`. True if it came to its end."""
    budget = Budget(budget_s)
    recorder = Recorder(folder, f"{name}-{argument}" if argument else name)

    def run() -> bool:
        target = Target(device_name)
        SECTIONS[name](Session(target, recorder, budget, is_tiny, argument))
        return True

    try:
        came_to_end = recorder.attempt("section", run) is True
    except SectionEnded as ended:
        recorder.skip("the rest of the section", str(ended))
        came_to_end = False
    recorder.write("end", complete=came_to_end, seconds=budget.spent_s())
    recorder.close()
    return came_to_end
