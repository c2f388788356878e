# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""PyTorch's own tables of operators, modules and optimizers, and their samples."""

import functools
import random
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Sample:
    """Arguments of one call, on CPU."""

    positional: tuple[Any, ...]
    keywords: dict[str, Any]
    #: Picks the result that has a defined gradient, as of svd's.
    differentiable: Any

    def label(self) -> str:
        """Shapes and other arguments, for people."""
        shown = [_shown(value) for value in self.positional]
        shown += [f"{name}={_shown(value)}" for name, value in self.keywords.items()]
        return ", ".join(shown)[:300]


@functools.cache
def operators() -> dict[str, Any]:
    """PyTorch's OpInfo of each entry of op_db, by its name and variant."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch.testing._internal.common_methods_invocations import op_db
    _restore_hypothesis()
    return {
        f"{info.name}.{info.variant_test_name}" if info.variant_test_name else info.name: info
        for info in op_db
    }


@functools.cache
def modules() -> list[Any]:
    """PyTorch's ModuleInfo of each module."""
    from torch.testing._internal.common_modules import module_db

    return list(module_db)


@functools.cache
def optimizers() -> list[Any]:
    """PyTorch's OptimizerInfo of each optimizer."""
    from torch.testing._internal.common_optimizers import optim_db

    return list(optim_db)


def samples(info: Any, dtype: torch.dtype, seed: int, *, requires_grad: bool) -> list[Sample]:
    """All samples of an operator, the same for the same seed."""
    with reproducible(seed):
        made = list(info.sample_inputs("cpu", dtype, requires_grad=requires_grad))
    return [
        Sample((one.input, *one.args), dict(one.kwargs), one.output_process_fn_grad) for one in made
    ]


def samples_twice(
    info: Any, dtype: torch.dtype, seed: int, *, requires_grad: bool
) -> Iterator[Sample]:
    """All samples, and the first one again with other numbers.

    A second call of the same shapes takes another way than the first: there are plans and memory of it.
    """
    yield from samples(info, dtype, seed, requires_grad=requires_grad)
    with reproducible(seed + 1):
        again = next(iter(info.sample_inputs("cpu", dtype, requires_grad=requires_grad)), None)
    if again is not None:
        yield Sample((again.input, *again.args), dict(again.kwargs), again.output_process_fn_grad)


class reproducible:  # noqa: N801 (used as a function)
    """A with block in which everything that draws random numbers on CPU starts from the seed."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._warnings = warnings.catch_warnings()

    def __enter__(self) -> None:
        import numpy as np

        self._warnings.__enter__()
        warnings.simplefilter("ignore")
        torch.manual_seed(self._seed)
        random.seed(self._seed)
        np.random.seed(self._seed % 2**32)

    def __exit__(self, *error: object) -> None:
        self._warnings.__exit__(*error)  # type: ignore[arg-type]


def dtypes_of(info: Any, claims: str) -> list[torch.dtype]:
    """What a column of the table, "cpu" or "cuda", says that an operator takes, by name."""
    return sorted(info.supported_dtypes(claims), key=str)


def backward_dtypes_of(info: Any, claims: str) -> set[torch.dtype]:
    """The same for gradients; empty where there are none."""
    return set(info.supported_backward_dtypes(claims)) if info.supports_autograd else set()


def dtype_name(dtype: torch.dtype) -> str:
    """Without the module's name."""
    return str(dtype).removeprefix("torch.")


def _shown(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        sizes = "x".join(map(str, value.shape)) or "scalar"
        return f"{dtype_name(value.dtype)}[{sizes}]"
    if isinstance(value, (list, tuple)):
        return "(" + ", ".join(map(_shown, value)) + ")"
    return repr(value)


def _restore_hypothesis() -> None:
    """PyTorch's test utilities make a profile of their own the current one as they are imported."""
    try:
        import hypothesis
    except ImportError:
        return
    hypothesis.settings.load_profile("default")
