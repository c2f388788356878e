# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Providers start and stop the machines that torch_remote.create_device rents. See docs/PROVIDERS.md."""

from torch_remote.providers.interface import (
    InProcessProvider,
    MachineRequest,
    MachineStatus,
    Price,
    Progress,
    Provider,
    ProviderError,
    StartedMachine,
)

__all__ = [
    "InProcessProvider",
    "MachineRequest",
    "MachineStatus",
    "Price",
    "Progress",
    "Provider",
    "ProviderError",
    "StartedMachine",
]
