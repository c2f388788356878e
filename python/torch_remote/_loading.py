# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Registers the device type with PyTorch, once, and keeps what went wrong for the first use."""

import importlib
import sys
from types import ModuleType

import torch

_failure: ImportError | None = None
_extension: ModuleType | None = None


def load() -> None:
    """Registers `remote` as PyTorch's PrivateUse1 device.

    Never raises: a torch that was upgraded under the package, or another backend in the same place,
    shows at the first use (:func:`ensure_loaded`), so that importing stays safe.
    """
    global _extension, _failure
    if _extension is not None or _failure is not None:
        return
    try:
        _check_name_is_free()
        _check_torch_version()
        extension = importlib.import_module("torch_remote._C")
        _adapt_torch()
        # Only now: a name without a device behind it would already be `torch.accelerator`.
        torch.utils.rename_privateuse1_backend("remote")
        _register_module()
        _extension = extension
    except Exception as error:  # noqa: BLE001 (whatever it is, the first use tells it)
        _failure = ImportError(_advice(error))
        _failure.__cause__ = error


def ensure_loaded() -> ModuleType:
    """The extension module. Raises ImportError, saying what to do, where it could not be loaded."""
    if _extension is None:
        load()
    if _extension is None:
        assert _failure is not None
        raise _failure
    return _extension


def _check_name_is_free() -> None:
    current = torch._C._get_privateuse1_backend_name()
    if current not in ("remote", "privateuseone"):
        raise RuntimeError(f"PyTorch's place for an extra device is taken by {current!r}")


def _check_torch_version() -> None:
    """PyTorch's C++ interface changes with each minor version; loading over a change could crash."""
    built_for = importlib.import_module("torch_remote._build_info").TORCH_VERSION
    if built_for.split("+")[0].split(".")[:2] != torch.__version__.split("+")[0].split(".")[:2]:
        raise ImportError(f"it was built for torch {built_for}")


def _adapt_torch() -> None:
    from torch_remote import _compiler, _generators, _printing, _recurrent, _refusals

    _generators.install()
    _refusals.install()
    _printing.install()
    _compiler.install()
    _recurrent.install()


def _register_module() -> None:
    from torch_remote import remote

    if not hasattr(torch, "remote"):
        torch._register_device_module("remote", remote)
    # As torch.cuda.memory, it can be imported.
    sys.modules.setdefault("torch.remote.memory", remote.memory)
    if not hasattr(torch.Tensor, "is_remote"):
        torch.utils.generate_methods_for_privateuse1_backend()


def _advice(error: Exception) -> str:
    if isinstance(error, RuntimeError) and "taken by" in str(error):
        return (
            f"torch_remote can't be used in this process: {error}. Uninstall one of the two, or start Python "
            "with TORCH_DEVICE_BACKEND_AUTOLOAD=0 and import only the one that you need."
        )
    return (
        f"torch_remote's extension can't be loaded with torch {torch.__version__}: {error}. It has to be built "
        "against the torch and the Python that it runs with: in torch-remote's source folder, ./dev build, or "
        "pip install --force-reinstall --no-deps --no-build-isolation ."
    )
