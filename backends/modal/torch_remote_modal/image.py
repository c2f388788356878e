# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""The image: CUDA, the client's version of torch, and the executor built from this source, once."""

import os
import sys
from typing import Any

import torch
from torch_remote.providers import Progress

from torch_remote_modal import source
from torch_remote_modal.errors import client, explained

# CUDA 13, as the wheels of torch on PyPI have it from 2.11 on.
BASE = "nvidia/cuda:13.0.1-devel-ubuntu24.04"

_APT = ("g++", "libzmq3-dev", "cppzmq-dev", "pkg-config")
_BUILD_TOOLS = ("cmake", "ninja", "numpy", "scikit-build-core>=0.11")
# What Modal adds to an image that has no Python.
_PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
_SDIST = "/opt/torch-remote.tar.gz"


def build(
    app: Any,
    chosen: str | os.PathLike[str] | None,
    base: str,
    progress: Progress,
    *,
    with_cuda: bool,
) -> Any:
    """The image, built if Modal does not have it.

    Args:
        app: where it is built.
        chosen: the source, as source.packed takes it.
        base: an image with CUDA's compiler and headers, without Python.
        with_cuda: an image whose executor could not use a GPU is not built.

    Raises:
        ProviderError: no source, or the build failed.
    """
    sdist = source.packed(chosen)
    progress.stage("building the image, which Modal keeps for the next time")
    with explained("building the image", nothing_started=True):
        image = _recipe(sdist, base, with_cuda)
        if not progress.visible:
            image.build(app)
        else:
            with progress.suspended(), client().enable_output():
                image.build(app)
    return image


def _recipe(sdist: os.PathLike[str], base: str, with_cuda: bool) -> Any:
    torch_version = torch.__version__.split("+")[0]
    require = "-C cmake.define.TORCH_REMOTE_REQUIRE_CUDA=ON " if with_cuda else ""
    return (
        client()
        .Image.from_registry(base, add_python=_python())
        .apt_install(*_APT)
        .pip_install(f"torch=={torch_version}")
        .pip_install(*_BUILD_TOOLS)
        .add_local_file(str(sdist), _SDIST, copy=True)
        # Not isolated: it has to be built against the torch that it runs with.
        .run_commands(f"pip install --no-deps --no-build-isolation {require}{_SDIST}")
    )


def _python() -> str:
    """The client's own version, as far as Modal has it."""
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    return own if own in _PYTHONS else _PYTHONS[2]
