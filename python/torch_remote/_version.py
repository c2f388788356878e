# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""The package's version, as pyproject.toml gave it to the installation."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("torch-remote")
except PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "0.0.0"
