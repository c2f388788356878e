# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""`torch-remote run`: what a program sees of how it was started, and what its caller sees of it."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch_remote
from programs import TIMEOUT_S, environment
from torch_remote import cli

RUN = (sys.executable, "-m", "torch_remote.cli", "run")


@pytest.fixture
def program(tmp_path: Path) -> Path:
    return tmp_path / "program.py"


def run(*words: str | Path, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*RUN, *map(str, words)],
        cwd=folder,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def test_program_sees_itself(program: Path) -> None:
    (program.parent / "beside.py").write_text("NAME = 'a module beside it'")
    program.write_text(
        "import sys, pickle, beside, torch\n"
        "class Here: pass\n"
        "print(sys.argv[1:], __name__, __file__ == sys.argv[0], beside.NAME, sys.path[0] in __file__)\n"
        "print(type(pickle.loads(pickle.dumps(Here()))) is Here, sys.modules['__main__'].Here is Here)\n"
        "print(torch.ones(2, device='cuda').sum().item(), torch.cuda.get_device_name())\n"
    )
    done = run("--gpu", "T4", program, "--gpu", "B200", "-m", "x")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "['--gpu', 'B200', '-m', 'x'] __main__ True a module beside it True",
        "True True",
        "2.0 Tesla T4",
    ]
    # What making the device costs is not the program's.
    assert done.stderr.startswith(
        "torch-remote: Tesla T4: 2 operations, 1 round trips, peak 12 bytes"
    )
    assert done.stderr.count("\n") == 1


def test_quiet(program: Path) -> None:
    program.write_text("import torch; print(torch.ones(1, device='cuda').item())")
    done = run("--gpu=T4", "--quiet", program)
    assert (done.returncode, done.stdout, done.stderr) == (0, "1.0\n", "")


def test_modules(tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__main__.py").write_text(
        "import sys, torch; print(__name__, __package__, sys.argv[1:], torch.zeros(1).cuda().device)"
    )
    done = run("--gpu", "T4", "--quiet", "-m", "package", "--quiet", folder=tmp_path)
    assert (done.returncode, done.stdout) == (0, "__main__ package ['--quiet'] cuda:0\n"), (
        done.stderr
    )


@pytest.mark.parametrize(
    ("end", "code", "error"),
    [
        ("sys.exit(7)", 7, ""),
        ("sys.exit('it is over')", 1, "it is over\n"),
        ("sys.exit()", 0, ""),
        ("raise SystemExit(3)", 3, ""),
    ],
)
def test_exit_codes(program: Path, end: str, code: int, error: str) -> None:
    program.write_text(f"import sys\n{end}\n")
    done = run("--gpu", "T4", "--quiet", program)
    assert (done.returncode, done.stderr) == (code, error)


def test_tracebacks_are_the_programs(program: Path) -> None:
    program.write_text(
        "import torch\n"
        "def fail():\n"
        "    return torch.ones(2, device='cuda') + torch.ones(3, device='cuda')\n"
        "fail()\n"
    )
    done = run("--gpu", "T4", "--quiet", program)
    expected = subprocess.run(
        [sys.executable, "-c", f"exec(compile({program.read_text()!r}, {str(program)!r}, 'exec'))"],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert expected.returncode == done.returncode == 1
    lines = done.stderr.splitlines()
    assert lines[:2] == [
        "Traceback (most recent call last):",
        f'  File "{program}", line 4, in <module>',
    ]
    assert [line for line in lines if "_run" in line or "runpy" in line] == []
    assert lines[-1].startswith("RuntimeError: The size of tensor a (2) must match")


def test_syntax_errors_name_the_file(program: Path) -> None:
    program.write_text("import torch\nprint('\n")
    done = run("--gpu", "T4", "--quiet", program)
    assert done.returncode == 1
    assert f'File "{program}", line 2' in done.stderr
    assert "SyntaxError" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_interrupt_ends_as_in_python(program: Path) -> None:
    program.write_text("import time\nprint('started', flush=True)\ntime.sleep(600)\n")
    with subprocess.Popen(
        [*RUN, "--gpu", "T4", str(program)],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "started\n"
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=TIMEOUT_S)
        finally:
            process.kill()
    assert process.returncode == -signal.SIGINT
    assert "KeyboardInterrupt" in errors
    assert "torch-remote: Tesla T4" in errors


def test_what_runs_at_exit_still_has_the_device(program: Path) -> None:
    program.write_text(
        "import atexit, torch\n"
        "atexit.register(lambda: print(torch.ones(3, device='cuda').sum().item()))\n"
    )
    done = run("--gpu", "T4", "--quiet", program)
    assert (done.returncode, done.stdout) == (0, "3.0\n"), done.stderr


def test_another_machine(program: Path, executor: torch_remote.LocalExecutor) -> None:
    program.write_text("import torch; print(torch.ones(3, device='cuda:0').sum().item())")
    done = run("--device", executor.endpoint, program)
    assert (done.returncode, done.stdout) == (0, "3.0\n"), done.stderr
    assert "torch-remote: NVIDIA A100-SXM4-80GB: 2 operations" in done.stderr


def test_a_provider(program: Path) -> None:
    program.write_text(
        "import torch; print(torch.cuda.device_count(), torch.ones(3).cuda().sum().item())"
    )
    done = run("--device", "emulator:T4", "--gpu-count", "2", "--quiet", program)
    assert (done.returncode, done.stdout) == (0, "2 3.0\n"), done.stderr


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "is missing"),
        (["--gpu", "T4"], "a script, or -m and a module, is missing"),
        (["-m", "json.tool"], "say on which GPU"),
        (["--gpu", "T4", "--device", "local:T4", "-m", "json.tool"], "say on which GPU"),
        (["--gpu", "T4", "nowhere.py"], "there is no file nowhere.py"),
        (["--gpu", "T3", "-m", "json.tool"], "T4"),
        (["--device", "nobody:T4", "-m", "json.tool"], "there is no provider 'nobody'"),
        (["--device", "tcp://127.0.0.1", "-m", "json.tool"], "endpoint"),
        (["--bogus", "-m", "json.tool"], "--bogus"),
        (["--device", "local:T4", "--dry-run", "-m", "json.tool"], "--dry-run goes with --gpu"),
        *(
            ([*where, option, "1", "-m", "json.tool"], f"{option} doesn't go with {what}")
            for where, option, what in (
                (("--gpu", "T4"), "--budget-usd", "an emulated GPU"),
                (("--gpu", "T4"), "--server-key", "an emulated GPU"),
                (("--device", "tcp://127.0.0.1:1"), "--gpu-count", "an executor that is running"),
                (("--device", "mine"), "--gpu-count", "a machine that is running"),
                (("--device", "local:T4"), "--server-key", "a machine of its own"),
            )
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage(words: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """In this process: nothing has been changed yet where it ends."""
    with pytest.raises(SystemExit) as ended:
        sys.exit(cli.main(["run", *words]))
    printed = capsys.readouterr()
    assert (ended.value.code, printed.out) == (2, "")
    assert text in printed.err
    assert not torch.cuda.is_available()
