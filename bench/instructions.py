# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Instructions an operation on the client's hot path, counted by callgrind, against a baseline.

They repeat exactly where timings scatter, so a few percent more are a regression and not noise.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from measure import Report, make_parser

FEW = 2_000
MANY = 12_000
TOLERANCE = 1.05
BASELINE = Path(__file__).with_name("instructions_baseline.json")
KEY = "instructions_per_operation"


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
    report = Report("Instructions an operation on the client's hot path")
    if options.update_baseline:
        options.baseline.write_text(json.dumps({KEY: round(each, 1)}, indent=2) + "\n")
    if not options.baseline.exists():
        raise SystemExit(f"{options.baseline} doesn't exist: make it with --update-baseline")
    expected = float(json.loads(options.baseline.read_text())[KEY])
    report.add(instructions=each, baseline=expected, ratio=each / expected)
    report.limit("instructions, of the baseline", each / expected, TOLERANCE)
    options.check = True
    return report.finish(options)


if __name__ == "__main__":
    sys.exit(main())
