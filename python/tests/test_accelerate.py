# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Training loops of accelerate, and transformers' Trainer, which is one: ACCELERATE_TORCH_DEVICE chooses the device."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch_remote
from comparing import Counting, assert_same
from libraries import HostReads, library, variable
from torch import nn

accelerate = library("accelerate")
transformers = library("transformers")

INPUTS, LABELS = torch.randn(24, 6), torch.randint(0, 3, (24,))
TOKENS = torch.randint(3, 99, (16, 9))


def accelerator(where: torch.device | str, **options: Any) -> Any:
    """What a program gets from Accelerator() when it is started for a device."""
    accelerate.state.AcceleratorState._reset_state(True)  # one a process; tests make several
    name = None if where == "cpu" else str(where)
    with variable("ACCELERATE_TORCH_DEVICE", name):
        made = accelerate.Accelerator(cpu=where == "cpu", **options)
    assert made.device == torch.device(where)
    return made


class Loop:
    """A program as accelerate's documentation has them."""

    def __init__(self, where: torch.device | str, **options: Any) -> None:
        self.accelerator = accelerator(where, gradient_accumulation_steps=2, **options)
        accelerate.utils.set_seed(7)
        model = nn.Sequential(nn.Linear(6, 16), nn.LayerNorm(16), nn.GELU(), nn.Linear(16, 3))
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
        dataset = torch.utils.data.TensorDataset(INPUTS, LABELS)
        loader = torch.utils.data.DataLoader(dataset, batch_size=4, shuffle=True)
        schedule = torch.optim.lr_scheduler.LinearLR(optimizer, total_iters=6)
        self.model, self.optimizer, self.loader, self.schedule = self.accelerator.prepare(
            model, optimizer, loader, schedule
        )

    def epoch(self) -> list[torch.Tensor]:
        losses = []
        for inputs, labels in self.loader:
            with self.accelerator.accumulate(self.model):
                loss = nn.functional.cross_entropy(self.model(inputs), labels)
                self.accelerator.backward(loss)
                if self.accelerator.sync_gradients:
                    self.accelerator.clip_grad_norm_(self.model.parameters(), 1.0)
                self.optimizer.step()
                self.schedule.step()
                self.optimizer.zero_grad()
            losses.append(loss.detach())
        return losses

    def state(self) -> list[Any]:
        return [self.accelerator.get_state_dict(self.model), self.optimizer.state_dict()["state"]]


def test_loop(device: torch.device) -> None:
    local = Loop("cpu")
    expected = [local.epoch(), local.epoch(), local.state()]
    remote = Loop(device)
    assert all(parameter.device == device for parameter in remote.model.parameters())
    actual: list[Any] = [remote.epoch()]
    with Counting(device) as counted:
        actual.append(remote.epoch())
    assert counted.round_trips == 0
    assert counted.plans == 0
    assert_same([*actual, remote.state()], expected)
    assert remote.accelerator.gather_for_metrics(actual[0][0]) is actual[0][0]


def test_the_current_device(emulator: torch.device) -> None:
    with torch.remote.device(emulator):
        made = accelerator("remote")  # without an index
        assert made.prepare(nn.Linear(2, 2)).weight.device == emulator


def test_bfloat16(emulator: torch.device) -> None:
    """As torch.autocast for the device does it, with CUDA's lists of operators; CPU has others."""
    loop = Loop(emulator, mixed_precision="bf16")
    accelerate.utils.set_seed(7)
    model = nn.Sequential(nn.Linear(6, 16), nn.LayerNorm(16), nn.GELU(), nn.Linear(16, 3))
    model.to(emulator)
    inputs = INPUTS.to(emulator)
    with torch.autocast("remote", dtype=torch.bfloat16):
        expected = model(inputs)
    actual = loop.model(inputs)
    assert expected.dtype == torch.bfloat16
    assert actual.dtype == torch.float32  # accelerate converts outputs
    assert_same(actual, expected.float())
    losses = loop.epoch()
    assert all(parameter.dtype == torch.float32 for parameter in loop.model.parameters())
    with Counting(emulator) as counted:
        losses += [*loop.epoch(), *loop.epoch()]
    assert counted.round_trips == 0
    assert sum(losses[-6:]).item() < sum(losses[:6]).item()


