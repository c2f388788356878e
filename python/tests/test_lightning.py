# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Lightning's Trainer and Fabric, which torch_remote.integrations.lightning tells of the device."""

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
import torch_remote
from comparing import assert_same
from libraries import HostReads, library
from torch import nn

lightning = library("lightning")
integration = library("torch_remote.integrations.lightning")

pytestmark = [
    pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.warnings.PossibleUserWarning"),
    pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec"),
]
INPUTS, LABELS = torch.randn(24, 6), torch.randint(0, 3, (24,))
DATASET = torch.utils.data.TensorDataset(INPUTS, LABELS)


class Classifier(lightning.LightningModule):  # type: ignore[misc]
    """A program as Lightning's documentation has them."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3)
        )
        self.losses: list[torch.Tensor] = []

    def training_step(self, batch: list[torch.Tensor], _: int) -> torch.Tensor:
        loss = nn.functional.cross_entropy(self.layers(batch[0]), batch[1])
        self.log("loss", loss)
        self.losses.append(loss.detach())
        return loss

    def validation_step(self, batch: list[torch.Tensor], _: int) -> None:
        self.log("validation", nn.functional.cross_entropy(self.layers(batch[0]), batch[1]))

    def predict_step(self, batch: list[torch.Tensor], _: int) -> torch.Tensor:
        output: torch.Tensor = self.layers(batch[0]).argmax(-1)
        return output

    def configure_optimizers(self) -> dict[str, Any]:
        optimizer = torch.optim.AdamW(self.parameters(), lr=1e-2)
        return {
            "optimizer": optimizer,
            "lr_scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 1),
        }


def loader(*, shuffle: bool = False) -> Any:
    return torch.utils.data.DataLoader(DATASET, batch_size=4, shuffle=shuffle)


def trainer(where: str, folder: Path, **options: Any) -> Any:
    if where == "remote":
        options = {"strategy": "remote"} | options
    return lightning.Trainer(
        accelerator=where,
        **{"max_epochs": 2, "enable_checkpointing": False} | options,
        default_root_dir=folder,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


@pytest.fixture
def current(device: torch.device) -> Any:
    """A device that is the current one."""
    with torch.remote.device(device):
        yield device


def test_fit(current: torch.device, tmp_path: Path) -> None:
    def program(where: str) -> list[Any]:
        lightning.seed_everything(3, verbose=False)
        module = Classifier()
        made = trainer(
            where,
            tmp_path / where,
            gradient_clip_val=0.5,
            accumulate_grad_batches=2,
            enable_checkpointing=True,
        )
        made.fit(module, loader(shuffle=True), loader())
        if where == "remote":
            assert made.strategy.root_device == current
            assert all(loss.device == current for loss in module.losses)
        metrics = {name: value.cpu() for name, value in made.callback_metrics.items()}
        validated = made.validate(module, loader(), verbose=False)
        predicted = made.predict(module, loader())
        resumed = Classifier.load_from_checkpoint(made.checkpoint_callback.best_model_path)
        return [module.losses, metrics, validated, predicted, resumed.state_dict()]

    assert_same(program("remote"), program("cpu"))


def test_resumed(emulator: torch.device, tmp_path: Path) -> None:
    def program(where: str) -> list[Any]:
        lightning.seed_everything(3, verbose=False)
        folder = tmp_path / where
        with torch.remote.device(emulator):
            first = trainer(where, folder, max_epochs=1)
            first.fit(Classifier(), loader())
            first.save_checkpoint(folder / "first.ckpt")
            module = Classifier()
            trainer(where, folder).fit(module, loader(), ckpt_path=folder / "first.ckpt")
        return [module.losses, module.state_dict()]

    assert_same(program("remote"), program("cpu"))


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [("bf16-mixed", torch.bfloat16), ("bf16-true", torch.bfloat16), ("16-mixed", torch.float16)],
)
@pytest.mark.filterwarnings("ignore:.*GradScaler is enabled, but CUDA is not available")
def test_precision(
    emulator: torch.device, tmp_path: Path, precision: str, dtype: torch.dtype
) -> None:
    """Lightning makes its plugin for CUDA; the strategy replaces it."""
    seen = []
    with torch.remote.device(emulator):
        module = Classifier()
        made = trainer("remote", tmp_path, max_epochs=4, precision=precision)
        module.layers[0].register_forward_hook(lambda *arguments: seen.append(arguments[2].dtype))
        made.fit(module, loader())
    assert set(seen) == {dtype}
    if precision == "16-mixed":
        assert made.precision_plugin.scaler.is_enabled()
        assert made.precision_plugin.scaler.get_scale() > 0
    losses = torch.stack([loss.float() for loss in module.losses])
    assert losses[-6:].mean().item() < losses[:6].mean().item()


def test_fabric(current: torch.device) -> None:
    def program(**options: Any) -> list[Any]:
        fabric = lightning.Fabric(**options)
        fabric.seed_everything(1, verbose=False)
        model = nn.Linear(6, 3)
        model, optimizer = fabric.setup(model, torch.optim.SGD(model.parameters(), lr=0.1))
        losses = []
        for inputs, labels in fabric.setup_dataloaders(loader(shuffle=True)):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs), labels)
            fabric.backward(loss)
            fabric.clip_gradients(model, optimizer, max_norm=1.0)
            optimizer.step()
            losses.append(loss.detach())
        return [losses, model.state_dict()]

    remote = {"accelerator": "remote", "strategy": "remote"}
    assert_same(program(**remote), program(accelerator="cpu"))
    mixed = lightning.Fabric(**remote, precision="bf16-mixed")
    with mixed.autocast():
        product = torch.ones(2, 2, device=current) @ torch.ones(2, 2, device=current)
    assert product.dtype == torch.bfloat16


def test_devices_by_index(emulator: torch.device, tcp: torch.device, tmp_path: Path) -> None:
    for device in (emulator, tcp):
        for devices in ([device.index], f"{device.index},"):
            made = trainer("remote", tmp_path, devices=devices)
            assert made.strategy.root_device == device
        chosen = trainer("remote", tmp_path, strategy=integration.RemoteStrategy(device))
        assert chosen.strategy.root_device == device
        assert type(chosen.accelerator) is integration.RemoteAccelerator


@pytest.mark.usefixtures("emulator")
def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    """Lightning itself would train on CPU."""
    with pytest.raises(ValueError, match='pass strategy="remote" as well'):
        trainer("remote", tmp_path, strategy="auto").fit(Classifier(), loader())
    with pytest.raises(ValueError, match='pass accelerator="remote" as well'):
        trainer("auto", tmp_path, strategy="remote")
    with pytest.raises(ValueError, match="Lightning trains on one remote device"):
        trainer("remote", tmp_path, devices=2)


def test_statistics_of_the_device(emulator: torch.device, tmp_path: Path) -> None:
    with torch.remote.device(emulator):
        made = trainer("remote", tmp_path)
        expected = set(torch.remote.memory_stats(emulator))
        assert set(made.accelerator.get_device_stats(emulator)) == expected
        assert made.num_devices == 1


def test_classes_pickle() -> None:
    for name in integration.__all__:
        made = getattr(integration, name)
        assert pickle.loads(pickle.dumps(made)) is made


def test_steps_do_not_read(emulator: torch.device, tmp_path: Path) -> None:
    """What waits is logging, once a value, and saving; nothing that torch_remote does."""
    module = Classifier()
    counts = []

    class RoundTrips(lightning.Callback):  # type: ignore[misc]
        def on_train_batch_start(self, *_: Any) -> None:
            counts.append(-torch_remote.stats(emulator).round_trips)

        def on_before_zero_grad(self, *_: Any) -> None:
            counts[-1] += torch_remote.stats(emulator).round_trips

    module.log = lambda *_: None
    with torch.remote.device(emulator):
        trainer("remote", tmp_path, callbacks=[RoundTrips()]).fit(module, loader())
        assert counts == [0] * 12
        with HostReads(emulator) as reads:
            trainer("remote", tmp_path).fit(Classifier(), loader())
    assert all(line.startswith("lightning/") for line in reads.where)


def test_under_its_other_name(emulator: torch.device, tmp_path: Path) -> None:
    other = library("pytorch_lightning")
    library("torch_remote.integrations.pytorch_lightning")

    class Module(other.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(6, 3)

        def training_step(self, batch: list[torch.Tensor], _: int) -> torch.Tensor:
            assert batch[0].device == emulator
            return nn.functional.cross_entropy(self.layer(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    with torch.remote.device(emulator):
        made = other.Trainer(
            accelerator="remote",
            strategy="remote",
            precision="bf16-mixed",
            max_epochs=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=tmp_path,
        )
        made.fit(Module(), loader())
    assert made.global_step == 6
