# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""torch.compile on remote devices: what PyTorch's compiler has to know of them, told when it is imported.

The backends "eager" and "aot_eager" need no more than that. "inductor" generates code for processors that it
knows: graphs with a tensor of a remote device run as "aot_eager" instead, all others are inductor's.
"""

import functools
import sys
import warnings
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import torch

from torch_remote._after_import import call_after_import
from torch_remote._names import is_remote


def install() -> None:
    """Arranges it; imports nothing of the compiler."""
    call_after_import(
        {
            "torch._dynamo.device_interface": _register_interface,
            "torch._dynamo.trace_rules": _skip_this_package,
            "torch._inductor.compile_fx": _keep_from_inductor,
            "torch._prims.rng_prims": _adapt_random_states,
            "torch._subclasses.fake_impls": _adapt_attention,
            "torch.nn.attention.flex_attention": _allow_flex_attention,
        }
    )


def _register_interface(_: ModuleType) -> None:
    from torch_remote import _device_interface

    _device_interface.register()


def _skip_this_package(trace_rules: ModuleType) -> None:
    """The functions of torch.remote have effects that no graph has: they are called between two graphs."""
    trace_rules.add("torch_remote")


def _adapt_random_states(rng_prims: ModuleType) -> None:
    from torch_remote import _recomputation

    _recomputation.adapt(rng_prims)


def _adapt_attention(fake_impls: ModuleType) -> None:
    from torch_remote import _fake_attention

    _fake_attention.adapt(fake_impls)


def _allow_flex_attention(flex_attention: ModuleType) -> None:
    """Without a compiler it is made of operators that every device has; PyTorch asks for the device's name."""
    validate: Callable[..., None] | None = getattr(flex_attention, "_validate_device", None)
    if validate is None:
        return

    @functools.wraps(validate)
    def wrapper(query: torch.Tensor, *others: torch.Tensor) -> None:
        if not is_remote(query.device):
            validate(query, *others)

    flex_attention._validate_device = wrapper  # type: ignore[attr-defined]


# ---- inductor ----


def _keep_from_inductor(compile_fx_module: ModuleType) -> None:
    """All ways to inductor go through its compile_fx: torch.compile, torch._inductor.compile, AOTInductor."""
    compile_fx: Callable[..., Any] = compile_fx_module.compile_fx

    @functools.wraps(compile_fx)
    def wrapper(model_: Any, example_inputs_: Any, *arguments: Any, **options: Any) -> Any:
        if not _uses_remote(model_, example_inputs_):
            return compile_fx(model_, example_inputs_, *arguments, **options)
        if _is_ahead_of_time():
            raise NotImplementedError(
                "AOTInductor makes no code for the executors of remote devices; torch.export works, and "
                "what it gives runs on them"
            )
        _say_it_is_aot_eager()
        from torch._dynamo.backends.registry import lookup_backend

        return lookup_backend("aot_eager")(model_, example_inputs_)

    compile_fx_module.compile_fx = wrapper  # type: ignore[attr-defined]


def _is_ahead_of_time() -> bool:
    from torch._inductor.virtualized import V

    return bool(getattr(V, "aot_compilation", False))


@functools.cache
def _say_it_is_aot_eager() -> None:
    """Once a process, however many graphs and devices there are."""
    warnings.warn(
        'torch.compile: the backend "inductor" makes no code for the executors of remote devices yet: what '
        'uses tensors of one runs as with backend="aot_eager", and mode and options are ignored',
        UserWarning,
        stacklevel=_users_level(),
    )


def _users_level() -> int:
    """How far above the caller the program's own code is: between them are PyTorch's compiler and this file."""
    libraries = (torch.__path__[0] + "/", __file__)
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(libraries):
        level, frame = level + 1, frame.f_back
    return level


def _uses_remote(model: Any, inputs: Any) -> bool:
    return any(_is_remote(value) for value in _values(model, inputs))


def _is_remote(value: Any) -> bool:
    return is_remote(value.device if isinstance(value, torch.Tensor) else value)


def _values(model: Any, inputs: Any) -> Iterator[Any]:
    """Inputs, parameters, buffers, and what the graphs, those of its parts too, take and give."""
    from torch.utils import _pytree as pytree

    yield from pytree.tree_leaves(inputs)
    if not isinstance(model, torch.nn.Module):
        return
    yield from model.parameters()
    yield from model.buffers()
    for part in model.modules():
        if not isinstance(part, torch.fx.GraphModule):
            continue
        for node in part.graph.nodes:
            known = [node.meta.get("example_value"), node.meta.get("val")]
            yield from pytree.tree_leaves([known, node.args, node.kwargs])
