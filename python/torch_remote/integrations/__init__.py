# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""What other libraries want to be told about the device; docs/INTEGRATIONS.md says which need nothing.

Nothing here is imported by torch_remote itself, so none of these libraries is needed.
"""
