# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Section `allocator`: seeded programs of allocations alone, under each of the allocator's settings.

Each setting runs in a process of its own, with the setting in its environment. The record "program"
holds the steps: ["a", id, bytes, stream]; ["f", id]; ["u", id, stream], the block is used on another
stream, as record_stream says; ["y"], synchronize; ["e"], empty_cache. Records "stats" hold the
counters that changed since the record before, by the numbers of the interned names. A step that runs
out of memory allocates nothing, and its id's later steps are passed over. With two streams, every
free is followed by a synchronization.
"""

import random
from dataclasses import dataclass
from typing import Any

import torch

from gpu_measurements.memory import CompactTrace
from gpu_measurements.target import Session, memory_trace, recorded_memory_history

MIB = 1 << 20
STEPS_A_RECORD = 10


@dataclass(frozen=True)
class Setting:
    """`configuration` is the value of PYTORCH_CUDA_ALLOC_CONF; `limit_mib` becomes the memory fraction."""

    configuration: str = ""
    limit_mib: int = 0
    streams: int = 1
    steps: int = 400
    live_mib: int = 1500


SETTINGS: dict[str, Setting] = {
    "default": Setting(),
    "two_streams": Setting(streams=2),
    "out_of_memory": Setting(limit_mib=1024, live_mib=1100),
    "max_split_size": Setting("max_split_size_mb:64", limit_mib=1536, live_mib=1500),
    "roundup_power2": Setting("roundup_power2_divisions:4"),
    "roundup_power2_by_size": Setting("roundup_power2_divisions:[256:1,512:2,1024:4,>:8]"),
    "garbage_collection": Setting(
        "garbage_collection_threshold:0.6", limit_mib=2048, live_mib=1300, streams=2
    ),
    "expandable_segments": Setting("expandable_segments:True", live_mib=1200),
    "expandable_out_of_memory": Setting(
        "expandable_segments:True", limit_mib=1024, live_mib=1100, streams=2
    ),
    "split_and_roundup": Setting("max_split_size_mb:32,roundup_power2_divisions:8", streams=2),
}


def make_program(name: str, setting: Setting, step_limit: int | None = None) -> list[list[Any]]:
    """The steps of a setting's program: the same on every machine and Python."""
    source = random.Random(f"torch-remote {name}")
    live: dict[int, int] = {}
    program: list[list[Any]] = []
    for number in range(min(setting.steps, step_limit or setting.steps)):
        choice = source.random()
        is_full = sum(live.values()) > setting.live_mib * MIB
        if live and (is_full or choice < 0.4):
            victim = source.choice(list(live))
            del live[victim]
            program.append(["f", victim])
        elif choice > 0.985:
            program.append(["e"] if source.random() < 0.5 else ["y"])
        elif live and setting.streams > 1 and choice > 0.93:
            used = source.choice(list(live))
            program.append(["u", used, source.randrange(setting.streams)])
        else:
            size = random_size(source)
            live[number] = size
            program.append(["a", number, size, source.randrange(setting.streams)])
    return program


def random_size(source: random.Random) -> int:
    """Bytes from 1 to about 200 MiB: evenly in the logarithm within four classes, some of them round."""
    low, high = source.choices(
        [(1, MIB), (MIB - 600, 10 * MIB), (10 * MIB, 64 * MIB), (64 * MIB, 200 * MIB)],
        [40, 30, 25, 5],
    )[0]
    size = int(low * (high / low) ** source.random())
    return size if source.random() < 0.7 else max(size // 65536, 1) * 65536


class Runner:
    """Carries a program out with torch.empty and records what the allocator counts."""

    def __init__(self, session: Session, streams: int) -> None:
        self._session = session
        self._device = session.target.device
        self._tensors: dict[int, torch.Tensor] = {}
        self._streams: list[Any] = [None]
        if session.target.is_cuda:
            self._streams = [torch.cuda.current_stream()]
            self._streams += [torch.cuda.Stream() for _ in range(streams - 1)]
        self._stats: dict[str, int] = {}

    def run(self, program: list[list[Any]]) -> None:
        for number, step in enumerate(program):
            self._run_step(number, step)
            if (number + 1) % STEPS_A_RECORD == 0:
                self._write_stats(number)
        self._tensors.clear()
        self._session.target.synchronize()
        self._session.target.release_memory()
        self._write_stats(len(program))

    def _run_step(self, number: int, step: list[Any]) -> None:
        match step:
            case ["a", int(key), int(size), int(stream)]:
                try:
                    self._tensors[key] = self._allocate(size, stream)
                except torch.OutOfMemoryError as error:
                    self._write_stats(number)
                    self._session.recorder.write(
                        "out_of_memory",
                        step=number,
                        bytes=size,
                        message=str(error),
                        memory_info=list(torch.cuda.mem_get_info()),
                    )
            case ["f", int(key)]:
                self._tensors.pop(key, None)
                if len(self._streams) > 1:
                    # Else the GPU's timing would decide when a block of two streams is free.
                    self._session.target.synchronize()
            case ["u", int(key), int(stream)]:
                if key in self._tensors and self._streams[0] is not None:
                    self._tensors[key].record_stream(self._streams[stream])
            case ["y"]:
                self._session.target.synchronize()
            case ["e"]:
                self._session.target.release_memory()

    def _allocate(self, size: int, stream: int) -> torch.Tensor:
        if self._streams[0] is None:
            return torch.empty(size, dtype=torch.uint8, device=self._device)
        with torch.cuda.stream(self._streams[stream]):
            return torch.empty(size, dtype=torch.uint8, device=self._device)

    def _write_stats(self, step: int) -> None:
        """Write the counters that changed, as {number of the name: value}."""
        if not self._session.target.is_cuda:
            return
        recorder = self._session.recorder
        stats = dict(torch.cuda.memory_stats())
        changed = {
            name: value for name, value in stats.items() if self._stats.get(name, 0) != value
        }
        self._stats = stats
        recorder.write(
            "stats",
            step=step,
            stats={str(recorder.intern(name)): value for name, value in changed.items()},
        )


def run(session: Session) -> None:
    """Run the setting that the session's argument names."""
    setting = SETTINGS[session.argument]
    program = make_program(session.argument, setting, 40 if session.is_tiny else None)
    recorder = session.recorder
    recorder.write(
        "program",
        configuration=setting.configuration,
        limit_mib=setting.limit_mib,
        streams=setting.streams,
        steps=program,
    )
    if not session.target.is_cuda:
        recorder.skip("counters of the allocator", "no CUDA device")
        Runner(session, setting.streams).run(program)
        return
    if setting.limit_mib:
        total = torch.cuda.get_device_properties(session.target.device).total_memory
        fraction = setting.limit_mib * MIB / total
        torch.cuda.set_per_process_memory_fraction(fraction)
        # Not rounded to four digits, as other numbers are.
        recorder.write("limit", fraction=repr(fraction), total_bytes=total)
    with recorded_memory_history():
        Runner(session, setting.streams).run(program)
        compact = CompactTrace()
        compact.add_all(memory_trace(session.target.device))
    recorder.write("events", events=compact.events)
    recorder.progress(f"{session.argument}: {len(program)} steps")
