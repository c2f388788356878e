# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Training steps of a transformer encoder, side by side with plain CPU, and the same bits."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from measure import (
    BASELINE,
    Place,
    Report,
    Row,
    Sample,
    Samples,
    alternate,
    chosen_places,
    geometric_mean,
    make_parser,
    progress,
    take,
)
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Sequence

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


BASELINE_SIDE = "baseline"  # not its place's name, which --device cpu has as well
WARM_UP_ROUNDS = 4
SIZES = (
    Size("width 256, batch 8x128", 4, 256, 8, 128, 12, 1, {"emulator": 1.02, "process": 1.05}),
    Size("width 64, batch 4x32", 4, 64, 4, 32, 12, 10, {"emulator": 1.0, "process": 1.0}),
)
QUICK_ROUNDS = 2
# Where the tensors of one side come to lie stays as it is for as long as its process, and moves
# a ratio by some percent. So it is measured in many, one after the other.
PROCESSES = 12
QUICK_PROCESSES = 2
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


def row_of(
    size: Size, optimizer: str, training: Training, samples: dict[str, Samples], same_bits: bool
) -> Row:
    cpu, here = samples[BASELINE_SIDE], samples[training.place.name]
    per = size.steps_per_round * 1e-3
    return {
        "encoder": size.name,
        "optimizer": optimizer,
        "device": training.place.name,
        "cpu_wall": cpu.median("wall", per),
        "wall": here.median("wall", per),
        "ratio": here.ratio(cpu, "wall"),
        "calls": here.median("calls", per),
        "cpu_all_threads": cpu.median("cpu", per),
        "all_threads": here.median("cpu", per),
        "round_trips": training.round_trips,
        "same_bits": "yes" if same_bits else "no",
        "steps": len(training.losses),
    }


def measure(options: argparse.Namespace) -> list[Row]:
    """What one process finds: a row for each encoder, optimizer and device."""
    rows: list[Row] = []
    with chosen_places(options) as places:
        for size in SIZES:
            for optimizer in OPTIMIZERS:
                baseline = Training(BASELINE, size, optimizer)
                trainings = [Training(place, size, optimizer) for place in places]
                samples = alternate(
                    {BASELINE_SIDE: baseline}
                    | {training.place.name: training for training in trainings},
                    QUICK_ROUNDS if options.quick else size.rounds,
                    warm_up=1 if options.quick else WARM_UP_ROUNDS,
                )
                expected = baseline.results()
                for training in trainings:
                    differing = differing_bits(expected, training.results())
                    rows.append(row_of(size, optimizer, training, samples, not differing))
    return rows


def measure_in_fresh_process() -> list[Row]:
    """The same program with the same options, whose rows come back in a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.json"
        command = [sys.executable, __file__, *sys.argv[1:], "--rows", str(path)]
        subprocess.run(command, check=True)
        return cast("list[Row]", json.loads(path.read_text()))


def summary(rows: Sequence[Row]) -> Row:
    """One row of all processes' rows for the same encoder, optimizer and device."""
    ratios = [float(row["ratio"]) for row in rows]

    def median(name: str) -> float:
        return statistics.median(float(row[name]) for row in rows)

    return {
        **{name: rows[0][name] for name in ("encoder", "optimizer", "device")},
        **{name: median(name) for name in ("cpu_wall", "wall")},
        "ratio": geometric_mean(ratios),
        "lowest": min(ratios),
        "highest": max(ratios),
        **{name: median(name) for name in ("calls", "cpu_all_threads", "all_threads")},
        "round_trips": max(int(row["round_trips"]) for row in rows),
        "same_bits": "yes" if all(row["same_bits"] == "yes" for row in rows) else "no",
        "steps": sum(int(row["steps"]) for row in rows),
        "processes": len(rows),
    }


def add_limits(report: Report, row: Row) -> None:
    title = f"{row['encoder']}, {row['optimizer']}, {row['device']}"
    limits = next(size.limits for size in SIZES if size.name == row["encoder"])
    if row["device"] in limits:
        report.limit(f"{title}: ratio", float(row["ratio"]), limits[str(row["device"])])
    report.limit(f"{title}: round trips", int(row["round_trips"]), 0)
    report.limit(f"{title}: processes with other bits than on CPU", row["same_bits"] != "yes", 0)


def main() -> int:
    # "cpu" is the control: how far its ratio is from 1 is what the others' can't tell.
    parser = make_parser(__doc__, ["cpu", "emulator", "process"])
    parser.add_argument("--processes", type=int, metavar="N", help=f"default: {PROCESSES}")
    parser.add_argument("--rows", type=Path, metavar="PATH", help="measure in this process alone")
    options = parser.parse_args()
    if options.rows:
        options.rows.write_text(json.dumps(measure(options)))
        return 0
    count = options.processes or (QUICK_PROCESSES if options.quick else PROCESSES)
    found = []
    for number in range(count):
        progress(f"process {number + 1} of {count}")
        found.append(measure_in_fresh_process())
    report = Report("Training steps of a 4-layer encoder, milliseconds a step")
    for rows in zip(*found, strict=True):
        report.add(**summary(rows))
    for row in report.rows:
        add_limits(report, row)
    return report.finish(options)


if __name__ == "__main__":
    sys.exit(main())
