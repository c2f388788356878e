# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""The command: which device, which program, and one line about what was used."""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch_remote._machines.progress import duration

_USAGE = (
    "torch-remote run (--gpu TYPE | --device DEVICE) [options] (SCRIPT | -m MODULE) [arguments]"
)


def run(words: Sequence[str]) -> int:
    """Makes the device, runs the program with "cuda" meaning it, and says what was used. The exit code."""
    parser = _parser()
    own, program, arguments, is_module = split_words(parser, words)
    options = parser.parse_args(own)
    if program is None:
        parser.error("a script, or -m and a module, is missing")
    if (options.gpu is None) == (options.device is None):
        parser.error("say on which GPU, by --gpu TYPE or by --device DEVICE")
    if not is_module and not Path(program).is_file():
        parser.error(f"there is no file {program}")
    # Not before the words were understood: this takes seconds.
    import torch_remote
    from torch_remote._run.program import run_program

    try:
        device = _make_device(options)
        replaced = torch_remote.replace_cuda(device)
    except (ValueError, TypeError, LookupError, OSError, RuntimeError) as error:
        print(f"torch-remote run: {error}", file=sys.stderr)
        return 2
    used = _Used(replaced.devices)

    def at_end(_: BaseException | None) -> None:
        if not options.quiet:
            print(used.line(), file=sys.stderr)

    return run_program(program, arguments, is_module=is_module, at_end=at_end)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="torch-remote run",
        usage=_USAGE,
        description='Runs a Python program that says "cuda" on a remote device, unchanged.',
        allow_abbrev=False,
    )
    parser.add_argument(
        "--gpu",
        metavar="TYPE",
        help="an emulated GPU of this type, or of a file such as my_gpu.toml, in this process",
    )
    parser.add_argument(
        "--device",
        metavar="DEVICE",
        help="another machine: tcp://HOST:PORT, PROVIDER:TYPE such as local:T4 or modal:H100, or the name of one "
        "that torch-remote up has started",
    )
    parser.add_argument("--gpu-count", type=int, metavar="N", help="so many GPUs (default: 1)")
    parser.add_argument(
        "--server-key", metavar="KEY", help="the public key of the executor at tcp://..."
    )
    parser.add_argument("--budget-usd", type=float, metavar="USD", help="of a rented machine")
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="with --gpu: shapes, memory and time alone; values read as zeros",
    )
    parser.add_argument("--quiet", action="store_true", help="say nothing of what was used")
    return parser


def split_words(
    parser: argparse.ArgumentParser, words: Sequence[str]
) -> tuple[list[str], str | None, list[str], bool]:
    """This command's own words, the program, the program's words, and whether it is a module.

    argparse would take the program's options for its own.
    """
    with_value = {
        text
        for action in parser._actions
        if action.nargs is None and action.option_strings
        for text in action.option_strings
    }
    at = 0
    while at < len(words) and words[at].startswith("-") and words[at] != "-m":
        at += 2 if words[at] in with_value else 1
    own, rest = list(words[:at]), list(words[at:])
    is_module = rest[:1] == ["-m"]
    if is_module:
        del rest[0]
    return own, rest[0] if rest else None, rest[1:], is_module


def _make_device(options: argparse.Namespace) -> Any:
    import torch_remote

    count = 1 if options.gpu_count is None else options.gpu_count
    if options.gpu is not None:
        _refuse(options, "an emulated GPU", "server_key", "budget_usd")
        return torch_remote.emulate(
            options.gpu, gpu_count=count, dry_run=options.dry_run, on_read="zero"
        )
    if options.dry_run:
        raise ValueError("--dry-run goes with --gpu: a machine computes")
    if "://" in options.device:
        _refuse(options, "an executor that is running", "gpu_count", "budget_usd")
        return torch_remote.connect(options.device, server_key=options.server_key)
    provider, colon, gpu_type = options.device.partition(":")
    if not colon:
        _refuse(options, "a machine that is running", "gpu_count", "server_key", "budget_usd")
        return torch_remote.attach(provider)
    _refuse(options, "a machine of its own", "server_key")
    return torch_remote.create_device(
        provider, gpu_type, gpu_count=count, budget_usd=options.budget_usd
    )


def _refuse(options: argparse.Namespace, what: str, *names: str) -> None:
    """Options that would change nothing."""
    for name in names:
        if getattr(options, name) is not None:
            raise ValueError(f"--{name.replace('_', '-')} doesn't go with {what}")


class _Used:
    """What is counted from here on, as one line: Tesla T4: 1,234 operations, 5 round trips, ..."""

    def __init__(self, devices: Sequence[Any]) -> None:
        self._devices = devices
        self._before = self._count()
        self._started = time.monotonic()

    def line(self) -> str:
        """For people; to be asked for when the program has ended."""
        from torch_remote import remote

        (operations, round_trips), before = self._count(), self._before
        names = [remote.get_device_name(device) for device in self._devices]
        what = names[0] if len(names) == 1 else f"{len(names)} x {names[0]}"
        return (
            f"torch-remote: {what}: {operations - before[0]:,} operations, {round_trips - before[1]:,} round trips, "
            f"peak {_size(self._peak())} of tensors, in {duration(time.monotonic() - self._started)}"
        )

    def _count(self) -> tuple[int, int]:
        import torch_remote

        counts = [torch_remote.stats(device) for device in self._devices]
        return sum(one.operations for one in counts), sum(one.round_trips for one in counts)

    def _peak(self) -> int:
        import torch_remote

        return max(torch_remote.stats(device).allocated_bytes_peak for device in self._devices)


def _size(size_bytes: int) -> str:
    size, units = float(size_bytes), ["bytes", "KiB", "MiB", "GiB", "TiB"]
    while size >= 1024 and len(units) > 1:
        size /= 1024
        del units[0]
    return f"{size:.0f} bytes" if units[0] == "bytes" else f"{size:.1f} {units[0]}"
