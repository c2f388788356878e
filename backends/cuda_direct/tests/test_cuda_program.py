# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""torch-remote-executor --device cuda where there is no GPU: what it says, with drivers of our own."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from _torch_remote_executor import PROGRAM, environment

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="CUDA's driver is one of Linux here"
)

COMPILER = shutil.which("cc")
TIMEOUT_S = 60


def run_with_driver(folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs the program, which finds the driver in folder first."""
    variables = environment()
    variables["LD_LIBRARY_PATH"] = f"{folder}:{variables['LD_LIBRARY_PATH']}"
    return subprocess.run(
        [PROGRAM, "--device", "cuda", "--lifetime-s", "1"],
        env=variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def make_driver(folder: Path, *, init: int, count: int) -> None:
    """A driver whose cuInit gives a result, and which has so many GPUs."""
    if COMPILER is None:
        pytest.skip("needs a C compiler")
    source = folder / "driver.c"
    source.write_text(
        f"""
        int cuInit(unsigned flags) {{ return {init}; }}
        int cuDeviceGetCount(int *count) {{ *count = {count}; return 0; }}
        int cuGetErrorName(int result, const char **text) {{ *text = "CUDA_ERROR_NO_DEVICE"; return 0; }}
        int cuGetErrorString(int result, const char **text) {{ *text = "none is detected"; return 0; }}
        """
    )
    library = folder / "libcuda.so.1"
    subprocess.run([COMPILER, "-shared", "-fPIC", "-o", library, source], check=True)


def assert_fails(done: subprocess.CompletedProcess[str], reason: str) -> None:
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"torch-remote-executor: {reason}")
    assert done.stderr.count("\n") == 1


def test_without_a_driver(tmp_path: Path) -> None:
    # Found before a real one, and no library.
    (tmp_path / "libcuda.so.1").write_text("not a library, and longer than the header of one\n" * 9)
    done = run_with_driver(tmp_path)
    assert_fails(done, "no CUDA device: this machine has no NVIDIA driver (")
    assert "--device cpu" in done.stderr


def test_with_a_driver_that_fails(tmp_path: Path) -> None:
    make_driver(tmp_path, init=100, count=0)
    done = run_with_driver(tmp_path)
    assert_fails(
        done, "no CUDA device: the NVIDIA driver says CUDA_ERROR_NO_DEVICE (none is detected); "
    )


def test_with_a_driver_that_has_no_gpu(tmp_path: Path) -> None:
    make_driver(tmp_path, init=0, count=0)
    assert_fails(
        run_with_driver(tmp_path), "no CUDA device: the NVIDIA driver knows no GPU; look at"
    )


def test_without_the_plugin(tmp_path: Path) -> None:
    plugin = PROGRAM.parent / "torch_remote_cuda.so"
    if plugin.exists():
        pytest.skip("this torch-remote was built with CUDA")
    make_driver(tmp_path, init=0, count=1)
    done = run_with_driver(tmp_path)
    assert_fails(done, f"this torch-remote was built without CUDA, {plugin} is missing: build it")
