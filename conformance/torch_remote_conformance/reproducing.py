# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Stand-alone programs that show a failure again."""

import torch
from torch_remote_conformance.target import Target


def operator_script(
    name: str, direction: str, dtype: torch.dtype, target: Target, seed: int, sample: int
) -> str:
    """A program for one sample of an operator."""
    return ""
