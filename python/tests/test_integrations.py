# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""The examples of docs/INTEGRATIONS.md, as they are printed there."""

import re
from pathlib import Path

import pytest
from libraries import TORCHVISION_REPAIR, library
from programs import run_python

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "INTEGRATIONS.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
# What an example imports, and what its last line tells.
EXPECTED = [
    ("transformers", r"tensor\(\[\[ *5, .*device='remote:0'\)"),
    ("accelerate", r"remote \d\.\d+"),
    ("transformers", r"remote:0"),
    ("lightning", r"remote:0"),
]


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(EXPECTED)))
def test_example(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, output = EXPECTED[number]
    library(name)
    library("accelerate")
    monkeypatch.chdir(tmp_path)  # the Trainer writes there
    program = TORCHVISION_REPAIR + EXAMPLES[number]
    done = run_python(program, variables={"ACCELERATE_TORCH_DEVICE": None})
    assert done.returncode == 0, done.stderr
    assert re.search(output + r"\s*$", done.stdout, re.DOTALL), done.stdout


def test_every_example_is_run() -> None:
    assert len(EXAMPLES) == len(EXPECTED) + 1  # the last one repairs torchvision


def test_the_repair_of_torchvision_is_the_one_that_the_tests_use() -> None:
    lines = [line.strip() for line in EXAMPLES[-1].splitlines() if line.strip()]
    repair = [line.strip() for line in TORCHVISION_REPAIR.splitlines()]
    assert all(line in repair for line in lines[1:])
