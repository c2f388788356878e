# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Attention is one operator of the device, forward and backward, so that it can cost what a fused kernel costs."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from comparing import Counting, assert_like_cpu
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.flex_attention import create_block_mask, flex_attention
from torch.utils._python_dispatch import TorchDispatchMode

attend = nn.functional.scaled_dot_product_attention
FORWARD = "aten::_scaled_dot_product_fused_attention_overrideable"


class Called(TorchDispatchMode):
    """Names of the operators that are called, with how often."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.counts[func.name().split(".")[0]] += 1
        return func(*args, **(kwargs or {}))


def heads(where: torch.device | str, *sizes: int, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(sum(sizes))
    return torch.randn(sizes, generator=generator).to(where, dtype).requires_grad_()


def of_length(where: torch.device, length: int, keys: int, **options: Any) -> Any:
    query, key, value = (
        heads(where, 2, 3, length, 8),
        heads(where, 2, 3, keys, 8),
        heads(where, 2, 3, keys, 8),
    )
    result = attend(query, key, value, **options)
    result.square().sum().backward()
    return result.detach(), query.grad, key.grad, value.grad


def masks(where: torch.device) -> Any:
    boolean = torch.ones(5, 7, dtype=torch.bool, device=where).tril(1)
    added = torch.linspace(-1, 1, 35).reshape(5, 7).to(where)
    batched = added.expand(2, 3, 5, 7).contiguous()
    return [of_length(where, 5, 7, attn_mask=mask) for mask in (boolean, added, batched)]


def layouts(where: torch.device) -> Any:
    packed = heads(where, 2, 5, 3, 4, 8)
    query, key, value = packed.permute(2, 0, 3, 1, 4)
    result = attend(query, key, value, is_causal=True)
    result.transpose(1, 2).reshape(2, 5, 32).square().sum().backward()
    return result.detach(), packed.grad


def dtypes(where: torch.device) -> Any:
    results = []
    for dtype in (torch.float64, torch.bfloat16, torch.float16):
        x = heads(where, 1, 2, 4, 16, dtype=dtype)
        y = attend(x, x, x)
        y.sum().backward()
        results += [y.detach(), x.grad]
    return results


PROGRAMS: dict[str, Callable[[torch.device], Any]] = {
    "plain": lambda where: of_length(where, 6, 6),
    "causal": lambda where: of_length(where, 6, 6, is_causal=True),
    "other lengths": lambda where: of_length(where, 3, 9),
    "scale": lambda where: of_length(where, 6, 6, scale=0.3),
    "one query": lambda where: of_length(where, 1, 9),
    "masks": masks,
    "layouts": layouts,
    "dtypes": dtypes,
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_values_and_gradients(device: torch.device, name: str) -> None:
    assert_like_cpu(device, PROGRAMS[name])


@pytest.mark.parametrize("options", [{}, {"is_causal": True}, {"scale": 0.5}], ids=str)
def test_it_is_one_operator(device: torch.device, options: dict[str, Any]) -> None:
    query, key, value = (heads(device, 2, 3, 6, 8) for _ in range(3))
    with Called() as called, Counting(device) as counting:
        result = attend(query, key, value, **options)
        torch.autograd.grad(result, [query, key, value], torch.ones_like(result))
    assert called.counts[FORWARD] == called.counts[FORWARD + "_backward"] == 1
    assert counting.operations == 3  # with ones_like
    assert not {"aten::bmm", "aten::_softmax"} & set(called.counts)


def test_what_it_keeps_for_the_backward(emulator: torch.device) -> None:
    """The output and one number a row, not the scores."""
    query, key, value = (heads(emulator, 1, 4, 512, 64) for _ in range(3))
    before = torch.remote.memory_allocated(emulator)
    result = attend(query, key, value)
    kept = torch.remote.memory_allocated(emulator) - before
    rows = 4 * 512 * 4
    assert (
        0 <= kept - result.nbytes - rows <= 2 * 512
    )  # at most two numbers beside, each a block of memory
    assert kept < 4 * 512 * 512 * 4


def test_grouped_queries(device: torch.device) -> None:
    def program(where: torch.device) -> Any:
        query, key, value = (
            heads(where, 2, 8, 5, 4),
            heads(where, 2, 2, 5, 4),
            heads(where, 2, 2, 5, 4),
        )
        result = attend(query, key, value, is_causal=True, enable_gqa=True)
        result.square().sum().backward()
        return result.detach(), query.grad, key.grad, value.grad

    result = program(device)
    torch.testing.assert_close([one.cpu() for one in result], list(program(torch.device("cpu"))))


def test_a_mask_with_a_gradient(device: torch.device) -> None:
    def program(where: torch.device) -> Any:
        x = heads(where, 1, 2, 4, 8)
        mask = heads(where, 4, 4)
        attend(x, x, x, attn_mask=mask).square().sum().backward()
        return x.grad, mask.grad

    assert_like_cpu(device, program)
    direct = torch.ops.aten._scaled_dot_product_fused_attention_overrideable
    x, mask = heads(device, 1, 2, 4, 8), heads(device, 1, 2, 4, 4)
    result = direct(x, x, x, mask)[0]
    result.sum().backward()
    with pytest.raises(RuntimeError, match="no gradient for attn_bias"):
        torch.remote.synchronize(device)


def test_dropout_is_repeated_by_its_seed(device: torch.device) -> None:
    x = heads(device, 1, 2, 16, 8)

    def dropped(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return attend(x, x, x, dropout_p=0.5).detach()

    assert torch.equal(dropped(1), dropped(1))
    assert not torch.equal(dropped(1), dropped(2))
    torch.manual_seed(1)
    first, second = (attend(x, x, x, dropout_p=0.5) for _ in range(2))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("is_causal", [False, True])
def test_dropout_is_the_fused_operators(device: torch.device, is_causal: bool) -> None:
    """As on a GPU: no scores are kept, and the backward drops the same ones as the forward."""
    length, keep = 64, 0.75
    query, key = heads(device, 2, 3, length, 8), heads(device, 2, 3, length, 9)[..., :8].detach()
    every_one = torch.eye(length).expand(2, 3, length, length).to(device)
    value = heads(device, 2, 3, length, 8)

    def attended(value: Tensor, dropout_p: float) -> Tensor:
        torch.manual_seed(0)
        widened = [nn.functional.pad(part, (0, value.size(3) - 8)) for part in (query, key)]
        return attend(*widened, value, dropout_p=dropout_p, is_causal=is_causal, scale=8**-0.5)

    with Called() as called:
        probabilities, shares = attended(every_one, 0.0), attended(every_one, 1 - keep)
    assert called.counts[FORWARD] == 2
    is_kept = (shares != 0).float()
    where_possible = is_kept[probabilities != 0]
    assert abs(where_possible.mean().item() - keep) < 0.02
    torch.testing.assert_close(shares, probabilities * is_kept / keep)

    fused = attended(value, 1 - keep)
    scores = query @ key.mT * 8**-0.5
    if is_causal:
        scores = scores + torch.full((length, length), -torch.inf, device=device).triu(1)
    composed = (scores.softmax(-1) * is_kept / keep) @ value
    torch.testing.assert_close(fused, composed)
    gradients = [
        torch.autograd.grad(result.square().sum(), (query, value)) for result in (fused, composed)
    ]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


FUSED = (
    SDPBackend.OVERRIDEABLE,
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
    SDPBackend.CUDNN_ATTENTION,
)


@pytest.mark.parametrize("backend", [SDPBackend.MATH, *FUSED])
def test_a_kernel_is_chosen(device: torch.device, backend: SDPBackend) -> None:
    """CUDA's names of fused kernels all mean the fused operator."""
    x = heads(device, 1, 2, 4, 8)
    if backend in (SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION):
        x = x.half()  # they have no kernel for float32
    with sdpa_kernel([backend]), Called() as called:
        result = attend(x, x, x)
    torch.testing.assert_close(result.cpu(), attend(*[x.cpu()] * 3))
    assert called.counts[FORWARD] == (backend in FUSED)


