# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""A training step of a transformer with 70 billion parameters, as a dry run on every GPU type.

Prints what the step would peak at on each type, and how many GPUs could hold it.
"""

from __future__ import annotations

import resource
import sys
import time
from typing import TYPE_CHECKING

import torch
from measure import Report, make_parser, progress
from torch import nn
from torch.nn import functional
from torch_remote._emulation.device import chosen_gpus, make_device
from torch_remote._emulation.result import result_of

if TYPE_CHECKING:
    import argparse

TIME_LIMIT_S = 60.0
MEMORY_LIMIT_GIB = 2.0
GIB = 2**30

# Those of Llama 3 70B: https://huggingface.co/meta-llama/Meta-Llama-3-70B, config.json.
WIDTH = 8192
INNER_WIDTH = 28672
DEPTH = 80
HEADS = 64
KEY_HEADS = 8
WORDS = 128256
ROTARY_BASE = 500_000.0


class Attention(nn.Module):
    """Grouped queries with rotary positions."""

    def __init__(self) -> None:
        super().__init__()
        self.head_width = WIDTH // HEADS
        self.query = nn.Linear(WIDTH, WIDTH, bias=False)
        self.key = nn.Linear(WIDTH, KEY_HEADS * self.head_width, bias=False)
        self.value = nn.Linear(WIDTH, KEY_HEADS * self.head_width, bias=False)
        self.output = nn.Linear(WIDTH, WIDTH, bias=False)

    def split(self, tokens: torch.Tensor, heads: int) -> torch.Tensor:
        batch, length, _ = tokens.shape
        return tokens.view(batch, length, heads, self.head_width).transpose(1, 2)

    def forward(
        self, tokens: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor
    ) -> torch.Tensor:
        query = rotate(self.split(self.query(tokens), HEADS), cosine, sine)
        key = rotate(self.split(self.key(tokens), KEY_HEADS), cosine, sine)
        value = self.split(self.value(tokens), KEY_HEADS)
        groups = HEADS // KEY_HEADS
        key, value = (one.repeat_interleave(groups, dim=1) for one in (key, value))
        attended = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        return self.output(attended.transpose(1, 2).flatten(2))


def rotate(heads: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
    first, second = heads.chunk(2, dim=-1)
    return heads * cosine + torch.cat((-second, first), dim=-1) * sine


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention_norm = nn.RMSNorm(WIDTH)
        self.attention = Attention()
        self.network_norm = nn.RMSNorm(WIDTH)
        self.gate = nn.Linear(WIDTH, INNER_WIDTH, bias=False)
        self.up = nn.Linear(WIDTH, INNER_WIDTH, bias=False)
        self.down = nn.Linear(INNER_WIDTH, WIDTH, bias=False)

    def forward(
        self, tokens: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor
    ) -> torch.Tensor:
        tokens = tokens + self.attention(self.attention_norm(tokens), cosine, sine)
        normed = self.network_norm(tokens)
        return tokens + self.down(functional.silu(self.gate(normed)) * self.up(normed))


class Llama(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(WORDS, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(DEPTH))
        self.norm = nn.RMSNorm(WIDTH)
        self.head = nn.Linear(WIDTH, WORDS, bias=False)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        half = WIDTH // HEADS // 2
        rates = ROTARY_BASE ** (-torch.arange(half, device=words.device) / half)
        angles = torch.outer(torch.arange(words.shape[1], device=words.device), rates)
        angles = torch.cat((angles, angles), dim=-1)
        cosine, sine = (part.to(self.norm.weight.dtype) for part in (angles.cos(), angles.sin()))
        tokens = self.embedding(words)
        for block in self.blocks:
            tokens = block(tokens, cosine, sine)
        return self.head(self.norm(tokens))


def resident_gib() -> float:
    """The most that this process has had of the machine's memory."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / GIB


def train(device: torch.device, steps: int, length: int) -> int:
    """Returns the number of parameters."""
    torch.set_default_dtype(torch.bfloat16)
    with device:
        model = Llama()
        words = torch.randint(0, WORDS, (1, length))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    for step in range(steps):
        progress(f"step {step + 1}")
        logits = model(words[:, :-1])
        loss = functional.cross_entropy(logits.flatten(0, 1), words[:, 1:].flatten())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return sum(parameter.numel() for parameter in model.parameters())


def parse() -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--length", type=int, default=4096, help="tokens of the one sequence")
    return parser.parse_args()


def main() -> int:
    options = parse()
    started = time.perf_counter()
    device = make_device(chosen_gpus("all"), dry_run=True, oom="record")
    parameters = train(device, 1 if options.quick else options.steps, options.length)
    seconds = time.perf_counter() - started
    report = Report(
        f"Training {parameters / 1e9:.1f} billion parameters in bfloat16 with AdamW on "
        f"{options.length} tokens, without sharding: what one GPU would have to hold"
    )
    for run in result_of(device).rows:
        report.add(
            gpu=run.gpu,
            memory_gib=run.total_bytes / GIB,
            allocated_peak_gib=run.allocated_bytes_peak / GIB,
            reserved_peak_gib=run.reserved_bytes_peak / GIB,
            gpus=run.gpus_needed,
        )
    report.limit("seconds", seconds, TIME_LIMIT_S)
    report.limit("GiB of this machine's memory", resident_gib(), MEMORY_LIMIT_GIB)
    return report.finish(options)


if __name__ == "__main__":
    sys.exit(main())
