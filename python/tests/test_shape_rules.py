# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""The client's own shape rules plan what the kernels return: shapes, strides, dtypes and values against CPU, without a round trip."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch_remote
from comparing import Counting, assert_same, to_device


def check(function: Callable[..., Any], device: torch.device, *arguments: Any) -> None:
    """Strides count here: they decide which way the next kernel takes, and with that about bits."""
    expected = function(*arguments)
    remote = to_device(list(arguments), device)
    function(*remote)  # so that the second call has its plans
    torch.remote.synchronize(device)
    with Counting(device) as counted:
        actual = function(*remote)
    assert counted.round_trips == 0
    assert_same(actual, expected)


LAYOUTS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "contiguous": lambda t: t,
    "channels_last": lambda t: t.contiguous(
        memory_format={4: torch.channels_last, 5: torch.channels_last_3d}.get(
            t.dim(), torch.contiguous_format
        )
    ),
    "transposed": lambda t: t.transpose(0, -1).contiguous().transpose(0, -1),
    "sliced": lambda t: torch.cat([t, t], -1)[..., : t.shape[-1]],
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_layer_norm(emulator: torch.device, layout: str, dtype: torch.dtype) -> None:
    x = LAYOUTS[layout](torch.randn(3, 4, 5)).to(dtype)
    weights = [torch.randn(5, dtype=dtype), torch.randn(5, dtype=dtype)]
    native = torch.ops.aten.native_layer_norm
    check(lambda x, w, b: native(x, (5,), w, b, 1e-5), emulator, x, *weights)
    check(lambda x: native(x, (4, 5), None, None, 1e-5), emulator, x)
    check(lambda x: native(x[:0], (4, 5), None, None, 1e-5), emulator, x)
    if dtype == torch.bfloat16:  # mixed: statistics in float32
        check(
            lambda x, w, b: native(x, (5,), w, b, 1e-5),
            emulator,
            x,
            *(weight.float() for weight in weights),
        )
    with pytest.raises(RuntimeError, match="normalized_shape"):
        native(x.to(emulator), (6,), None, None, 1e-5)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("sizes", [(4, 3), (4, 3, 5), (4, 3, 5, 6), (4, 3, 2, 5, 6)])
@pytest.mark.parametrize("training", [True, False])
def test_batch_norm(
    emulator: torch.device, layout: str, sizes: tuple[int, ...], training: bool
) -> None:
    aten = torch.ops.aten
    for dtype, statistics in (
        (torch.float32, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float64,) * 2,
    ):
        x = LAYOUTS[layout](torch.randn(sizes)).to(dtype)
        numbers = [torch.rand(3, dtype=statistics) + 0.5 for _ in range(4)]
        for operator in (aten.native_batch_norm, aten._native_batch_norm_legit):
            check(lambda x, *n, f=operator: f(x, *n, training, 0.1, 1e-5), emulator, x, *numbers)
        if training:
            check(
                lambda x, *n: aten._batch_norm_with_update(x, *n, 0.1, 1e-5), emulator, x, *numbers
            )


@pytest.mark.parametrize("mode", [0, 1, 2])
@pytest.mark.parametrize("include_last", [False, True])
@pytest.mark.parametrize("padding", [-1, 0])
def test_embedding_bag(emulator: torch.device, mode: int, include_last: bool, padding: int) -> None:
    aten = torch.ops.aten
    for dtype, index_dtype, count in itertools.product(
        (torch.float32, torch.float64, torch.bfloat16), (torch.int64, torch.int32), (0, 7)
    ):
        weight = torch.randn(10, 4).to(dtype)
        indices = torch.arange(count, dtype=index_dtype)
        offsets = torch.tensor([0, 2, count] if count else [0, 0], dtype=index_dtype)
        scales = [None] + ([torch.rand(count).to(dtype)] if mode == 0 else [])
        for operator, scale in itertools.product(
            (aten._embedding_bag, aten._embedding_bag_forward_only), scales
        ):

            def bag(w: Any, i: Any, o: Any, s: Any, f: Any = operator) -> Any:
                output, offset2bag, bag_size, indices_of_max = f(
                    w, i, o, False, mode, False, s, include_last, padding
                )
                # Where nothing is looked at CPU leaves memory as it was.
                return output, offset2bag.shape, bag_size.shape, indices_of_max.shape

            check(bag, emulator, weight, indices, offsets, scale)


