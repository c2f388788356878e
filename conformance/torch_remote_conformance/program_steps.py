# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""What one line of a random program may do: views, writes, copies, computing, and what has gradients."""

from typing import TYPE_CHECKING

import torch

from torch_remote_conformance.random_programs import Step, Writer, is_parameter

if TYPE_CHECKING:
    from collections.abc import Sequence

_DTYPES = (
    *("float32", "int64", "bool", "float64", "bfloat16", "int32", "uint8", "complex64"),
    *("float16", "int16", "int8"),
)


# --- Making tensors ------------------------------------------------------------------------------


def create(writer: Writer) -> None:
    """A contiguous tensor of small numbers."""
    shape, dtype = writer.shape(), writer.choice(_DTYPES)
    count = torch.Size(shape).numel()
    numbers = f"torch.arange({count}).mul(7).remainder(11).sub(4)"
    if dtype.startswith("float") and writer.integer(0, 1):
        numbers += ".div(4)"
    writer.make(f"{numbers}.to(torch.{dtype}).view({shape}).to(device, copy=True)")


def create_strided(writer: Writer) -> None:
    """One with gaps, overlaps or an order of its own."""
    shape = writer.shape(3)
    strides = tuple(writer.choice((1, 2, 3, 5, 8, 0)) for _ in shape)
    dtype = writer.choice(_DTYPES)
    writer.make(
        f"torch.zeros(200, dtype=torch.{dtype}, device=device)"
        f".as_strided({shape}, {strides}, {writer.integer(0, 9)})"
    )


def start(writer: Writer) -> None:
    """Two tensors to begin with."""
    create(writer)
    create(writer)


def drop(writer: Writer) -> None:
    """One tensor less; its storage stays where another has it."""
    if len(writer.tensors) > 2:
        writer.add(f"del {writer.tensor()}")


# --- Views ---------------------------------------------------------------------------------------


def _has_dimensions(tensor: torch.Tensor) -> bool:
    return tensor.dim() > 0


def cut(writer: Writer) -> None:
    """A slice with a step, or one index."""
    name = writer.tensor(_has_dimensions)
    dimension = writer.integer(0, writer[name].dim() - 1)
    size = writer[name].shape[dimension]
    if size and writer.integer(0, 2) == 0:
        return writer.make(f"{name}.select({dimension}, {writer.integer(0, size - 1)})")
    begin = writer.integer(0, size)
    end = writer.integer(begin, size)
    index = ":, " * dimension + f"{begin}:{end}:{writer.integer(1, 3)}"
    return writer.make(f"{name}[{index}]")


def reorder(writer: Writer) -> None:
    """Another order of the dimensions."""
    name = writer.tensor(lambda tensor: tensor.dim() > 1)
    order = list(range(writer[name].dim()))
    for index in range(len(order) - 1):
        other = writer.integer(index, len(order) - 1)
        order[index], order[other] = order[other], order[index]
    writer.make(f"{name}.permute({tuple(order)})")


def reform(writer: Writer) -> None:
    """Dimensions more or less."""
    name = writer.tensor()
    dimensions = writer[name].dim()
    form = writer.choice(
        (
            *("unsqueeze(0)", "squeeze()", "flatten()", "detach()", "view(-1)", "reshape(-1, 1)"),
            f"unsqueeze({dimensions})",
            f"expand(2, *{name}.shape)",
            "diagonal()",
            "unfold(0, 2, 1)",
            "unbind()[0]",
            "chunk(2)[-1]",
            "movedim(0, -1)",
            "T",
            "mT",
        )
    )
    writer.make(f"{name}.{form}")


def restride(writer: Writer) -> None:
    """Any strides within the storage."""
    name = writer.tensor()
    shape = writer.shape(3)
    strides = tuple(writer.choice((1, 2, 3, 4, 7, 0)) for _ in shape)
    writer.make(f"{name}.as_strided({shape}, {strides}, {writer.integer(0, 6)})")


def reinterpret(writer: Writer) -> None:
    """The same bytes as another dtype, or half of a complex number."""
    name = writer.tensor()
    if writer[name].is_complex():
        how = writer.choice(("real", "imag", "conj()", "view(torch.float32)"))
        return writer.make(
            f"torch.view_as_real({name})" if writer.integer(0, 3) == 3 else f"{name}.{how}"
        )
    return writer.make(f"{name}.view(torch.{writer.choice(('int32', 'uint8', 'int16', 'int64'))})")


