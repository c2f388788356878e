# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""A PyTorch device whose tensors live on an executor: an emulated GPU here, or a machine elsewhere.

import torch, torch_remote

device = torch_remote.emulate("A100-80GB")
x = torch.randn(1000, 1000, device=device)
print((x @ x).sum().item())
"""

from torch_remote._loading import ensure_loaded, load

load()

from torch_remote._cuda_names.replace import replace_cuda  # noqa: E402
from torch_remote._devices import (  # noqa: E402 (the device type has to be registered first)
    Statistics,
    connect,
    emulate,
    null_device,
    stats,
)
from torch_remote._emulation.compare import compare  # noqa: E402
from torch_remote._emulation.result import (  # noqa: E402
    Comparison,
    GpuRun,
    MemoryPoint,
    OperatorUse,
    Shortfall,
)
from torch_remote._emulation.result import result_of as emulation  # noqa: E402
from torch_remote._emulation.steps import step  # noqa: E402
from torch_remote._executor_process import LocalExecutor  # noqa: E402
from torch_remote._gpus import GPU_TYPES, GpuProperties, gpu_properties  # noqa: E402
from torch_remote._machines.create import (  # noqa: E402
    attach,
    create_device,
    create_modal_device,
)
from torch_remote._machines.machine import Machine, machine, machines  # noqa: E402
from torch_remote._modelled_time import ModelledTime, modelled_time  # noqa: E402
from torch_remote._network import Network  # noqa: E402
from torch_remote._profile import Profile, profile  # noqa: E402
from torch_remote._version import __version__  # noqa: E402
from torch_remote.faults import Faults  # noqa: E402
from torch_remote.providers import ProviderError  # noqa: E402

__all__ = [
    "GPU_TYPES",
    "Comparison",
    "Faults",
    "GpuProperties",
    "GpuRun",
    "LocalExecutor",
    "Machine",
    "MemoryPoint",
    "ModelledTime",
    "Network",
    "OperatorUse",
    "Profile",
    "ProviderError",
    "Shortfall",
    "Statistics",
    "__version__",
    "attach",
    "compare",
    "connect",
    "create_device",
    "create_modal_device",
    "emulate",
    "emulation",
    "ensure_loaded",
    "gpu_properties",
    "machine",
    "machines",
    "modelled_time",
    "null_device",
    "profile",
    "replace_cuda",
    "stats",
    "step",
]