def test_a_kernel_that_can_not_do_it(device: torch.device) -> None:
    x = heads(device, 1, 2, 4, 8)
    learned_mask = torch.zeros(4, 4, device=device, requires_grad=True)
    with (
        sdpa_kernel(SDPBackend.FLASH_ATTENTION),
        pytest.raises(RuntimeError, match=r"No available kernel\. Aborting execution"),
    ):
        attend(x, x, x, attn_mask=learned_mask)


def test_multi_head_attention(device: torch.device) -> None:
    def program(where: torch.device) -> Any:
        torch.manual_seed(0)
        layer = nn.MultiheadAttention(8, 2, batch_first=True).to(where)
        x = heads(where, 3, 5, 8)
        padding = (torch.arange(5) > 3).expand(3, 5).to(where)
        result, weights = layer(x, x, x, key_padding_mask=padding)
        plain, _ = layer(x, x, x, need_weights=False)
        (result.square().sum() + plain.sum()).backward()
        with torch.inference_mode():
            fast = layer.eval()(x, x, x, key_padding_mask=padding)
        return (
            result.detach(),
            weights.detach(),
            plain.detach(),
            x.grad,
            layer.in_proj_weight.grad,
            fast,
        )

    assert_like_cpu(device, program)


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_a_transformers_layers(
    device: torch.device, draws_as_cpu: torch.device, dropout: float
) -> None:
    def program(where: torch.device) -> Any:
        torch.manual_seed(0)
        model = nn.Transformer(8, 2, 1, 1, 16, dropout=dropout, batch_first=True).to(where)
        for module in model.modules():
            if isinstance(module, nn.MultiheadAttention):
                module.dropout = 0.0  # what a fused kernel drops isn't what CPU's operators drop
        torch.manual_seed(1)  # CPU's generator has made the weights
        source, target = heads(where, 2, 6, 8), heads(where, 2, 4, 8)
        causal = nn.Transformer.generate_square_subsequent_mask(4, device=where)
        result = model(source, target, tgt_mask=causal, tgt_is_causal=True)
        result.square().sum().backward()
        with torch.inference_mode():
            still = model.eval()(source, target, tgt_mask=causal)
        return result.detach(), source.grad, target.grad, still

    assert_like_cpu(draws_as_cpu if dropout else device, program)


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_flex_attention_without_a_compiler(device: torch.device) -> None:
    x = heads(device, 1, 2, 16, 8)
    with torch.remote.device(device):
        causal = create_block_mask(
            lambda batch, head, q, k: q >= k, None, None, 16, 16, device="remote", BLOCK_SIZE=8
        )
    result = flex_attention(
        x, x, x, score_mod=lambda score, batch, head, q, k: score + (q - k), block_mask=causal
    )
    result.square().sum().backward()
    y = heads("cpu", 1, 2, 16, 8)
    positions = torch.arange(16.0)
    added = (positions[:, None] - positions).masked_fill(positions[:, None] < positions, -torch.inf)
    expected = attend(y, y, y, attn_mask=added)
    expected.square().sum().backward()
    torch.testing.assert_close([result.cpu(), x.grad.cpu()], [expected, y.grad])  # type: ignore[union-attr]
