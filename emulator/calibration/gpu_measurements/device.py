# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Section `device`: what PyTorch and the driver say of the GPU, and the memory that a process takes."""

import os
import platform
import subprocess
import sys
from typing import Any

import torch

from gpu_measurements.target import Session, tensor_bytes


def run(session: Session) -> None:
    parts: dict[str, Any] = {"software": lambda: software(session)}
    if session.target.is_cuda:
        parts |= {
            "memory at start": lambda: memory_at_start(session),
            "properties": lambda: properties(session),
            "random state": lambda: random_state(session),
            "nvidia-smi": lambda: nvidia_smi(session),
        }
    else:
        session.recorder.skip("everything that only CUDA has", "no CUDA device")
    session.attempt_all(parts)


def simple_attributes(source: object) -> dict[str, Any]:
    """The public attributes of `source` that are numbers, texts or flags; others as text."""
    result: dict[str, Any] = {}
    for name in dir(source):
        if name.startswith("_"):
            continue
        value = getattr(source, name, None)
        if not callable(value):
            result[name] = value if isinstance(value, bool | int | float | str) else str(value)
    return result


def software(session: Session) -> None:
    cudnn = torch.backends.cudnn
    flags: dict[str, object] = {
        "cudnn.version": cudnn.version() if cudnn.is_available() else None,
        "cudnn.benchmark": cudnn.benchmark,
        "cudnn.allow_tf32": cudnn.allow_tf32,
        "cuda.matmul.allow_tf32": torch.backends.cuda.matmul.allow_tf32,
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
    }
    for name in (
        "flash_sdp_enabled",
        "mem_efficient_sdp_enabled",
        "math_sdp_enabled",
        "cudnn_sdp_enabled",
        "preferred_blas_library",
        "preferred_linalg_library",
    ):
        function = getattr(torch.backends.cuda, name, None)
        if function is not None:
            flags[name] = session.recorder.attempt(name, lambda: str(function()))  # noqa: B023
    session.recorder.write(
        "software",
        python=sys.version.split()[0],
        platform=platform.platform(),
        processor=platform.processor(),
        processors=os.cpu_count(),
        torch=torch.__version__,
        cuda=torch.version.cuda,
        flags=flags,
        environment={
            name: value
            for name, value in os.environ.items()
            if name.startswith(("PYTORCH_", "TORCH_", "CUDA_", "CUBLAS", "CUDNN", "NVIDIA_TF32"))
        },
        torch_config=torch.__config__.show(),
    )


def memory_at_start(session: Session) -> None:
    """Free memory and the process's share after each thing that takes some; nothing may run before."""
    device = session.target.device
    process_id = os.getpid()

    def record(after: str) -> None:
        torch.cuda.synchronize()
        free, total = torch.cuda.mem_get_info()
        session.recorder.write(
            "memory",
            after=after,
            free_bytes=free,
            total_bytes=total,
            used_mib_by_nvidia_smi=used_memory_mib(process_id),
            reserved_bytes=torch.cuda.memory_reserved(),
            allocated_bytes=torch.cuda.memory_allocated(),
        )

    session.recorder.write("memory", after="nothing", device_mib_by_nvidia_smi=device_memory())
    record("context")
    x = torch.ones(64, 64, device=device)
    record("first tensor and kernel")
    _ = x @ x
    record("first cuBLAS call")
    _ = torch.nn.functional.linear(x.half(), x.half(), x[0].half())
    record("first cuBLASLt call")
    image = torch.ones(2, 8, 32, 32, device=device)
    _ = torch.nn.functional.conv2d(image, torch.ones(8, 8, 3, 3, device=device))
    record("first cuDNN call")
    _ = torch.linalg.qr(x)
    record("first cuSOLVER call")
    _ = torch.fft.fft(x)
    record("first cuFFT call")
    _ = torch.rand(1000, device=device)
    record("first random numbers")
    torch.cuda.empty_cache()
    record("empty_cache")


def used_memory_mib(process_id: int) -> str:
    """The device memory of a process as nvidia-smi lists it; empty where it can't see processes."""
    rows = smi("--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits")
    return next((row.split(",")[1].strip() for row in rows if row.startswith(f"{process_id},")), "")


def device_memory() -> str:
    rows = smi("--query-gpu=memory.used,memory.free,memory.total", "--format=csv,noheader,nounits")
    return rows[0] if rows else ""


def smi(*arguments: str) -> list[str]:
    """The lines that nvidia-smi prints; none where it is missing or fails."""
    try:
        result = subprocess.run(
            ["nvidia-smi", *arguments], capture_output=True, text=True, timeout=15, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return result.stdout.strip().splitlines() if result.returncode == 0 else []


def properties(session: Session) -> None:
    device = session.target.device
    session.recorder.write(
        "properties",
        count=torch.cuda.device_count(),
        name=torch.cuda.get_device_name(device),
        capability=list(torch.cuda.get_device_capability(device)),
        architectures=torch.cuda.get_arch_list(),
        attributes=simple_attributes(torch.cuda.get_device_properties(device)),
        bf16_supported=torch.cuda.is_bf16_supported(),
        nccl=session.recorder.attempt("nccl", lambda: str(torch.cuda.nccl.version())),
        allocator_backend=torch.cuda.get_allocator_backend(),
        default_stream=torch.cuda.default_stream().cuda_stream,
        stream_priorities=session.recorder.attempt(
            "stream priorities", lambda: str(torch.cuda.current_stream().priority_range())
        ),
        random_grid_threads=session.target.random_grid_threads(),
    )


def random_state(session: Session) -> None:
    """The generator's state bytes, as hex: fresh, seeded, and after one draw."""
    states = {"seed 67280421310721 (default)": torch.cuda.default_generators[0].initial_seed()}
    texts = {}
    for seed in (0, 1, 2**40 + 3):
        torch.cuda.manual_seed(seed)
        texts[f"seed {seed}"] = tensor_bytes(torch.cuda.get_rng_state()).hex()
    torch.rand(5, device=session.target.device)
    texts["then rand(5)"] = tensor_bytes(torch.cuda.get_rng_state()).hex()
    session.recorder.write("random_state", initial_seed=states, states=texts)


def nvidia_smi(session: Session) -> None:
    fields = (
        "driver_version,name,compute_mode,pstate,clocks.sm,clocks.mem,clocks.max.sm,clocks.max.mem,"
        "clocks.applications.graphics,power.limit,power.draw,temperature.gpu,pcie.link.gen.current,"
        "pcie.link.gen.max,pcie.link.width.current,memory.total,memory.reserved,ecc.mode.current,"
        "mig.mode.current,persistence_mode"
    )
    rows = smi(f"--query-gpu={fields}", "--format=csv,noheader")
    session.recorder.write("nvidia_smi", fields=fields.split(","), rows=rows)
    session.recorder.write("nvidia_smi_text", text="\n".join(smi())[:4000])
