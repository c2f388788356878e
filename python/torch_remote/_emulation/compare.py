# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""One run of a program, and a row for each GPU that looks on."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch

from torch_remote import _devices, remote
from torch_remote._arguments import whole_number
from torch_remote._emulation.device import chosen_gpus, make_device
from torch_remote._emulation.questions import collecting_questions, differing_answers
from torch_remote._emulation.result import Comparison, GpuRun, result_of
from torch_remote._emulation.steps import StepFinder, finding_steps
from torch_remote._loading import ensure_loaded
from torch_remote._names import made_index

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Sequence

    from torch_remote._gpus import Gpu

_BATCH_SIZE_MAX = 2**31


def compare(
    program: Callable[..., object],
    gpus: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = "all",
    *,
    dry_run: bool = True,
    on_read: Literal["raise", "zero"] = "zero",
    batch_size: int | None = None,
) -> Comparison:
    """Runs a program once and tells what it needs of each GPU: memory, time, price.

    The first GPU governs: its properties are what the program sees. Memory never runs out; where it
    would, is recorded, and the peak that the program needs is told. Where the program asks for
    something in which another GPU differs, it is run for that GPU once more; its row is marked.

    Args:
        program: called with the device, or without anything if it takes no argument; either way the
            device is PyTorch's default one meanwhile.
        gpus: "all", or some of :data:`torch_remote.GPU_TYPES` and paths of files that describe GPUs of
            your own (docs/EMULATOR.md), as a sequence or separated by commas.
        dry_run: nothing is computed; False computes the values on this machine's CPU.
        on_read: what a dry run does where the program reads a value, as in :func:`emulate`.
        batch_size: samples of a step; default: what the outermost module is given.

    Returns:
        The rows in the order of gpus. print() shows a table, and so do notebooks.

    Raises:
        ValueError: unknown GPU type, something in a file that can't be right, or another word for on_read.
        FileNotFoundError: there is no such file.
        Exception: what the program raises in its first run, unless a GPU refused before what another
            doesn't. That one's, and one of another GPU's own run, are their rows' errors.
    """
    chosen = chosen_gpus(gpus)
    if batch_size is not None:
        whole_number("batch_size", batch_size, 1, _BATCH_SIZE_MAX)
    generator_state = torch.random.get_rng_state()

    def run(which: Sequence[Gpu]) -> tuple[Comparison, set[str]]:
        torch.random.set_rng_state(generator_state)
        with _device_for(which, dry_run, on_read) as device, watching(device) as watch:
            raised: Exception | None = None
            try:
                with torch.device(device):
                    _call(program, device)
            except Exception as error:
                raised = error
                if not any(row.divergence for row in watch.result(batch_size).rows):
                    raise
            return with_error(watch.result(batch_size), raised), set(watch.asked)

    comparison, asked = run(chosen)

    def run_alone(gpu: Gpu) -> GpuRun:
        try:
            return run([gpu])[0].rows[0]
        except Exception as error:  # noqa: BLE001 (whatever it is, it is this GPU's row)
            return dataclasses.replace(comparison.row(gpu.type), error=_brief(error))

    return with_own_runs(comparison, chosen, asked, run_alone)


def with_error(comparison: Comparison, raised: BaseException | None) -> Comparison:
    """The comparison with what the program raised, for the GPUs on which it would have as well."""
    if raised is None:
        return comparison
    rows = [
        row if row.divergence else dataclasses.replace(row, error=_brief(raised))
        for row in comparison.rows
    ]
    return dataclasses.replace(comparison, rows=rows)


def with_own_runs(
    comparison: Comparison,
    gpus: Sequence[Gpu],
    asked: set[str],
    run_alone: Callable[[Gpu], GpuRun],
) -> Comparison:
    """The comparison with rows of own runs for GPUs that would have answered otherwise, or refused other calls.

    gpus are those of its rows, in their order.
    """
    rows = []
    for gpu, row in zip(gpus, comparison.rows, strict=True):
        reason = differing_answers(asked, gpus[0], gpu) or _refusal(row, gpus[0])
        rows.append(dataclasses.replace(run_alone(gpu), own_run=reason) if reason else row)
    return dataclasses.replace(comparison, rows=rows)


def _refusal(row: GpuRun, governing: Gpu) -> str:
    """Why the program went another way than it would on the row's GPU, by what one of them refuses."""
    if row.divergence is None:
        return ""
    who = "it" if row.divergence.is_refused else governing.type
    return f"for {who} refuses {row.divergence.operation}"


@dataclass(frozen=True)
class Watch:
    """A device on which a program runs, and what was found out about it so far."""

    device: torch.device
    steps: StepFinder
    asked: set[str]

    def result(self, batch_size: int | None = None) -> Comparison:
        """What the models say now. batch_size is believed more than what was found."""
        return result_of(
            self.device,
            steps_found=self.steps.found,
            samples=batch_size or self.steps.samples,
            batch_found="as given" if batch_size else self.steps.samples_found,
        )


@contextlib.contextmanager
def watching(device: torch.device) -> Iterator[Watch]:
    """While it lasts, the program's steps and questions are noted, and emulate() gives this device."""
    with (
        collecting_questions() as asked,
        finding_steps(made_index(device)) as steps,
        _devices.emulate_gives(device),
        remote.device(device),
    ):
        yield Watch(device, steps, asked)


@contextlib.contextmanager
def _device_for(
    gpus: Sequence[Gpu], dry_run: bool, on_read: Literal["raise", "zero"]
) -> Iterator[torch.device]:
    device = make_device(gpus, dry_run=dry_run, oom="record", on_read=on_read)
    try:
        yield device
    finally:
        ensure_loaded().stop(made_index(device))


def _call(program: Callable[..., Any], device: torch.device) -> None:
    try:
        inspect.signature(program).bind(device)
    except TypeError:
        program()
    except ValueError:  # of something written in C, which has none
        program(device)
    else:
        program(device)


def _brief(error: BaseException) -> str:
    first = str(error).partition("\n")[0]
    return f"{type(error).__name__}: {first}" if first else type(error).__name__
