# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether a device is a remote one, and which: its name says "cuda:0" while CUDA's names are replaced."""

from typing import Any

import torch

from torch_remote import _loading


def is_remote(device: Any) -> bool:
    """Whether this is a torch.device of the type remote, under whatever name."""
    extension = _loading._extension
    return extension is not None and bool(extension.is_remote(device))


def remote_index(device: torch.device) -> int | None:
    """The index that torch.remote means by a remote device; None where it stands for the current one."""
    index: int | None = _loading.ensure_loaded().remote_index(device)
    return index


def made_index(device: torch.device) -> int:
    """The index of a device that was made by this package, so it has one."""
    index = remote_index(device)
    assert index is not None
    return index
