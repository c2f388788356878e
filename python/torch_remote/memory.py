# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""`torch.remote.memory`: the functions of `torch.cuda.memory`, for remote devices.

Statistics are those of the executor's allocator, of the model of an emulated GPU's, or the client's
counts. Blocks, history, fractions and settings are known of an emulated GPU alone: there every
function does what torch.cuda's does, on the allocator of that GPU.
"""

import collections
import contextlib
import pickle
import sys
from collections.abc import Iterator
from inspect import signature
from pathlib import Path
from types import FunctionType
from typing import Any, Literal

import torch
from torch.cuda import memory as _cuda_memory

from torch_remote._devices import device_index
from torch_remote._loading import ensure_loaded
from torch_remote._memory import (
    empty_cache,
    max_memory_allocated,
    max_memory_reserved,
    mem_get_info,
    memory_allocated,
    memory_reserved,
    memory_stats,
    reset_accumulated_memory_stats,
    reset_peak_memory_stats,
)

# Taken now: while CUDA's names are a remote device's, this module's function is in its place.
_PYTORCHS_SUMMARY: Any = _cuda_memory.memory_summary

__all__ = [
    "caching_allocator_alloc",
    "caching_allocator_delete",
    "empty_cache",
    "get_allocator_backend",
    "get_per_process_memory_fraction",
    "host_memory_stats",
    "host_memory_stats_as_nested_dict",
    "max_memory_allocated",
    "max_memory_cached",
    "max_memory_reserved",
    "mem_get_info",
    "memory_allocated",
    "memory_cached",
    "memory_reserved",
    "memory_snapshot",
    "memory_stats",
    "memory_stats_as_nested_dict",
    "memory_summary",
    "memory_usage",
    "reset_accumulated_host_memory_stats",
    "reset_accumulated_memory_stats",
    "reset_max_memory_allocated",
    "reset_max_memory_cached",
    "reset_peak_host_memory_stats",
    "reset_peak_memory_stats",
    "set_per_process_memory_fraction",
]

_DeviceArgument = torch.device | str | int | None
_Snapshot = dict[str, Any]
_CONTEXTS = {None: 0, "state": 1, "alloc": 2, "all": 3}

# Who has no allocator, has none of its numbers.
_POOL_COUNTERS = (
    "active",
    "active_bytes",
    "allocated_bytes",
    "allocation",
    "inactive_split",
    "inactive_split_bytes",
    "requested_bytes",
    "reserved_bytes",
    "segment",
)
_COUNTERS = [
    f"{name}.{pool}" for name in _POOL_COUNTERS for pool in ("all", "large_pool", "small_pool")
]
_COUNTERS += ["oversize_allocations", "oversize_segments"]
_NUMBERS = (
    "num_alloc_retries",
    "num_device_alloc",
    "num_device_free",
    "num_ooms",
    "num_sync_all_streams",
)


def memory_stats_as_nested_dict(device: _DeviceArgument = None) -> dict[str, Any]:
    """The counters of memory_stats(), a dictionary for each part of their names."""
    nested: dict[str, Any] = {}
    for name, value in memory_stats(device).items():
        *parts, last = name.split(".")
        inner = nested
        for part in parts:
            inner = inner.setdefault(part, {})
        inner[last] = value
    return nested


def memory_summary(device: _DeviceArgument = None, abbreviated: bool = False) -> str:
    """A table of the counters, in the words of torch.cuda.memory_summary()."""
    index = device_index(device)
    numbers = collections.OrderedDict(
        (f"{name}.{part}", 0)
        for name in _COUNTERS
        for part in ("current", "peak", "allocated", "freed")
    )
    numbers.update(dict.fromkeys(_NUMBERS, 0))
    numbers.update(memory_stats(index))
    # PyTorch's own function over these numbers, so that its text is that of the installed PyTorch.
    own = _PYTORCHS_SUMMARY
    names = {
        **own.__globals__,
        "memory_stats": lambda device: numbers,  # noqa: ARG005 (its one keyword)
        "_get_device_index": lambda device, optional: device,  # noqa: ARG005
    }
    return str(FunctionType(own.__code__, names, argdefs=own.__defaults__)(index, abbreviated))


def memory_snapshot(mempool_id: object = None, include_traces: bool = True) -> list[dict[str, Any]]:
    """The segments of all emulated GPUs, with their blocks, as torch.cuda.memory_snapshot() has them."""
    if mempool_id is not None:
        raise ValueError("there are no memory pools on a remote device: leave mempool_id out")
    return list(_snapshot_of(None, include_traces)["segments"])


def memory_usage(device: _DeviceArgument = None) -> int:
    """The percentage of time in which the GPU's memory was read or written: known to nobody here."""
    device_index(device)
    raise NotImplementedError(
        "how busy a remote GPU's memory is can't be measured from here; torch_remote.profile() has the times "
        "of its operations"
    )


