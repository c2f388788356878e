# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Peaks of memory on emulated GPUs beside those of real ones: `python bench/memory_peaks`.

"recorded" are the calibration programs, whose every allocation was recorded on real GPUs; "published" are
runs whose peaks public repositories state. Exits with 1 if --check is given and a limit isn't kept.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import published
import recorded

RECORDED_LIMIT = 0.01
QUICK_RECORDED = ("mlp_adam", "adamw_fused")
QUICK_PUBLISHED = ("vit_large_bf16_batch_16", "llama_1b")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=("recorded", "published"))
    parser.add_argument(
        "--program", action="append", help="run this one; may be repeated; default: all"
    )
    parser.add_argument("--gpu", choices=list(recorded.archives()), help="of the recorded ones")
    parser.add_argument("--quick", action="store_true", help="two of each")
    parser.add_argument("--check", action="store_true", help="exit 1 if a limit isn't kept")
    parser.add_argument("--differences", action="store_true", help="print what requests differ")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the figures there too")
    options = parser.parse_args()
    results: dict[str, object] = {}
    is_kept = True
    if options.only != "published":
        is_kept &= run_recorded(options, results)
    if options.only != "recorded":
        is_kept &= run_published(options, results)
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")
    return int(options.check and not is_kept)


def run_recorded(options: argparse.Namespace, results: dict[str, object]) -> bool:
    names = options.program or (QUICK_RECORDED if options.quick else recorded.PROGRAMS)
    comparisons = [
        recorded.compare(name, gpu)
        for name in names
        if name in recorded.PROGRAMS
        for gpu in ([options.gpu] if options.gpu else recorded.archives())
    ]
    if not comparisons:
        return True
    print("\n".join(recorded.table(comparisons)))
    if options.differences:
        for comparison in comparisons:
            for number, found in enumerate(comparison.differences()):
                span = f"step {number - 1}" if number else "set-up"
                print(f"{comparison.program} {comparison.gpu} {span}: {recorded.describe(found)}")
    errors = [
        abs(value)
        for comparison in comparisons
        for value in (comparison.allocated_error, comparison.reserved_error)
    ]
    print(f"worst of all steps: {max(errors):.2%} (limit {RECORDED_LIMIT:.0%})\n")
    results["recorded"] = [
        {
            "program": comparison.program,
            "gpu": comparison.gpu,
            "allocated_error": comparison.allocated_error,
            "reserved_error": comparison.reserved_error,
        }
        for comparison in comparisons
    ]
    return max(errors) <= RECORDED_LIMIT


def run_published(options: argparse.Namespace, results: dict[str, object]) -> bool:
    figures, limits = published.read_figures()
    wanted = options.program or (QUICK_PUBLISHED if options.quick else None)
    comparisons = [
        published.compare(figure) for figure in figures if not wanted or figure.program in wanted
    ]
    if not comparisons:
        return True
    print("\n".join(published.table(comparisons)))
    errors = published.errors(comparisons)
    print(
        f"{len(comparisons)} figures: mean {errors.mean:.1%} (limit {limits.mean:.0%}), "
        f"worst {errors.worst:.1%} (limit {limits.worst:.0%})"
    )
    results["published"] = [
        {
            "program": comparison.figure.program,
            "published_bytes": comparison.figure.size_bytes,
            "emulated_bytes": comparison.emulated_bytes,
            "error": comparison.error,
        }
        for comparison in comparisons
    ]
    return errors.mean <= limits.mean and errors.worst <= limits.worst


if __name__ == "__main__":
    sys.exit(main())
