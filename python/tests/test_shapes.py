# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Results are planned without asking the executor: shapes, strides, dtypes and values against CPU.

Whether the plan is right in shape and dtype is what the executor checks with every call, so each
comparison of values is one of the shape functions, too.
"""

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from comparing import assert_same, to_device
from operators import OPERATORS, placed, samples, tensors

# Not right yet, by operator: an operator that starts to work has to leave the table.
KNOWN_GAPS: dict[str, str] = {}
#: Parts of the names of operators that draw: emulated GPUs draw as CUDA does, other executors as CPU.
DRAWING = (
    *("cauchy", "exponential", "geometric", "log_normal", "normal", "uniform", "rand", "bernoulli"),
    *("multinomial", "dropout", "rrelu", "fractional_max_pool", "_lowrank", "attention"),
)
# Values are whatever was in memory.
UNINITIALIZED = {
    "empty",
    "empty_like",
    "empty_permuted",
    "empty_strided",
    "new_empty",
    "new_empty_strided",
}
NOT_RUN = {
    **{name: "compiled by CUDA" for name in OPERATORS if name.startswith("jiterator")},
    "tensor_split": "indices have to stay on CPU, as with CUDA",
    "to": "its samples name CPU",
}
# The table says that they take out=, or what they do with it is no example.
NO_OUT = {
    "equal",
    "histogramdd",
    "native_batch_norm",
    "_native_batch_norm_legit",
    "_batch_norm_with_update",
    "sparse.sampled_addmm",  # a sparse one; test_sparse.py
}
# PyTorch's meta function or kernel chooses the other order of dimensions; the executor copies.
OTHER_STRIDES = {
    "fft.hfft2",
    "fft.hfftn",
    "fft.ihfft2",
    "fft.ihfftn",
    "fft.irfft2",
    "fft.irfftn",
    "fft.rfft2",
    "fft.rfftn",
    "linalg.eig",
    "linalg.lstsq",
    "linalg.lstsq.grad_oriented",
    "linalg.svd",
    "svd",
}
OTHER_DTYPES = [torch.int64, torch.complex64, torch.bfloat16]


def cases(*, backward: bool = False, out: bool = False) -> list[Any]:
    names = []
    for name, info in OPERATORS.items():
        if (
            name in NOT_RUN
            or (backward and not info.supports_autograd)
            or (out and not info.supports_out)
        ):
            continue
        marks = (
            [pytest.mark.xfail(reason=KNOWN_GAPS[name], strict=True)] if name in KNOWN_GAPS else []
        )
        names.append(pytest.param(name, marks=marks))
    return names


def run(
    function: Callable[..., Any], arguments: tuple[tuple[Any, ...], dict[str, Any]], **more: Any
) -> Any:
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*arguments[0], **arguments[1], **more)


@pytest.mark.parametrize("name", cases())
def test_operators_as_on_cpu(emulator: torch.device, draws_as_cpu: torch.device, name: str) -> None:
    info = OPERATORS[name]
    device = draws_as_cpu if any(part in name for part in DRAWING) else emulator
    supported = info.supported_dtypes("cpu")
    compared = 0
    for dtype in (torch.float32, *OTHER_DTYPES):
        if dtype not in supported:
            continue
        for arguments in samples(info, dtype, 2 if dtype == torch.float32 else 1):
            expected = run(info, placed(arguments, "cpu"))
            actual = run(info, placed(arguments, device))
            assert all(tensor.device == device for tensor in tensors(actual))
            torch.remote.synchronize(device)
            if name in UNINITIALIZED:
                actual, expected = (
                    torch.zeros_like(value, device="cpu") for value in (actual, expected)
                )
            if name.startswith("nn.functional.linear_cross_entropy") and dtype == torch.bfloat16:
                torch.testing.assert_close(
                    actual.cpu(), expected
                )  # sums its chunks in float32 but for CPU
            else:
                assert_same(actual, expected, strides=name not in OTHER_STRIDES)
            compared += 1
    if compared == 0:
        pytest.skip("PyTorch has no samples for it")


@pytest.mark.parametrize("name", cases(backward=True))
def test_gradients_as_on_cpu(emulator: torch.device, draws_as_cpu: torch.device, name: str) -> None:
    info = OPERATORS[name]
    device = draws_as_cpu if any(part in name for part in DRAWING) else emulator
    if torch.float32 not in info.supported_backward_dtypes("cpu"):
        pytest.skip("has no gradient in float32")
    if name == "linalg.eig":
        pytest.skip("the gradient of a sum of its results is not defined")
    for arguments in samples(info, torch.float32, 1, requires_grad=True):

        def gradients(
            where: torch.device | str, arguments: Any = arguments
        ) -> list[torch.Tensor | None]:
            leaves = placed(arguments, where)
            outputs = [t for t in tensors(run(info, leaves)) if t.requires_grad]
            inputs = [t for t in tensors(leaves) if t.requires_grad]
            if not outputs or not inputs:
                return []
            generator = torch.Generator().manual_seed(1)
            weights = [
                torch.randn(t.shape, dtype=t.dtype, generator=generator).to(where) for t in outputs
            ]
            return list(torch.autograd.grad(outputs, inputs, weights, allow_unused=True))

        expected = gradients("cpu")
        if name == "nn.functional.rms_norm":  # which CPU composes of others
            torch.testing.assert_close([one.cpu() for one in gradients(device)], expected)
        else:
            assert_same(gradients(device), expected, strides=False)


@pytest.mark.parametrize("name", cases(out=True))
def test_out_as_on_cpu(emulator: torch.device, draws_as_cpu: torch.device, name: str) -> None:
    info = OPERATORS[name]
    # An emulated A100 draws other numbers, and refuses float8 products.
    is_cpus = "_scaled_mm" in name or any(part in name for part in DRAWING)
    device = draws_as_cpu if is_cpus else emulator
    if name in UNINITIALIZED or name in NO_OUT:
        pytest.skip("nothing to compare: memory as it was, or outs that CPU leaves as they were")
    dtype = torch.float32 if torch.float32 in info.supported_dtypes("cpu") else torch.int64
    for arguments in samples(info, dtype, 1):
        results = run(info, placed(arguments, "cpu"))

        def outs(make: Callable[[torch.Tensor], torch.Tensor], results: Any = results) -> Any:
            made = tuple(make(result) for result in tensors(results))
            return made[0] if isinstance(results, torch.Tensor) else made

        for make in (lambda t: torch.empty(0, dtype=t.dtype), torch.zeros_like):
            expected = run(info, placed(arguments, "cpu"), out=outs(make))
            actual = run(info, placed(arguments, device), out=to_device(outs(make), device))
            assert_same(actual, expected, strides=False)
