# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""For tests: limits of memory and reads (docs/TESTING.md), and the tests that a provider has to pass.

Needs pytest.
"""

import pytest

pytest.register_assert_rewrite("torch_remote.testing.provider_contract")

from torch_remote.testing.limits import assert_fits, max_host_reads, max_memory  # noqa: E402
from torch_remote.testing.provider_contract import ProviderContract  # noqa: E402

__all__ = ["ProviderContract", "assert_fits", "max_host_reads", "max_memory"]
