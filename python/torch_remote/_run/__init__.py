# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""`torch-remote run`: a script that says "cuda", on a remote device, as it is."""
