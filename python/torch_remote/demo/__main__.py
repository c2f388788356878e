# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""`python -m torch_remote.demo`: trains both networks on every device, then compares nine GPUs."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from torch_remote.demo import comparison, data
from torch_remote.demo.devices import DEFAULT, PLACES, T4, T4_OVER_TCP, Place, usage
from torch_remote.demo.models import RECIPES, Recipe
from torch_remote.demo.report import (
    Outcome,
    differing_weights,
    inaccurate,
    make_console,
    progress_bar,
    results_table,
)
from torch_remote.demo.training import train

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from torch_remote.demo.data import Digits

LEAST_ACCURACY = 0.97
QUICK_EPOCHS = 2


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m torch_remote.demo",
        description="Trains two small networks on scans of digits, on emulated GPUs in this "
        "process and in an executor process, and checks that both gave the same weights.",
    )
    parser.add_argument(
        "--device",
        action="append",
        choices=[place.option for place in PLACES],
        help="train only here; may be repeated "
        f"(default: {', '.join(place.option for place in DEFAULT)})",
    )
    parser.add_argument("--epochs", type=positive, help="for each network, instead of its own")
    parser.add_argument(
        "--quick", action="store_true", help=f"{QUICK_EPOCHS} epochs, any accuracy will do"
    )
    parser.add_argument("--threads", type=positive, default=1, help="of each executor")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args(arguments)


def run(
    recipe: Recipe, place: Place, digits: Digits, epochs: int, options: argparse.Namespace
) -> Outcome:
    """One training on a device of its own, so that the device's counts are this training's."""
    console: Console = options.console
    with (
        place.open(options.threads) as device,
        tempfile.TemporaryDirectory(prefix="torch-remote-demo-") as folder,
        progress_bar(console, f"{recipe.name} on {place.title}", epochs) as observe,
    ):
        trained = train(
            recipe,
            digits,
            device,
            epochs=epochs,
            seed=options.seed,
            folder=Path(folder),
            observe=observe,
        )
        outcome = Outcome(place, recipe, trained, usage(device))
    console.print(f"{outcome.title}: {trained.accuracy:.1%} right")
    return outcome


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    console = options.console = make_console()
    places = [p for p in PLACES if p.option in options.device] if options.device else DEFAULT
    started = time.perf_counter()
    digits = data.load()
    outcomes = []
    for place in places:
        for recipe in RECIPES:
            epochs = options.epochs or (QUICK_EPOCHS if options.quick else recipe.epochs)
            outcomes.append(run(recipe, place, digits, epochs, options))
    console.print(results_table(outcomes))

    failures = differing_weights(outcomes)
    if T4 in places and T4_OVER_TCP in places and not failures:
        console.print("The T4 in this process and the T4 over TCP gave bitwise equal weights.")
    if not options.quick:
        failures += inaccurate(outcomes, LEAST_ACCURACY)
    for failure in failures:
        console.print(f"FAILED: {failure}", style="bold red")
    console.print(f"\n{comparison.TITLE}\n")
    console.print(str(comparison.compare()), soft_wrap=True)
    console.print(f"\n{time.perf_counter() - started:.0f} seconds")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
