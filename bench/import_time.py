# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""What `import torch_remote` adds to `import torch`, in fresh processes that alternate."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time

from measure import Report, make_parser, progress

ROUNDS = 9
QUICK_ROUNDS = 2
LIMIT_MS = 150
PROGRAMS = {"torch": "import torch", "torch_remote": "import torch; import torch_remote"}


def milliseconds(program: str) -> float:
    environment = {**os.environ, "TORCH_DEVICE_BACKEND_AUTOLOAD": "0"}
    before = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)
    return 1000 * (time.perf_counter() - before)


def main() -> int:
    options = make_parser(__doc__).parse_args()
    rounds = QUICK_ROUNDS if options.quick else ROUNDS
    taken: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    for number in range(1 + rounds):
        progress(f"round {number}, of which 0 only warms up")
        for name, program in PROGRAMS.items():
            elapsed = milliseconds(program)
            if number:
                taken[name].append(elapsed)
    pairs = zip(taken["torch_remote"], taken["torch"], strict=True)
    added = statistics.median(both - torch_only for both, torch_only in pairs)
    report = Report("Fresh processes, milliseconds from start to end")
    report.add(
        torch=statistics.median(taken["torch"]),
        torch_and_torch_remote=statistics.median(taken["torch_remote"]),
        added=added,
        rounds=rounds,
    )
    report.limit("import torch_remote, milliseconds", added, LIMIT_MS)
    return report.finish(options)


if __name__ == "__main__":
    sys.exit(main())
