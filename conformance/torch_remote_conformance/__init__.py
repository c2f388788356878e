# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""The conformance suite: what a device of PyTorch has to be able to do, level by level."""
