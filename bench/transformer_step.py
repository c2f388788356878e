# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Training steps of a transformer encoder, side by side with plain CPU, and the same bits."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from measure import (
    BASELINE,
    Place,
    Report,
    Sample,
    Samples,
    alternate,
    chosen_places,
    make_parser,
    progress,
    take,
)
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WORDS = 256
HEADS = 4


@dataclass(frozen=True)
class Size:
    """A size of encoder, how long it is measured, and the limits of its ratio to plain CPU."""

    name: str
    layers: int
    width: int
    batch: int
    length: int
    rounds: int
    steps_per_round: int
    limits: dict[str, float]


WARM_UP_ROUNDS = 4
SIZES = (
    Size("width 256, batch 8x128", 4, 256, 8, 128, 16, 1, {"emulator": 1.02, "process": 1.05}),
    Size("width 64, batch 4x32", 4, 64, 4, 32, 20, 10, {"emulator": 1.0, "process": 1.0}),
)
QUICK_ROUNDS = 2
OPTIMIZERS: dict[str, Callable[[Iterator[nn.Parameter]], torch.optim.Optimizer]] = {
    "SGD": lambda parameters: torch.optim.SGD(parameters, lr=0.05, momentum=0.9),
    "AdamW": lambda parameters: torch.optim.AdamW(parameters, lr=1e-3),
}


class Layer(nn.Module):
    """Attention and a two-layer network, each added to what came in and then normalized."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query_key_value = nn.Linear(width, 3 * width)
        self.attention_output = nn.Linear(width, width)
        self.attention_norm = nn.LayerNorm(width)
        self.network = nn.Sequential(
            nn.Linear(width, 4 * width), nn.ReLU(), nn.Linear(4 * width, width)
        )
        self.network_norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor) -> Tensor:
        batch, length, width = tokens.shape
        query, key, value = (
            part.view(batch, length, HEADS, width // HEADS).transpose(1, 2)
            for part in self.query_key_value(tokens).chunk(3, dim=-1)
        )
        attended = functional.scaled_dot_product_attention(query, key, value)
        attended = attended.transpose(1, 2).reshape(batch, length, width)
        tokens = self.attention_norm(tokens + self.attention_output(attended))
        return cast("Tensor", self.network_norm(tokens + self.network(tokens)))


class Encoder(nn.Module):
    """Reads words and says for each which one belongs there; without dropout."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, size.width)
        self.positions = nn.Parameter(0.02 * torch.randn(size.length, size.width))
        self.layers = nn.Sequential(*(Layer(size.width) for _ in range(size.layers)))
        self.answer = nn.Linear(size.width, WORDS)

    def forward(self, words: Tensor) -> Tensor:
        return cast("Tensor", self.answer(self.layers(self.words(words) + self.positions)))


class Training:
    """The same encoder and batch in every place: both come from the CPU and equal seeds."""

    def __init__(self, place: Place, size: Size, optimizer: str) -> None:
        self.place = place
        self.steps_per_round = size.steps_per_round
        torch.manual_seed(0)
        self.encoder = Encoder(size).to(place.device)
        self.words, self.answers = (
            torch.randint(WORDS, (size.batch, size.length)).to(place.device) for _ in range(2)
        )
        self.optimizer = OPTIMIZERS[optimizer](self.encoder.parameters())
        self.losses: list[Tensor] = []
        self.round_trips = 0  # of the round that had the most

    def step(self) -> None:
        self.optimizer.zero_grad()
        answers = self.encoder(self.words).flatten(0, 1)
        loss = functional.cross_entropy(answers, self.answers.flatten())
        loss.backward()  # type: ignore[no-untyped-call, unused-ignore]
        self.optimizer.step()
        self.losses.append(loss.detach())

    def run(self) -> None:
        before = self.place.round_trips()
        for _ in range(self.steps_per_round):
            self.step()
        self.round_trips = max(self.round_trips, self.place.round_trips() - before)

    def __call__(self, _: int) -> Sample:
        return take(self.place, self.run)

    def results(self) -> dict[str, Tensor]:
        """Losses of every step, and the gradients and weights after the last one, on the CPU."""
        results = {"losses": torch.stack(self.losses)}
        for name, parameter in self.encoder.named_parameters():
            results[f"weight {name}"] = parameter.detach()
            if parameter.grad is not None:
                results[f"gradient {name}"] = parameter.grad
        return {name: tensor.cpu() for name, tensor in results.items()}


def differing_bits(left: dict[str, Tensor], right: dict[str, Tensor]) -> list[str]:
    """Names of the float32 tensors that aren't the same bit for bit, or that one side lacks."""
    return [
        name
        for name in left.keys() | right.keys()
        if name not in left
        or name not in right
        or not torch.equal(left[name].view(torch.int32), right[name].view(torch.int32))
    ]


def add_row(
    report: Report,
    size: Size,
    optimizer: str,
    training: Training,
    samples: dict[str, Samples],
    differing: list[str],
) -> None:
    name = training.place.name
    cpu, here = samples[BASELINE.name], samples[name]
    ratio = here.ratio(cpu, "wall")
    per = size.steps_per_round * 1e-3
    report.add(
        encoder=size.name,
        optimizer=optimizer,
        device=name,
        cpu_wall=cpu.median("wall", per),
        wall=here.median("wall", per),
        ratio=ratio,
        calls=here.median("calls", per),
        cpu_all_threads=cpu.median("cpu", per),
        all_threads=here.median("cpu", per),
        round_trips=training.round_trips,
        same_bits="no" if differing else "yes",
        steps=len(training.losses),
    )
    title = f"{size.name}, {optimizer}, {name}"
    if name in size.limits:
        report.limit(f"{title}: ratio", ratio, size.limits[name])
    report.limit(f"{title}: round trips", training.round_trips, 0)
    report.limit(f"{title}: tensors with other bits than on CPU", len(differing), 0)


def main() -> int:
    options = make_parser(__doc__, ["emulator", "process"]).parse_args()
    report = Report("Training steps of a 4-layer encoder, milliseconds a step")
    with chosen_places(options) as places:
        for size in SIZES:
            for optimizer in OPTIMIZERS:
                progress(f"{size.name}, {optimizer}")
                baseline = Training(BASELINE, size, optimizer)
                trainings = [Training(place, size, optimizer) for place in places]
                samples = alternate(
                    {training.place.name: training for training in (baseline, *trainings)},
                    QUICK_ROUNDS if options.quick else size.rounds,
                    warm_up=1 if options.quick else WARM_UP_ROUNDS,
                )
                expected = baseline.results()
                for training in trainings:
                    differing = differing_bits(expected, training.results())
                    add_row(report, size, optimizer, training, samples, differing)
    return report.finish(options)


if __name__ == "__main__":
    sys.exit(main())
