# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Convolutional and recurrent models of the calibration programs, in plain torch.nn."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut."""

    expansion = 1

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, 1, 1, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.shortcut = shortcut(channels_in, channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.body(x) + self.shortcut(x), inplace=True)


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions with a shortcut; four times as many channels come out."""

    expansion = 4

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels_in, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, stride, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, 4 * channels, 1, bias=False),
            nn.BatchNorm2d(4 * channels),
        )
        self.shortcut = shortcut(channels_in, 4 * channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.body(x) + self.shortcut(x), inplace=True)


def shortcut(channels_in: int, channels_out: int, stride: int) -> nn.Module:
    """The identity where shapes allow it, else a strided 1x1 convolution with a norm."""
    if stride == 1 and channels_in == channels_out:
        return nn.Identity()
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 1, stride, bias=False), nn.BatchNorm2d(channels_out)
    )


class ResNet(nn.Module):
    """The residual network of ImageNet, by the number of blocks of its four stages."""

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        counts: tuple[int, ...],
        width: int,
        classes: int,
    ) -> None:
        super().__init__()
        stages: list[nn.Module] = [
            nn.Conv2d(3, width, 7, 2, 3, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2, 1),
        ]
        channels_in = width
        for stage, count in enumerate(counts):
            channels = width << stage
            for number in range(count):
                stride = 2 if stage > 0 and number == 0 else 1
                stages.append(block(channels_in, channels, stride))
                channels_in = channels * block.expansion
        self.features = nn.Sequential(*stages)
        self.head = nn.Linear(channels_in, classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images).mean(dim=(2, 3)))


class UNetBlock(nn.Module):
    """Group norm, SiLU and a 3x3 convolution, twice, with a shortcut."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.norm_1 = nn.GroupNorm(8, channels_in)
        self.convolution_1 = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.norm_2 = nn.GroupNorm(8, channels_out)
        self.convolution_2 = nn.Conv2d(channels_out, channels_out, 3, padding=1)
        self.project: nn.Module = (
            nn.Identity()
            if channels_in == channels_out
            else nn.Conv2d(channels_in, channels_out, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        h = self.convolution_1(functional.silu(self.norm_1(x)))
        return self.project(x) + self.convolution_2(functional.silu(self.norm_2(h)))


class UNet(nn.Module):
    """Down by strided convolutions and up by nearest-neighbour upsampling, with skip connections."""

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__()
        widths = [channels << level for level in range(depth)]
        self.enter = nn.Conv2d(4, channels, 3, padding=1)
        self.down = nn.ModuleList(UNetBlock(width, width) for width in widths)
        self.shrink = nn.ModuleList(
            nn.Conv2d(width, width * 2, 3, stride=2, padding=1) for width in widths
        )
        self.middle = UNetBlock(channels << depth, channels << depth)
        self.grow = nn.ModuleList(
            nn.Conv2d(width * 2, width, 3, padding=1) for width in reversed(widths)
        )
        self.up = nn.ModuleList(UNetBlock(width * 2, width) for width in reversed(widths))
        self.leave = nn.Conv2d(channels, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        skips = []
        for block, shrink in zip(self.down, self.shrink, strict=True):
            x = block(x)
            skips.append(x)
            x = shrink(x)
        x = self.middle(x)
        for grow, block in zip(self.grow, self.up, strict=True):
            x = grow(functional.interpolate(x, scale_factor=2.0, mode="nearest"))
            x = block(torch.cat([x, skips.pop()], dim=1))
        return self.leave(x)


class LstmLanguageModel(nn.Module):
    """An embedding, a stack of LSTM layers and an output layer, as of word-level language models."""

    def __init__(self, vocabulary: int, width: int, layers: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.recurrent = nn.LSTM(width, width, layers, dropout=0.5)
        self.output = nn.Linear(width, vocabulary)

    def forward(
        self, tokens: Tensor, state: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        x = functional.dropout(self.tokens(tokens), 0.5, self.training)
        x, state = self.recurrent(x, state)
        return self.output(functional.dropout(x, 0.5, self.training)), state
