# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Tests for those who extend torch-remote. Needs pytest; docs/PROVIDERS.md shows the use."""

import pytest

pytest.register_assert_rewrite("torch_remote.testing.provider_contract")

from torch_remote.testing.provider_contract import ProviderContract  # noqa: E402

__all__ = ["ProviderContract"]
