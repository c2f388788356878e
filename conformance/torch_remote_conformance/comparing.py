# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether two results are the same: bit for bit, or within a tolerance."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils import _pytree as pytree

#: relative and absolute: where the kernels are others than CPU's. PyTorch's own defaults for its tests
#: (torch.testing.assert_close), and for the 8-bit types one step of their mantissa.
TOLERANCES: dict[torch.dtype, tuple[float, float]] = {
    torch.float64: (1e-7, 1e-7),
    torch.float32: (1.3e-6, 1e-5),
    torch.bfloat16: (1.6e-2, 1e-5),
    torch.float16: (1e-3, 1e-5),
    torch.complex128: (1e-7, 1e-7),
    torch.complex64: (1.3e-6, 1e-5),
    torch.complex32: (1e-3, 1e-5),
    torch.float8_e4m3fn: (0.125, 2**-9),
    torch.float8_e5m2: (0.25, 2**-16),
    torch.float8_e4m3fnuz: (0.125, 2**-10),
    torch.float8_e5m2fnuz: (0.25, 2**-17),
}

#: How much more a class of operators may differ: sums of many products, whose order is the kernel's,
#: and what is computed by iterations or by factorizations, whose conditioning multiplies errors.
CLASS_FACTORS: dict[str, float] = {"pointwise": 1.0, "reduction": 10.0, "decomposition": 1000.0}

#: In reduced precision CPU errs as well: a result counts as right that is as near to the same computed in
#: float64 as this many times CPU's own error.
ERROR_FACTOR = 2.0


@dataclass(frozen=True)
class Comparison:
    """How results are compared."""

    exact: bool
    factor: float = 1.0
    #: Values that mean nothing, as those of torch.empty, aren't looked at.
    values: bool = True
    #: Nor strides, where they follow from the order in which something was added up.
    strides: bool = True


EXACT = Comparison(exact=True)


def assert_same(
    actual: Any, expected: Any, how: Comparison = EXACT, *, precise: Any = None
) -> None:
    """Tensors, or structures of them: kind, shape, dtype, layout, strides and values; else AssertionError.

    Args:
        actual: of the target.
        expected: of CPU.
        how: bit for bit, or within the tolerance of the dtype.
        precise: the same as expected computed in float64, where that is another dtype's reference.
    """
    ours, theirs = _leaves(actual), _leaves(expected)
    if len(ours) != len(theirs):
        raise AssertionError(f"{len(ours)} results instead of {len(theirs)}")
    references = _leaves(precise) if precise is not None else [None] * len(theirs)
    for index, (one, other) in enumerate(zip(ours, theirs, strict=True)):
        reference = references[index] if index < len(references) else None
        problem = difference(one, other, how, reference)
        if problem:
            raise AssertionError(problem if len(theirs) == 1 else f"result {index}: {problem}")


def difference(actual: Any, expected: Any, how: Comparison = EXACT, precise: Any = None) -> str:
    """What two results differ in, for people; empty where they are the same."""
    if not isinstance(expected, torch.Tensor):
        return _difference_of_values(actual, expected, how)
    if not isinstance(actual, torch.Tensor):
        return f"{type(actual).__name__} instead of a tensor"
    for name, one, other in (
        ("shape", tuple(actual.shape), tuple(expected.shape)),
        ("dtype", actual.dtype, expected.dtype),
        ("layout", actual.layout, expected.layout),
        ("conjugate bit", actual.is_conj(), expected.is_conj()),
        ("negative bit", actual.is_neg(), expected.is_neg()),
    ):
        if one != other:
            return f"{name} {one} instead of {other}"
    if expected.layout != torch.strided:
        return _difference_of_sparse(actual, expected, how)
    if how.strides and steps(actual) != steps(expected):
        return f"strides {actual.stride()} instead of {expected.stride()} (shape {tuple(expected.shape)})"
    if not how.values:
        return ""
    return _difference_of_elements(actual.detach().cpu(), expected.detach(), how, precise)


