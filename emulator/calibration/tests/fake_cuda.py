# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Stands in for torch.cuda on a machine without a GPU, so that the tool's CUDA paths run in tests.

Tensors stay on the CPU. The allocator's counters and events are of the few allocations that
`FakeCuda.allocate` is told of, and a profile holds one kernel of 1.5 us before each marker
(`loses_markers`: all but the first marker are missing).
"""

import contextlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from gpu_measurements.target import Session

MakeSession = Callable[..., Session]
MIB = 1 << 20


class FakeEvent:
    def __init__(self, **_: Any) -> None:
        pass

    def record(self, *_: Any) -> None:
        pass

    def synchronize(self) -> None:
        pass

    def query(self) -> bool:
        return True

    def elapsed_time(self, _: "FakeEvent") -> float:
        return 0.25


class FakeStream:
    cuda_stream = 0

    @staticmethod
    def priority_range() -> tuple[int, int]:
        return (0, -5)

    def synchronize(self) -> None:
        pass

    def wait_event(self, _: FakeEvent) -> None:
        pass


class FakeKinetoEvent:
    def __init__(self, name: str, start_ns: int, duration_ns: int, activity: str) -> None:
        self._values = (name, start_ns, duration_ns, activity)

    def name(self) -> str:
        return self._values[0]

    def start_ns(self) -> int:
        return self._values[1]

    def duration_ns(self) -> int:
        return self._values[2]

    def activity_type(self) -> str:
        return self._values[3]

    def is_user_annotation(self) -> bool:
        return self._values[3] == "gpu_user_annotation"

    def device_type(self) -> Any:
        on_cpu = self._values[3] == "cuda_runtime"
        device_type = torch.autograd.DeviceType
        return device_type.CPU if on_cpu else device_type.CUDA


class FakeCuda:
    """The state behind the patched functions of torch.cuda."""

    def __init__(self) -> None:
        self.seed, self.offset = 0, 0
        self.trace: list[dict[str, Any]] | None = None
        self.profile: list[FakeKinetoEvent] | None = None
        self.loses_markers = False

    def allocate(self, size: int, address: int = 0x7F0000000000) -> None:
        """An allocation and its free, as the allocator's history has them."""
        if self.trace is not None:
            common = {"size": size, "addr": address, "stream": 0}
            actions = ("segment_alloc", "alloc", "free_requested", "free_completed")
            self.trace += [{"action": action, **common} for action in actions]

    def record_history(self, enabled: str | None = "all", **options: Any) -> None:
        assert set(options) <= {"context", "stacks", "max_entries"}
        self.trace = [] if enabled else None

    def snapshot(self) -> dict[str, Any]:
        assert self.trace is not None
        entries = list(self.trace)
        self.trace.append({"action": "snapshot", "size": 0, "addr": 0, "stream": 0})
        return {"segments": [], "device_traces": [entries]}

    def sleep(self, _: int) -> None:
        if self.profile is None:
            return
        start_ns = 1000 * len(self.profile)
        for name, duration_ns, activity in (
            ("Optimizer.step", 9000, "gpu_user_annotation"),
            ("cudaLaunchKernel", 7000, "cuda_runtime"),
            ("void at::native::work_kernel<float>(float*)", 1500, "kernel"),
            ("at::cuda::(anonymous namespace)::spin_kernel(long)", 100, "kernel"),
        ):
            if self.loses_markers and "spin" in name and len(self.profile) > 3:
                continue
            self.profile.append(FakeKinetoEvent(name, start_ns, duration_ns, activity))
            start_ns += 1000

    def rng_state(self) -> torch.Tensor:
        data = self.seed.to_bytes(8, "little") + self.offset.to_bytes(8, "little")
        return torch.tensor(list(data), dtype=torch.uint8)

    def set_rng_state(self, state: torch.Tensor) -> None:
        data = bytes(state.tolist())
        self.seed, self.offset = (int.from_bytes(part, "little") for part in (data[:8], data[8:]))

    def manual_seed(self, seed: int) -> None:
        torch.manual_seed(seed)
        self.seed, self.offset = seed, 0

    def properties(self, *_: Any) -> SimpleNamespace:
        return SimpleNamespace(
            name="fake",
            major=9,
            minor=0,
            total_memory=64 * MIB,
            multi_processor_count=2,
            max_threads_per_multi_processor=2048,
            L2_cache_size=MIB,
        )

    def profile_type(self) -> type:
        fake = self

        class FakeProfile:
            def __init__(self, **_: Any) -> None:
                self.profiler = SimpleNamespace(kineto_results=None)

            def __enter__(self) -> None:
                fake.profile = []

            def __exit__(self, *_: Any) -> None:
                recorded, fake.profile = fake.profile, None
                self.profiler.kineto_results = SimpleNamespace(events=lambda: recorded)

        return FakeProfile

    def install(self, monkeypatch: Any) -> None:
        """Patch torch.cuda, and have `cuda` in device arguments mean the CPU."""
        nothing = lambda *_, **__: None  # noqa: E731
        patched = {
            "init": nothing,
            "synchronize": nothing,
            "empty_cache": nothing,
            "reset_peak_memory_stats": nothing,
            "set_per_process_memory_fraction": nothing,
            "_sleep": self.sleep,
            "current_device": lambda: 0,
            "device_count": lambda: 1,
            "memory_reserved": lambda: 0,
            "memory_allocated": lambda: 0,
            "max_memory_allocated": lambda: 4096,
            "max_memory_reserved": lambda: 2 * MIB,
            "mem_get_info": lambda: (60 * MIB, 64 * MIB),
            "memory_stats": lambda: {"num_alloc_retries": 0, "allocation.all.current": 3},
            "get_device_properties": self.properties,
            "get_device_name": lambda *_: "fake",
            "get_device_capability": lambda *_: (9, 0),
            "get_arch_list": lambda: ["sm_90"],
            "is_bf16_supported": lambda: True,
            "get_allocator_backend": lambda: "native",
            "manual_seed": self.manual_seed,
            "get_rng_state": self.rng_state,
            "set_rng_state": self.set_rng_state,
            "default_generators": (torch.default_generator,),
            "Event": FakeEvent,
            "Stream": FakeStream,
            "current_stream": FakeStream,
            "default_stream": FakeStream,
            "stream": lambda _: contextlib.nullcontext(),
        }
        for name, value in patched.items():
            monkeypatch.setattr(torch.cuda, name, value)
        monkeypatch.setattr(torch.cuda.memory, "_record_memory_history", self.record_history)
        monkeypatch.setattr(torch.cuda.memory, "_snapshot", self.snapshot)
        monkeypatch.setattr(torch.profiler, "profile", self.profile_type())
