# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""GPT-2 written out of small operators, as teaching code does it, with the parts that can be PyTorch's own."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

AttentionKind = Literal["kept_mask", "new_mask", "fused"]


@dataclass(frozen=True)
class GptSizes:
    vocabulary: int = 50257
    context: int = 1024
    width: int = 768
    heads: int = 12
    layers: int = 12
    dropout: float = 0.1


class WrittenOutNorm(nn.Module):
    """A layer norm of seven operators."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(width))
        self.offset = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(dim=-1, keepdim=True)
        variance = x.var(dim=-1, keepdim=True, unbiased=False)
        normalized = (x - mean) / torch.sqrt(variance + 1e-5)
        return self.factor * normalized + self.offset


class WrittenOutGelu(nn.Module):
    """The tanh approximation of eight operators."""

    def forward(self, x: Tensor) -> Tensor:
        slope = torch.sqrt(torch.tensor(2.0 / math.pi))
        return 0.5 * x * (1 + torch.tanh(slope * (x + 0.044715 * torch.pow(x, 3))))


class WrittenOutAttention(nn.Module):
    """All scores in memory; the causal mask is kept as a buffer of floats, or made at each call."""

    def __init__(self, sizes: GptSizes, kind: AttentionKind) -> None:
        super().__init__()
        self.heads = sizes.heads
        self.query = nn.Linear(sizes.width, sizes.width, bias=False)
        self.key = nn.Linear(sizes.width, sizes.width, bias=False)
        self.value = nn.Linear(sizes.width, sizes.width, bias=False)
        self.out = nn.Linear(sizes.width, sizes.width)
        self.drop = nn.Dropout(sizes.dropout)
        self.mask: Tensor | None
        if kind == "kept_mask":
            ones = torch.ones(sizes.context, sizes.context)
            self.register_buffer("mask", torch.triu(ones, diagonal=1))
        else:
            self.mask = None

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        # In this order: so long does each of them live.
        key, query, value = self.key(x), self.query(x), self.value(x)
        key = key.view(batch, length, self.heads, -1)
        value = value.view(batch, length, self.heads, -1)
        query = query.view(batch, length, self.heads, -1)
        key, query, value = (part.transpose(1, 2) for part in (key, query, value))
        scores = query @ key.transpose(2, 3)
        if self.mask is None:
            ones = torch.ones(length, length, device=x.device)
            mask = torch.triu(ones, diagonal=1).bool()
        else:
            mask = self.mask.bool()[:length, :length]
        scores.masked_fill_(mask, -torch.inf)
        weights = torch.softmax(scores / key.shape[-1] ** 0.5, dim=-1)
        weights = self.drop(weights)
        context = (weights @ value).transpose(1, 2)
        context = context.reshape(batch, length, width)
        return self.out(context)


class FusedAttention(nn.Module):
    def __init__(self, sizes: GptSizes) -> None:
        super().__init__()
        self.heads = sizes.heads
        self.packed = nn.Linear(sizes.width, 3 * sizes.width, bias=False)
        self.out = nn.Linear(sizes.width, sizes.width)
        self.dropout = sizes.dropout

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        packed = self.packed(x).view(batch, length, 3, self.heads, -1)
        query, key, value = packed.permute(2, 0, 3, 1, 4)
        context = functional.scaled_dot_product_attention(
            query, key, value, dropout_p=self.dropout if self.training else 0.0, is_causal=True
        )
        return self.out(context.transpose(1, 2).contiguous().view(batch, length, width))


class Layer(nn.Module):
    def __init__(self, sizes: GptSizes, kind: AttentionKind, *, has_pytorch_parts: bool) -> None:
        super().__init__()
        self.attention = (
            FusedAttention(sizes) if kind == "fused" else WrittenOutAttention(sizes, kind)
        )
        self.feed_forward = nn.Sequential(
            nn.Linear(sizes.width, 4 * sizes.width),
            nn.GELU(approximate="tanh") if has_pytorch_parts else WrittenOutGelu(),
            nn.Linear(4 * sizes.width, sizes.width),
        )
        norm = nn.LayerNorm if has_pytorch_parts else WrittenOutNorm
        self.norm_attention, self.norm_feed_forward = norm(sizes.width), norm(sizes.width)
        self.drop = nn.Dropout(sizes.dropout)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x
        x = self.norm_attention(x)
        x = self.attention(x)
        x = self.drop(x)
        x = x + shortcut
        shortcut = x
        x = self.norm_feed_forward(x)
        x = self.feed_forward(x)
        x = self.drop(x)
        return x + shortcut


class WrittenOutGpt(nn.Module):
    def __init__(self, sizes: GptSizes, kind: AttentionKind, *, has_pytorch_parts: bool) -> None:
        super().__init__()
        self.tokens = nn.Embedding(sizes.vocabulary, sizes.width)
        self.positions = nn.Embedding(sizes.context, sizes.width)
        self.drop = nn.Dropout(sizes.dropout)
        self.layers = nn.Sequential(
            *(Layer(sizes, kind, has_pytorch_parts=has_pytorch_parts) for _ in range(sizes.layers))
        )
        self.norm = (nn.LayerNorm if has_pytorch_parts else WrittenOutNorm)(sizes.width)
        self.head = nn.Linear(sizes.width, sizes.vocabulary, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        embedded = self.tokens(tokens)
        positions = self.positions(torch.arange(tokens.shape[1], device=tokens.device))
        x = embedded + positions
        x = self.drop(x)
        x = self.layers(x)
        x = self.norm(x)
        return self.head(x)
