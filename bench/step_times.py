# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Modelled against measured times of whole steps: 13 programs on two real GPUs.

The programs are those of emulator/calibration. Of their recorded steps one number was taken, how much longer calls
take the host in programs than in loops (kProgramHostFactor): from the H100's programs that are bound by their host,
whose rows are therefore no test of it.
They run once, as a dry run of both GPUs.
"""

import argparse
import json
import statistics
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch_remote
from torch_remote._loading import ensure_loaded

CALIBRATION = Path(__file__).resolve().parents[1] / "emulator" / "calibration"
RECORDED = {"H100": "h100-torch-2.11-cuda-13.0", "H200": "h200-torch-2.11-cuda-13.0"}
WARM_UP_STEPS = 2  # optimizers make their state in the first
STEPS = 3


def recorded(gpu_type: str) -> dict[str, dict[str, Any]]:
    """What a real GPU showed, by program: the fields of `steps` and `step_kernels`."""
    programs: dict[str, dict[str, Any]] = {}
    with tarfile.open(CALIBRATION / "measurements" / f"{RECORDED[gpu_type]}.tar.xz") as archive:
        (name,) = (one for one in archive.getnames() if Path(one).name == "steps.jsonl")
        file = archive.extractfile(name)
        assert file is not None
        for line in file:
            record = json.loads(line)
            if record["kind"] in ("steps", "step_kernels"):
                programs.setdefault(record["program"], {}).update(record)
    return programs


class Steps:
    """A dry run of a program, and the times of its steps on each GPU, in milliseconds."""

    def __init__(self, make_step: Callable[..., Callable[[], object]]) -> None:
        index = ensure_loaded().emulate(list(RECORDED), 1, 0, "zero", True)
        device = torch.device("remote", index)
        self.index = index
        torch.remote.set_device(device)
        self.step = make_step(device, False)
        for _ in range(WARM_UP_STEPS):
            self.step()
        self.waiting = self._times(wait_after_each=True)
        self.back_to_back = self._times(wait_after_each=False)
        torch_remote.machine(device).stop()

    def _times(self, wait_after_each: bool) -> list[tuple[float, float]]:
        """For each GPU, of a step: the program's time, and the kernels'."""
        torch.remote.synchronize()
        before = self._clocks_us()
        for _ in range(STEPS):
            self.step()
            if wait_after_each:
                torch.remote.synchronize()
        torch.remote.synchronize()
        return [
            ((after[0] - start[0]) / STEPS / 1e3, (after[1] - start[1]) / STEPS / 1e3)
            for start, after in zip(before, self._clocks_us(), strict=True)
        ]

    def _clocks_us(self) -> list[tuple[float, float]]:
        """For each GPU: the program's time, and the kernels'."""
        gpus = ensure_loaded().emulation(self.index)["gpus"]
        return [(gpu["host_us"], gpu["gpu_busy_us"]) for gpu in gpus]


def compared(names: list[str]) -> Iterator[dict[str, Any]]:
    """A row for each program and GPU."""
    sys.path.insert(0, str(CALIBRATION))
    from gpu_measurements.programs import PROGRAMS

    measured = {gpu_type: recorded(gpu_type) for gpu_type in RECORDED}
    for name in names or list(PROGRAMS):
        steps = Steps(PROGRAMS[name])
        for index, gpu_type in enumerate(RECORDED):
            record = measured[gpu_type][name]
            yield {
                "program": name,
                "gpu": gpu_type,
                "waiting_ms": (record["median_ms"], steps.waiting[index][0]),
                "back_to_back_ms": (record["back_to_back_ms"], steps.back_to_back[index][0]),
                "kernels_ms": (record["gpu_ms"], steps.waiting[index][1]),
            }


FIGURES = {
    "waiting_ms": "a wait each",
    "back_to_back_ms": "back to back",
    "kernels_ms": "kernels alone",
}


def error(pair: tuple[float, float]) -> float:
    return pair[1] / pair[0] - 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", default=[], help="a program; may be repeated")
    parser.add_argument("--quick", action="store_true", help="the smallest program alone")
    parser.add_argument("--json", type=Path, help="writes the rows there")
    parser.add_argument("--check", action="store_true", help="changes nothing: there is no limit")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.only = ["mlp_adam"]
    print("milliseconds a step, measured and modelled")
    print(f"{'program':28}{'GPU':6}" + "".join(f"{title:>27}" for title in FIGURES.values()))
    rows = []
    for row in compared(arguments.only):
        rows.append(row)
        print(f"{row['program']:28}{row['gpu']:6}", end="")
        for key in FIGURES:
            print(f"{row[key][0]:9.2f}{row[key][1]:9.2f}{error(row[key]):+9.1%}", end="")
        print(flush=True)
    for key, title in FIGURES.items():
        errors = [abs(error(row[key])) for row in rows]
        print(f"{title}: mean error {statistics.mean(errors):.1%}, worst {max(errors):.1%}")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
