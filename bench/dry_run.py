# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a dry run costs with all GPUs looking on, against the meta device and FakeTensorMode."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import torch
import torch_remote
from measure import Place, Report, Sample, alternate, make_parser, progress, take
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch_remote._emulation.device import chosen_gpus, make_device

ROUNDS = 5
QUICK_ROUNDS = 1
SMALL_OPERATIONS = 20_000
QUICK_SMALL_OPERATIONS = 2_000
OPERATION_LIMIT_US = 5.0
META_LIMIT = 0.3
FAKE_LIMIT = 1 / 40

Step = Callable[[], object]


class Block(nn.Module):
    """A transformer's block: attention and a two-layer network, each normalized before."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.attention_output = nn.Linear(width, width)
        self.network_norm = nn.LayerNorm(width)
        self.network = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        batch, length, width = tokens.shape
        query, key, value = (
            self.query_key_value(self.attention_norm(tokens))
            .view(batch, length, 3, self.heads, width // self.heads)
            .permute(2, 0, 3, 1, 4)
        )
        attended = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        tokens = tokens + self.attention_output(attended.transpose(1, 2).flatten(2))
        return tokens + self.network(self.network_norm(tokens))


def make_model(width: int = 256, depth: int = 8, words: int = 1000) -> nn.Module:
    blocks = (Block(width, width // 64) for _ in range(depth))
    return nn.Sequential(
        nn.Embedding(words, width), *blocks, nn.LayerNorm(width), nn.Linear(width, words)
    )


def training(device: str | torch.device) -> Step:
    """One step of a transformer with 8 blocks: forward, backward, AdamW."""
    with torch.device(device):
        model = make_model()
        tokens = torch.zeros(8, 64, dtype=torch.long)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, foreach=True)

    def step() -> None:
        loss = functional.cross_entropy(model(tokens).flatten(0, 1), tokens.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def inference(device: str | torch.device) -> Step:
    """The same model's forward pass without gradients."""
    with torch.device(device):
        model = make_model().eval()
        tokens = torch.zeros(8, 64, dtype=torch.long)

    def step() -> None:
        with torch.no_grad():
            model(tokens)

    return step


def small_operations(device: str | torch.device) -> Step:
    """Additions, products, activations and norms of small tensors, one after the other."""
    with torch.device(device):
        left, right = torch.empty(16, 16), torch.empty(16, 16)
        weight, bias = torch.empty(16), torch.empty(16)

    def step() -> None:
        for _ in repeat(None, 20):
            torch.add(left, right)
            torch.mm(left, right)
            torch.relu(left)
            torch.softmax(left, -1)
            torch.layer_norm(left, (16,), weight, bias)

    return step


@dataclass(frozen=True)
class Program:
    name: str
    make: Callable[[str | torch.device], Step]
    steps: dict[str, int]
    """How many are timed together, by side: the sides differ by factors of hundreds."""


PROGRAMS = (
    Program("training step", training, {"dry": 20, "meta": 2, "fake": 1}),
    Program("inference", inference, {"dry": 50, "meta": 5, "fake": 2}),
    Program("small operations", small_operations, {"dry": 50, "meta": 10, "fake": 2}),
)


class Counter(TorchDispatchMode):
    """Counts operators as PyTorch dispatches them below autograd, views included."""

    count = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        del types
        self.count += 1
        return function(*args, **(kwargs or {}))


def operators_of(step: Step) -> int:
    with Counter() as counter:
        step()
    return counter.count


def timed(place: Place, step: Step, count: int, mode: Any = None) -> Callable[[int], Sample]:
    def work() -> None:
        with mode if mode is not None else contextlib.nullcontext():
            for _ in repeat(None, count):
                step()

    return lambda _: take(place, work)


def measure(program: Program, place: Place, rounds: int, report: Report) -> None:
    progress(program.name)
    dry = program.make(place.device)
    dry()
    dry()
    operators = operators_of(dry)
    here = Place("here", torch.device("cpu"))
    fake_mode = FakeTensorMode()
    with fake_mode:
        fake = program.make("cpu")
    samples = alternate(
        {
            "dry": timed(place, dry, program.steps["dry"]),
            "meta": timed(here, program.make("meta"), program.steps["meta"]),
            "fake": timed(here, fake, program.steps["fake"], fake_mode),
        },
        rounds,
    )
    us = {
        name: samples[name].median("cpu", per=count * operators * 1e-6)
        for name, count in program.steps.items()
    }
    # By rounds, so that what changes between them cancels; CPU time, for others use the machine.
    ratios = {
        name: samples["dry"].ratio(samples[name], "cpu")
        * program.steps[name]
        / program.steps["dry"]
        for name in ("meta", "fake")
    }
    report.add(
        program=program.name,
        operators=operators,
        dry_us=us["dry"],
        meta_us=us["meta"],
        fake_us=us["fake"],
        of_meta=ratios["meta"],
        of_fake=ratios["fake"],
    )
    report.limit(f"{program.name}: microseconds an operator", us["dry"], OPERATION_LIMIT_US)
    report.limit(f"{program.name}: of the meta device", ratios["meta"], META_LIMIT)
    report.limit(f"{program.name}: of FakeTensorMode", ratios["fake"], FAKE_LIMIT)


def main() -> int:
    options = make_parser(__doc__).parse_args()
    torch.set_num_threads(1)
    report = Report(
        f"A dry run on {len(torch_remote.GPU_TYPES)} GPUs at once, CPU time of all threads, "
        "microseconds an operator"
    )
    device = make_device(chosen_gpus("all"), dry_run=True, oom="record", on_read="zero")
    place = Place("dry", device)
    for program in PROGRAMS:
        measure(program, place, QUICK_ROUNDS if options.quick else ROUNDS, report)
    return report.finish(options)


if __name__ == "__main__":
    sys.exit(main())
