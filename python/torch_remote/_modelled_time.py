# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""The modelled time of an emulated GPU."""

from dataclasses import dataclass

import torch

from torch_remote._devices import device_index
from torch_remote._loading import ensure_loaded


@dataclass(frozen=True)
class ModelledTime:
    """What the clock of an emulated GPU shows. Microseconds since the device was made.

    Attributes:
        host_us: the program's time: it advances by calls of the device and waits for it, and by
            nothing that the program does in between.
        gpu_us: when all that was called will have been done.
        gpu_busy_us: the sum of all kernels' durations.
    """

    host_us: float
    gpu_us: float
    gpu_busy_us: float


def modelled_time(device: torch.device | str | int | None = None) -> ModelledTime | None:
    """The modelled time of a device; None where none is modelled. Waits for nothing."""
    times_us = ensure_loaded().modelled_time_us(device_index(device))
    return None if times_us is None else ModelledTime(*times_us)
