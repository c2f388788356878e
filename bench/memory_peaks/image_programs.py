# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Programs of published.json about images, with the models of torchvision and timm."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Literal

import torch
from measuring import placed
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Precision = Literal["float32", "float16-mixed", "bfloat16"]


def define_missing_operators() -> torch.library.Library | None:
    """What lets a torchvision for CUDA be imported beside a torch for CPU (docs/INTEGRATIONS.md)."""
    if "torchvision" in sys.modules or torch.version.cuda is not None:
        return None
    library = torch.library.Library("torchvision", "FRAGMENT")
    try:
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    except RuntimeError:
        return None  # they are there
    return library


MISSING_OPERATORS = define_missing_operators()  # as long as it lives


def make_vit_large() -> nn.Module:
    from torchvision.models import vit_l_16

    model = vit_l_16(weights=None)
    model.heads.head = nn.Linear(1024, 10)
    return model


class EarlierAdam(torch.optim.Optimizer):
    """torch.optim.Adam as it was until July 2023, which a nightly of June ran.

    Its step on lists of tensors had two temporaries of the parameters' size, where there is one today
    (https://github.com/pytorch/pytorch/issues/97712).
    """

    def __init__(self, parameters: Iterable[Tensor], lr: float) -> None:
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        del closure
        for group in self.param_groups:
            parameters = [part for part in group["params"] if part.grad is not None]
            for parameter in parameters:
                state = self.state[parameter]
                if not state:
                    state["step"] = torch.tensor(0.0)
                    state["mean"] = torch.zeros_like(parameter)
                    state["square"] = torch.zeros_like(parameter)
            gradients = [parameter.grad for parameter in parameters]
            means = [self.state[parameter]["mean"] for parameter in parameters]
            squares = [self.state[parameter]["square"] for parameter in parameters]
            torch._foreach_mul_(means, 0.9)
            torch._foreach_add_(means, gradients, alpha=0.1)
            torch._foreach_mul_(squares, 0.999)
            torch._foreach_addcmul_(squares, gradients, gradients, 0.001)
            roots = torch._foreach_sqrt(squares)
            torch._foreach_div_(roots, [1.0] * len(roots))
            divisors = torch._foreach_add(roots, 1e-8)
            torch._foreach_addcdiv_(parameters, means, divisors, [-group["lr"]] * len(means))


def train_vit_large(
    device: torch.device,
    *,
    batch: int = 64,
    precision: Precision = "float32",
    accumulate: int = 1,
    use_sgd: bool = False,
) -> None:
    """torchvision's ViT-L/16 on images of 224 pixels for ten classes: some steps, and a validation batch.

    "float16-mixed" and "bfloat16" are Lightning Fabric's "16-mixed" and "bf16-true": the model's results
    become float32 before the loss.
    """
    model = placed(make_vit_large, device, torch.bfloat16 if precision == "bfloat16" else None)
    optimizer: torch.optim.Optimizer = (
        torch.optim.SGD(model.parameters(), lr=0.01)
        if use_sgd
        else EarlierAdam(model.parameters(), lr=5e-5)
    )
    scaler = torch.amp.GradScaler(device.type) if precision == "float16-mixed" else None
    images, labels = torch.zeros(batch, 3, 224, 224), torch.zeros(batch, dtype=torch.long)

    def forward(images: Tensor) -> Tensor:
        if precision == "bfloat16":
            images = images.to(torch.bfloat16)
        mixed = torch.autocast(device.type, dtype=torch.float16) if scaler else nullcontext()
        with mixed:
            logits = model(images)
        return logits.float()

    for step in range(2 * accumulate):
        model.train()
        features, targets = images.to(device), labels.to(device)
        logits = forward(features)
        loss = functional.cross_entropy(logits, targets) / accumulate
        if accumulate == 1:
            optimizer.zero_grad()
        (scaler.scale(loss) if scaler else loss).backward()
        if step % accumulate == 0:
            if scaler:
                scaler.step(optimizer)
                scaler.update()
            else:
                optimizer.step()
            if accumulate > 1:
                optimizer.zero_grad()
    model.eval()
    with torch.no_grad():
        features, targets = images.to(device), labels.to(device)
        torch.argmax(forward(features), 1)


def train_timm(
    device: torch.device,
    *,
    model_name: str,
    batch: int,
    is_mixed: bool,
    checkpoints: bool = False,
    image: int | None = None,
) -> None:
    """Fused AdamW, 45 classes; in bfloat16, or mixed with it."""
    import timm

    more = {} if image is None else {"img_size": image}
    model = placed(
        lambda: timm.create_model(model_name, pretrained=False, num_classes=45, **more),
        device,
        None if is_mixed else torch.bfloat16,
    )
    if checkpoints:
        model.set_grad_checkpointing()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0, fused=True)
    images, labels = torch.zeros(batch, 3, 224, 224), torch.zeros(batch, dtype=torch.long)
    if not is_mixed:
        images = images.bfloat16()
    model.train()
    for _ in range(2):
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=is_mixed):
            loss = functional.cross_entropy(model(images.to(device)), labels.to(device))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()


PROGRAMS: dict[str, Callable[[torch.device], None]] = {
    "vit_large_fp32": train_vit_large,
    "vit_large_fp16_mixed": partial(train_vit_large, precision="float16-mixed"),
    "vit_large_bf16": partial(train_vit_large, precision="bfloat16"),
    "vit_large_bf16_batch_16": partial(train_vit_large, precision="bfloat16", batch=16),
    "vit_large_bf16_accumulated": partial(
        train_vit_large, precision="bfloat16", batch=4, accumulate=4
    ),
    "vit_large_bf16_sgd": partial(
        train_vit_large, precision="bfloat16", batch=4, accumulate=4, use_sgd=True
    ),
    "vit_huge_bf16_mixed": partial(
        train_timm, model_name="vit_huge_patch14_224", batch=8, is_mixed=True
    ),
    "vit_giant_bf16_checkpoints": partial(
        train_timm,
        model_name="vit_giant_patch14_dinov2",
        batch=32,
        is_mixed=False,
        checkpoints=True,
        image=224,
    ),
}
