# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Training with AdamW, a learning-rate schedule and checkpoints, as a PyTorch user writes it.

The data goes to the device once, the order of the images once an epoch, and the host reads once an
epoch: the loss. So the loop never waits for the device between steps.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from pathlib import Path

    from torch_remote.demo.data import Digits, Scans
    from torch_remote.demo.models import Recipe

BATCH = 64
WEIGHT_DECAY = 0.05
LABEL_SMOOTHING = 0.1
LONGEST_GRADIENT = 1.0

Observer = Callable[[float, float | None], None]
"""Called after every step with the epochs done, as a fraction, and the last epoch's loss."""


class CheckpointError(RuntimeError):
    """A network that was loaded from its checkpoint doesn't answer as the saved one did."""


@dataclass(frozen=True)
class Trained:
    """What one training gave."""

    weights: dict[str, Tensor]
    """On the CPU, read from the last checkpoint; what the network keeps besides them too."""
    losses: list[float]
    accuracy: float
    images_per_second: float


class Training:
    """A network in training on one device."""

    def __init__(self, recipe: Recipe, epochs: int, scans: Scans, seed: int) -> None:
        self.scans = scans
        self.network: nn.Module = recipe.build().to(scans.labels.device)
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=recipe.learning_rate, weight_decay=WEIGHT_DECAY
        )
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, max_lr=recipe.learning_rate, total_steps=epochs * self.steps_per_epoch
        )
        self.shuffler = torch.Generator().manual_seed(seed)
        self.losses: list[float] = []

    @property
    def steps_per_epoch(self) -> int:
        return -(-len(self.scans) // BATCH)

    def run_epoch(self, observe: Observer) -> None:
        device = self.scans.labels.device
        order = torch.randperm(len(self.scans), generator=self.shuffler).to(device)
        total = torch.zeros((), device=device)
        self.network.train()
        for step, chosen in enumerate(torch.split(order, BATCH)):
            loss = functional.cross_entropy(
                self.network(self.scans.images[chosen]),
                self.scans.labels[chosen],
                label_smoothing=LABEL_SMOOTHING,
            )
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call, unused-ignore]
            nn.utils.clip_grad_norm_(self.network.parameters(), LONGEST_GRADIENT)
            self.optimizer.step()
            self.schedule.step()
            total += loss.detach() * len(chosen)
            observe(
                len(self.losses) + (step + 1) / self.steps_per_epoch,
                self.losses[-1] if self.losses else None,
            )
        self.losses.append(total.item() / len(self.scans))

    def save(self, path: Path) -> None:
        torch.save(
            {
                "network": self.network.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "schedule": self.schedule.state_dict(),
                "shuffler": self.shuffler.get_state(),
                "losses": self.losses,
            },
            path,
        )

    def load(self, path: Path) -> None:
        checkpoint = torch.load(path, map_location=self.scans.labels.device, weights_only=True)
        # AdamW counts its steps, and the shuffler keeps its state, on the CPU.
        for state in checkpoint["optimizer"]["state"].values():
            state["step"] = state["step"].cpu()
        self.network.load_state_dict(checkpoint["network"])
        self.optimizer.load_state_dict(checkpoint["optimizer"])
        self.schedule.load_state_dict(checkpoint["schedule"])
        self.shuffler.set_state(checkpoint["shuffler"].cpu())
        self.losses = list(checkpoint["losses"])


@torch.no_grad()
def count_right(network: nn.Module, scans: Scans) -> int:
    network.eval()
    answers = network(scans.images).argmax(dim=1)
    return int((answers == scans.labels).sum().item())


def train(
    recipe: Recipe,
    digits: Digits,
    device: torch.device,
    *,
    epochs: int,
    seed: int,
    folder: Path,
    observe: Observer,
) -> Trained:
    """Trains to the middle, saves, goes on from the checkpoint with a new network, saves again."""
    torch.manual_seed(seed)
    digits = digits.to(device)
    halfway, finished = folder / "halfway.pt", folder / "finished.pt"
    started = time.perf_counter()
    training = Training(recipe, epochs, digits.training, seed)
    for _ in range(epochs // 2):
        training.run_epoch(observe)
    seconds = time.perf_counter() - started
    right = count_right(training.network, digits.held_out)
    training.save(halfway)

    training = Training(recipe, epochs, digits.training, seed)
    training.load(halfway)
    if count_right(training.network, digits.held_out) != right:
        raise CheckpointError(f"the {recipe.name} network changed when it was saved and loaded")
    started = time.perf_counter()
    for _ in range(epochs // 2, epochs):
        training.run_epoch(observe)
    seconds += time.perf_counter() - started
    training.save(finished)
    return Trained(
        weights=torch.load(finished, map_location="cpu", weights_only=True)["network"],
        losses=training.losses,
        accuracy=count_right(training.network, digits.held_out) / len(digits.held_out),
        images_per_second=epochs * len(digits.training) / seconds,
    )
