# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""The repository's root on the path: what these tests use is not in any installed package."""

import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[3]
# The provider too, where the package was installed before it was there.
sys.path[:0] = [str(_ROOT), str(_ROOT / "backends" / "modal")]
