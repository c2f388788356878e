# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Instructions an operation on the client's hot path, counted by callgrind, against a baseline.

They repeat exactly where timings scatter, so a few percent more are a regression and not noise.
"""

from __future__ import annotations

import json
import math
import platform
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from measure import Report, make_parser

FEW = 2_000
MANY = 12_000
TOLERANCE = 1.05
BASELINE = Path(__file__).with_name("instructions_baseline.json")
KEY = "instructions_per_operation"
COMPILER = re.compile(r'set\(CMAKE_CXX_COMPILER_(ID|VERSION) "([^"]+)"\)')


def count(program: Path, operations: int, collect: str | None) -> int:
    """Instructions of all threads of the program, or of what the named function calls."""
    with tempfile.TemporaryDirectory(prefix="callgrind-") as folder:
        profile = Path(folder) / "profile"
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={profile}"]
        if collect:
            command.append(f"--toggle-collect={collect}")
        command += [str(program), str(operations)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
        counted = re.search(r"^(?:totals|summary): (\d+)", profile.read_text(), re.MULTILINE)
        if counted is None:
            raise SystemExit(f"callgrind counted nothing in {program}")
        return int(counted[1])


def compiler(program: Path) -> str:
    """What CMake compiled the program with, as the build tree around it says."""
    found = program.resolve().parents[1].glob("CMakeFiles/*/CMakeCXXCompiler.cmake")
    newest = max(found, key=lambda path: path.stat().st_mtime, default=None)
    if newest is None:
        return "unknown compiler"
    values = dict(COMPILER.findall(newest.read_text()))
    return f"{values.get('ID')} {values.get('VERSION')}"


def read_baselines(path: Path) -> dict[str, float]:
    return dict(json.loads(path.read_text())[KEY]) if path.exists() else {}


def main() -> int:
    parser = make_parser(__doc__)
    parser.add_argument(
        "--program",
        type=Path,
        required=True,
        help="the built client_hot_path_benchmark; its argument is a number of operations",
    )
    parser.add_argument(
        "--collect", metavar="FUNCTION", help="count only inside this function (callgrind's name)"
    )
    parser.add_argument("--baseline", type=Path, default=BASELINE)
    parser.add_argument(
        "--update-baseline", action="store_true", help="write what was counted as the new baseline"
    )
    options = parser.parse_args()

    few, many = (count(options.program, number, options.collect) for number in (FEW, MANY))
    each = (many - few) / (MANY - FEW)
    # Another compiler or torch makes other instructions, which says nothing about our code.
    built = f"{compiler(options.program)}, torch {torch.__version__}, {platform.machine()}"
    baselines = read_baselines(options.baseline)
    if options.update_baseline:
        baselines[built] = round(each, 1)
        content = json.dumps({KEY: dict(sorted(baselines.items()))}, indent=2)
        options.baseline.write_text(content + "\n")
    expected = baselines.get(built, math.nan)
    report = Report("Instructions an operation on the client's hot path")
    report.add(
        built=built,
        instructions=each,
        baseline="none: --update-baseline" if math.isnan(expected) else f"{expected:,.1f}",
        ratio=each / expected,
    )
    report.limit("instructions, of the baseline", each / expected, TOLERANCE)
    return report.finish(options)


if __name__ == "__main__":
    sys.exit(main())
