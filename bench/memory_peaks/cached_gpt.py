# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Generation by a GPT whose cache grows by concatenation: every head's keys, groups of them, or a latent of both.

The caches can begin at any length, so that the peak of a long text, which is that of its last tokens,
needs no more than these.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from written_out_gpt import GptSizes, WrittenOutGelu, WrittenOutNorm

CacheKind = Literal["heads", "groups", "latent"]


@dataclass(frozen=True)
class CachedSizes(GptSizes):
    dropout: float = 0.0
    kind: CacheKind = "heads"
    group_count: int = 0  # of heads that share keys and values
    latent_width: int = 0
    gated_width: int = 0  # of a gated feed-forward; 0 for the usual one of four times the width


class CachedAttention(nn.Module):
    def __init__(self, sizes: CachedSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.head_width = sizes.width // sizes.heads
        has_bias = sizes.kind != "groups"
        self.query = nn.Linear(sizes.width, sizes.width, bias=False)
        if sizes.kind == "latent":
            self.down = nn.Linear(sizes.width, sizes.latent_width, bias=False)
            self.up_key = nn.Linear(sizes.latent_width, sizes.width, bias=False)
            self.up_value = nn.Linear(sizes.latent_width, sizes.width, bias=False)
        else:
            groups = sizes.group_count if sizes.kind == "groups" else sizes.heads
            self.key = nn.Linear(sizes.width, groups * self.head_width, bias=False)
            self.value = nn.Linear(sizes.width, groups * self.head_width, bias=False)
        self.out = nn.Linear(sizes.width, sizes.width, bias=has_bias)
        self.drop = nn.Dropout(0.0)
        self.cache: tuple[Tensor, ...] | None = None

    def prefill(self, batch: int, length: int) -> None:
        """The cache as it is after so many tokens."""
        weight = self.out.weight

        def part(*sizes: int) -> Tensor:
            return torch.zeros(batch, *sizes, dtype=weight.dtype, device=weight.device)

        if self.sizes.kind == "latent":
            self.cache = (part(length, self.sizes.latent_width),)
        elif self.sizes.kind == "groups":
            self.cache = tuple(
                part(self.sizes.group_count, length, self.head_width) for _ in range(2)
            )
        else:
            self.cache = tuple(part(length, self.sizes.heads, self.head_width) for _ in range(2))

    def forward(self, x: Tensor, start: int) -> Tensor:
        batch, length, width = x.shape
        query, key, value = getattr(self, f"_{self.sizes.kind}")(x)
        scores = query @ key.transpose(2, 3)
        query_positions = torch.arange(start, start + length, device=x.device)
        key_positions = torch.arange(key.shape[-2], device=x.device)
        mask = query_positions.unsqueeze(-1) < key_positions.unsqueeze(0)
        if self.sizes.kind == "groups":
            scores = scores.masked_fill(mask, -torch.inf)
        else:
            scores.masked_fill_(mask, -torch.inf)
        weights = torch.softmax(scores / key.shape[-1] ** 0.5, dim=-1)
        weights = self.drop(weights)
        context = (weights @ value).transpose(1, 2)
        return self.out(context.contiguous().view(batch, length, width))

    def _grow(self, dimension: int, *parts: Tensor) -> tuple[Tensor, ...]:
        if self.cache is None:
            self.cache = parts
        else:
            grown: list[Tensor] = list(self.cache)
            self.cache = ()
            for i, part in enumerate(parts):
                grown[i] = torch.cat([grown[i], part], dim=dimension)
            self.cache = tuple(grown)
        return self.cache

    def _heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        batch, length, _ = x.shape
        key, value, query = self.key(x), self.value(x), self.query(x)
        shape = (batch, length, self.sizes.heads, self.head_width)
        keys, values = self._grow(1, key.view(shape), value.view(shape))
        return (
            query.view(shape).transpose(1, 2),
            keys.transpose(1, 2),
            values.transpose(1, 2),
        )

    def _groups(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        batch, length, _ = x.shape
        query, key, value = self.query(x), self.key(x), self.value(x)
        query = query.view(batch, length, self.sizes.heads, -1).transpose(1, 2)
        shape = (batch, length, self.sizes.group_count, self.head_width)
        grown = self._grow(2, key.view(shape).transpose(1, 2), value.view(shape).transpose(1, 2))
        shared = self.sizes.heads // self.sizes.group_count
        keys, values = (part.repeat_interleave(shared, dim=1) for part in grown)
        return query, keys, values

    def _latent(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query, latent = self.query(x), self.down(x)
        (latents,) = self._grow(1, latent)
        keys, values = self.up_key(latents), self.up_value(latents)

        def split(part: Tensor) -> Tensor:
            shape = (*part.shape[:2], self.sizes.heads, self.head_width)
            return part.view(shape).transpose(1, 2).contiguous()

        return split(query), split(keys), split(values)


class GatedFeedForward(nn.Module):
    def __init__(self, width: int, gated_width: int) -> None:
        super().__init__()
        self.gate = nn.Linear(width, gated_width, bias=False)
        self.up = nn.Linear(width, gated_width, bias=False)
        self.down = nn.Linear(gated_width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(functional.silu(self.gate(x)) * self.up(x))


class CachedLayer(nn.Module):
    def __init__(self, sizes: CachedSizes) -> None:
        super().__init__()
        self.attention = CachedAttention(sizes)
        self.feed_forward: nn.Module = (
            GatedFeedForward(sizes.width, sizes.gated_width)
            if sizes.gated_width
            else nn.Sequential(
                nn.Linear(sizes.width, 4 * sizes.width),
                WrittenOutGelu(),
                nn.Linear(4 * sizes.width, sizes.width),
            )
        )
        self.norm_attention = WrittenOutNorm(sizes.width)
        self.norm_feed_forward = WrittenOutNorm(sizes.width)

    def forward(self, x: Tensor, start: int) -> Tensor:
        shortcut = x
        x = self.norm_attention(x)
        x = self.attention(x, start)
        x = x + shortcut
        shortcut = x
        x = self.norm_feed_forward(x)
        x = self.feed_forward(x)
        return x + shortcut


class CachedGpt(nn.Module):
    def __init__(self, sizes: CachedSizes) -> None:
        super().__init__()
        self.tokens = nn.Embedding(sizes.vocabulary, sizes.width)
        self.positions = nn.Embedding(sizes.context, sizes.width)
        self.layers = nn.ModuleList(CachedLayer(sizes) for _ in range(sizes.layers))
        self.norm = WrittenOutNorm(sizes.width)
        self.head = nn.Linear(sizes.width, sizes.vocabulary, bias=False)

    def forward(self, tokens: Tensor, start: int) -> Tensor:
        positions = torch.arange(start, start + tokens.shape[1], device=tokens.device)
        x = self.tokens(tokens) + self.positions(positions).unsqueeze(0)
        for layer in self.layers:
            x = layer(x, start)
        return self.head(self.norm(x))
