# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""What launches, waits and copies cost: read off the recordings, as medians over the GPUs."""

import statistics
from collections.abc import Callable
from typing import Any

from kernel_times.measured import recordings, records

LARGE_COPY_BYTES = 1 << 27
SMALL_COPY_BYTES = 4096
# PCIe 5 with 16 lanes, one direction, 10^9 bytes a second.
LINK_PEAK_GB_PER_S = 63.04


def host_values() -> dict[str, float]:
    """Values of the calibration by name."""
    per_gpu = [values_of(list(records(path, "time"))) for path in recordings().values()]
    values = {name: statistics.median(gpu[name] for gpu in per_gpu) for name in per_gpu[0]}
    # A difference of two waits, of which the noise of the host makes more, never less.
    name = "launch_latency_us"
    return {**values, name: min(gpu[name] for gpu in per_gpu)}


def values_of(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Of one GPU's recording."""
    cost = {row["name"]: row["host_us"] for row in rows if row["kind"] == "host_cost"}
    wait = {row["name"]: row["median_us"] for row in rows if row["kind"] == "waiting"}
    gap = {row["name"]: row for row in rows if row["kind"] == "launch_gap"}
    timed = [row for row in rows if row["kind"] == "time"]

    def host_us(group: str, is_meant: Callable[[dict[str, Any]], bool]) -> float:
        """The host's time for a call of the group's smallest problems, where it doesn't wait."""
        found = [
            row["host_us"] for row in timed if row["group"] == group and is_meant(row["parameters"])
        ]
        return float(statistics.median(found))

    def copy_us(direction: str, size_bytes: int, is_pinned: bool, field: str) -> float:
        (us,) = (
            row[field]
            for row in timed
            if row["name"] == direction
            and row["parameters"] == {"bytes": size_bytes, "pinned": is_pinned}
        )
        return float(us)

    def rate(direction: str, is_pinned: bool) -> float:
        return LARGE_COPY_BYTES / copy_us(direction, LARGE_COPY_BYTES, is_pinned, "call_us") / 1e3

    link = rate("host to device", True)

    def host_rate(direction: str) -> float:
        """Of the host's own copy, which alternates with the link's."""
        both = rate(direction, False)
        return 1 / max(1 / both - 1 / link, 1e-3)

    add_us = cost["add_"]
    # Sorts of few and of many elements differ in the kernels that they launch.
    sorts = sorted(
        (sum(kernel[1] for kernel in row["kernels"]), row["host_us"])
        for row in timed
        if row["group"] == "indexing" and row["name"] == "sort"
    )
    (few, few_us), (many, many_us) = sorts[0], sorts[-1]
    return {
        "kernel_gap_us": gap["full queue"]["gap_us"],
        "launch_latency_us": wait["add_ and synchronize"] - wait["synchronize, idle"] - add_us / 2,
        "host_per_kernel_us": (many_us - few_us) / (many - few),
        "host_call_us": cost["torch.add"],
        "host_product_us": cost["mm"],
        "host_convolution_us": host_us("convolution", lambda p: not p["backward"]),
        "host_library_us": host_us(
            "attention", lambda p: p["backend"] == "default" and not p["backward"]
        ),
        "host_empty_us": cost["torch.empty"],
        "host_view_us": cost["view"],
        "synchronize_us": wait["synchronize, idle"],
        "event_synchronize_us": wait["add_, record and event.synchronize"]
        - add_us
        - wait["event.record"],
        "read_scalar_us": wait["item"],
        "record_event_us": wait["event.record"],
        "query_event_us": wait["event.query"],
        "wait_event_us": wait["stream.wait_event"],
        "make_stream_us": wait["Stream()"],
        "link_share": link / LINK_PEAK_GB_PER_S,
        "link_latency_us": copy_us("device to host", SMALL_COPY_BYTES, True, "gpu_us"),
        "pageable_latency_us": copy_us("host to device", SMALL_COPY_BYTES, False, "call_us")
        - copy_us("host to device", SMALL_COPY_BYTES, True, "call_us"),
        "pageable_to_device_gb_per_s": host_rate("host to device"),
        "pageable_to_host_gb_per_s": host_rate("device to host"),
        "copy_call_us": copy_us("host to device", SMALL_COPY_BYTES, True, "host_us"),
    }
