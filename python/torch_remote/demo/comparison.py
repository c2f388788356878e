# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""A transformer with a billion parameters, trained on nine GPUs of which there is none here."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

import torch_remote
from torch_remote.demo.models import Block

if TYPE_CHECKING:
    from torch_remote import Comparison

TITLE = "A transformer with a billion parameters: AdamW, float16 autocast, 4 texts of 1,024 words"
WORDS = 50257
WIDTH = 1600
HEADS = 25
DEPTH = 48
BATCH = 4
LENGTH = 1024
STEPS = 3


class LanguageModel(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, WIDTH)
        self.positions = nn.Parameter(torch.zeros(LENGTH, WIDTH))
        self.blocks = nn.Sequential(*(Block(WIDTH, HEADS, dropout=0.1) for _ in range(DEPTH)))
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, WORDS, bias=False)

    def forward(self, text: Tensor) -> Tensor:
        tokens = self.words(text) + self.positions
        return cast("Tensor", self.head(self.norm(self.blocks(tokens))))


def train(device: torch.device) -> None:
    """A training loop as for any GPU; nothing in it knows of the comparison."""
    model = LanguageModel().to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)
    scaler = torch.amp.GradScaler(device.type)
    for _ in range(STEPS):
        text = torch.randint(WORDS, (BATCH, LENGTH + 1), device=device)
        with torch.autocast(device.type, dtype=torch.float16):
            answers = model(text[:, :-1])
            loss = functional.cross_entropy(answers.flatten(0, 1), text[:, 1:].flatten())
        optimizer.zero_grad()
        scaler.scale(loss).backward()  # type: ignore[no-untyped-call, unused-ignore]
        scaler.step(optimizer)
        scaler.update()


def compare() -> Comparison:
    """A dry run: seconds, and no memory for the model."""
    return torch_remote.compare(train)


if __name__ == "__main__":  # torch-remote emulate -m torch_remote.demo.comparison
    train(torch.device("cuda"))