CONVOLUTIONS: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "1d": ((2, 4, 9), (6, 4, 3), {}),
    "1d_strided": ((2, 4, 9), (6, 2, 3), {"stride": 2, "padding": 1, "groups": 2}),
    "2d": ((2, 4, 8, 9), (6, 4, 3, 3), {}),
    "2d_padded": ((2, 4, 8, 9), (6, 4, 3, 2), {"stride": (2, 1), "padding": (1, 0)}),
    "2d_dilated": ((2, 4, 8, 9), (6, 4, 3, 3), {"dilation": 2}),
    "2d_groups": ((2, 4, 8, 9), (8, 2, 3, 3), {"groups": 2}),
    "2d_depthwise": ((2, 4, 8, 9), (4, 1, 3, 3), {"groups": 4, "padding": 1}),
    "2d_pointwise": ((2, 4, 8, 9), (6, 4, 1, 1), {}),
    "2d_one_channel": ((2, 1, 8, 9), (1, 1, 3, 3), {}),
    "3d": ((2, 3, 5, 6, 7), (4, 3, 2, 3, 3), {"padding": 1}),
    "1d_transposed": ((2, 4, 9), (4, 3, 3), {"transposed": True, "stride": 2, "output_padding": 1}),
    "2d_transposed": (
        (2, 4, 5, 6),
        (4, 3, 3, 3),
        {"transposed": True, "stride": 2, "padding": 1, "groups": 2},
    ),
    "3d_transposed": ((2, 3, 4, 5, 6), (3, 4, 2, 2, 2), {"transposed": True}),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_convolution(emulator: torch.device, name: str, layout: str, dtype: torch.dtype) -> None:
    sizes, weight_sizes, options = CONVOLUTIONS[name]
    defaults = {
        "stride": 1,
        "padding": 0,
        "dilation": 1,
        "transposed": False,
        "output_padding": 0,
        "groups": 1,
    }
    given = defaults | options
    dimensions = len(sizes) - 2
    fixed = [
        [value] * dimensions
        if key in ("stride", "padding", "dilation", "output_padding") and isinstance(value, int)
        else value
        for key, value in given.items()
    ]
    channels = weight_sizes[1] * given["groups"] if given["transposed"] else weight_sizes[0]
    x = LAYOUTS[layout](torch.randn(sizes).to(dtype))
    weight, bias = torch.randn(weight_sizes).to(dtype), torch.randn(channels).to(dtype)
    convolution = torch.ops.aten.convolution
    output = convolution(x, weight, bias, *fixed)
    check(lambda x, w, b: convolution(x, w, b, *fixed), emulator, x, weight, bias)
    check(
        lambda x, w: convolution(x, w, None, *fixed), emulator, x, LAYOUTS["channels_last"](weight)
    )
    gradient = torch.randn(output.shape).to(dtype)
    backward = torch.ops.aten.convolution_backward
    for mask in ([True, True, True], [False, True, False], [True, False, True]):
        expected = backward(gradient, x, weight, [channels], *fixed, mask)
        actual = backward(*to_device([gradient, x, weight], emulator), [channels], *fixed, mask)
        # CPU makes some that were not asked for.
        for got, wanted, is_wanted in zip(actual, expected, mask, strict=True):
            assert (got is not None) == is_wanted
            if is_wanted:
                assert_same(got, wanted, strides=dtype != torch.float64)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("mask", ["none", "bool", "float"])
@pytest.mark.parametrize("lengths", [(5, 5), (3, 7), (1, 9)])
def test_attention(device: torch.device, causal: bool, mask: str, lengths: tuple[int, int]) -> None:
    if causal and mask != "none":
        pytest.skip("PyTorch takes one of the two")
    query_length, key_length = lengths
    shapes = [(2, 3, query_length, 8), (2, 3, key_length, 8), (2, 3, key_length, 8)]
    values = [torch.randn(shape) for shape in shapes]
    if mask == "bool":
        values.append(torch.rand(query_length, key_length) > 0.2)
    elif mask == "float":
        values.append(torch.randn(2, 1, query_length, key_length))

    def attention(
        q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, m: torch.Tensor | None = None
    ) -> list[Any]:
        leaves = [t.detach().requires_grad_() for t in (q, k, v)]
        output = torch.nn.functional.scaled_dot_product_attention(
            *leaves, attn_mask=m, is_causal=causal
        )
        return [output.detach(), *torch.autograd.grad((output * output).sum(), leaves)]

    expected = attention(*values)
    actual = attention(*to_device(values, device))
    if mask == "none" or (query_length == key_length):
        assert_same(actual, expected, strides=False)
    else:
        torch.testing.assert_close([t.cpu() for t in actual], expected)


