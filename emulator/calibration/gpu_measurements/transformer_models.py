# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Transformer models of the calibration programs, in plain torch.nn, with nothing of one device type."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class SelfAttention(nn.Module):
    """Multi-head attention over (batch, length, width); fused, or written out with a float32 softmax."""

    def __init__(
        self, width: int, heads: int, *, causal: bool, fused: bool, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.heads = heads
        self.causal = causal
        self.fused = fused
        self.dropout = dropout
        self.projection_in = nn.Linear(width, 3 * width)
        self.projection_out = nn.Linear(width, width)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        batch, length, width = x.shape
        q, k, v = (
            part.view(batch, length, self.heads, width // self.heads).transpose(1, 2)
            for part in self.projection_in(x).split(width, dim=2)
        )
        dropout = self.dropout if self.training else 0.0
        if self.fused:
            y = functional.scaled_dot_product_attention(
                q, k, v, attn_mask=mask, dropout_p=dropout, is_causal=self.causal
            )
        else:
            scores = (q @ k.transpose(-2, -1)) / math.sqrt(width // self.heads)
            if self.causal:
                future = torch.ones(length, length, dtype=torch.bool, device=x.device).triu(1)
                scores = scores.masked_fill(future, float("-inf"))
            if mask is not None:
                scores = scores + mask
            weights = functional.softmax(scores, dim=-1, dtype=torch.float32).to(scores.dtype)
            y = functional.dropout(weights, dropout, self.training) @ v
        y = y.transpose(1, 2).reshape(batch, length, width)
        return functional.dropout(self.projection_out(y), dropout, self.training)


class TransformerLayer(nn.Module):
    """Attention and a feed-forward part of four times the width; the norms before them, or after."""

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        causal: bool,
        fused: bool = True,
        norm_first: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.norm_first = norm_first
        self.attention = SelfAttention(width, heads, causal=causal, fused=fused, dropout=dropout)
        self.norm_attention = nn.LayerNorm(width)
        self.norm_feed_forward = nn.LayerNorm(width)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, 4 * width),
            nn.GELU(),
            nn.Linear(4 * width, width),
            nn.Dropout(dropout),
        )

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        if self.norm_first:
            x = x + self.attention(self.norm_attention(x), mask)
            return x + self.feed_forward(self.norm_feed_forward(x))
        x = self.norm_attention(x + self.attention(x, mask))
        return self.norm_feed_forward(x + self.feed_forward(x))


class Gpt(nn.Module):
    """A decoder with learned positions and an output layer that shares the embedding's weight."""

    def __init__(
        self, vocabulary: int, length: int, width: int, heads: int, layers: int, *, fused: bool
    ) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(length, width)
        self.layers = nn.ModuleList(
            TransformerLayer(width, heads, causal=True, fused=fused, dropout=0.1)
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)
        self.output = nn.Linear(width, vocabulary, bias=False)
        self.output.weight = self.tokens.weight

    def forward(self, tokens: Tensor) -> Tensor:
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        x = functional.dropout(self.tokens(tokens) + self.positions(positions), 0.1, self.training)
        for layer in self.layers:
            x = layer(x)
        return self.output(self.norm(x))


class Bert(nn.Module):
    """An encoder with a padding mask and a classifier on the first token."""

    def __init__(self, vocabulary: int, length: int, width: int, heads: int, layers: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(length, width)
        self.norm = nn.LayerNorm(width)
        self.layers = nn.ModuleList(
            TransformerLayer(width, heads, causal=False, norm_first=False, dropout=0.1)
            for _ in range(layers)
        )
        self.pooler = nn.Linear(width, width)
        self.classifier = nn.Linear(width, 2)

    def forward(self, tokens: Tensor, attention_mask: Tensor) -> Tensor:
        positions = torch.arange(tokens.shape[1], device=tokens.device).expand_as(tokens)
        x = self.norm(self.tokens(tokens) + self.positions(positions))
        mask = (1.0 - attention_mask[:, None, None, :].to(x.dtype)) * torch.finfo(x.dtype).min
        for layer in self.layers:
            x = layer(x, mask)
        return self.classifier(torch.tanh(self.pooler(x[:, 0])))


class Vit(nn.Module):
    """A vision transformer on square images, with a class token."""

    def __init__(
        self, image: int, patch: int, width: int, heads: int, layers: int, classes: int
    ) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, stride=patch)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(torch.zeros(1, (image // patch) ** 2 + 1, width))
        self.layers = nn.ModuleList(
            TransformerLayer(width, heads, causal=False) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def forward(self, images: Tensor) -> Tensor:
        x = self.patches(images).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_token.expand(x.shape[0], -1, -1), x], dim=1) + self.positions
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x)[:, 0])


Cache = tuple[Tensor, Tensor]


class LlamaLayer(nn.Module):
    """Grouped-query attention with rotary positions, RMS norms and a gated feed-forward part."""

    def __init__(self, width: int, heads: int, key_heads: int, hidden: int) -> None:
        super().__init__()
        self.heads, self.key_heads, self.head_width = heads, key_heads, width // heads
        self.norm_attention = nn.RMSNorm(width)
        self.norm_feed_forward = nn.RMSNorm(width)
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, key_heads * self.head_width, bias=False)
        self.value = nn.Linear(width, key_heads * self.head_width, bias=False)
        self.output = nn.Linear(width, width, bias=False)
        self.gate = nn.Linear(width, hidden, bias=False)
        self.up = nn.Linear(width, hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(
        self, x: Tensor, cosine: Tensor, sine: Tensor, cache: Cache | None
    ) -> tuple[Tensor, Cache]:
        batch, length, _ = x.shape
        h = self.norm_attention(x)
        q = self.query(h).view(batch, length, self.heads, self.head_width).transpose(1, 2)
        k = self.key(h).view(batch, length, self.key_heads, self.head_width).transpose(1, 2)
        v = self.value(h).view(batch, length, self.key_heads, self.head_width).transpose(1, 2)
        q, k = rotate(q, cosine, sine), rotate(k, cosine, sine)
        if cache is not None:
            k, v = torch.cat([cache[0], k], dim=2), torch.cat([cache[1], v], dim=2)
        repeats = self.heads // self.key_heads
        y = functional.scaled_dot_product_attention(
            q,
            k.repeat_interleave(repeats, dim=1),
            v.repeat_interleave(repeats, dim=1),
            is_causal=cache is None,
        )
        x = x + self.output(y.transpose(1, 2).reshape(batch, length, -1))
        h = self.norm_feed_forward(x)
        return x + self.down(functional.silu(self.gate(h)) * self.up(h)), (k, v)


def rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Rotary positions: the two halves of each head's width are turned by the position's angles."""
    left, right = x.chunk(2, dim=-1)
    return x * cosine + torch.cat([-right, left], dim=-1) * sine


class Llama(nn.Module):
    """A decoder that takes the tokens that follow those in `caches`, and returns the grown caches."""

    def __init__(
        self, vocabulary: int, width: int, heads: int, key_heads: int, hidden: int, layers: int
    ) -> None:
        super().__init__()
        self.head_width = width // heads
        self.tokens = nn.Embedding(vocabulary, width)
        self.layers = nn.ModuleList(
            LlamaLayer(width, heads, key_heads, hidden) for _ in range(layers)
        )
        self.norm = nn.RMSNorm(width)
        self.output = nn.Linear(width, vocabulary, bias=False)

    def forward(self, tokens: Tensor, caches: list[Cache] | None) -> tuple[Tensor, list[Cache]]:
        start = 0 if caches is None else caches[0][0].shape[2]
        positions = torch.arange(start, start + tokens.shape[1], device=tokens.device)
        steps = torch.arange(0, self.head_width, 2, device=tokens.device).float()
        angles = positions.float()[:, None] * (10000.0 ** (-steps / self.head_width))[None, :]
        angles = torch.cat([angles, angles], dim=-1)
        x = self.tokens(tokens)
        cosine, sine = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
        grown = []
        for number, layer in enumerate(self.layers):
            x, cache = layer(x, cosine, sine, None if caches is None else caches[number])
            grown.append(cache)
        return self.output(self.norm(x[:, -1])), grown
