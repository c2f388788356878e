# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""The sections of measure_gpu.py: what a real GPU shows to PyTorch, as reference for the emulator."""
