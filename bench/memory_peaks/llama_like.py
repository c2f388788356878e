# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Llama 3.2 and Qwen3 with written out attention, with and without a cache that grows by concatenation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from cached_gpt import GatedFeedForward
from torch import Tensor, nn

Cache = list[tuple[Tensor, Tensor] | None]


@dataclass(frozen=True)
class LlamaSizes:
    vocabulary: int
    context: int  # rows of the tables of rotations
    width: int
    heads: int
    head_width: int
    groups: int
    layers: int
    hidden: int
    is_qwen: bool = False  # its norms are written out and in float32, and it normalizes heads


class WideNorm(nn.Module):
    """A root mean square of six operators in float32; its weight has the model's dtype."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        dtype = x.dtype
        x = x.to(torch.float32)
        square = x.pow(2).mean(dim=-1, keepdim=True)
        normalized = x * torch.rsqrt(square + 1e-6)
        normalized = normalized * self.weight
        return normalized.to(dtype)


def make_norm(sizes: LlamaSizes, width: int) -> nn.Module:
    return WideNorm(width) if sizes.is_qwen else nn.RMSNorm(width, eps=1e-5)


def rotate(x: Tensor, cos: Tensor, sin: Tensor, start: int) -> Tensor:
    length, half = x.shape[2], x.shape[3] // 2
    first, second = x[..., :half], x[..., half:]
    cos, sin = (table[start : start + length][None, None] for table in (cos, sin))
    turned = torch.cat((-second, first), dim=-1)
    return ((x * cos) + (turned * sin)).to(x.dtype)


class GroupedAttention(nn.Module):
    def __init__(self, sizes: LlamaSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.query = nn.Linear(sizes.width, sizes.heads * sizes.head_width, bias=False)
        self.key = nn.Linear(sizes.width, sizes.groups * sizes.head_width, bias=False)
        self.value = nn.Linear(sizes.width, sizes.groups * sizes.head_width, bias=False)
        self.out = nn.Linear(sizes.heads * sizes.head_width, sizes.width, bias=False)
        self.norm_query, self.norm_key = (
            (WideNorm(sizes.head_width), WideNorm(sizes.head_width))
            if sizes.is_qwen
            else (nn.Identity(), nn.Identity())
        )

    def forward(
        self,
        x: Tensor,
        mask: Tensor,
        rotations: tuple[Tensor, Tensor],
        start: int,
        cache: tuple[Tensor, Tensor] | None,
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        batch, length, _ = x.shape
        query, key, value = self.query(x), self.key(x), self.value(x)
        query = query.view(batch, length, self.sizes.heads, -1).transpose(1, 2)
        key = key.view(batch, length, self.sizes.groups, -1).transpose(1, 2)
        value = value.view(batch, length, self.sizes.groups, -1).transpose(1, 2)
        query, key = self.norm_query(query), self.norm_key(key)
        query, key = rotate(query, *rotations, start), rotate(key, *rotations, start)
        if cache is not None:
            key, value = torch.cat([cache[0], key], dim=2), torch.cat([cache[1], value], dim=2)
        grown = (key, value)
        shared = self.sizes.heads // self.sizes.groups
        key, value = (part.repeat_interleave(shared, dim=1) for part in grown)
        scores = query @ key.transpose(2, 3)
        scores = scores.masked_fill(mask, -torch.inf)
        weights = torch.softmax(scores / self.sizes.head_width**0.5, dim=-1)
        context = (weights @ value).transpose(1, 2).reshape(batch, length, -1)
        return self.out(context), grown


class LlamaLayer(nn.Module):
    def __init__(self, sizes: LlamaSizes) -> None:
        super().__init__()
        self.attention = GroupedAttention(sizes)
        self.feed_forward = GatedFeedForward(sizes.width, sizes.hidden)
        self.norm_attention = make_norm(sizes, sizes.width)
        self.norm_feed_forward = make_norm(sizes, sizes.width)

    def forward(
        self,
        x: Tensor,
        mask: Tensor,
        rotations: tuple[Tensor, Tensor],
        start: int,
        cache: tuple[Tensor, Tensor] | None,
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        attended, grown = self.attention(self.norm_attention(x), mask, rotations, start, cache)
        x = attended + x
        return self.feed_forward(self.norm_feed_forward(x)) + x, grown


class LlamaLike(nn.Module):
    """In bfloat16 but for the tables of rotations, and for the written out norms, in float32."""

    cos: Tensor
    sin: Tensor

    def __init__(self, sizes: LlamaSizes) -> None:
        super().__init__()
        self.tokens = nn.Embedding(sizes.vocabulary, sizes.width)
        self.layers = nn.ModuleList(LlamaLayer(sizes) for _ in range(sizes.layers))
        self.norm = make_norm(sizes, sizes.width)
        self.head = nn.Linear(sizes.width, sizes.vocabulary, bias=False)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding | nn.RMSNorm):
                module.to(torch.bfloat16)
        table = torch.zeros(sizes.context, sizes.head_width)
        self.register_buffer("cos", table, persistent=False)
        self.register_buffer("sin", table.clone(), persistent=False)

    def forward(self, tokens: Tensor, start: int = 0, cache: Cache | None = None) -> Tensor:
        x = self.tokens(tokens)
        length = tokens.shape[1]
        end = start + length
        ones = torch.ones(end, end, device=x.device, dtype=torch.bool)
        mask = torch.triu(ones, diagonal=1)[start:end]
        del ones
        for i, layer in enumerate(self.layers):
            x, grown = layer(x, mask, (self.cos, self.sin), start, cache[i] if cache else None)
            if cache is not None:
                cache[i] = grown
        return self.head(self.norm(x).to(torch.bfloat16))
