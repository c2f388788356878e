# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""What every section writes with: JSON lines in files of bounded size, and a budget of time."""

import contextlib
import json
import math
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

FORMAT_VERSION = 1
PART_LIMIT_BYTES = 1_200_000
# A broken CUDA context fails every call that follows; so many failures in a row say that it is.
FAILURES_IN_A_ROW_LIMIT = 60

Result = TypeVar("Result")


class SectionEnded(Exception):  # noqa: N818 (not an error of the caller's)
    """The section goes no further: the budget is spent, or everything fails."""


def rounded(value: Any, digits: int = 4) -> Any:
    """`value` with all floats in it rounded to `digits` significant digits; NaN and infinity become text."""
    if isinstance(value, bool | int | str) or value is None:
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            return str(value)
        if value == 0:
            return 0
        result = round(value, digits - 1 - math.floor(math.log10(abs(value))))
        return int(result) if result.is_integer() else result
    if isinstance(value, dict):
        return {str(key): rounded(item, digits) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item, digits) for item in value]
    return str(value)


def is_refusal(error: Exception) -> bool:
    """Whether PyTorch says that the device has no such kernel: a fact, not a failure."""
    texts = ("not implemented", "No available kernel", "No viable backend", "only supported on")
    return isinstance(error, NotImplementedError) or any(text in str(error) for text in texts)


class Budget:
    """Seconds that count down from the construction, by the monotonic clock."""

    def __init__(self, seconds: float) -> None:
        self._start_s = time.monotonic()
        self._seconds = seconds

    def spent_s(self) -> float:
        return time.monotonic() - self._start_s

    def left_s(self) -> float:
        return self._seconds - self.spent_s()

    def is_spent(self) -> bool:
        return self.left_s() <= 0


class Recorder:
    """Writes the records of one section into `folder`, one JSON object a line, each flushed at once.

    The first file is `name`.jsonl, those that follow `name`-2.jsonl and so on; each begins with a
    record of kind "file" and stays below `part_limit_bytes` plus one record. Long texts that occur
    often are interned: a record of kind "text" defines a number before the first use of it,
    and numbers hold for all parts of a section. Not for use by several threads.
    """

    def __init__(self, folder: Path, name: str, part_limit_bytes: int = PART_LIMIT_BYTES) -> None:
        self.name = name
        self._folder = folder
        self._part_limit_bytes = part_limit_bytes
        self._part = 0
        self._texts: dict[str, int] = {}
        self._failures_in_a_row = 0
        self._start_s = time.monotonic()
        self._open_part()

    def close(self) -> None:
        self._file.close()

    def write(self, kind: str, **fields: Any) -> None:
        """Append one record; floats are rounded to four significant digits."""
        line = json.dumps({"kind": kind, **rounded(fields)}, separators=(",", ":"))
        if self._written_bytes > 0 and self._written_bytes + len(line) > self._part_limit_bytes:
            self._file.close()
            self._open_part()
        self._append(line)

    def intern(self, text: str) -> int:
        """The number that stands for `text` in this section's records."""
        number = self._texts.get(text)
        if number is None:
            number = self._texts[text] = len(self._texts)
            self.write("text", number=number, text=text)
        return number

    def skip(self, what: str, reason: str) -> None:
        """Record that `what` was not measured, and why."""
        self.write("skipped", what=what, reason=reason)

    def progress(self, text: str) -> None:
        """One line with the time since the section's start, for whoever watches."""
        print(f"[{time.monotonic() - self._start_s:6.1f} s] {self.name}: {text}", flush=True)

    def attempt(self, what: str, function: Callable[[], Result]) -> Result | None:
        """`function`'s result, or None after recording its exception as a record of kind "error"."""
        try:
            result = function()
        except (SectionEnded, KeyboardInterrupt):
            raise
        except Exception as error:
            if is_refusal(error):
                self.skip(what, str(error)[:200])
                return None
            self._failures_in_a_row += 1
            with contextlib.suppress(ValueError):
                self.write(
                    "error",
                    what=what,
                    error=type(error).__name__,
                    message=str(error)[:600],
                    traceback=traceback.format_exc()[-1500:],
                )
            if self._failures_in_a_row >= FAILURES_IN_A_ROW_LIMIT:
                raise SectionEnded(
                    f"{self._failures_in_a_row} failures in a row, the last in {what}"
                ) from error
            return None
        self._failures_in_a_row = 0
        return result

    def _open_part(self) -> None:
        self._part += 1
        suffix = "" if self._part == 1 else f"-{self._part}"
        path = self._folder / f"{self.name}{suffix}.jsonl"
        self._file = path.open("w", encoding="utf-8")
        self._written_bytes = 0
        self._append(
            json.dumps(
                {"kind": "file", "section": self.name, "part": self._part, "format": FORMAT_VERSION}
            )
        )

    def _append(self, line: str) -> None:
        self._file.write(line + "\n")
        self._file.flush()
        self._written_bytes += len(line) + 1


def read_records(folder: Path, name: str) -> list[dict[str, Any]]:
    """All records of a section, in order; a last line that a kill cut off is left out."""
    records: list[dict[str, Any]] = []
    part = 1
    while True:
        path = folder / (f"{name}.jsonl" if part == 1 else f"{name}-{part}.jsonl")
        if not path.exists():
            return records
        for line in path.read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                records.append(json.loads(line))
        part += 1
