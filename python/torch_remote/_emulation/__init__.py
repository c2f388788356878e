# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""One program, looked at by the models of several GPUs: dry runs, comparisons, and what shows them."""
