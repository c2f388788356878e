# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Runs the benchmark programs one after another and gathers their figures."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

FOLDER = Path(__file__).parent
INSTRUCTIONS = "instructions"
BUILT_PROGRAM = FOLDER.parent / "build" / "dev" / "bin" / "client_hot_path_benchmark"
PROGRAMS = (
    "operations",
    "growing_shapes",
    "llama_tokens",
    "transformer_step",
    "memory",
    "memory_peaks",
    "import_time",
    "replace_cuda",
    "random_numbers",
    "dry_run",
    "large_model",
    "step_times",
    "kernel_times",
    INSTRUCTIONS,
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--only", action="append", choices=PROGRAMS, help="run this one; may be repeated"
    )
    parser.add_argument("--quick", action="store_true", help="short runs, to see that all work")
    parser.add_argument("--check", action="store_true", help="exit 1 if a limit isn't kept")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the figures there too")
    parser.add_argument(
        "--program",
        type=Path,
        default=BUILT_PROGRAM if BUILT_PROGRAM.exists() else None,
        help=f"the built client_hot_path_benchmark (default: that of ./dev build); where there is "
        f"none, {INSTRUCTIONS} is left out",
    )
    options = parser.parse_args()
    names = options.only or [name for name in PROGRAMS if name != INSTRUCTIONS or options.program]
    if INSTRUCTIONS in names and not options.program:
        parser.error(f"{INSTRUCTIONS} needs --program")

    results = {}
    failed = []
    with tempfile.TemporaryDirectory(prefix="torch-remote-bench-") as folder:
        for name in names:
            path = Path(folder) / f"{name}.json"
            program = FOLDER / name  # a folder, where it has several files
            if not program.is_dir():
                program = FOLDER / f"{name}.py"
            command = [sys.executable, str(program), "--json", str(path)]
            command += [f"--{option}" for option in ("quick", "check") if getattr(options, option)]
            if name == INSTRUCTIONS:
                command += ["--program", str(options.program)]
            if subprocess.run(command, check=False).returncode:
                failed.append(name)
            if path.exists():
                results[name] = json.loads(path.read_text())
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")
    if failed:
        print(f"\nfailed: {', '.join(failed)}")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
