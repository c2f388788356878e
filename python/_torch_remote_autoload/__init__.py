# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""What `import torch` calls: registers the device without ever breaking or changing that import.

A package of its own, because importing any part of torch_remote registers the device already.
"""

import os


def autoload() -> None:
    """The entry point of the group `torch.backends`."""
    try:
        if _wanted():
            import torch_remote  # noqa: F401 (importing it registers the device)
    except Exception:  # noqa: BLE001 (importing torch must go on, whatever is wrong here)
        return


def _wanted() -> bool:
    """Whether `import torch` alone may register the device.

    A registered PrivateUse1 device becomes `torch.accelerator`. Where torch has another accelerator
    (CUDA, ROCm, MPS) that would change other programs, so there it waits until it is asked for
    (`import torch_remote`, or TORCH_REMOTE_AUTOLOAD=1).
    """
    if os.environ.get("TORCH_REMOTE_AUTOLOAD") == "1":
        return True
    import torch

    return torch.version.cuda is None and torch.accelerator.current_accelerator() is None