def test_index_select(emulator: torch.device) -> None:
    x = torch.randn(4, 5, 6)
    for layout, dimension, index_dtype in itertools.product(
        LAYOUTS, (0, 1, -1), (torch.int64, torch.int32)
    ):
        for indices in ([3, 0, 1], [], 2):
            index = torch.tensor(indices, dtype=index_dtype)
            check(
                lambda x, i, d=dimension: x.index_select(d, i), emulator, LAYOUTS[layout](x), index
            )
    check(lambda x, i: x.index_select(0, i), emulator, torch.tensor(3.0), torch.tensor([0]))


@pytest.mark.parametrize("rows", [(3, 0), (0, 0)])
def test_index_add_of_nothing(emulator: torch.device, rows: tuple[int, int]) -> None:
    def calls(device: torch.device) -> list[torch.Tensor]:
        self, source = torch.ones(rows[0], 2, device=device), torch.ones(rows[1], 2, device=device)
        index = torch.empty(rows[1], dtype=torch.int64, device=device)
        changed = self.clone().index_add_(0, index, source)
        reduced = self.clone().index_reduce_(-2, index, source, "amax")
        leaf = self.clone().requires_grad_()
        leaf.index_select(0, index).sum().backward()
        assert leaf.grad is not None
        return [
            *(changed, reduced, leaf.grad, self.index_add(0, index, source)),
            self.t().index_reduce(1, index, source.t(), "mean"),
        ]

    assert_same(calls(emulator), calls(torch.device("cpu")))


def test_dropout_keeps_layout_and_scale(emulator: torch.device) -> None:
    for layout in LAYOUTS:
        x = LAYOUTS[layout](torch.ones(20, 3, 5, 6))
        output, mask = torch.ops.aten.native_dropout(x.to(emulator), 0.5, True)
        expected_output, expected_mask = torch.ops.aten.native_dropout(x, 0.5, True)
        assert output.stride() == expected_output.stride()
        assert mask.stride() == expected_mask.stride()
        assert_same(output, mask.cpu().float() * 2, strides=False)
        check(lambda x: torch.ops.aten.native_dropout(x, 0.5, False), emulator, x)


# Sizes and strides that count as contiguous, and one that does not.
ODD_STRIDES = (
    ((2, 5, 1, 1), (5, 1, 5, 5)),
    ((2, 1, 3, 3), (9, 1, 3, 1)),
    ((1, 3), (7, 1)),
    ((0, 3), (1, 1)),
    ((3, 4), (1, 3)),
)


@pytest.mark.parametrize(("sizes", "strides"), ODD_STRIDES)
def test_results_of_odd_strides(
    emulator: torch.device, sizes: tuple[int, ...], strides: tuple[int, ...]
) -> None:
    flat = torch.randn(64)
    gradient_of_dropout = torch.ops.aten.native_dropout_backward

    def results(where: torch.device | str) -> list[torch.Tensor]:
        x = flat.to(where).as_strided(sizes, strides)
        kept = (flat > 0).to(where).as_strided(sizes, strides)
        return [x.relu(), x.clone().relu_(), gradient_of_dropout(x, kept, 2.0)]

    assert_same(results(emulator), results("cpu"))


@pytest.mark.parametrize("method", ["relu_", "normal_"])
def test_an_expanded_tensor_is_not_written(emulator: torch.device, method: str) -> None:
    expanded = torch.ones(3, 1, device=emulator).expand(3, 4)
    with pytest.raises(RuntimeError, match="single memory location"):
        getattr(expanded, method)()


def test_shapes_that_grow(device: torch.device) -> None:
    """A key-value cache: every step has shapes of its own, and none asks the executor."""
    keys, expected_keys = torch.empty(1, 2, 0, 8, device=device), torch.empty(1, 2, 0, 8)
    outputs, expected = [], []
    steps = [torch.randn(1, 2, 1, 8) for _ in range(40)]
    with Counting(device) as counted:
        for step in steps:
            there = step.to(device)
            keys = torch.cat([keys, there], 2)
            outputs.append(
                torch.nn.functional.scaled_dot_product_attention(there, keys, keys).softmax(-1)
                + there
            )
    assert counted.round_trips == 0
    for step in steps:
        expected_keys = torch.cat([expected_keys, step], 2)
        output = torch.nn.functional.scaled_dot_product_attention(
            step, expected_keys, expected_keys
        )
        expected.append(output.softmax(-1) + step)
    assert_same(outputs, expected, strides=False)