def test_state_is_saved_and_loaded(emulator: torch.device, tmp_path: Path) -> None:
    def program(where: torch.device | str, folder: Path) -> list[Any]:
        loop = Loop(where)
        loop.epoch()
        loop.accelerator.save_state(str(folder))
        saved = [tensor.clone() for tensor in loop.model.state_dict().values()]
        first = loop.epoch()
        loop.accelerator.load_state(str(folder))
        assert_same(list(loop.model.state_dict().values()), saved)
        return [first, loop.epoch(), loop.state()]

    assert_same(program(emulator, tmp_path / "there"), program("cpu", tmp_path / "here"))
    # And what was trained there goes on here.
    here, there = Loop("cpu"), Loop("cpu")
    here.accelerator.load_state(str(tmp_path / "here"))
    there.accelerator.load_state(str(tmp_path / "there"))
    assert_same(there.state(), here.state())


# ---- transformers.Trainer ----


def model() -> Any:
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=99,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=48,
        max_position_embeddings=64,
        tie_word_embeddings=True,
    )
    return transformers.LlamaForCausalLM(config)


class RoundTrips(transformers.TrainerCallback):  # type: ignore[misc]
    """How many each step makes."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.counts: list[int] = []

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self.before = torch_remote.stats(self.device).round_trips

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.counts.append(torch_remote.stats(self.device).round_trips - self.before)


def trainer(where: torch.device | str, folder: Path, **options: Any) -> Any:
    """What a program that was started for a device gets from Trainer(model, arguments)."""
    callbacks = options.pop("callbacks", None)
    name = None if where == "cpu" else str(where)
    with variable("ACCELERATE_TORCH_DEVICE", name):
        arguments = transformers.TrainingArguments(
            str(folder),
            max_steps=4,
            per_device_train_batch_size=4,
            learning_rate=1e-2,
            logging_steps=1,
            save_steps=2,
            report_to=[],
            disable_tqdm=True,
            log_level="error",
            use_cpu=where == "cpu",
            **{"eval_strategy": "steps", "eval_steps": 4} | options,
        )
        data = [{"input_ids": tokens, "labels": tokens} for tokens in TOKENS]
        made = transformers.Trainer(
            model(), arguments, train_dataset=data, eval_dataset=data[:4], callbacks=callbacks
        )
    assert made.args.device == made.accelerator.device == torch.device(where)
    assert made.model.device == torch.device(where)
    return made


def history(made: Any) -> list[Any]:
    kept = ("loss", "grad_norm", "learning_rate", "eval_loss")
    entries = [[entry[name] for name in kept if name in entry] for entry in made.state.log_history]
    return [*entries, made.model.state_dict()]


@pytest.mark.filterwarnings("ignore:`gradient_checkpointing")
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"optim": "sgd", "gradient_accumulation_steps": 2, "gradient_checkpointing": True},
        {"optim": "adafactor", "label_smoothing_factor": 0.1, "lr_scheduler_type": "cosine"},
        {"weight_decay": 0.1, "seed": 3, "torch_empty_cache_steps": 1},
    ],
    ids=["plain", "accumulated", "smoothed", "decayed"],
)
def test_trainer(emulator: torch.device, options: dict[str, Any], tmp_path: Path) -> None:
    results = []
    for i, where in enumerate((emulator, "cpu")):
        made = trainer(where, tmp_path / str(i), **options)
        made.train()
        results.append(history(made))
    assert_same(*results)


def test_trainer_resumes(emulator: torch.device, tmp_path: Path) -> None:
    first = trainer(emulator, tmp_path)
    first.train()
    second = trainer(emulator, tmp_path)
    second.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert_same(history(second), history(first))


def test_trainer_in_bfloat16(emulator: torch.device, tmp_path: Path) -> None:
    """Its own option bf16 is for the devices of a list; accelerate's variable is for all."""

    def losses(precision: str | None) -> list[float]:
        with variable("ACCELERATE_MIXED_PRECISION", precision):
            made = trainer(emulator, tmp_path)
            made.train()
        return [entry["loss"] for entry in made.state.log_history if "loss" in entry]

    mixed, exact = losses("bf16"), losses(None)
    assert mixed != exact
    assert mixed == pytest.approx(exact, rel=0.02)


def test_where_the_trainer_reads(emulator: torch.device, tmp_path: Path) -> None:
    """Every line that waits is the Trainer's own; two of its options leave out all but one of them."""
    options = {"save_strategy": "no", "eval_strategy": "no"}
    with HostReads(emulator) as reads:
        trainer(emulator, tmp_path, **options).train()
    files = {line.split(":")[0] for line in reads.where}
    assert files == {"transformers/trainer.py", "transformers/masking_utils.py"}

    callback = RoundTrips(emulator)
    trainer(emulator, tmp_path, callbacks=[callback], **options).train()
    assert callback.counts == [3] * 4
    quiet = RoundTrips(emulator)
    trainer(emulator, tmp_path, callbacks=[quiet], logging_nan_inf_filter=False, **options).train()
    assert quiet.counts == [1] * 4
