# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""The calibration programs: whole training and inference programs that any PyTorch device can run.

`PROGRAMS[name](device, is_tiny)` builds the model and returns a function that runs one step and
returns its result as a number. Nothing here names a device type, so that a real GPU and the
emulator run the same calls in the same order.
"""

import contextlib
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from gpu_measurements.convolution_models import (
    BasicBlock,
    Bottleneck,
    LstmLanguageModel,
    ResNet,
    UNet,
)
from gpu_measurements.transformer_models import Bert, Cache, Gpt, Llama, Vit

Step = Callable[[], float]
Program = Callable[[torch.device, bool], Step]


def training_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    make_batch: Callable[[], tuple[Tensor, Tensor]],
    loss_function: Callable[[Tensor, Tensor], Tensor],
    device: torch.device,
    autocast_dtype: torch.dtype | None = None,
) -> Step:
    """One step of supervised training: batch to the device, forward, backward, update, read the loss.

    The batch is made once: the host's random numbers would take longer than a GPU's step.
    """
    batch = make_batch()

    def step() -> float:
        inputs, labels = (part.to(device) for part in batch)
        optimizer.zero_grad(set_to_none=True)
        with (
            torch.autocast(device.type, dtype=autocast_dtype)
            if autocast_dtype
            else contextlib.nullcontext()
        ):
            loss = loss_function(model(inputs), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def token_loss(logits: Tensor, labels: Tensor) -> Tensor:
    return functional.cross_entropy(logits.flatten(0, 1), labels.flatten())


def mlp_adam(device: torch.device, is_tiny: bool) -> Step:
    torch.manual_seed(0)
    width, batch = (32, 8) if is_tiny else (4096, 512)
    model = nn.Sequential(
        nn.Linear(784, width),
        nn.ReLU(),
        nn.Linear(width, width),
        nn.ReLU(),
        nn.Dropout(0.1),
        nn.Linear(width, 1000),
    ).to(device)
    return training_step(
        model,
        torch.optim.Adam(model.parameters(), lr=1e-4),
        lambda: (torch.randn(batch, 784), torch.randint(1000, (batch,))),
        functional.cross_entropy,
        device,
    )


def resnet18_fp32(device: torch.device, is_tiny: bool) -> Step:
    torch.manual_seed(0)
    width, batch, image = (8, 2, 64) if is_tiny else (64, 64, 224)
    model = ResNet(BasicBlock, (2, 2, 2, 2), width, 1000).to(device)
    return training_step(
        model,
        torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4),
        lambda: (torch.randn(batch, 3, image, image), torch.randint(1000, (batch,))),
        functional.cross_entropy,
        device,
    )


def resnet50_amp_channels_last(device: torch.device, is_tiny: bool) -> Step:
    torch.manual_seed(0)
    width, batch, image = (8, 2, 64) if is_tiny else (64, 64, 224)
    model = ResNet(Bottleneck, (3, 4, 6, 3), width, 1000).to(device)
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    scaler = torch.amp.GradScaler(device.type)
    host_images = torch.randn(batch, 3, image, image)
    host_labels = torch.randint(1000, (batch,))

    def step() -> float:
        images = host_images.to(device).to(memory_format=torch.channels_last)
        labels = host_labels.to(device)
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, dtype=torch.float16):
            loss = functional.cross_entropy(model(images), labels)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        return loss.item()

    return step


def vit_small_bf16(device: torch.device, is_tiny: bool) -> Step:
    torch.manual_seed(0)
    width, layers, batch, image = (48, 2, 2, 32) if is_tiny else (384, 12, 64, 224)
    model = Vit(image, 16, width, 6, layers, 1000).to(device)
    return training_step(
        model,
        torch.optim.AdamW(model.parameters(), lr=1e-4),
        lambda: (torch.randn(batch, 3, image, image), torch.randint(1000, (batch,))),
        functional.cross_entropy,
        device,
        torch.bfloat16,
    )


def _gpt2(device: torch.device, is_tiny: bool, *, fused: bool) -> Step:
    torch.manual_seed(0)
    vocabulary, width, heads, layers = (101, 48, 4, 2) if is_tiny else (50257, 768, 12, 12)
    batch, length = (2, 16) if is_tiny else ((8, 1024) if fused else (4, 512))
    with torch.device(device):
        model = Gpt(vocabulary, length, width, heads, layers, fused=fused)
    tokens = torch.Size((batch, length))
    return training_step(
        model,
        torch.optim.AdamW(model.parameters(), lr=1e-4),
        lambda: (torch.randint(vocabulary, tokens), torch.randint(vocabulary, tokens)),
        token_loss,
        device,
        torch.bfloat16 if fused else None,
    )


def gpt2_sdpa_bf16(device: torch.device, is_tiny: bool) -> Step:
    return _gpt2(device, is_tiny, fused=True)


def gpt2_eager_fp32(device: torch.device, is_tiny: bool) -> Step:
    return _gpt2(device, is_tiny, fused=False)


def bert_base_inference_fp16(device: torch.device, is_tiny: bool) -> Step:
    torch.manual_seed(0)
    vocabulary, width, heads, layers = (101, 48, 4, 2) if is_tiny else (30522, 768, 12, 12)
    batch, length = (2, 16) if is_tiny else (32, 384)
    with torch.device(device):
        model = Bert(vocabulary, length, width, heads, layers)
    model.half().eval()

    def step() -> float:
        tokens = torch.randint(vocabulary, (batch, length)).to(device)
        lengths = torch.randint(length // 2, length + 1, (batch, 1))
        attention_mask = (torch.arange(length)[None, :] < lengths).to(device)
        with torch.inference_mode():
            return float(model(tokens, attention_mask).float().sum().item())

    return step


def llama_generate_bf16(device: torch.device, is_tiny: bool) -> Step:
    torch.manual_seed(0)
    sizes = (101, 48, 4, 2, 96, 2) if is_tiny else (32000, 2048, 32, 8, 5632, 16)
    batch, prompt_length, new_tokens = (2, 5, 4) if is_tiny else (4, 128, 48)
    with torch.device(device):
        model = Llama(*sizes)
    model.bfloat16().eval()

    def step() -> float:
        tokens = torch.randint(sizes[0], (batch, prompt_length)).to(device)
        caches: list[Cache] | None = None
        last = tokens
        with torch.inference_mode():
            for _ in range(new_tokens):
                logits, caches = model(last, caches)
                best, indices = torch.topk(logits.float() / 0.8, 50)
                chosen = torch.multinomial(functional.softmax(best, dim=-1), 1)
                last = indices.gather(1, chosen)
                tokens = torch.cat([tokens, last], dim=1)
        return float(tokens.sum().item())

    return step


def unet_fp32(device: torch.device, is_tiny: bool) -> Step:
    torch.manual_seed(0)
    channels, depth, batch, image = (8, 2, 1, 16) if is_tiny else (128, 3, 8, 64)
    model = UNet(channels, depth).to(device)

    def make_batch() -> tuple[Tensor, Tensor]:
        clean = torch.randn(batch, 4, image, image)
        noise = torch.randn_like(clean)
        return clean + noise, noise

    return training_step(
        model,
        torch.optim.Adam(model.parameters(), lr=1e-4),
        make_batch,
        functional.mse_loss,
        device,
    )


def lstm_language_model(device: torch.device, is_tiny: bool) -> Step:
    torch.manual_seed(0)
    vocabulary, width, length, batch = (101, 16, 5, 2) if is_tiny else (10000, 1024, 35, 64)
    model = LstmLanguageModel(vocabulary, width, 2).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    state: list[tuple[Tensor, Tensor] | None] = [None]

    def step() -> float:
        tokens = torch.randint(vocabulary, (length + 1, batch)).to(device)
        previous = state[0]
        if previous is not None:
            previous = (previous[0].detach(), previous[1].detach())
        optimizer.zero_grad(set_to_none=True)
        logits, state[0] = model(tokens[:-1], previous)
        loss = token_loss(logits, tokens[1:])
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.25)
        optimizer.step()
        return loss.item()

    return step


def _adamw(device: torch.device, is_tiny: bool, *, foreach: bool, fused: bool) -> Step:
    torch.manual_seed(0)
    width, layers, batch = (16, 3, 4) if is_tiny else (1024, 48, 64)
    model = nn.Sequential(*(nn.Linear(width, width) for _ in range(layers))).to(device)
    return training_step(
        model,
        torch.optim.AdamW(model.parameters(), lr=1e-4, foreach=foreach, fused=fused),
        lambda: (torch.randn(batch, width), torch.randn(batch, width)),
        functional.mse_loss,
        device,
    )


def adamw_foreach(device: torch.device, is_tiny: bool) -> Step:
    return _adamw(device, is_tiny, foreach=True, fused=False)


def adamw_fused(device: torch.device, is_tiny: bool) -> Step:
    return _adamw(device, is_tiny, foreach=False, fused=True)


def adamw_for_loop(device: torch.device, is_tiny: bool) -> Step:
    return _adamw(device, is_tiny, foreach=False, fused=False)


PROGRAMS: dict[str, Program] = {
    program.__name__: program
    for program in (
        gpt2_sdpa_bf16,
        resnet50_amp_channels_last,
        mlp_adam,
        llama_generate_bf16,
        bert_base_inference_fp16,
        resnet18_fp32,
        vit_small_bf16,
        unet_fp32,
        gpt2_eager_fp32,
        lstm_language_model,
        adamw_foreach,
        adamw_fused,
        adamw_for_loop,
    )
}
