# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""The client, in C++ (bindings.cpp)."""

from collections.abc import Callable
from typing import Any

import torch

__version__: str
torch_version: str
DEVICE_COUNT_MAX: int
DEVICE_TYPE: int

class FaultPlan:
    """Rows: kind ("out of memory", "failure", "end", "cut"), place, operator, message, seconds."""

    def __init__(
        self, faults: list[tuple[str, int, str, str, float]], reply_delay_s: float
    ) -> None: ...
    def start(self) -> None: ...

def fault_counts(index: int) -> dict[str, Any]:
    """operations, allocations, and happened: the places in the list of those that did."""

class GpuModel:
    """A GPU's values, built in or a user's own; never changes."""

    @property
    def type(self) -> str: ...
    @property
    def own_values(self) -> dict[str, str]:
        """What a user's own was made from; empty for a built-in one."""

    def properties(self) -> dict[str, Any]:
        """The fields of torch_remote.GpuProperties."""

def gpu_types() -> list[str]: ...
def gpu_model(name: str) -> GpuModel:
    """A built-in one. Raises ValueError with the nearest name."""

def own_gpu_model(values: dict[str, str]) -> GpuModel:
    """Raises ValueError, whose value_name says which value can't be right."""

def gpu_value_rules() -> list[tuple[str, str, str]]:
    """Of a user's own GPU: name, kind ("text", "capability", "whole", "bytes", "number", "peak"), what it has to be."""

def emulated_gpu(index: int) -> GpuModel | None:
    """The one that governs what the program sees."""

def emulate(
    gpus: list[GpuModel],
    num_threads: int,
    seed: int,
    values: str,
    records_out_of_memory: bool,
    round_trip_ms: float = 0.0,
    bandwidth_mbit_per_s: float = 0.0,
    faults: FaultPlan | None = None,
) -> int:
    """The first GPU governs. values: "computed", or in a dry run "raise" or "zero", at a read."""

def emulation(index: int) -> dict[str, Any]:
    """What the models of a device say; torch_remote._emulation gives it types."""

def mark_step(index: int) -> None: ...
def clear_steps(index: int) -> None: ...
def is_emulated(index: int) -> bool: ...
def null_device(seed: int) -> int: ...
def recording_device(seed: int) -> tuple[int, OperatorRecorder]:
    """A dry run, and what remembers the operators that programs run on it; reads are zeros."""

class OperatorRecorder:
    """Operators with the plans of their calls, each under an index; times them for any GPU.

    A GPU is one of gpu_types() with some values replaced, by their names in GpuModel (peaks without
    "peak."); a peak of 0 means that there is no such unit. Values of the calibration are replaced by
    their names in calibration_rows(). cache is "program", "repeated" or "cold".

    Raises:
        ValueError: no such GPU, value or cache.
        IndexError: no such operator.
    """

    def __init__(self) -> None: ...
    def __len__(self) -> int: ...
    def take(self) -> dict[int, int]:
        """How often each operator was called since the last take."""

    def name(self, index: int) -> str: ...
    def layouts(self, index: int) -> list[tuple[int, list[int], list[int]]]:
        """Dtype, sizes and strides of the arguments that are tensors."""

    def dump(self, index: int) -> tuple[str, str, bytes]:
        """Name, overload, and the plan as it is sent."""

    def add(self, name: str, overload: str, plan: bytes) -> int:
        """Adds what dump() gave; its index."""

    def gpu_us(
        self,
        indices: list[int],
        gpu: str,
        gpu_changes: dict[str, float],
        calibration: dict[str, float],
        cache: str,
        tf32_products: bool,
        tf32_convolutions: bool,
    ) -> list[float]: ...
    def times(
        self,
        indices: list[int],
        gpu: str,
        gpu_changes: dict[str, float],
        calibration: dict[str, float],
        cache: str,
        tf32_products: bool,
        tf32_convolutions: bool,
    ) -> list[tuple[float, float, int, dict[str, float]]]:
        """Of each: microseconds on the GPU and the host, kernels, microseconds by kernel class."""

    def roofline_us(
        self,
        indices: list[int],
        gpu: str,
        gpu_changes: dict[str, float],
        tf32_products: bool,
        tf32_convolutions: bool,
    ) -> list[float]:
        """The larger of operations over peak rate and bytes over bandwidth, by the data sheet."""

def calibration_rows() -> list[tuple[str, float, str]]:
    """Name, value and source of each parameter of the model of kernel times."""

