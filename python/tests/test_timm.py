# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Models of timm, with random weights and small images, do what they do on CPU, bit for bit."""

from typing import Any

import pytest
import torch
from comparing import assert_same, to_device
from libraries import Comparison, library

timm = library("timm")

# Name -> the images' size and what makes the model smaller.
MODELS: dict[str, tuple[int, dict[str, Any]]] = {
    "resnet18": (64, {}),
    "mobilenetv3_small_050": (64, {}),
    "efficientnet_b0": (64, {}),
    "regnetx_002": (64, {}),
    "densenet121": (64, {}),
    "ghostnet_050": (64, {}),
    "convnext_atto": (64, {}),
    "efficientformer_l1": (224, {}),  # batch norms get gradients in another layout than their input
    "levit_128s": (224, {}),
    "vit_tiny_patch16_224": (32, {"img_size": 32, "depth": 2}),
    "eva02_tiny_patch14_224": (28, {"img_size": 28, "depth": 2}),
    "xcit_nano_12_p16_224": (64, {}),
    "swin_tiny_patch4_window7_224": (
        56,
        {"img_size": 56, "depths": (1, 1), "num_heads": (2, 4), "embed_dim": 32, "window_size": 7},
    ),
}


def step(model: torch.nn.Module, inputs: Any) -> tuple[torch.Tensor, list[torch.Tensor]]:
    images, labels = inputs
    logits = model(images)
    return torch.nn.functional.cross_entropy(logits, labels), [logits]


@pytest.mark.parametrize("name", MODELS)
def test_bits(draws_as_cpu: torch.device, name: str) -> None:
    size, options = MODELS[name]
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=5, **options)
    inputs = (torch.randn(2, 3, size, size), torch.tensor([1, 3]))
    comparison = Comparison(model, inputs, draws_as_cpu)
    comparison.inference(lambda model, inputs: model(inputs[0]))
    comparison.training(step, steps=2)


def test_channels_last_over_tcp(tcp: torch.device) -> None:
    model = timm.create_model("resnet18", num_classes=5)
    images = torch.randn(2, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    comparison = Comparison(
        model.to(memory_format=torch.channels_last), (images, torch.tensor([1, 3])), tcp
    )
    comparison.inference(lambda model, inputs: model(inputs[0]))
    comparison.training(step, steps=2)


def test_features_and_pooling(emulator: torch.device) -> None:
    model = timm.create_model("resnet18", features_only=True)
    comparison = Comparison(model, torch.randn(1, 3, 64, 64), emulator)
    comparison.inference(lambda model, images: model(images))
    headless = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=2, num_classes=0)
    Comparison(headless, torch.randn(1, 3, 32, 32), emulator).inference(
        lambda model, images: model(images)
    )


# Of its two ways to compute, lamb takes another one on accelerators than on CPU.
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "adafactor": {},
    "adamp": {},
    "lamb": {"foreach": False},
    "lion": {},
    "nadamw": {},
    "sgd": {},
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_of_its_own(emulator: torch.device, name: str) -> None:
    optimizers = library("timm.optim")
    schedulers = library("timm.scheduler")

    def weights(where: torch.device | str) -> Any:
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
        model.to(where)
        inputs = to_device(torch.randn(4, 6), where)
        optimizer = optimizers.create_optimizer_v2(
            model, opt=name, lr=0.01, weight_decay=0.1, **OPTIMIZERS[name]
        )
        scheduler = schedulers.CosineLRScheduler(optimizer, t_initial=3)
        ema = timm.utils.ModelEmaV3(model, decay=0.9)
        for number in range(3):
            optimizer.zero_grad()
            model(inputs).square().mean().backward()
            optimizer.step()
            scheduler.step(number)
            ema.update(model)
        return model.state_dict(), ema.module.state_dict()

    assert_same(weights(emulator), weights("cpu"))


def test_mixup_and_soft_targets(emulator: torch.device) -> None:
    mixup = library("timm.data").Mixup(mixup_alpha=0.8, cutmix_alpha=1.0, num_classes=5)
    loss = library("timm.loss").SoftTargetCrossEntropy()
    images, labels = torch.randn(4, 3, 8, 8), torch.tensor([0, 1, 2, 3])
    numpy = library("numpy")

    def mixed(where: torch.device | str) -> Any:
        numpy.random.seed(0)
        batch, targets = mixup(*to_device((images, labels), where))
        return batch, targets, loss(batch.flatten(1)[:, :5], targets)

    assert_same(mixed(emulator), mixed("cpu"))