def set_per_process_memory_fraction(fraction: float, device: _DeviceArgument = None) -> None:
    """Allow tensors so much of the emulated GPU's whole memory, 0 to 1; more is out of memory."""
    if not isinstance(fraction, float):
        raise TypeError("Invalid type for fraction argument, must be `float`")
    if not 0 <= fraction <= 1:
        raise ValueError(f"Invalid fraction value: {fraction}. Allowed range: 0~1")
    ensure_loaded().set_memory_fraction(device_index(device), fraction)


def get_per_process_memory_fraction(device: _DeviceArgument = None) -> float:
    """What set_per_process_memory_fraction() has allowed; 1 at first."""
    return float(ensure_loaded().memory_fraction(device_index(device)))


def caching_allocator_alloc(size: int, device: _DeviceArgument = None, stream: Any = None) -> int:
    """Allocate so many bytes for a library that wants no tensor. Returns an id in the place of an address."""
    with contextlib.ExitStack() as stack:
        if stream is not None:
            stack.enter_context(torch.remote.stream(stream))  # type: ignore[attr-defined]
        where = torch.device("remote", device_index(device))
        storage = torch.empty(size, dtype=torch.uint8, device=where).untyped_storage()
    pointer = storage.data_ptr()
    if pointer:
        _raw_allocations[pointer] = storage
    return pointer


def caching_allocator_delete(mem_ptr: int) -> None:
    """Free what caching_allocator_alloc() has allocated."""
    if mem_ptr and _raw_allocations.pop(mem_ptr, None) is None:
        raise RuntimeError(
            f"invalid device pointer: {mem_ptr:#x} is not of caching_allocator_alloc()"
        )


_raw_allocations: dict[int, torch.UntypedStorage] = {}


def get_allocator_backend() -> str:
    """Always PyTorch's own."""
    return "native"


def reset_max_memory_allocated(device: _DeviceArgument = None) -> None:
    """The older name of reset_peak_memory_stats()."""
    reset_peak_memory_stats(device)


def reset_max_memory_cached(device: _DeviceArgument = None) -> None:
    """The older name of reset_peak_memory_stats()."""
    reset_peak_memory_stats(device)


def memory_cached(device: _DeviceArgument = None) -> int:
    """The older name of memory_reserved()."""
    return memory_reserved(device)


def max_memory_cached(device: _DeviceArgument = None) -> int:
    """The older name of max_memory_reserved()."""
    return max_memory_reserved(device)


def host_memory_stats() -> dict[str, Any]:
    """Counters of page-locked host memory: none, for pinned memory locks no page here."""
    return collections.OrderedDict()


def host_memory_stats_as_nested_dict() -> dict[str, Any]:
    """See host_memory_stats()."""
    return {}


def reset_accumulated_host_memory_stats() -> None:
    """There are none to reset."""


def reset_peak_host_memory_stats() -> None:
    """There are none to reset."""


def _record_memory_history_impl(
    enabled: Literal["state", "all"] | None = "all",
    context: Literal["state", "alloc", "all"] | None = "all",
    stacks: Literal["python", "all"] = "all",
    max_entries: int = sys.maxsize,
    device: _DeviceArgument = None,
    clear_history: bool = False,
    compile_context: bool = False,
    global_record_annotations: bool = False,
    skip_actions: list[str] | None = None,
) -> None:
    if enabled not in (None, "state", "all"):
        raise RuntimeError("expected state to be 'state', 'all', or None")
    if context not in _CONTEXTS:
        raise RuntimeError("expected context to be 'state', 'alloc', 'all', or None")
    if stacks not in ("python", "all"):
        raise RuntimeError("expected stacks to be 'python', or 'all'")
    if skip_actions or compile_context or global_record_annotations:
        raise NotImplementedError(
            "the history of an emulated GPU has all actions and no annotations: leave skip_actions, "
            "compile_context and global_record_annotations out"
        )
    level = _CONTEXTS[context] if enabled else 0
    for index in _emulated(device):
        ensure_loaded().set_memory_history(
            index, enabled is not None, level, max_entries, clear_history
        )


