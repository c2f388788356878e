# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Every benchmark is one of those that `./dev bench` runs, takes what that passes on, and is explained."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench"
PROGRAMS = sorted(
    path.parent.name if path.name == "__main__.py" else path.stem
    for path in (*BENCH.glob("*.py"), *BENCH.glob("*/__main__.py"))
    if 'if __name__ == "__main__":' in path.read_text() and path.stem != "run"
)


def test_all_are_run_and_explained() -> None:
    done = subprocess.run(
        [sys.executable, BENCH / "run.py", "--help"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    (choices,) = re.findall(r"--only \{(.*?)\}", done.stdout, re.DOTALL)[:1]
    assert sorted(re.findall(r"\w+", choices)) == PROGRAMS
    explained = re.findall(r"(?m)^\| `(\w+)(?:\.py)?` \| [A-Z]", (BENCH / "README.md").read_text())
    assert sorted(explained) == PROGRAMS


@pytest.mark.parametrize("name", PROGRAMS)
def test_each_takes_the_options_of_all(name: str) -> None:
    """Read, not run: importing what each needs takes seconds."""
    folder = BENCH / name
    files = folder.glob("*.py") if folder.is_dir() else [BENCH / f"{name}.py"]
    text = "".join(file.read_text() for file in files)
    for option in ("--quick", "--json", "--check"):
        assert option in text or "make_parser(" in text
