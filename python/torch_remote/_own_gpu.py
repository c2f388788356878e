# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""A user's own GPU from a TOML file (docs/EMULATOR.md, "Your own card").

Here is what has to do with the file: its syntax, types, units, lines. Which values there are and
what they may be, the models say (emulator/own_gpu.h).
"""

import difflib
import os
import re
import sys
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch_remote._loading import ensure_loaded

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found, unused-ignore]

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch_remote._C import GpuModel

SUFFIX = ".toml"

#: Of one of them, in bytes.
_UNITS = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_UNITS |= {"kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def is_gpu_file(gpu: object) -> bool:
    """Whether a file is meant rather than the name of a built-in type."""
    return isinstance(gpu, os.PathLike) or (
        isinstance(gpu, str) and gpu.strip().lower().endswith(SUFFIX)
    )


def read_gpu_file(path: str) -> "GpuModel":
    """The GPU that the file describes.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: something in it can't be right; the message has the file, the line, the name of
            the value and what is expected.
    """
    file = Path(path.strip())
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no file {file} that describes a GPU") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{file.name} is no text in UTF-8: {error}") from None
    return _Reader(file, text).model()


def emulating(gpu: "str | os.PathLike[str]") -> list[str]:
    """Arguments of torch-remote-executor, for a built-in type or a file; errors as for a file."""
    if not is_gpu_file(gpu):
        return ["--emulate", os.fspath(gpu)]
    values = read_gpu_file(os.fspath(gpu)).own_values
    return [word for name, text in values.items() for word in ("--gpu-value", f"{name}={text}")]


class _Reader:
    def __init__(self, file: Path, text: str) -> None:
        self._file = file
        self._lines = text.splitlines()
        self._text = text
        self._rules = {
            name: (kind, expected) for name, kind, expected in ensure_loaded().gpu_value_rules()
        }

    def model(self) -> "GpuModel":
        try:
            table = tomllib.loads(self._text, parse_float=Decimal)
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"{self._file.name} is not TOML: {error}") from None
        values = {name: self._as_text(name, value) for name, value in _flat(table)}
        values.setdefault("type", self._file.stem)
        try:
            model: GpuModel = ensure_loaded().own_gpu_model(values)
        except ValueError as error:
            raise self._error(getattr(error, "value_name", ""), str(error)) from None
        return model

    def _as_text(self, name: str, value: Any) -> str:
        """A value as the models read it."""
        if name not in self._rules:
            raise self._error(name, self._unknown(name))
        kind, expected = self._rules[name]
        text = _TEXTS[kind](value)
        if text is None:
            raise self._error(name, f"{name} has to be {expected}, not {_shown(value)}")
        return text

    def _unknown(self, name: str) -> str:
        tables = {rule.partition(".")[0] for rule in self._rules if "." in rule}
        if name in tables:
            return f"{name} has to be a table, [{name}]"
        near = difflib.get_close_matches(name, self._rules, n=1)
        meant = f'; did you mean "{near[0]}"?' if near else ""
        return f'there is no value "{name}"{meant} There are {", ".join(self._rules)}'

    def _error(self, name: str, message: str) -> ValueError:
        line = self._line_of(name)
        place = self._file.name if line is None else f"{self._file.name}, line {line}"
        return ValueError(f"{place}: {message}")

    def _line_of(self, name: str) -> int | None:
        """Where the value is; None where it isn't there, or is written in an unusual way."""
        table = ""
        for number, line in enumerate(self._lines, 1):
            if header := re.match(r"\s*\[\s*([\w.-]+)\s*\]", line):
                table = header[1] + "."
            elif (key := re.match(r"\s*([\w.\"' -]+?)\s*=", line)) is not None:
                found = table + key[1].replace('"', "").replace("'", "").replace(" ", "")
                if found == name or (name.startswith(found + ".") and "{" in line):
                    return number
        return None


def _flat(table: "Mapping[str, Any]", prefix: str = "") -> "Iterator[tuple[str, Any]]":
    """Values with the names of the tables that they are in: peak.fp16."""
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _whole(value: Any) -> str | None:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def _number(value: Any) -> str | None:
    is_number = isinstance(value, (int, Decimal)) and not isinstance(value, bool)
    return str(value) if is_number else None


def _peak(value: Any) -> str | None:
    return value if value == "none" else _number(value)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _capability(value: Any) -> str | None:
    return str(value) if isinstance(value, (str, Decimal)) else None


def _bytes(value: Any) -> str | None:
    """A number of bytes, or a text such as "79.2 GiB"."""
    if not isinstance(value, str):
        return _whole(value)
    size = re.fullmatch(r"\s*(\d[\d_,]*(?:\.\d+)?)\s*([A-Za-z]+)\s*", value)
    if size is None or size[2] not in _UNITS:
        return None
    return str(round(Fraction(size[1].replace("_", "").replace(",", "")) * _UNITS[size[2]]))


#: How a value of each kind is read; None where its type or unit is another.
_TEXTS = {
    "text": _text,
    "capability": _capability,
    "whole": _whole,
    "number": _number,
    "bytes": _bytes,
    "peak": _peak,
}


def _shown(value: Any) -> str:
    return str(value) if isinstance(value, Decimal) else repr(value)
