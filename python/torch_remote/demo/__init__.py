# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""The demo: two small networks learn to read digits on emulated GPUs, here and in another process.

Run it with `python -m torch_remote.demo`; it needs scikit-learn and rich.
"""
