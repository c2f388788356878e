# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""`torch-remote emulate`: one run of a script, and what it needs of each GPU."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from torch_remote._run.command import split_words

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import torch

    from torch_remote._emulation.compare import Watch
    from torch_remote._emulation.result import GpuRun
    from torch_remote._gpus import Gpu

_USAGE = "torch-remote emulate [options] (SCRIPT | -m MODULE) [arguments]"


def emulate(words: Sequence[str]) -> int:
    """Runs the program with the models of GPUs looking on, and prints the table. The exit code."""
    parser = _parser()
    own, program, arguments, is_module = split_words(parser, words)
    options = parser.parse_args(own)
    if program is None:
        parser.error("a script, or -m and a module, is missing")
    if not is_module and not Path(program).is_file():
        parser.error(f"there is no file {program}")
    # Not before the words were understood: this takes seconds.
    from torch_remote._emulation.device import chosen_gpus, make_device

    try:
        if options.html:
            from torch_remote._emulation.page import check_can_draw

            check_can_draw()
        gpus = chosen_gpus(options.gpu)
        device = make_device(
            gpus,
            dry_run=not options.values,
            oom="record",
            on_read="raise" if options.strict else "zero",
        )
    except (ValueError, OSError, ImportError, RuntimeError) as error:
        print(f"torch-remote emulate: {error}", file=sys.stderr)
        return 2
    invocation = _Invocation(options, gpus, program, arguments, is_module)
    return invocation.run(device)


class _Invocation:
    """One call of the command."""

    def __init__(
        self,
        options: argparse.Namespace,
        gpus: Sequence[Gpu],
        program: str,
        arguments: Sequence[str],
        is_module: bool,
    ) -> None:
        self._options = options
        self._gpus = gpus
        self._program = program
        self._arguments = arguments
        self._is_module = is_module

    def run(self, device: torch.device) -> int:
        """The program's exit code."""
        import torch_remote
        from torch_remote._emulation.compare import watching
        from torch_remote._run.program import run_program

        torch_remote.replace_cuda(device)
        report = sys.stdout
        with _output_of_program(to_stderr=self._options.json), watching(device) as watch:
            return run_program(
                self._program,
                self._arguments,
                is_module=self._is_module,
                at_end=lambda raised: self._tell(watch, report, raised),
            )

    def _tell(self, watch: Watch, report: TextIO, raised: BaseException | None) -> None:
        from torch_remote._emulation.compare import with_error, with_own_runs

        sys.stdout.flush()
        comparison = with_error(watch.result(self._options.batch_size), raised)
        comparison = with_own_runs(
            comparison,
            self._gpus,
            watch.asked,
            lambda gpu: self._run_alone(gpu, comparison.row(gpu.type)),
        )
        text = comparison.to_json() if self._options.json else f"\n{comparison}"
        print(text, file=report, flush=True)
        if self._options.html:
            from torch_remote._emulation.page import write_page

            write_page(comparison, self._options.html, title=Path(self._program).name)

    def _run_alone(self, gpu: Gpu, row: GpuRun) -> GpuRun:
        """The row of a run for this GPU alone, in a process of its own."""
        from torch_remote._emulation.result import comparison_from_json

        command = [sys.executable, "-m", "torch_remote.cli", "emulate", "--json"]
        command += ["--gpu", gpu.argument]
        command += ["--values"] if self._options.values else []
        command += ["--strict"] if self._options.strict else []
        if self._options.batch_size:
            command += ["--batch-size", str(self._options.batch_size)]
        command += ["-m"] if self._is_module else []
        command += [self._program, *self._arguments]
        ended = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        try:
            alone = comparison_from_json(ended.stdout).rows[0]
        except (json.JSONDecodeError, LookupError, TypeError):
            alone = row
        if ended.returncode == 0 or alone.error:
            return alone
        return dataclasses.replace(alone, error=_last_line(ended.stderr, ended.returncode))


def _last_line(text: str, code: int) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else f"it ended with the exit code {code}"


@contextlib.contextmanager
def _output_of_program(*, to_stderr: bool) -> Iterator[None]:
    """Where standard output is for a result, what the program prints goes to standard error."""
    if not to_stderr:
        yield
        return
    with contextlib.redirect_stdout(sys.stderr):
        yield


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="torch-remote emulate",
        usage=_USAGE,
        description="Runs a Python program once, without a GPU, and tells for each GPU type whether "
        'it fits, what it peaks at, how long a step takes and what it costs. The program may say "cuda" '
        'or "remote"; nothing is computed unless --values is given.',
        allow_abbrev=False,
    )
    parser.add_argument(
        "--gpu",
        default="all",
        metavar="TYPES",
        help='"all" (the default), or types and files such as T4,H100,my_gpu.toml; the first governs '
        "what the program sees",
    )
    parser.add_argument(
        "--values", action="store_true", help="compute the values, on this machine's CPU"
    )
    parser.add_argument(
        "--strict",
        action="store_true",
        help="in a dry run, end with an error where the program reads a value, instead of zero",
    )
    parser.add_argument(
        "--batch-size",
        type=_positive,
        metavar="N",
        help="samples of a step (default: the first dimension of what the outermost module is given)",
    )
    parser.add_argument(
        "--html", type=_new_file, metavar="FILE", help="write a page with plots as well"
    )
    parser.add_argument(
        "--json", action="store_true", help="print JSON; what the program prints goes to stderr"
    )
    return parser


def _positive(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"has to be a whole number of at least 1, not {text!r}")
    return number


def _new_file(text: str) -> Path:
    """A program may run for long before its page is written."""
    path = Path(text)
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {path.parent}")
    return path
