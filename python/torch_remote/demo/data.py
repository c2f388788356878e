# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""The digits that ship with scikit-learn: 1,797 scans of 8x8 pixels, written by 43 people."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from sklearn.datasets import load_digits  # type: ignore[import-untyped, unused-ignore]
from sklearn.model_selection import (  # type: ignore[import-untyped, unused-ignore]
    train_test_split,
)

HELD_OUT = 360
BRIGHTEST = 16.0


@dataclass(frozen=True)
class Scans:
    """Images of shape (count, 1, 8, 8) between 0 and 1, and the digit that each shows."""

    images: torch.Tensor
    labels: torch.Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device) -> Scans:
        return Scans(self.images.to(device), self.labels.to(device))


@dataclass(frozen=True)
class Digits:
    training: Scans
    held_out: Scans

    def to(self, device: torch.device) -> Digits:
        return Digits(self.training.to(device), self.held_out.to(device))


def load() -> Digits:
    """The digits on the CPU, split the same way every time and every digit in proportion."""
    pixels, labels = load_digits(return_X_y=True)
    images = torch.tensor(pixels, dtype=torch.float32).div(BRIGHTEST).reshape(-1, 1, 8, 8)
    digits = torch.tensor(labels, dtype=torch.int64)
    training, held_out = train_test_split(
        range(len(digits)), test_size=HELD_OUT, stratify=labels, random_state=0
    )
    return Digits(
        Scans(images[training], digits[training]), Scans(images[held_out], digits[held_out])
    )
