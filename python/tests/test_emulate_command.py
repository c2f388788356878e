# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""`torch-remote emulate`: a script as it is, a table, a page."""

import json
import subprocess
import sys

import pytest
import torch
from torch_remote import cli

TRAINING = """
import sys
import torch
from torch import nn

device = "cuda" if torch.cuda.is_available() else "cpu"
width = int(sys.argv[1])
model = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width)).to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(3):
    x = torch.randn(16, width, device=device)
    loss = model(x).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print("loss", loss.item(), "on", x.device.type)
"""

ASKING = """
import torch

if torch.cuda.get_device_capability()[0] < 8:
    raise SystemExit("needs an Ampere GPU")
torch.ones(1 << 20, device="cuda")
"""


def emulate(*words, check=True):
    return subprocess.run(
        [sys.executable, "-m", "torch_remote.cli", "emulate", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=280,
        check=check,
    )


@pytest.fixture
def script(tmp_path):
    def write(text):
        path = tmp_path / "program.py"
        path.write_text(text)
        return path

    return write


def test_a_script_that_says_cuda_gets_a_table_for_all_gpus(script, tmp_path):
    page = tmp_path / "page.html"
    done = emulate("--html", page, script(TRAINING), 512)
    assert done.stdout.count("loss 0.0 on cuda") == 3
    table = done.stdout.partition("\n\n")[2]
    assert [line.split()[:2] for line in table.splitlines()[1:10]] == [
        [gpu, "yes"]
        for gpu in "T4 L4 A10G A100-40GB A100-80GB L40S H100 H200 B200".split()  # noqa: SIM905
    ]
    assert "3 steps, by optimizer.step(); 16 samples each" in table
    assert "was zero" in table
    text = page.read_text()
    assert "<title>program.py on emulated GPUs</title>" in text
    assert "{{" not in text.partition("const figures")[0].partition("<style>")[0]
    assert 'src="http' not in text  # it needs no network


def test_json_is_alone_on_standard_output(script):
    done = emulate("--json", "--gpu", "T4,H100", "--batch-size", 7, script(TRAINING), 64)
    told = json.loads(done.stdout)
    assert [row["gpu"] for row in told["rows"]] == ["T4", "H100"]
    assert told["batch_size"] == 7
    assert "loss 0.0" in done.stderr


def test_with_values_the_loss_is_real(script):
    done = emulate("--values", "--gpu", "T4", script(TRAINING), 64)
    assert "loss 0.0 " not in done.stdout
    assert "dry run" not in done.stdout


def test_a_gpu_on_which_the_script_goes_another_way_is_marked(script):
    done = emulate("--gpu", "H100,H200,T4", script(ASKING))
    rows = done.stdout.splitlines()
    assert any(line.startswith("H200 ") and " yes" in line for line in rows)
    assert any(line.startswith("T4* ") and "failed" in line for line in rows)
    assert "T4: needs an Ampere GPU" in done.stdout
    assert "* run by itself, for the program asks for the GPU's compute capability: T4" in rows


def test_a_script_that_fails_still_tells_what_it_did(script):
    done = emulate("--gpu", "T4", script(TRAINING + "\n1 / 0\n"), 64, check=False)
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr
    assert "3 steps" in done.stdout


def test_a_strict_dry_run_ends_at_the_first_read(script):
    done = emulate("--strict", "--gpu", "T4", script(TRAINING), 64, check=False)
    assert done.returncode == 1
    assert "the program reads a value, and a dry run has none" in done.stderr
    assert "program.py:16" in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "a script, or -m and a module, is missing"),
        (["missing.py"], "there is no file missing.py"),
        (["--gpu", "H10", __file__], "H100"),
        (["--batch-size", "0", __file__], "has to be a whole number of at least 1, not '0'"),
        (["--batch-size", "x", __file__], "has to be a whole number of at least 1, not 'x'"),
        (["--html", "/nowhere/page.html", __file__], "there is no folder /nowhere"),
    ],
)
def test_mistakes_are_named(words, message, capsys):
    """In this process: nothing has been changed yet where it ends."""
    with pytest.raises(SystemExit) as ended:
        sys.exit(cli.main(["emulate", *words]))
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
    assert not torch.cuda.is_available()


FLOAT8 = """
import torch

a, b = (torch.zeros(32, 16, device="cuda").to(torch.float8_e4m3fn) for _ in range(2))
one = torch.ones((), device="cuda")
torch._scaled_mm(a, b.t(), scale_a=one, scale_b=one, out_dtype=torch.bfloat16)
"""


def test_gpus_differ_in_what_they_refuse(script):
    done = emulate("--json", "--gpu", "T4,H100", script(FLOAT8), check=False)
    first, second = json.loads(done.stdout)["rows"]
    assert done.returncode == 1  # as of the program on the first GPU, whose traceback is printed
    assert "RuntimeError: torch._scaled_mm is only supported on CUDA devices" in done.stderr
    assert first["error"].startswith("RuntimeError: torch._scaled_mm is only supported")
    assert not first["fits"]
    assert second["fits"]
    assert second["own_run"] == "for T4 refuses aten::_scaled_mm"
    done = emulate("--json", "--gpu", "H100,T4", script(FLOAT8))
    first, second = json.loads(done.stdout)["rows"]
    assert first["fits"]
    assert second["error"].startswith("RuntimeError: torch._scaled_mm is only supported")
    assert second["own_run"] == "for it refuses aten::_scaled_mm"
