# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Programs of published.json about text: how their authors trained and generated, operator by operator."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from cached_gpt import CachedGpt, CachedSizes
from llama_like import Cache, LlamaLike, LlamaSizes
from measuring import placed
from torch import Tensor, nn
from torch.nn import functional
from written_out_gpt import AttentionKind, GptSizes, WrittenOutGpt

if TYPE_CHECKING:
    from collections.abc import Callable

LAST_TOKENS = 3


def batch_loss(model: nn.Module, tokens: Tensor, targets: Tensor, device: torch.device) -> Tensor:
    tokens, targets = tokens.to(device), targets.to(device)
    logits = model(tokens)
    return functional.cross_entropy(logits.flatten(0, 1), targets.flatten())


def train_gpt2(
    device: torch.device,
    *,
    kind: AttentionKind,
    has_pytorch_parts: bool = False,
    dtype: torch.dtype | None = None,
    fused_optimizer: bool = False,
    batch: int = 8,
) -> None:
    """Two steps, an evaluation after the first, and some tokens: what an epoch of the source repeats."""
    sizes = GptSizes()
    model = placed(lambda: WrittenOutGpt(sizes, kind, has_pytorch_parts=has_pytorch_parts), device)
    if dtype is not None:
        model.to(dtype)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=5e-4, weight_decay=0.1, fused=fused_optimizer or None
    )
    tokens = torch.zeros(batch, sizes.context, dtype=torch.long)
    model.train()
    for step in range(2):
        optimizer.zero_grad()
        loss = batch_loss(model, tokens, tokens, device)
        loss.backward()
        optimizer.step()
        if step == 0:
            model.eval()
            with torch.no_grad():
                for _ in range(2):
                    batch_loss(model, tokens, tokens, device).item()
            model.train()
    generate_anew(model, torch.zeros(1, 4, dtype=torch.long).to(device), LAST_TOKENS)


def generate_anew(model: Callable[[Tensor], Tensor], tokens: Tensor, count: int) -> Tensor:
    """Without a cache: the whole text for each token."""
    for _ in range(count):
        with torch.no_grad():
            logits = model(tokens)
        logits = logits[:, -1, :]
        tokens = torch.cat((tokens, torch.argmax(logits, dim=-1, keepdim=True)), dim=1)
    return tokens


def generate_with_cache(
    device: torch.device, *, sizes: CachedSizes, new_tokens: int, prompt: int = 4
) -> None:
    """The last tokens of a text, with the caches that those before them have left."""
    model = placed(lambda: CachedGpt(sizes), device, torch.bfloat16).eval()
    if sizes.gated_width:  # whose author measures each of these, and so begins the peaks anew
        reset = torch.get_device_module(device).reset_peak_memory_stats
        for layer in model.layers:
            layer.feed_forward.register_forward_pre_hook(lambda *_: reset())
    length = prompt + new_tokens - LAST_TOKENS
    for layer in model.layers:
        layer.attention.prefill(1, length)
    tokens = torch.zeros(1, length, dtype=torch.long, device=device)
    token = torch.zeros(1, 1, dtype=torch.long, device=device)
    with torch.no_grad():
        logits = model(token, length)
        for start in range(length + 1, length + LAST_TOKENS):
            token = logits[:, -1].argmax(dim=-1, keepdim=True)
            tokens = torch.cat([tokens, token], dim=1)
            logits = model(token, start)


def gpt2_long(kind: str, **more: int) -> Callable[[torch.device], None]:
    sizes = CachedSizes(context=32768 + 4, heads=24, kind=kind, **more)  # type: ignore[arg-type]
    return partial(generate_with_cache, sizes=sizes, new_tokens=32768)


def generate_like_llama(
    device: torch.device, *, sizes: LlamaSizes, prompt: int, with_cache: bool, top_k: bool
) -> None:
    """150 new tokens: the prompt's and the last ones; a cache has then as many rows."""
    model = placed(lambda: LlamaLike(sizes), device).eval()
    if not with_cache:
        tokens = torch.zeros(1, prompt + 150 - LAST_TOKENS, dtype=torch.long).to(device)
        if top_k:
            generate_from_best(model, tokens)
        else:
            generate_anew(model, tokens, LAST_TOKENS)
        return
    tokens = torch.zeros(1, prompt, dtype=torch.long).to(device)
    with torch.no_grad():
        cache: Cache = [None] * sizes.layers
        logits = model(tokens, 0, cache)
        for length in range(prompt, prompt + 150):
            token = logits[:, -1].argmax(dim=-1, keepdim=True)
            tokens = torch.cat([tokens, token], dim=1)
            logits = model(token, length, cache)


