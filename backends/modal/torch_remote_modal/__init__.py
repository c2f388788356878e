# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""The provider "modal": torch_remote.create_modal_device(gpu_type="A100").

Importing it needs no package modal; using it does.
"""

from torch_remote_modal.provider import ModalProvider

__all__ = ["ModalProvider"]
