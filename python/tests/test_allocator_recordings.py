# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""The model of the caching allocator does what real GPUs were seen to do.

emulator/calibration/measurements has recordings of an H100 and an H200: random programs of allocations
under ten settings, and the allocator's events in three training or inference steps of several models.
The requests go in again; segments, offsets, statistics and error texts have to come out.
"""

import collections
import functools
import graphlib
import json
import re
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch_remote import _C

CALIBRATION = Path(__file__).parents[2] / "emulator" / "calibration"
sys.path.append(str(CALIBRATION))

from gpu_measurements.memory import CompactTrace  # noqa: E402

ARCHIVES = {
    "H100": "h100-torch-2.11-cuda-13.0.tar.xz",
    "H200": "h200-torch-2.11-cuda-13.0.tar.xz",
}
SETTINGS = (
    "default",
    "two_streams",
    "out_of_memory",
    "max_split_size",
    "roundup_power2",
    "roundup_power2_by_size",
    "garbage_collection",
    "expandable_segments",
    "expandable_out_of_memory",
    "split_and_roundup",
)
PROGRAMS = (
    "adamw_for_loop",
    "adamw_foreach",
    "adamw_fused",
    "bert_base_inference_fp16",
    "gpt2_eager_fp32",
    "gpt2_sdpa_bf16",
    "llama_generate_bf16",
    "lstm_language_model",
    "mlp_adam",
    "resnet18_fp32",
    "resnet50_amp_channels_last",
    "unet_fp32",
    "vit_small_bf16",
)
# Of the PyTorch that was recorded, 2.11.
TORCH_MINOR = 11
SMALL_SEGMENT = 2 << 20
Record = dict[str, Any]


@functools.cache
def recordings(gpu: str) -> dict[str, list[Record]]:
    """The records of each section of an archive."""
    sections: dict[str, list[Record]] = {}
    with tarfile.open(CALIBRATION / "measurements" / ARCHIVES[gpu]) as archive:
        for name in sorted(archive.getnames(), key=lambda name: (len(name), name)):
            file = Path(name)
            if file.suffix != ".jsonl" or not file.stem.startswith(("allocator-", "memory-")):
                continue
            content = archive.extractfile(name)
            assert content is not None
            section = re.sub(r"-\d+$", "", file.stem)
            sections.setdefault(section, []).extend(json.loads(line) for line in content)
    return sections


def total_bytes_of(gpu: str) -> int:
    return int(of_kind(recordings(gpu)["memory-mlp_adam"], "counters")[0]["total_bytes"])


def of_kind(records: list[Record], kind: str) -> list[Record]:
    return [record for record in records if record["kind"] == kind]


def events_of(allocator: _C.CachingAllocator) -> list[list[Any]]:
    compact = CompactTrace()
    compact.add_all(allocator.snapshot()["events"])
    return compact.events


class Replay:
    """Carries out a recorded program of allocations, as gpu_measurements/allocator_scripts.py did."""

    def __init__(self, records: list[Record], total_bytes: int) -> None:
        [self.program] = of_kind(records, "program")
        limits = of_kind(records, "limit")
        settings = self.program["configuration"]
        self.allocator = _C.CachingAllocator(total_bytes, 0, settings, TORCH_MINOR)
        if limits:
            self.allocator.set_memory_fraction(float(limits[0]["fraction"]))
        self.allocator.record_history()
        self.blocks: dict[int, int] = {}
        self.errors: dict[int, str] = {}

    def step(self, number: int) -> None:
        match self.program["steps"][number]:
            case ["a", key, size, stream]:
                try:
                    self.blocks[key] = self.allocator.allocate(size, stream)[0]
                except torch.OutOfMemoryError as error:
                    self.errors[number] = str(error)
            case ["f", key]:
                if key in self.blocks:
                    self.allocator.free(self.blocks.pop(key))
                if self.program["streams"] > 1:
                    self.allocator.synchronize()
            case ["u", key, stream]:
                if key in self.blocks:
                    self.allocator.record_stream(self.blocks[key], stream)
            case ["y"]:
                self.allocator.synchronize()
            case ["e"]:
                self.allocator.empty_cache()

    def finish(self) -> None:
        for block in self.blocks.values():
            self.allocator.free(block)
        self.allocator.synchronize()
        self.allocator.empty_cache()


def comparable(message: str) -> str:
    """Without what other processes of that machine used of the GPU."""
    message = re.sub(r"Process \d+ has [\d.]+ \w+ memory in use\. ", "", message)
    return re.sub(r"of which .* memory in use\. ", "", message)


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("gpu", ARCHIVES)
def test_random_programs_of_allocations(gpu: str, setting: str) -> None:
    records = recordings(gpu)[f"allocator-{setting}"]
    names = {record["number"]: record["text"] for record in of_kind(records, "text")}
    replay = Replay(records, total_bytes_of(gpu))
    expected: dict[str, int] = {}
    done = 0
    steps = len(replay.program["steps"])
    compared = 0
    for record in of_kind(records, "stats"):
        # An error's statistics are written at its step; those of every tenth, after it.
        while done <= min(record["step"], steps - 1):
            replay.step(done)
            done += 1
        if record["step"] == steps:
            replay.finish()
        expected.update({names[int(number)]: value for number, value in record["stats"].items()})
        actual = replay.allocator.statistics()
        assert {name: actual[name] for name in expected} == expected, f"after step {record['step']}"
        compared += 1
    assert compared > steps // 10
    errors = {record["step"]: record["message"] for record in of_kind(records, "out_of_memory")}
    assert replay.errors.keys() == errors.keys()
    for step, message in errors.items():
        assert comparable(replay.errors[step]) == comparable(message)
    [recorded] = of_kind(records, "events")
    actual_events = [event for event in events_of(replay.allocator) if event != ["s"]]
    assert actual_events == [event for event in recorded["events"] if event != ["s"]]


def segment_order(events: list[list[Any]]) -> list[int]:
    """The segments from the lowest address to the highest, as far as the recording tells.

    PyTorch 2.11 takes, of free blocks of one size, that of the lowest address, so each choice says that
    one segment lies below others. Between the segments of a model's run the driver gives memory to
    kernels and libraries, which no recording has and no model can know.
    """
    sizes: list[int] = []
    free: list[dict[int, int]] = []  # of each segment, offset to size
    ends: list[dict[int, int]] = []  # and the end of a free block to its offset
    taken: list[tuple[int, int, int]] = []
    below: dict[int, set[int]] = collections.defaultdict(set)

    def release(segment: int, offset: int, size: int) -> None:
        after = free[segment].pop(offset + size, 0)
        before = ends[segment].pop(offset, offset)
        free[segment].pop(before, None)
        free[segment][before] = offset + size + after - before
        ends[segment].pop(offset + size + after, None)
        ends[segment][offset + size + after] = before

    for event in events:
        match event:
            case ["A", size, _]:
                sizes.append(size)
                free.append({0: size})
                ends.append({size: 0})
            case ["F", segment]:
                free[segment].clear()
            case ["a", size, _, segment, offset]:
                size = max(512, -(-size // 512) * 512)
                whole = free[segment].pop(offset)
                for other, blocks in enumerate(free):
                    is_same_pool = (sizes[other] == SMALL_SEGMENT) == (
                        sizes[segment] == SMALL_SEGMENT
                    )
                    if other != segment and is_same_pool and whole in blocks.values():
                        below[segment].add(other)
                rest = whole - size
                if rest >= 512 and (sizes[segment] == SMALL_SEGMENT or rest > 1 << 20):
                    free[segment][offset + size] = rest
                    ends[segment][offset + whole] = offset + size
                else:
                    size = whole
                    ends[segment].pop(offset + whole, None)
                taken.append((segment, offset, size))
            case ["x" | "c", number]:
                release(*taken[number])
    above = {segment: set() for segment in range(len(sizes))}
    for segment, others in below.items():
        for other in others:
            above[other].add(segment)
    return list(graphlib.TopologicalSorter(above).static_order())


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("gpu", ARCHIVES)
def test_events_of_models(gpu: str, program: str) -> None:
    """Where the recording's segments lie is an input; everything else comes out."""
    records = recordings(gpu)[f"memory-{program}"]
    counters = of_kind(records, "counters")
    recorded = [event for record in of_kind(records, "events") for event in record["events"]]
    allocator = _C.CachingAllocator(total_bytes_of(gpu), 0, "", TORCH_MINOR)
    allocator.record_history()
    places = {segment: place for place, segment in enumerate(segment_order(recorded), 1)}
    allocator.place_segments([places[segment] << 38 for segment in range(len(places))])
    blocks: list[int] = []
    moments = iter(counters)
    before = ""
    for event in recorded:
        match event:
            case ["a", size, stream, *_]:
                blocks.append(allocator.allocate(size, stream)[0])
            case ["f" | "x", number]:
                allocator.free(blocks[number])
            case ["F", _] if before != "F":
                # cuDNN's choice of an algorithm ends with an empty cache.
                allocator.empty_cache()
            case ["s"]:
                expected = next(moments)["stats"]
                actual = allocator.statistics()
                # An empty_cache that finds nothing is no event, but counted.
                for numbers in (expected, actual):
                    numbers.pop("num_sync_all_streams", None)
                assert {name: value for name, value in actual.items() if value} == expected
                allocator.reset_peak()
        before = event[0]
    assert next(moments, None) is None
    actual_events = events_of(allocator)
    assert [event for event in actual_events if event != ["s"]] == [
        event for event in recorded if event != ["s"]
    ]


def test_a_recording_that_differs_is_noticed() -> None:
    replay = Replay(recordings("H100")["allocator-default"], total_bytes_of("H100"))
    for number in range(100):
        replay.step(number)
    [recorded] = of_kind(recordings("H100")["allocator-default"], "events")

    def events() -> list[list[Any]]:
        return [event for event in events_of(replay.allocator) if event != ["s"]]

    before = events()
    assert before == recorded["events"][: len(before)]
    replay.allocator.allocate(12345)
    after = events()
    assert len(after) > len(before)
    assert after != recorded["events"][: len(after)]