def steps(tensor: torch.Tensor) -> list[int]:
    """The strides that are ever stepped along; operators differ in what they give the others."""
    if tensor.numel() == 0:
        return []
    return [stride for stride, size in zip(tensor.stride(), tensor.shape, strict=True) if size > 1]


def bits(tensor: torch.Tensor) -> torch.Tensor:
    """The elements' bytes in logical order, on CPU."""
    local = tensor.detach().cpu().resolve_conj().resolve_neg()
    return local.clone(memory_format=torch.contiguous_format).reshape(-1).view(torch.uint8)


def _leaves(structure: Any) -> list[Any]:
    return pytree.tree_leaves(structure)


def _difference_of_values(actual: Any, expected: Any, how: Comparison) -> str:
    if type(actual) is not type(expected):
        return f"{type(actual).__name__} instead of {type(expected).__name__}"
    if isinstance(expected, (float, complex)) and not how.exact:
        dtype = torch.complex128 if isinstance(expected, complex) else torch.float32
        return _difference_of_elements(
            torch.tensor(actual, dtype=dtype), torch.tensor(expected, dtype=dtype), how, None
        )
    both_nan = actual != actual and expected != expected
    return (
        ""
        if both_nan or not how.values or actual == expected
        else f"{actual} instead of {expected}"
    )


def _difference_of_sparse(actual: torch.Tensor, expected: torch.Tensor, how: Comparison) -> str:
    for name, one, other in zip(
        ("first indices", "second indices", "values"),
        components(actual),
        components(expected),
        strict=True,
    ):
        if problem := difference(one, other, how):
            return f"{name}: {problem}"
    return ""


def components(tensor: torch.Tensor) -> Sequence[torch.Tensor]:
    """The dense tensors that a sparse one is made of: three, of which the first is twice there in COO."""
    tensor = tensor.detach()
    if tensor.layout == torch.sparse_coo:
        return tensor._indices(), tensor._indices(), tensor._values()
    if tensor.layout in (torch.sparse_csr, torch.sparse_bsr):
        return tensor.crow_indices(), tensor.col_indices(), tensor.values()
    return tensor.ccol_indices(), tensor.row_indices(), tensor.values()


def _difference_of_elements(
    actual: torch.Tensor, expected: torch.Tensor, how: Comparison, precise: torch.Tensor | None
) -> str:
    if torch.equal(bits(actual), bits(expected)):
        return ""
    if not how.exact and _is_close(actual, expected, how.factor, precise):
        return ""
    count = expected.numel()
    text = f"values differ: {count} elements of {expected.dtype}"
    if expected.dtype.is_floating_point and count:
        text += f", at most {_largest_distance(actual, expected):g} apart"
    return text if count > 16 else f"{text}: {actual.tolist()} instead of {expected.tolist()}"


def _largest_distance(actual: torch.Tensor, expected: torch.Tensor) -> float:
    return (actual.double() - expected.double()).abs().max().item()


def _is_close(
    actual: torch.Tensor, expected: torch.Tensor, factor: float, precise: torch.Tensor | None
) -> bool:
    if expected.dtype not in TOLERANCES:
        return False  # integers and booleans are equal or not
    relative, absolute = (tolerance * factor for tolerance in TOLERANCES[expected.dtype])
    wide = torch.complex128 if expected.dtype.is_complex else torch.float64
    ours, theirs = actual.to(wide), expected.to(wide)
    if torch.allclose(ours, theirs, rtol=relative, atol=absolute, equal_nan=True):
        return True
    if precise is None or precise.shape != expected.shape:
        return False
    exact = precise.detach().to(wide)
    allowed = torch.maximum(
        ERROR_FACTOR * (theirs - exact).abs(), absolute + relative * exact.abs()
    )
    near = (ours - exact).abs() <= allowed
    return bool((near | (ours == exact) | (ours.isnan() & exact.isnan())).all())
