# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""A network in front of an emulated GPU."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Network:
    """Between a program and the emulated machine of its GPU.

    Reads and waits take a round trip, and whatever is sent takes its bytes' time.

    Args:
        round_trip_ms: there and back.
        bandwidth_mbit_per_s: each way, in 10^6 bits a second; default: more than is ever needed.

    Raises:
        ValueError: a negative round trip, or no bandwidth.
    """

    round_trip_ms: float = 0.0
    bandwidth_mbit_per_s: float = math.inf

    def __post_init__(self) -> None:
        if not 0 <= self.round_trip_ms < math.inf:
            raise ValueError(f"round_trip_ms is {self.round_trip_ms}; it has to be 0 or more")
        if not self.bandwidth_mbit_per_s > 0:
            raise ValueError(
                f"bandwidth_mbit_per_s is {self.bandwidth_mbit_per_s}; it has to be more than 0"
            )

    @property
    def finite_bandwidth_mbit_per_s(self) -> float:
        """0 where there is no limit."""
        return self.bandwidth_mbit_per_s if self.bandwidth_mbit_per_s < math.inf else 0.0
