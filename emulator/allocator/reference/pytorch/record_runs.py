# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Record what PyTorch's own CUDA allocator does with the random programs, without a GPU.

    python emulator/allocator/reference/pytorch/record_runs.py --torch WHEEL_OR_FOLDER --cuda INCLUDE

`--torch` is a CUDA wheel of torch, or a folder that has its `torch/lib` and `torch/include`: of it,
libc10.so, libc10_cuda.so and headers are used. `--cuda` has cuda.h, cuda_runtime_api.h and crt: the
include folder of the wheels nvidia-cuda-runtime and nvidia-cuda-crt. A fake libcudart is built for
them, and data/pytorch_runs.bin written, which model_run_test.cpp compares the model with.
"""

import argparse
import struct
import subprocess
import sys
import tempfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
ALLOCATOR = HERE.parents[1]
ROOT = HERE.parents[3]
PROGRAMS = 1000
# Of every tenth program all statistics are kept, to see what a fingerprint alone can't show.
STATISTICS_EVERY = 10


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--torch", type=Path, required=True)
    parser.add_argument("--cuda", type=Path, required=True)
    parser.add_argument("--programs", type=int, default=PROGRAMS)
    parser.add_argument("--out", type=Path, default=HERE.parent / "data" / "pytorch_runs.bin")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        torch = unpacked(arguments.torch, Path(folder))
        program = build(torch, arguments.cuda, Path(folder))
        with ThreadPoolExecutor() as pool:
            runs = list(pool.map(lambda seed: run(program, seed), range(arguments.programs)))
    # Little-endian: the count of programs; for each its bytes and the bytes themselves.
    with arguments.out.open("wb") as out:
        out.write(struct.pack("<I", len(runs)))
        for result in runs:
            out.write(struct.pack("<I", len(result)))
            out.write(result)
    print(f"{arguments.out}: {len(runs)} programs, {arguments.out.stat().st_size} bytes")
    return 0


def unpacked(torch: Path, folder: Path) -> Path:
    """Return the folder with torch's lib and include; a wheel's are unpacked into the other folder."""
    if torch.is_dir():
        return torch / "torch" if (torch / "torch" / "lib").is_dir() else torch
    wanted = (
        "torch/include/c10/",
        "torch/include/torch/headeronly/",
        "torch/lib/libc10.so",
        "torch/lib/libc10_cuda.so",
    )
    with zipfile.ZipFile(torch) as wheel:
        wheel.extractall(folder, [name for name in wheel.namelist() if name.startswith(wanted)])
    return folder / "torch"


def build(torch: Path, cuda: Path, folder: Path) -> Path:
    """Compile the fake runtime, and the program that runs on it."""
    runtime = folder / "libcudart.so.13"
    program = folder / "pytorch_run"
    common = ["g++", "-std=c++20", "-O1", "-w", f"-I{ROOT}", "-isystem", str(cuda)]
    subprocess.run(
        [
            *common,
            "-fPIC",
            "-shared",
            "-Wl,-soname,libcudart.so.13",
            f"-Wl,--version-script={HERE / 'fake_cudart.map'}",
            HERE / "fake_cudart.cpp",
            HERE / "fake_cudart_unused.cpp",
            ALLOCATOR / "device_memory.cpp",
            "-o",
            runtime,
        ],
        check=True,
    )
    libraries = torch / "lib"
    subprocess.run(
        [
            *common,
            "-isystem",
            torch / "include",
            HERE / "pytorch_run.cpp",
            HERE.parent / "random_program.cpp",
            HERE.parent / "record.cpp",
            ALLOCATOR / "allocator_statistics.cpp",
            libraries / "libc10_cuda.so",
            libraries / "libc10.so",
            runtime,
            f"-Wl,-rpath,{folder}:{libraries}",
            "-Wl,--disable-new-dtags",
            "-o",
            program,
        ],
        check=True,
    )
    return program


def run(program: Path, seed: int) -> bytes:
    mode = ["--statistics"] if seed % STATISTICS_EVERY == 0 else []
    result = subprocess.run([program, str(seed), *mode], capture_output=True, check=False)
    if result.returncode != 0:
        raise RuntimeError(result.stderr.decode(errors="replace")[-2000:])
    return result.stdout


if __name__ == "__main__":
    sys.exit(main())