def generate_from_best(model: nn.Module, tokens: Tensor) -> None:
    """As generate_anew, but from the most probable token alone."""
    for _ in range(LAST_TOKENS):
        with torch.no_grad():
            logits = model(tokens)
        logits = logits[:, -1, :]
        best, _ = torch.topk(logits, 1)
        never = torch.tensor(float("-inf")).to(logits.device)
        logits = torch.where(logits < best[:, -1], never, logits)
        tokens = torch.cat((tokens, torch.argmax(logits, dim=-1, keepdim=True)), dim=1)


LLAMA_1B = LlamaSizes(128256, 131072, 2048, 32, 64, 8, 16, 8192)
QWEN_600M = LlamaSizes(151936, 40960, 1024, 16, 128, 8, 28, 3072, is_qwen=True)


def octocoder(device: torch.device) -> None:
    """60 tokens after a prompt of 20 by transformers' GPTBigCode."""
    from transformers import GPTBigCodeConfig, GPTBigCodeForCausalLM

    config = GPTBigCodeConfig(
        vocab_size=49152,
        n_positions=8192,
        n_embd=6144,
        n_layer=40,
        n_head=48,
        n_inner=24576,
        attention_softmax_in_fp32=True,
        scale_attention_softmax_in_fp32=True,
        multi_query=True,
    )
    generate_by_transformers(
        placed(lambda: GPTBigCodeForCausalLM(config), device, torch.bfloat16), 20, 60
    )


def falcon_7b(device: torch.device, *, dtype: torch.dtype) -> None:
    """256 tokens after a prompt of 8; LitGPT's model doesn't tie its head to the embedding."""
    from transformers import FalconConfig, FalconForCausalLM

    config = FalconConfig(
        vocab_size=65024,
        hidden_size=4544,
        num_hidden_layers=32,
        num_attention_heads=71,
        multi_query=True,
        parallel_attn=True,
        bias=False,
        alibi=False,
        new_decoder_architecture=False,
        tie_word_embeddings=False,
    )
    generate_by_transformers(placed(lambda: FalconForCausalLM(config), device, dtype), 8, 256)


def generate_by_transformers(model: nn.Module, prompt: int, new_tokens: int) -> None:
    device = next(model.parameters()).device
    tokens = torch.zeros(1, prompt, dtype=torch.long).to(device)
    cache = None
    with torch.no_grad():
        for _ in range(new_tokens):
            result = model(input_ids=tokens, past_key_values=cache, use_cache=True)
            cache = result.past_key_values
            tokens = result.logits[:, -1].argmax(dim=-1, keepdim=True)


PROGRAMS: dict[str, Callable[[torch.device], None]] = {
    "gpt2_fp32_kept_mask": partial(train_gpt2, kind="kept_mask"),
    "gpt2_fp32_new_mask": partial(train_gpt2, kind="new_mask"),
    "gpt2_bf16": partial(train_gpt2, kind="new_mask", dtype=torch.bfloat16, fused_optimizer=True),
    "gpt2_bf16_pytorch_parts": partial(
        train_gpt2,
        kind="new_mask",
        dtype=torch.bfloat16,
        fused_optimizer=True,
        has_pytorch_parts=True,
    ),
    "gpt2_bf16_fused_attention": partial(
        train_gpt2,
        kind="fused",
        dtype=torch.bfloat16,
        fused_optimizer=True,
        has_pytorch_parts=True,
    ),
    "gpt2_long_heads": gpt2_long("heads"),
    "gpt2_long_groups": gpt2_long("groups", group_count=4),
    "gpt2_long_latent": gpt2_long("latent", latent_width=192),
    "gated_gpt_1024_tokens": partial(
        generate_with_cache,
        sizes=CachedSizes(context=1028, width=4096, heads=16, gated_width=32768),
        new_tokens=1024,
    ),
    "llama_1b": partial(
        generate_like_llama, sizes=LLAMA_1B, prompt=16, with_cache=False, top_k=True
    ),
    "llama_1b_cache": partial(
        generate_like_llama, sizes=LLAMA_1B, prompt=16, with_cache=True, top_k=False
    ),
    "qwen3_600m": partial(
        generate_like_llama, sizes=QWEN_600M, prompt=20, with_cache=False, top_k=True
    ),
    "qwen3_600m_cache": partial(
        generate_like_llama, sizes=QWEN_600M, prompt=20, with_cache=True, top_k=False
    ),
    "octocoder_bf16": octocoder,
    "falcon_7b_bf16": partial(falcon_7b, dtype=torch.bfloat16),
    "falcon_7b_fp32": partial(falcon_7b, dtype=torch.float32),
}
