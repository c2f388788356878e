# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Importing this makes "remote" an accelerator and a strategy of Lightning.

    import torch_remote.integrations.lightning

    trainer = lightning.Trainer(accelerator="remote", strategy="remote")
    fabric = lightning.Fabric(accelerator="remote", strategy="remote")

devices=[1] takes remote:1; otherwise it is the current device.
"""

import lightning.fabric
import lightning.pytorch

from torch_remote.integrations._lightning import integrate

RemoteAccelerator, RemoteStrategy, RemoteFabricStrategy = integrate(
    lightning.pytorch, lightning.fabric, __name__
)

__all__ = ["RemoteAccelerator", "RemoteFabricStrategy", "RemoteStrategy"]
