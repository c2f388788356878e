# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""The whole models of NeuSight's tables: BERT, GPT-2 and OPT in sizes of its configurations, with the
attention of plain operators that they had."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class Size:
    family: str
    vocabulary: int
    width: int
    layers: int
    heads: int
    positions: int


# Sizes as in NeuSight's scripts/asplos/data/DLmodel_configs; the inner layers are four times as wide.
SIZES = {
    "bert_large": Size("bert", 30522, 1024, 24, 16, 512),
    "gpt2_large": Size("gpt2", 50257, 1280, 36, 20, 1024),
    "gpt3_xl": Size("gpt2", 50257, 3072, 24, 24, 2048),
    "gpt3_27": Size("gpt2", 50257, 2560, 32, 32, 2048),
    "opt_13": Size("opt", 50272, 2048, 24, 32, 2048),
}
DROPOUT = 0.1


class Attention(nn.Module):
    """Scores, scale, mask, softmax and dropout are operators of their own."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.size = size
        if size.family == "gpt2":  # one projection for all three
            self.qkv = nn.Linear(size.width, 3 * size.width)
        else:
            self.q, self.k, self.v = (nn.Linear(size.width, size.width) for _ in range(3))
        self.out = nn.Linear(size.width, size.width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        batch, length, width = x.shape
        heads = self.size.heads
        if self.size.family == "gpt2":
            projected = self.qkv(x).split(width, 2)
        else:
            projected = (self.q(x), self.k(x), self.v(x))
        q, k, v = (part.view(batch, length, heads, -1).transpose(1, 2) for part in projected)
        scores = torch.matmul(q, k.transpose(-1, -2)) / math.sqrt(width // heads)
        scores = torch.where(mask, scores, -1e9) if self.size.family == "gpt2" else scores + mask
        weights = functional.dropout(functional.softmax(scores, -1), DROPOUT, self.training)
        mixed = torch.matmul(weights, v).transpose(1, 2).reshape(batch, length, width)
        out: Tensor = self.out(mixed)
        return out


def new_gelu(x: Tensor) -> Tensor:
    """GPT-2's, as it was written: an operator for each step."""
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x.pow(3))))


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "bert": functional.gelu,
    "gpt2": new_gelu,
    "opt": torch.relu,
}


class Block(nn.Module):
    def __init__(self, size: Size) -> None:
        super().__init__()
        self.is_norm_first = size.family != "bert"
        self.activation = ACTIVATIONS[size.family]
        self.attention = Attention(size)
        self.norm1, self.norm2 = nn.LayerNorm(size.width), nn.LayerNorm(size.width)
        self.inner, self.outer = (
            nn.Linear(size.width, 4 * size.width),
            nn.Linear(4 * size.width, size.width),
        )

    def feed(self, x: Tensor) -> Tensor:
        out: Tensor = self.outer(self.activation(self.inner(x)))
        return functional.dropout(out, DROPOUT, self.training)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        def attend(y: Tensor) -> Tensor:
            return functional.dropout(self.attention(y, mask), DROPOUT, self.training)

        if self.is_norm_first:
            x = x + attend(self.norm1(x))
            return x + self.feed(self.norm2(x))
        x = self.norm1(x + attend(x))
        out: Tensor = self.norm2(x + self.feed(x))
        return out


class LanguageModel(nn.Module):
    """`has_head` says whether the output is the vocabulary's scores, or that of a classifier."""

    def __init__(self, size: Size, has_head: bool) -> None:
        super().__init__()
        self.size = size
        self.tokens = nn.Embedding(size.vocabulary, size.width)
        self.positions = nn.Embedding(size.positions, size.width)
        self.blocks = nn.ModuleList(Block(size) for _ in range(size.layers))
        self.norm = nn.LayerNorm(size.width)
        self.head = nn.Linear(size.width, size.vocabulary if has_head else 2, bias=False)
        self.has_head = has_head

    def forward(self, tokens: Tensor) -> Tensor:
        length = tokens.shape[1]
        x = self.tokens(tokens) + self.positions(torch.arange(length, device=tokens.device))
        x = functional.dropout(x, DROPOUT, self.training)
        ones = torch.ones(length, length, device=tokens.device, dtype=torch.bool)
        mask = ones.tril() if self.size.family == "gpt2" else torch.zeros_like(x[:, None, :1, :1])
        if self.size.family == "opt":
            mask = torch.zeros(1, 1, length, length, device=tokens.device)
        for block in self.blocks:
            x = block(x, mask)
        out: Tensor = self.head(self.norm(x) if self.has_head else x[:, 0])
        return out


def model_call(
    device: torch.device, name: str, mode: str, length: int, batch: int
) -> Callable[[], object]:
    """A forward in evaluation mode ("inf"), or a forward and a backward in training ("train")."""
    size, is_training = SIZES[name], mode == "train"
    with device:
        model = LanguageModel(size, has_head=size.family != "bert" or is_training)
    model.train(is_training)
    tokens = torch.ones(batch, length, dtype=torch.int64, device=device)

    def call() -> None:
        if not is_training:
            with torch.no_grad():
                model(tokens)
            return
        model.zero_grad(set_to_none=True)
        model(tokens).sum().backward()

    return call
