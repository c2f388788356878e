# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Durations of GPU kernels by CUPTI, cut into segments by a marker kernel in the stream.

One profiler session covers many measurements, for starting one is slow. Between two calls
that are told apart, a marker runs: the kernel of torch.cuda._sleep, which no operator uses. As all
runs on one stream, the kernels between two markers belong to the call between them, whatever the
clocks of host and GPU say.
"""

import re
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

MARKER = "spin_kernel"
NOT_ACTIVITIES = {"gpu_user_annotation", "user_annotation", "overhead", "cuda_sync", "cuda_event"}
NAME_LIMIT = 110

Label = TypeVar("Label")


@dataclass(frozen=True)
class Kernel:
    """One execution on the GPU: of a kernel, a copy, or a fill; times in nanoseconds."""

    name: str
    start_ns: int
    duration_ns: int

    @property
    def end_ns(self) -> int:
        return self.start_ns + self.duration_ns


class KernelTrace:
    """Collects kernels within a `with` block; `mark` ends the segment that belongs to a label."""

    def __init__(self) -> None:
        self._labels: list[Any] = []
        self._profile = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA])
        self.kernels: list[Kernel] = []

    def __enter__(self) -> "KernelTrace":
        torch.cuda.synchronize()
        self._profile.__enter__()
        self.mark(None)
        return self

    def __exit__(self, *error: Any) -> None:
        torch.cuda.synchronize()
        self._profile.__exit__(*error)
        if error[0] is None:
            self.kernels = kernels_of_profile(self._profile)

    def mark(self, label: Any) -> None:
        """What ran since the last mark belongs to `label`; to None, if it is of no interest."""
        torch.cuda._sleep(1)
        self._labels.append(label)

    def segments(self) -> dict[Any, list[list[Kernel]]]:
        """For each label, the kernels of each of its segments in the order of their starts."""
        return split_at_markers(self.kernels, self._labels)


def kernels_of_profile(profile: Any) -> list[Kernel]:
    """The GPU's activities in a finished profile, by their starts."""
    raw = getattr(profile.profiler, "kineto_results", None)
    cuda = torch.autograd.DeviceType.CUDA
    kernels = []
    if raw is not None:
        for event in raw.events():
            if event.device_type() == cuda and not is_annotation(event):
                start_ns = int(event.start_ns())
                kernels.append(Kernel(event.name(), start_ns, int(event.duration_ns())))
    else:  # the public way: slower, but without private names
        for event in profile.events():
            if event.device_type == cuda and not getattr(event, "is_user_annotation", False):
                start_us, end_us = event.time_range.start, event.time_range.end
                duration_ns = round((end_us - start_us) * 1000)
                kernels.append(Kernel(event.name, round(start_us * 1000), duration_ns))
    return sorted(kernels, key=lambda kernel: kernel.start_ns)


def is_annotation(event: Any) -> bool:
    """Whether `event` is no activity but a range drawn over some, or a note of the profiler."""
    if getattr(event, "is_user_annotation", bool)():
        return True
    return getattr(event, "activity_type", str)() in NOT_ACTIVITIES


def split_at_markers(kernels: Iterable[Kernel], labels: list[Label]) -> dict[Label, list[Any]]:
    """Cut kernels, sorted by start, at the markers; the n-th marker ends the segment of label n."""
    kernels = list(kernels)
    # A trace begins with a marker, which tells its name, should PyTorch have another one.
    is_known = any(MARKER in kernel.name for kernel in kernels)
    marker = MARKER if is_known or not kernels else kernels[0].name
    segments: list[list[Kernel]] = []
    current: list[Kernel] = []
    for kernel in kernels:
        if marker in kernel.name:
            segments.append(current)
            current = []
        else:
            current.append(kernel)
    if len(segments) != len(labels):
        raise RuntimeError(f"the profile has {len(segments)} markers of {len(labels)}")
    by_label: dict[Label, list[Any]] = defaultdict(list)
    for label, segment in zip(labels, segments, strict=True):
        if label is not None:
            by_label[label].append(segment)
    return dict(by_label)


@dataclass(frozen=True)
class KernelSummary:
    """What one call runs on the GPU: [name, count a call, microseconds a call] by name, and the sums."""

    kernels: list[tuple[str, float, float]]
    gpu_us: float
    span_us: float


def summarize(segments: list[list[Kernel]]) -> KernelSummary:
    """The median over the calls of one item. `span_us` is from the first start to the last end."""
    names = dict.fromkeys(kernel.name for segment in segments for kernel in segment)
    rows = []
    for name in names:
        per_call = [[k.duration_ns for k in segment if k.name == name] for segment in segments]
        count = statistics.median(len(durations) for durations in per_call)
        duration_us = statistics.median(sum(durations) for durations in per_call) / 1000
        rows.append((short_name(name), count, duration_us))
    sums = [sum(k.duration_ns for k in segment) for segment in segments]
    spans = [
        max(k.end_ns for k in segment) - segment[0].start_ns for segment in segments if segment
    ]
    return KernelSummary(
        rows,
        statistics.median(sums) / 1000 if sums else 0.0,
        statistics.median(spans) / 1000 if spans else 0.0,
    )


def short_name(name: str) -> str:
    """A kernel's name without its namespaces and result type, cut to NAME_LIMIT characters."""
    name = name.removeprefix("void ")
    name = re.sub(r"\(anonymous namespace\)::|<unnamed>::|\b(at|native|cuda|c10|std)::", "", name)
    return name if len(name) <= NAME_LIMIT else name[: NAME_LIMIT - 1] + "~"


def can_trace_kernels(device: torch.device) -> str:
    """Empty if CUPTI delivers kernels and markers here, else the reason. Also warms CUPTI up."""
    reason = ""
    for _ in range(2):
        trace = KernelTrace()
        try:
            with trace:
                torch.zeros(16, device=device).add_(1)
                trace.mark("probe")
            segments: list[list[Kernel]] = trace.segments().get("probe", [])
            reason = "" if segments and segments[0] else "the profile holds no kernels"
        except Exception as error:  # noqa: BLE001 (without CUPTI, events still give times)
            reason = f"{type(error).__name__}: {error}"
    return reason


def time_on_host(function: Callable[[], object], count: int, clock: Callable[[], float]) -> float:
    """Seconds of the host for `count` calls, without waiting for the GPU."""
    start = clock()
    for _ in range(count):
        function()
    return clock() - start