VIEWS: tuple[Step, ...] = (cut, reorder, reform, restride, reinterpret)


# --- Writes and copies ---------------------------------------------------------------------------


def fill(writer: Writer) -> None:
    """One number everywhere, or where something is true."""
    name = writer.tensor(lambda tensor: torch._debug_has_internal_overlap(tensor) != 1)
    value = writer.integer(0, 5)
    how = writer.choice(
        (
            f"fill_({value})",
            "zero_()",
            f"masked_fill_({name} == {value}, 1)",
            f"index_fill_(0, torch.tensor([0], device=device), {value})",
        )
    )
    writer.add(f"{name}.{how}")


def _source_for(writer: Writer, name: str) -> str:
    """Something that fits into a tensor and shares nothing with it, for the order would matter."""
    into = writer[name]
    other = writer.tensor(lambda tensor: _fits(tensor, into))
    return f"{other}.clone()" if torch._C._overlaps(writer[other], into) else other


def _fits(tensor: torch.Tensor, into: torch.Tensor) -> bool:
    try:
        return bool(torch.broadcast_shapes(tensor.shape, into.shape) == into.shape)
    except RuntimeError:
        return False


def assign(writer: Writer) -> None:
    """A tensor into another one, or into a part of it."""
    name = writer.tensor()
    source = _source_for(writer, name)
    if writer.integer(0, 1):
        writer.add(f"{name}[...] = {source}")
    else:
        writer.add(f"{name}.copy_({source})")


def duplicate(writer: Writer) -> None:
    """A copy: on the device, to the host and back, in another dtype or layout."""
    name = writer.tensor()
    dtype = writer.choice(_DTYPES)
    how = writer.choice(
        (
            *(
                "clone()",
                "contiguous()",
                "cpu().to(device, copy=True)",
                "resolve_conj().resolve_neg()",
            ),
            f"to(torch.{dtype})",
            f"cpu().to(device, torch.{dtype}, copy=True)",
            "clone(memory_format=torch.contiguous_format)",
        )
    )
    writer.make(f"{name}.{how}")


def change_form(writer: Writer) -> None:
    """Another form for a tensor itself, with its own memory or that of another."""
    name = writer.tensor()
    other = writer.tensor(lambda tensor: tensor.dtype == writer[name].dtype)
    shape, offset = writer.shape(2), writer.integer(0, 3)
    if offset + torch.Size(shape).numel() > writer[other].untyped_storage().nbytes() // 16:
        raise LookupError  # what lies beyond the end would be whatever was there
    how = writer.choice(
        (
            *("unsqueeze_(0)", "squeeze_()", "t_()", "transpose_(0, -1)"),
            f"set_({other})",
            f"set_({other}.untyped_storage(), {offset}, {shape})",
        )
    )
    writer.add(f"{name}.{how}")


def grow(writer: Writer) -> None:
    """More or fewer elements; new ones are set, for they hold whatever was there."""
    name = writer.tensor(lambda tensor: tensor._base is None)
    writer.add(f"{name}.resize_({writer.shape(2)}).fill_({writer.integer(0, 3)})")


WRITES: tuple[Step, ...] = (fill, assign)
COPIES: tuple[Step, ...] = (duplicate, duplicate)
MEMORY: tuple[Step, ...] = (
    *(create, create_strided, drop, *VIEWS, *VIEWS, *WRITES, *WRITES, *COPIES),
    *(change_form, grow),
)


# --- Computing -----------------------------------------------------------------------------------

