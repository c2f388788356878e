# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""The demo: two small networks learn to read digits on emulated GPUs, here and in another process.

Run it with `python -m torch_remote.demo`; it needs scikit-learn and rich.
"""

import importlib.util

_MISSING = [
    package
    for module, package in (("sklearn", "scikit-learn"), ("rich", "rich"))
    if importlib.util.find_spec(module) is None
]
if _MISSING:
    raise SystemExit(f"the demo needs more packages: pip install {' '.join(_MISSING)}")
