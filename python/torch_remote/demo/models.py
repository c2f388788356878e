# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""The two networks of the demo: a convolutional one and a transformer over patches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable

CLASSES = 10


class ConvolutionalNetwork(nn.Module):
    def __init__(self, channels: int = 32, dropout: float = 0.25) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, 2 * channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(2 * channels),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Dropout(dropout),
            nn.Conv2d(2 * channels, 2 * channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(2 * channels),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(2 * channels * 4, CLASSES),
        )

    def forward(self, images: Tensor) -> Tensor:
        return cast("Tensor", self.layers(images))


class Block(nn.Module):
    """Attention and a two-layer network, each normalized before and added to what came in."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.attention_output = nn.Linear(width, width)
        self.network_norm = nn.LayerNorm(width)
        self.network = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )
        self.dropout = nn.Dropout(dropout)

    def attend(self, tokens: Tensor) -> Tensor:
        batch, length, width = tokens.shape
        query, key, value = (
            self.query_key_value(tokens)
            .view(batch, length, 3, self.heads, width // self.heads)
            .permute(2, 0, 3, 1, 4)
        )
        attended = functional.scaled_dot_product_attention(query, key, value)
        return cast("Tensor", self.attention_output(attended.transpose(1, 2).flatten(2)))

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.dropout(self.attend(self.attention_norm(tokens)))
        return tokens + cast("Tensor", self.dropout(self.network(self.network_norm(tokens))))


class Transformer(nn.Module):
    """Every 2x2 patch of the image is a token; the digit is read from all of them."""

    PATCHES = 16

    def __init__(
        self, width: int = 64, heads: int = 4, depth: int = 2, dropout: float = 0.2
    ) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, width, kernel_size=2, stride=2)
        self.positions = nn.Parameter(0.02 * torch.randn(1, self.PATCHES, width))
        self.blocks = nn.Sequential(*(Block(width, heads, dropout) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.digit = nn.Linear(self.PATCHES * width, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.patches(images).flatten(2).transpose(1, 2) + self.positions
        return cast("Tensor", self.digit(self.norm(self.blocks(tokens)).flatten(1)))


@dataclass(frozen=True)
class Recipe:
    """A network and how to train it."""

    name: str
    build: Callable[[], nn.Module]
    learning_rate: float
    epochs: int


RECIPES = (
    Recipe("CNN", ConvolutionalNetwork, learning_rate=4e-3, epochs=10),
    Recipe("transformer", Transformer, learning_rate=3e-3, epochs=20),
)