class Profile:
    """Started once, then finished once: rows are the fields of _profile.Operation in order."""

    def start(self) -> None: ...
    def finish(self) -> list[tuple[Any, ...]]: ...
    def errors(self) -> list[str]: ...

def modelled_time_us(index: int) -> tuple[float, float, float] | None:
    """The program's time, the GPU's, and how long it was busy."""

class RunningServer:
    """Serves on a thread of its own until end() is called, once."""

    @property
    def endpoint(self) -> str: ...
    def end(self, reason: str) -> None: ...

def serve(endpoint: str, gpu_type: str | None) -> RunningServer:
    """Serves what emulate(gpu_type) makes, or null_device(), at an endpoint of this machine.

    Raises:
        ValueError: no such GPU type, or no endpoint that only this machine can reach.
        RuntimeError: the endpoint is taken.
    """

def connect(
    endpoint: str,
    device_index: int,
    num_threads: int,
    seed: int,
    timeout_s: float,
    reconnect_timeout_s: float,
    server_key: str | None,
    secret_key: str | None,
) -> int: ...
def add_pending(start: Callable[[int], None]) -> int: ...
def connect_pending(
    index: int,
    endpoint: str,
    device_index: int,
    num_threads: int,
    seed: int,
    timeout_s: float,
    reconnect_timeout_s: float,
    server_key: str | None,
    secret_key: str | None,
) -> None: ...
def is_pending(index: int) -> bool: ...
def make_key_pair() -> tuple[str, str]: ...
def public_key_of(secret_key: str) -> str: ...
def stop(index: int) -> list[str]: ...
def is_running(index: int) -> bool: ...
def serial(index: int) -> int: ...
def disown_devices() -> bool: ...
def device_count() -> int: ...
def current_device() -> int: ...
def exchange_device(index: int) -> int: ...
def statistics(index: int) -> dict[str, int]: ...
def memory_statistics(index: int) -> dict[str, int]: ...
def executor_memory_statistics(index: int) -> dict[str, int]: ...
def models_memory(index: int) -> bool: ...
def memory_snapshot(index: int, with_events: bool) -> dict[str, Any]: ...
def set_memory_history(
    index: int, is_enabled: bool, context: int, entries_max: int, clears: bool
) -> None: ...
def set_memory_fraction(index: int, fraction: float) -> None: ...
def memory_fraction(index: int) -> float: ...
def set_allocator_settings(index: int, text: str) -> None: ...
def check_allocator_settings(text: str) -> None: ...
def describe_location(location: int) -> str: ...

class CachingAllocator:
    def __init__(
        self, total_bytes: int, used_bytes: int = 0, settings: str = "", torch_minor: int = ...
    ) -> None: ...
    def allocate(self, size_bytes: int, stream: int = 0) -> tuple[int, int]: ...
    def free(self, block: int) -> None: ...
    def record_stream(self, block: int, stream: int) -> None: ...
    def synchronize(self) -> None: ...
    def empty_cache(self) -> None: ...
    def set_memory_fraction(self, fraction: float) -> None: ...
    def reset_peak(self) -> None: ...
    def take_outside(self, size_bytes: int) -> bool: ...
    def place_segments(self, addresses: list[int]) -> None: ...
    def record_history(self) -> None: ...
    def statistics(self) -> dict[str, int]: ...
    def snapshot(self) -> dict[str, Any]: ...

def reset_peak(index: int) -> None: ...
def reset_accumulated(index: int) -> None: ...
def empty_cache(index: int) -> None: ...
def current_stream(index: int) -> int: ...
def exchange_stream(index: int, stream: int) -> int: ...
def executor_device_count(index: int) -> int: ...
def description(index: int) -> dict[str, str]: ...
def has_recurrent_networks(index: int) -> bool: ...
def synchronize(index: int) -> None: ...
def manual_seed(index: int, seed: int) -> None: ...
def initial_seed(index: int) -> int: ...
def generator_state(index: int) -> bytes: ...
def set_generator_state(index: int, state: bytes) -> None: ...
def default_generator(index: int) -> torch.Generator: ...
def show_as_cuda(indices: list[int]) -> None:
    """cuda:i is remote:indices[i] from now on, in and out (device_names.h)."""

def show_as_remote() -> None: ...
def is_remote(device: object) -> bool: ...
def remote_index(device: torch.device) -> int | None: ...
