# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""The program's side of a machine that a provider started for it."""

import os
import sys
import threading
import time
from typing import TYPE_CHECKING

from torch_remote._machines.progress import counted, duration, size
from torch_remote._machines.records import Record
from torch_remote._machines.start import end_machine
from torch_remote.providers.interface import Provider

if TYPE_CHECKING:
    from torch_remote._devices import Statistics

# By the serial number of each of its devices, since indices are used again.
_by_serial: dict[int, "RentedMachine"] = {}


def of_device(serial: int) -> "RentedMachine | None":
    """The machine that was started for a device, if one was."""
    return _by_serial.get(serial)


def belongs_to(serial: int, rented: "RentedMachine") -> None:
    """Notes on which machine a device is."""
    _by_serial[serial] = rented


def everything() -> list["RentedMachine"]:
    """All machines that were started for devices of this process, each once."""
    return list(dict.fromkeys(_by_serial.values()))


class RentedMachine:
    """A machine of this process, started or still to be started.

    Args:
        detached: it does not end with this process; its lease and idle timeout end it.
    """

    def __init__(
        self, provider: Provider, name: str, record: Record | None = None, *, detached: bool = False
    ) -> None:
        self.provider = provider
        self.name = name
        #: None until it was started.
        self.record = record
        self.detached = detached
        self._ended_at: float | None = None
        self._lock = threading.Lock()
        self._process = os.getpid()

    def logs(self) -> str:
        """What its executor wrote so far. Raises ProviderError."""
        if self.record is None or self.record.machine_id is None:
            return ""
        return self.provider.logs(self.record.machine_id)

    def cost(self) -> float | None:
        """USD until now, by the price at the start; None where that was not known."""
        return 0.0 if self.record is None else self.record.cost_usd(self._ended_at)

    def stop(self) -> None:
        """Ends it. Nothing happens where it has ended already, or in a forked process.

        Raises:
            ProviderError: it could not be ended, and goes on.
        """
        with self._lock:
            if self.record is None or self._ended_at is not None or os.getpid() != self._process:
                return
            end_machine(self.provider, self.record)
            self._ended_at = time.time()

    def stop_at_exit(self, statistics: "Statistics | None") -> None:
        """Ends it unless it is detached, and says on standard error what it was.

        Whatever goes wrong is told there too: the other machines have to end as well.

        Args:
            statistics: of its devices; None where they had been stopped before.
        """
        if self.detached or self._ended_at is not None or os.getpid() != self._process:
            return
        if self.record is None:  # it was never started
            return
        try:
            self.stop()
        except BaseException as error:  # noqa: BLE001 (told, and the others go on)
            print(
                f"torch-remote: {self.name} could not be stopped: {error or type(error).__name__}. "
                f"End it with: torch-remote stop {self.name}",
                file=sys.stderr,
            )
            return
        print(f"torch-remote: stopped {self._summary(self.record, statistics)}", file=sys.stderr)

    def _summary(self, record: Record, statistics: "Statistics | None") -> str:
        cost = self.cost()
        price = "at a price that is not known" if cost is None else f"about {cost:.2f} USD"
        text = (
            f"{self.name} ({record.provider} {counted(record.gpu_count, record.gpu_type)}) after "
            f"{duration(record.elapsed_s(self._ended_at))}, {price}"
        )
        if statistics is not None:
            text += (
                f"; {statistics.operations} operations, {size(statistics.bytes_sent)} sent, "
                f"{size(statistics.bytes_received)} received"
            )
        return text