def test_what_the_null_device_reads(null: torch.device) -> None:
    x = torch.ones(3, device=null)
    assert (x @ x).tolist() == 0
    assert torch_remote.stats(null).operations > 0


@pytest.mark.parametrize("there", ["cpu", "meta"])
def test_factories_of_tensors_make_them_where_they_are_told(
    emulator: torch.device, there: str
) -> None:
    like = torch.ones(3, device=emulator)
    for made in (
        like.new_empty_strided((2, 3), (3, 1), device=there),
        like.new_empty((2, 3), device=there),
        like.new_zeros((2, 3), device=there),
        torch.zeros_like(like, device=there),
    ):
        assert made.device.type == there
    here = torch.ones(3).new_empty_strided((2, 3), (1, 2), device=emulator)
    assert here.device == emulator
    assert here.stride() == (1, 2)


GROUPS = torch.tensor([4, 4, 8, 12], dtype=torch.int32)


def randn(*arguments: Any) -> torch.Tensor:
    return torch.randn(arguments[:-1], dtype=arguments[-1])


def grouped(kind: str, dtype: torch.dtype, width: int) -> list[torch.Tensor | None]:
    """The arguments of grouped_mm whose groups are of rows, of columns, of summands, or whole batches."""
    if kind == "rows":
        return [randn(12, 8, dtype), randn(4, width, 8, dtype).mT, GROUPS]
    if kind == "columns":
        return [randn(4, 5, 8, dtype), randn(12, 8, dtype).mT, GROUPS]
    if kind == "summands":
        return [randn(12, 8, dtype).mT, randn(width, 16, dtype).mT[:12], GROUPS]
    return [randn(4, 5, 8, dtype), randn(4, width, 8, dtype).mT, None]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", ["rows", "columns", "summands", "batches"])
def test_grouped_products(device: torch.device, kind: str, dtype: torch.dtype) -> None:
    """One operation, in rows of whole 16 bytes: CPU's kernel is a composite one that reads the offsets."""
    arguments = grouped(kind, dtype, 13)
    there = to_device(arguments, device)
    with Counting(device) as counted:
        actual = torch._grouped_mm(there[0], there[1], offs=there[2])
    assert counted.round_trips == 0
    assert counted.operations == 1
    assert_same(actual, torch._grouped_mm(arguments[0], arguments[1], offs=arguments[2]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_grouped_products_have_gradients(device: torch.device, dtype: torch.dtype) -> None:
    first, second, offsets = grouped("rows", dtype, 16)

    def program(*leaves: torch.Tensor) -> list[Any]:
        output = torch.nn.functional.grouped_mm(leaves[0], leaves[1], offs=leaves[2])
        output.sin().sum().backward()
        return [output, leaves[0].grad, leaves[1].grad]

    remote = to_device([first, second, offsets], device)
    with Counting(device) as counted:
        actual = program(remote[0].requires_grad_(), remote[1].requires_grad_(), remote[2])
    assert counted.round_trips == 0
    assert_same(actual, program(first.requires_grad_(), second.requires_grad_(), offsets))


def test_groups_that_do_not_fit_are_refused(device: torch.device) -> None:
    first, second, offsets = grouped("rows", torch.bfloat16, 16)
    with pytest.raises(RuntimeError):
        torch._grouped_mm(first.to(device), second.to(device), offs=offsets[:3].to(device))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64, torch.float32])
def test_histograms_of_integers(device: torch.device, dtype: torch.dtype) -> None:
    """CUDA counts them, CPU refuses; programs ask whether the device is CPU."""
    values = torch.randint(0, 12, (100,))
    counts = torch.histc(values.to(dtype).to(device), bins=5, min=2, max=9)
    assert_same(counts, torch.histc(values.float(), bins=5, min=2, max=9).to(dtype))
    whole = torch.histc(values.to(dtype).to(device), bins=12)
    assert_same(whole, torch.histc(values.float(), bins=12).to(dtype))
