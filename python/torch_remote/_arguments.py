# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Arguments of public functions, checked."""

import math
import operator
from collections.abc import Sequence

#: Ten years: what an executor takes for its own limits.
SECONDS_MAX = 10 * 365 * 86400


def whole_number(name: str, value: int, least: int, most: int) -> int:
    """Checked. Raises TypeError or ValueError."""
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        raise TypeError(f"{name} has to be a whole number, not {value!r}")
    if not least <= number <= most:
        raise ValueError(f"{name} is {number}; it has to be from {least} to {most}")
    return number


def thread_count(count: int) -> int:
    """Checked: 1 to 4096. Raises TypeError or ValueError."""
    return whole_number("num_threads", count, 1, 4096)


def seconds(name: str, value: float) -> float:
    """Checked: more than 0. Raises TypeError or ValueError."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"{name} has to be a number of seconds, not {value!r}")
    if not value > 0:  # nor is that true of what is no number
        raise ValueError(f"{name} is {value}; it has to be more than 0 seconds")
    return float(value) if value <= SECONDS_MAX else math.inf


def text(name: str, value: str, example: str) -> str:
    """Checked. Raises TypeError, with the example."""
    if not isinstance(value, str):
        raise TypeError(f"{name} has to be a text such as {example!r}, not {value!r}")
    return value


def choice(name: str, value: str, allowed: Sequence[str]) -> str:
    """Checked. Raises ValueError, with what is allowed."""
    if value not in allowed:
        raise ValueError(f"{name} is {value!r}; it has to be {' or '.join(map(repr, allowed))}")
    return value
