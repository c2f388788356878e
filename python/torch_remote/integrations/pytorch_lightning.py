# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""torch_remote.integrations.lightning for programs that import Lightning as `pytorch_lightning`.

The package `lightning` has the same classes under other names, which know nothing of these.
"""

import lightning_fabric
import pytorch_lightning

from torch_remote.integrations._lightning import integrate

RemoteAccelerator, RemoteStrategy, RemoteFabricStrategy = integrate(
    pytorch_lightning, lightning_fabric, __name__
)

__all__ = ["RemoteAccelerator", "RemoteFabricStrategy", "RemoteStrategy"]
