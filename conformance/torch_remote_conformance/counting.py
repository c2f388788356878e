# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a device counts: live memory on every device that tells it; round trips, plans and bytes on this project's."""

import gc
from collections.abc import Callable
from types import TracebackType

import torch

from torch_remote_conformance.target import Target


def can_count(target: Target) -> bool:
    """Whether the device tells how much memory is in use."""
    return target.is_remote or (
        target.device.type not in ("cpu", "meta") and hasattr(torch.accelerator, "memory_allocated")
    )


def live_bytes(target: Target) -> int:
    """Bytes of live tensors."""
    return int(torch.accelerator.memory_allocated(target.device.index))


def live_counts(target: Target) -> dict[str, int]:
    """All that counts something alive, by name: on the client, and where the executor tells it, there."""
    target.synchronize()
    if not target.is_remote:
        return {"allocated bytes": live_bytes(target)}
    import torch_remote
    from torch_remote import remote

    stats = torch_remote.stats(target.device)
    counts = {"storages": stats.storages, "allocated bytes": stats.allocated_bytes}
    numbers = remote.memory_stats(target.device)
    return counts | {
        name: number
        for name, number in numbers.items()
        if name.endswith(".current") and not name.startswith("reserved")
    }


def assert_nothing_left(target: Target, run: Callable[[], None]) -> None:
    """Runs something twice, since the first time may make what stays for good; the second leaves nothing."""
    run()
    left = _left(target, run)
    if left:  # reference cycles are Python's matter, and looking for them takes its time
        gc.collect()
        left = _left(target, run, collect=True)
    assert not left, f"left, before and after: {left}"


def _left(
    target: Target, run: Callable[[], None], *, collect: bool = False
) -> dict[str, tuple[int | None, int]]:
    before = live_counts(target)
    run()
    if collect:
        gc.collect()
    after = live_counts(target)
    return {name: (before.get(name), now) for name, now in after.items() if before.get(name) != now}


class Counted:
    """How a remote device's counts change within a with block."""

    def __init__(self, target: Target) -> None:
        self._device = target.device

    def __enter__(self) -> "Counted":
        import torch_remote

        self._before = torch_remote.stats(self._device)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        import torch_remote

        after = torch_remote.stats(self._device)
        self.operations = after.operations - self._before.operations
        self.plans = after.plans - self._before.plans
        self.round_trips = after.round_trips - self._before.round_trips
        self.bytes_sent = after.bytes_sent - self._before.bytes_sent
        self.bytes_received = after.bytes_received - self._before.bytes_received