_UNARY = (
    *("neg()", "abs()", "sign()", "square()", "relu()", "tanh()", "sigmoid()", "floor()", "exp()"),
    *("logical_not()", "bitwise_not()", "isnan()", "clamp(-2, 3)", "tril()", "flip(0)", "roll(1)"),
    *("sqrt()", "sin()", "round()", "float()", "to(torch.int64)", "nan_to_num()", "reciprocal()"),
    *("softmax(-1)", "log_softmax(0)", "cumsum(0)", "sort().values", "argsort(stable=True)"),
    *("repeat(2)", "repeat_interleave(2, 0)", "unique()", "nonzero()"),
)
_BINARY = (
    *("{0} + {1}", "{0} - {1}", "{0} * {1}", "{0} / {1}", "{0} == {1}", "{0} < {1}"),
    *("torch.maximum({0}, {1})", "torch.minimum({0}, {1})", "torch.where({0} > 0, {0}, {1})"),
    *("torch.logical_xor({0}, {1})", "{0} & {1}", "{0} | {1}", "torch.atan2({0}, {1})"),
    *("torch.add({0}, {1}, alpha=2)", "torch.hypot({0}, {1})", "torch.lerp({0}, {1}, 0.25)"),
    "torch.remainder({0}, {1}.abs() + 1)",
)
_REDUCTIONS = (
    *("sum({0})", "mean({0})", "amax({0})", "amin({0})", "argmax({0})", "argmin({0})"),
    *("any({0})", "all({0})", "prod({0})", "var({0}, correction=0)", "std({0}, correction=0)"),
    *("sum({0}, keepdim=True)", "logsumexp({0})", "median({0}).values", "count_nonzero({0})"),
    "norm(dim={0})",
)
_IN_PLACE = ("add_({0})", "mul_({0})", "sub_({0})", "clamp_min_({0})", "bitwise_or_({0})")


def unary(writer: Writer) -> None:
    """A function of one tensor."""
    writer.make(f"{writer.tensor()}.{writer.choice(_UNARY)}")


def binary(writer: Writer) -> None:
    """A function of two tensors, or of a tensor and a number."""
    one = writer.tensor()
    fitting = [name for name, tensor in writer.tensors.items() if _fits(tensor, writer[one])]
    other = writer.choice([*fitting, "2", "0.5"])
    writer.make(writer.choice(_BINARY).format(one, other))


def reduce(writer: Writer) -> None:
    """Along one dimension."""
    name = writer.tensor(_has_dimensions)
    dimension = writer.integer(0, writer[name].dim() - 1)
    writer.make(f"{name}.{writer.choice(_REDUCTIONS).format(dimension)}")


def multiply(writer: Writer) -> None:
    """Matrices and vectors: with the transpose, which always fits."""
    name = writer.tensor(lambda tensor: tensor.dim() in (1, 2, 3) and tensor.is_floating_point())
    how = writer.choice(
        (
            *("{0} @ {0}.mT", "torch.nn.functional.linear({0}, {0})", "torch.outer({0}, {0})"),
            *("torch.einsum('...i,...i->...', {0}, {0})", "torch.addmm({0} @ {0}.T, {0}, {0}.T)"),
            *("torch.bmm({0}, {0}.mT)", "{0}.mv({0}[0])", "torch.dot({0}, {0})"),
        )
    )
    writer.make(how.format(name) + ".mul(0.125)")


def index(writer: Writer) -> None:
    """Elements by numbers, and where something is true."""
    name = writer.tensor(lambda tensor: tensor.dim() > 0 and tensor.shape[0] > 0)
    last = writer[name].shape[0] - 1
    numbers = [writer.integer(-last - 1, last) for _ in range(writer.integer(0, 4))]
    found = f"torch.tensor({numbers}, dtype=torch.int64, device=device)"
    positive = (
        f"torch.tensor({[n % (last + 1) for n in numbers]}, dtype=torch.int64, device=device)"
    )
    how = writer.choice(
        (
            *(f"{name}[{found}]", f"{name}.index_select(0, {positive})", f"{name}[{name} > 0]"),
            *(f"{name}[..., {found}]", f"{name}.gather(0, ({name} * 0).long())"),
            f"torch.nn.functional.pad({name}, (1, 2), value=3)",
        )
    )
    writer.make(how)


def join(writer: Writer) -> None:
    """Several tensors as one."""
    one = writer.tensor(_has_dimensions)
    like = writer[one]
    names = [
        name
        for name, tensor in writer.tensors.items()
        if tensor.shape[1:] == like.shape[1:] and tensor.dim() == like.dim()
    ]
    if writer.integer(0, 1):
        names = [name for name in names if writer[name].shape == like.shape]
        writer.make(f"torch.stack([{', '.join(names)}], {writer.integer(0, 1)})")
    else:
        writer.make(f"torch.cat([{', '.join(names)}])")


