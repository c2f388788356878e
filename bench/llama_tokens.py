# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""1,000 tokens of a tiny Llama from transformers, with its dynamic cache and no host read."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field

import torch
from measure import (
    BASELINE,
    Place,
    Report,
    Sample,
    alternate,
    chosen_places,
    make_parser,
    progress,
    take,
)
from torch import Tensor, nn
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM

TOKENS = 1_000
QUICK_TOKENS = 40
ROUNDS = 3
WARM_UP_TOKENS = 8
HEAD_WIDTH = 16
LIMIT = 1.5


def make_model(variant: int, device: torch.device) -> nn.Module:
    """Random weights. Shapes are only new once, so every round has heads of another width."""
    torch.manual_seed(variant)
    config = LlamaConfig(
        vocab_size=256,
        hidden_size=64,
        intermediate_size=172,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        head_dim=HEAD_WIDTH + 2 * variant,
        max_position_embeddings=2048,
    )
    model: nn.Module = LlamaForCausalLM(config)
    return model.to(device).eval()


def generate(model: nn.Module, token: Tensor, count: int) -> list[Tensor]:
    """Greedy: the likeliest token is found on the device and goes into the next call."""
    cache = DynamicCache()
    tokens = []
    for _ in range(count):
        logits = model(input_ids=token, past_key_values=cache, use_cache=True).logits
        token = logits[:, -1:].argmax(dim=-1)
        tokens.append(token)
    return tokens


@dataclass
class Generation:
    """The rounds of one place, with what take() doesn't measure."""

    place: Place
    count: int
    first_variant: int
    thread_seconds: list[float] = field(default_factory=list)
    round_trips: int = 0  # of the round that had the most
    texts: list[list[int]] = field(default_factory=list)

    def __call__(self, number: int) -> Sample:
        model = make_model(self.first_variant + number, self.place.device)
        token = torch.zeros(1, 1, dtype=torch.int64).to(self.place.device)
        tokens: list[Tensor] = []

        def work() -> None:
            trips, before = self.place.round_trips(), time.thread_time()
            tokens.extend(generate(model, token, self.count))
            self.thread_seconds.append(time.thread_time() - before)
            self.round_trips = max(self.round_trips, self.place.round_trips() - trips)

        sample = take(self.place, work)
        self.texts.append(torch.cat(tokens, dim=1)[0].tolist())
        return sample


def differing_rounds(mine: Generation, theirs: Generation) -> int | None:
    """Rounds whose tokens aren't those of the other place; None where nothing is computed."""
    if mine.place.name == "null":
        return None
    return sum(text != other for text, other in zip(mine.texts, theirs.texts, strict=True))


def main() -> int:
    options = make_parser(__doc__, ["emulator", "null", "process"]).parse_args()
    count = QUICK_TOKENS if options.quick else TOKENS
    rounds = 1 if options.quick else ROUNDS
    report = Report(f"{count:,} tokens of a tiny Llama, seconds; every round with new shapes")
    with chosen_places(options) as places, torch.no_grad():
        for index, place in enumerate(places):
            progress(f"Llama on {place.name}")
            variant = index * (rounds + 1)
            Generation(place, WARM_UP_TOKENS, variant)(0)
            theirs, mine = (Generation(where, count, variant + 1) for where in (BASELINE, place))
            samples = alternate({"cpu": theirs, "place": mine}, rounds, warm_up=0)
            cpu, here = samples["cpu"], samples["place"]
            differing = differing_rounds(mine, theirs)
            report.add(
                device=place.name,
                cpu_wall=cpu.median("wall"),
                calls=here.median("calls"),
                wall=here.median("wall"),
                client_thread=sorted(mine.thread_seconds)[rounds // 2],
                all_threads=here.median("cpu"),
                calls_ratio=here.ratio(cpu, "calls", "wall"),
                wall_ratio=here.ratio(cpu, "wall"),
                round_trips=mine.round_trips,
                same_tokens="-" if differing is None else "no" if differing else "yes",
            )
            if differing is not None:
                report.limit(f"{place.name}: rounds with other tokens than on CPU", differing, 0)
            report.limit(
                f"{place.name}: until the last call returned, of the whole on CPU",
                here.ratio(cpu, "calls", "wall"),
                LIMIT,
            )
    return report.finish(options)


if __name__ == "__main__":
    sys.exit(main())
