# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Functions that make tensors where "device" says.

Which those are is taken from PyTorch's own schemas, so it holds for each of its versions. An operation that names
no device is not touched: it costs what it cost before.
"""

from typing import Any

import torch
from torch.jit import _builtins
from torch.utils._device import _device_constructors

from torch_remote._cuda_names.arguments import taking_device, taking_device_first
from torch_remote._cuda_names.patches import Patches

# Not in the schemas' list, because PyTorch parses their arguments by hand or calls them by other names.
_UNLISTED = ("tensor", "as_tensor", "asarray", "sparse_compressed_tensor", "_pin_memory")
# Schemas of these names aren't the functions that torch has: eq and ne compare devices in TorchScript.
_NOT_FACTORIES = frozenset({"eq", "ne", "Generator", "normal_functional"})


def install(patches: Patches, _indices: list[int]) -> None:
    """Wraps torch's factories, those of tensors and storages, and what nn.Module.to parses."""
    # "with torch.device(...)" knows factories by their identity, and asks once for them.
    _device_constructors()
    names = _names()
    for name in names:
        if callable(getattr(torch, name, None)):
            _wrap_function(patches, name)
    for name in names:
        if hasattr(torch.Tensor, name) and name not in ("to", "pin_memory", "is_pinned"):
            patches.wrap(torch.Tensor, name, taking_device)
    for name in ("new_tensor", "new"):
        patches.wrap(torch.Tensor, name, taking_device)
    for name in ("fftfreq", "rfftfreq"):
        patches.wrap(torch.fft, name, taking_device)
    for name in ("nested_tensor", "as_nested_tensor"):
        patches.wrap(torch.nested, name, taking_device)
    patches.wrap(torch._C._nn, "_parse_to", taking_device_first)
    patches.set(torch.UntypedStorage, "__new__", taking_device(torch.UntypedStorage.__new__))


def _names() -> list[str]:
    """Of operators with an argument of the type Device."""
    schemas: list[Any] = torch._C._jit_get_all_schemas()
    found = {
        schema.name.removeprefix("aten::")
        for schema in schemas
        if schema.name.startswith("aten::")
        and any(
            str(argument.type) in ("Device", "Optional[Device]") for argument in schema.arguments
        )
    }
    return sorted((found | set(_UNLISTED)) - _NOT_FACTORIES)


def _wrap_function(patches: Patches, name: str) -> None:
    original = getattr(torch, name)
    wrapper = taking_device(original)
    patches.set(torch, name, wrapper)
    # TorchScript knows functions by their identity as well.
    operator = _builtins._find_builtin(original)
    if operator is not None:
        patches.item(_builtins._get_builtin_table(), id(wrapper), operator)