def _record_memory_history(
    enabled: Literal["state", "all"] | bool | None = "all", *args: Any, **kwargs: Any
) -> None:
    """Record what the allocators of emulated GPUs do, each event with the line of the program.

    Arguments are those of torch.cuda.memory._record_memory_history; `stacks` makes no difference, for
    a frame is the program's own line. Only what is recorded has a line in _snapshot().
    """
    if isinstance(enabled, bool):
        entries = kwargs.pop("trace_alloc_max_entries", 1)
        with_context = kwargs.pop("record_context", True)
        for_trace = kwargs.pop("trace_alloc_record_context", False)
        context: Literal["state", "alloc"] | None = None
        if with_context:
            context = "alloc" if for_trace else "state"
        _record_memory_history_impl("all" if enabled else None, context, max_entries=entries)
    else:
        _record_memory_history_impl(enabled, *args, **kwargs)


_record_memory_history.__signature__ = signature(_record_memory_history_impl)  # type: ignore[attr-defined]


def _snapshot(device: _DeviceArgument = None, augment_with_fx_traces: bool = False) -> _Snapshot:
    """Segments, blocks and recorded events, in the structure that PyTorch's memory viewer reads.

    Without a device, of all emulated GPUs. A frame is the line of the program.
    """
    if augment_with_fx_traces:
        raise NotImplementedError(
            "frames are lines of the program: leave augment_with_fx_traces out"
        )
    return _snapshot_of(device, with_events=True)


def _dump_snapshot(
    filename: str | Path = "dump_snapshot.pickle", augment_with_fx_traces: bool = False
) -> None:
    """Write _snapshot() to a file for https://pytorch.org/memory_viz."""
    snapshot = _snapshot(augment_with_fx_traces=augment_with_fx_traces)
    Path(filename).write_bytes(pickle.dumps(snapshot))


def _save_segment_usage(
    filename: str | Path = "output.svg", snapshot: _Snapshot | None = None
) -> None:
    from torch.cuda._memory_viz import segments

    Path(filename).write_text(segments(_snapshot() if snapshot is None else snapshot))


def _save_memory_usage(
    filename: str | Path = "output.svg", snapshot: _Snapshot | None = None
) -> None:
    from torch.cuda._memory_viz import memory

    Path(filename).write_text(memory(_snapshot() if snapshot is None else snapshot))


def _set_allocator_settings(env: str) -> None:
    """Change the settings of all emulated GPUs; the text is that of PYTORCH_CUDA_ALLOC_CONF."""
    ensure_loaded().check_allocator_settings(env)
    for index in _emulated(None):
        ensure_loaded().set_allocator_settings(index, env)


def _emulated(device: _DeviceArgument) -> Iterator[int]:
    """The indices of the devices whose allocators are modelled; of the one that is named alone."""
    extension = ensure_loaded()
    if device is not None:
        yield device_index(device)
        return
    for index in range(extension.device_count()):
        if extension.is_running(index) and extension.models_memory(index):
            yield index


def _snapshot_of(device: _DeviceArgument, with_events: bool) -> _Snapshot:
    frames = _Frames()
    segments: list[dict[str, Any]] = []
    traces: list[list[dict[str, Any]]] = [[] for _ in range(ensure_loaded().device_count())]
    settings: dict[str, Any] = {}
    for index in _emulated(device):
        snapshot = ensure_loaded().memory_snapshot(index, with_events)
        settings = snapshot["settings"]
        for segment in snapshot["segments"]:
            segment.update(device=index, segment_pool_id=(0, 0), frames=frames.of(segment))
            for block in segment["blocks"]:
                block["frames"] = frames.of(block)
            segments.append(segment)
        for event in snapshot["events"]:
            event["frames"] = frames.of(event)
            event["pool_id"] = (0, 0)
        traces[index] = snapshot["events"]
    return {
        "segments": segments,
        "device_traces": traces,
        "allocator_settings": settings,
        "external_annotations": [],
    }


class _Frames:
    """The lines of the program by their numbers."""

    def __init__(self) -> None:
        self._known: dict[int, list[dict[str, Any]]] = {0: []}

    def of(self, row: dict[str, Any]) -> list[dict[str, Any]]:
        """Take the number out of the row."""
        number = row.pop("location")
        if number not in self._known:
            place, _, name = ensure_loaded().describe_location(number).rpartition(" in ")
            file, _, line = place.rpartition(":")
            self._known[number] = (
                [{"filename": file, "line": int(line), "name": name}] if file else []
            )
        return self._known[number]
