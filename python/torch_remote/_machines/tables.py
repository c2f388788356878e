# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Tables on standard output: rich's on a terminal, aligned text everywhere else."""

import importlib
import sys
from collections.abc import Sequence


def print_table(titles: Sequence[str], rows: Sequence[Sequence[str]], without_rows: str) -> None:
    """Prints rows below titles, or another text where there are none."""
    if not rows:
        print(without_rows)
    elif not (sys.stdout.isatty() and _print_rich(titles, rows)):
        widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
        for row in (titles, *rows):
            print("  ".join(map(str.ljust, row, widths)).rstrip())


def _print_rich(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    try:
        console = importlib.import_module("rich.console").Console()
        table = importlib.import_module("rich.table").Table(*titles)
    except ImportError:
        return False
    text = importlib.import_module("rich.text").Text
    for row in rows:
        table.add_row(*map(text, row))  # what looks like markup is none
    console.print(table)
    return True
