# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""`torch-remote conformance run | verify | diff | must-pass`."""

import argparse
import datetime as dt
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from torch_remote_conformance import must_pass, page, report, waivers, workers
from torch_remote_conformance.case import Level, Result, Status
from torch_remote_conformance.catalogue import Selection
from torch_remote_conformance.environment import environment
from torch_remote_conformance.progress import ProgressBar
from torch_remote_conformance.target import Address, provided

_DEVICES = (
    "emulator:GPU_TYPE, local:GPU_TYPE, null, tcp://host:port, PROVIDER:GPU_TYPE such as modal:H100, or "
    "torch:DEVICE such as torch:cpu"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command. 0: all is well; 1: a case failed, or a report got worse; 2: wrong usage."""
    options = _parser().parse_args(arguments)
    try:
        result: int = options.command(options)
    except (ValueError, OSError, workers.WorkerError) as error:
        print(f"torch-remote conformance: {error}", file=sys.stderr)
        return 2
    return result


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="torch-remote conformance", description="Proves executors, providers and devices."
    )
    verbs = parser.add_subparsers(required=True, metavar="run | verify | diff | must-pass")
    run = verbs.add_parser("run", help="runs the suite")
    run.set_defaults(command=_run)
    run.add_argument("--device", required=True, help=_DEVICES)
    run.add_argument("--server-key", help="public key of the executor at tcp://host:port")
    run.add_argument("--key-file", help="the client's secret key for it")
    run.add_argument("--level", type=_level, default=Level.L5, help="L0 to L5; those below as well")
    run.add_argument("--filter", default="*", metavar="PATTERN", help="of case ids: 'op/linalg.*'")
    run.add_argument(
        "--shard", type=_shard, default=(1, 1), metavar="I/N", help="a part of the cases"
    )
    run.add_argument("--seed", type=int, default=0)
    run.add_argument("--workers", type=int, default=os.cpu_count() or 1, metavar="COUNT")
    run.add_argument("--case-timeout-s", type=float, default=600.0, metavar="SECONDS")
    run.add_argument("--fail-fast", action="store_true", help="ends with the first failure")
    run.add_argument("--json", type=Path, metavar="FILE", help="writes the report")
    run.add_argument("--junit", type=Path, metavar="FILE", help="writes it for CI systems")
    run.add_argument("--html", type=Path, metavar="FILE", help="writes a page for people")
    run.add_argument("--badge", type=Path, metavar="FILE", help="writes a badge, an SVG file")
    verify = verbs.add_parser("verify", help="recomputes a report's summary")
    verify.set_defaults(command=_verify)
    verify.add_argument("report", type=Path)
    diff = verbs.add_parser("diff", help="what changed between two reports")
    diff.set_defaults(command=_diff)
    diff.add_argument("old", type=Path)
    diff.add_argument("new", type=Path)
    required = verbs.add_parser("must-pass", help="rewrites the list of this version of torch")
    required.set_defaults(command=_must_pass)
    required.add_argument("--check", action="store_true", help="only says whether it is up to date")
    return parser


def _level(text: str) -> Level:
    try:
        return Level[text.upper()]
    except KeyError:
        raise argparse.ArgumentTypeError(f"{text!r} is none of L0 to L5") from None


def _shard(text: str) -> tuple[int, int]:
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise argparse.ArgumentTypeError(f"{text!r} is no part such as 1/4")
    return int(number), int(count)


def _run(options: argparse.Namespace) -> int:
    start = time.monotonic()
    today = dt.date.today()
    listed = waivers.read()
    for expired in (one for one in listed if one.is_expired(today)):
        print(f"the waiver of {expired.id} has expired: {expired.reason}", file=sys.stderr)
    known = waivers.Waivers(listed, options.device, metadata.version("torch"), today)
    made = report.Report(environment(_choices(options), {}))
    with (
        provided(
            options.device, server_key=options.server_key, key_file=options.key_file
        ) as address,
        ProgressBar() as progress,
    ):

        def start_with(listing: workers.Listing) -> None:
            made.environment = environment(_choices(options), listing.description)
            progress.expect(len(listing.cases))

        for result in _results(address, options, start_with):
            made.results.append(known.apply(result))
            progress.add(made.results[-1])
    _write(made, options, {one.id: one.reason for one in listed})
    _show_summary(made, time.monotonic() - start)
    return 0 if made.is_green else 1


def _results(
    address: Address, options: argparse.Namespace, on_listing: Callable[[workers.Listing], None]
) -> Iterator[Result]:
    selection = Selection(options.level, options.filter, options.shard)
    how = workers.Options(options.seed, options.workers, options.case_timeout_s, options.fail_fast)
    return workers.run(address, selection, how, on_listing)


def _choices(options: argparse.Namespace) -> dict[str, Any]:
    return {
        "target": options.device,
        "level": options.level.name,
        "filter": options.filter,
        "shard": "/".join(map(str, options.shard)),
        "seed": options.seed,
    }


def _write(made: report.Report, options: argparse.Namespace, reasons: dict[str, str]) -> None:
    if options.json:
        made.write(options.json)
    if options.junit:
        made.write_junit(options.junit)
    if options.html:
        page.write_page(made, options.html, reasons)
    if options.badge:
        page.write_badge(made, options.badge)


def _show_summary(made: report.Report, seconds: float) -> None:
    summary = made.summary()
    for level, counts in summary["levels"].items():
        print(f"{level}: " + ", ".join(f"{count} {status}" for status, count in counts.items()))
    required = summary["must_pass"]
    if required["required"]:
        passed = required["required"] - len(required["missing"])
        print(
            f"must pass with {required['list']} (sha256 {required['sha256'][:16]}): "
            f"{passed} of {required['required']}"
        )
        for name in required["missing"][:10]:
            print(f"  not passed: {name}")
    print(
        f"conformance {'passed' if made.is_green else 'FAILED'} on {made.environment['target']}: "
        f"{summary['cases']} cases, {summary['samples']} samples, {summary['failed_samples']} failed, "
        f"score {summary['score']:.4f}, {seconds:.0f} s"
    )


def _verify(options: argparse.Namespace) -> int:
    read = report.read(options.report)
    _show_summary(read, sum(result.seconds for result in read.results))
    return 0 if read.is_green else 1


def _diff(options: argparse.Namespace) -> int:
    old, new = report.read(options.old), report.read(options.new)
    changes = report.changes(old.results, new.results)
    for name, before, after in changes:
        print(f"{name}: {before} -> {after}")
    print(f"{len(changes)} changes")
    good = {status.value for status in Status if status.is_good}
    return int(any(before in good and after not in good for _, before, after in changes))


def _must_pass(options: argparse.Namespace) -> int:
    made = must_pass.make()
    there = must_pass.find(made.version)
    is_same = there == made
    if not options.check:
        print(must_pass.write(made))
    print(f"torch-{made.version}: {len(made.levels)} cases, sha256 {made.sha256}")
    if options.check and not is_same:
        print("the list in the package is another one; `must-pass` without --check rewrites it")
    return int(options.check and not is_same)