def compute_in_place(writer: Writer) -> None:
    """A tensor changed by another one, or by a number."""
    name = writer.tensor()
    other = writer.choice(("2", "_"))
    if other == "_":
        other = _source_for(writer, name)
    writer.add(f"{name}.{writer.choice(_IN_PLACE).format(other)}")


def write_out(writer: Writer) -> None:
    """A result into a tensor that is there."""
    name = writer.tensor(lambda tensor: tensor._base is None)
    source = _source_for(writer, name)
    how = writer.choice(("torch.add({0}, 1, out={1})", "torch.neg({0}, out={1})"))
    writer.add(how.format(source, name))


COMPUTING: tuple[Step, ...] = (
    *(unary, unary, binary, binary, binary, reduce, reduce, multiply, index, join),
    *(compute_in_place, compute_in_place, write_out),
)
INFERENCE: tuple[Step, ...] = (
    *(create, create_strided, drop, *VIEWS, *WRITES, *COPIES),
    *(*COMPUTING, *COMPUTING),
)


# --- What has gradients --------------------------------------------------------------------------

_SMOOTH = (
    *(
        "tanh()",
        "sin()",
        "sigmoid()",
        "mul(0.5)",
        "square().tanh()",
        "neg()",
        "softmax(-1)",
        "abs()",
    ),
    *("relu()", "clamp(-0.5, 0.5)", "exp().neg().exp()", "cumsum(0).tanh()", "clone()", "tril()"),
    *("mean(0)", "sum(-1).tanh()", "amax(0)", "logsumexp(0)", "flip(0)", "double()", "float()"),
    *(
        "detach()",
        "cpu().to(device, copy=True)",
        "sort().values",
        "contiguous()",
        "norm(dim=0)",
        "repeat(2)",
    ),
)
_SMOOTH_OF_TWO = (
    *(
        "{0} + {1}",
        "{0} * {1}",
        "{0} - {1}",
        "torch.maximum({0}, {1})",
        "torch.lerp({0}, {1}, 0.5)",
    ),
    *("torch.where({1} > 0, {0}, {1})", "torch.addcmul({0}, {1}, {0}, value=0.5)"),
)
_CHANGES = (
    *("mul_(0.5)", "tanh_()", "zero_()", "add_(0.25)", "sin_()", "clamp_(-1, 1)"),
    *("add_({0})", "mul_({0})", "copy_({0})"),
)


def leaf(writer: Writer) -> None:
    """A parameter; not too many."""
    if sum(map(is_parameter, writer.tensors.values())) > 3:
        raise LookupError
    shape = tuple(max(size, 1) for size in writer.shape(3))
    count = torch.Size(shape).numel()
    dtype = writer.choice(("float64", "float32"))
    writer.make(
        f"torch.linspace(-1.5, 1.25, {count}, dtype=torch.{dtype}).view({shape}).to(device, copy=True)"
        ".requires_grad_()"
    )


def leaves(writer: Writer) -> None:
    """Some parameters to begin with."""
    for _ in range(3):
        leaf(writer)


def smooth(writer: Writer) -> None:
    """A function that has a gradient, of one tensor or two."""
    name = writer.tensor()
    fitting = [other for other in writer.tensors if _fits(writer[other], writer[name])]
    if fitting and writer.integer(0, 1):
        writer.make(writer.choice(_SMOOTH_OF_TWO).format(name, writer.choice(fitting)))
    else:
        writer.make(f"{name}.{writer.choice(_SMOOTH)}")


def change(writer: Writer) -> None:
    """What the graph has to keep track of: a change of a result, or of a view of it."""
    name = writer.tensor(lambda tensor: not is_parameter(tensor))
    writer.add(f"{name}.{writer.choice(_CHANGES).format(_source_for(writer, name))}")


def backward(writer: Writer) -> None:
    """Gradients of all that has one, added up; autograd may refuse it, for what it kept was changed."""
    wanted: Sequence[str] = [name for name, one in writer.tensors.items() if one.requires_grad]
    parts = " + ".join(f"{name}.double().sum()" for name in wanted)
    if wanted:
        writer.add(f"({parts}).backward(retain_graph=True)", may_be_refused=True)


DIFFERENTIABLE: tuple[Step, ...] = (
    *(smooth, smooth, smooth, smooth, multiply, join, index, leaf),
    *(cut, reorder, reform, cut, reorder, reform, change, change, backward),
)
