# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""The model of kernel times against measurements: what emulator/time is fitted to and judged by."""
