# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""The emulator as a provider, so that a program can take its provider's name from its command line."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch

from torch_remote._devices import emulate
from torch_remote.providers.interface import InProcessProvider


class EmulatorProvider(InProcessProvider):
    """create_device("emulator", gpu_type=...) is emulate(gpu_type), with the same options."""

    name: ClassVar[str] = "emulator"

    def make(self, gpu_type: str, gpu_count: int, options: Mapping[str, Any]) -> torch.device:
        return emulate(gpu_type, gpu_count=gpu_count, **options)
