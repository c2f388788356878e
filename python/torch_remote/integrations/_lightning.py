# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Lightning's accelerator and strategies for the device, for either of the names that it is imported by.

The accelerator is Lightning's interface for hardware of others. A strategy of our own is needed as
well, for Lightning gives every accelerator that it doesn't know a strategy that trains on CPU, and a
plugin for mixed precision that casts for CUDA.
"""

from importlib import import_module
from types import ModuleType
from typing import Any

import torch

from torch_remote import remote

_NAME = "remote"


class _Accelerator:
    """Lightning's Accelerator, apart from its base class."""

    def setup_device(self, device: torch.device) -> None:
        """Makes the strategy's device the current one."""
        if device.type != _NAME:
            raise ValueError(
                f'accelerator="{_NAME}" got a strategy for {device.type}; pass strategy="{_NAME}" as well'
            )
        remote.set_device(device)

    def get_device_stats(self, device: torch.device | str | int) -> dict[str, Any]:
        """For the callback DeviceStatsMonitor: what torch.remote.memory_stats gives."""
        return dict(remote.memory_stats(device))

    def teardown(self) -> None:
        """Gives back what the caching allocator of the machine holds."""
        remote.empty_cache()

    @staticmethod
    def parse_devices(devices: int | str | list[int]) -> list[int]:
        """The indices: [1] and "1," are remote:1; 1, -1 and "auto" are the current device."""
        if isinstance(devices, str):
            numbers = [int(number) for number in devices.split(",") if number.strip()]
            devices = numbers if "," in devices else numbers[0]
        if isinstance(devices, int):
            current = remote.current_device()
            indices = [current] if devices in (1, -1) else list(range(devices))
        else:
            indices = list(devices)
        if len(indices) != 1:
            raise ValueError(
                f"Lightning trains on one remote device, but devices={devices!r} are {len(indices)}"
            )
        return indices

    @staticmethod
    def get_parallel_devices(devices: list[int]) -> list[torch.device]:
        """The devices of parse_devices' indices."""
        return [torch.device(_NAME, index) for index in devices]

    @staticmethod
    def auto_device_count() -> int:
        """What devices="auto" stands for."""
        return 1

    @staticmethod
    def is_available() -> bool:
        """Whether there is a device; torch_remote.emulate(), connect() and others make one."""
        return remote.is_available()

    @staticmethod
    def name() -> str:
        """As in Trainer(accelerator=...)."""
        return _NAME

    @classmethod
    def register_accelerators(cls, registry: Any) -> None:
        """Called for a registry of Lightning's."""
        registry.register(_NAME, cls, description="torch-remote", override=True)


class _Strategy:
    """Lightning's SingleDeviceStrategy, apart from its base class: for a remote device."""

    _root_device: torch.device

    @property
    def parallel_devices(self) -> list[torch.device]:
        """Where Lightning puts what devices=... stands for; here it is one device."""
        return [self._root_device] if self._root_device.index is not None else []

    @parallel_devices.setter
    def parallel_devices(self, devices: list[torch.device]) -> None:
        (device,) = devices
        if device.type != _NAME:
            raise ValueError(
                f'strategy="{_NAME}" got a device of type {device.type}; pass accelerator="{_NAME}" as well'
            )
        self._root_device = device

    @classmethod
    def register_strategies(cls, registry: Any) -> None:
        """Called for a registry of Lightning's."""
        registry.register(_NAME, cls, description="torch-remote", override=True)


def integrate(pytorch: ModuleType, fabric: ModuleType, module: str) -> tuple[type, type, type]:
    """Makes and registers the classes: the accelerator, the Trainer's strategy, and Fabric's."""
    pytorch_accelerators = import_module(f"{pytorch.__name__}.accelerators")
    pytorch_strategies = import_module(f"{pytorch.__name__}.strategies")
    pytorch_precision = import_module(f"{pytorch.__name__}.plugins.precision")
    fabric_accelerators = import_module(f"{fabric.__name__}.accelerators")
    fabric_strategies = import_module(f"{fabric.__name__}.strategies")
    fabric_precision = import_module(f"{fabric.__name__}.plugins.precision")

    accelerator = _named(
        "RemoteAccelerator", module, _Accelerator, pytorch_accelerators.Accelerator
    )
    strategy = _strategy("RemoteStrategy", module, pytorch_strategies, pytorch_precision)
    fabric_strategy = _strategy("RemoteFabricStrategy", module, fabric_strategies, fabric_precision)
    accelerator.register_accelerators(pytorch_accelerators.AcceleratorRegistry)
    accelerator.register_accelerators(fabric_accelerators.ACCELERATOR_REGISTRY)
    strategy.register_strategies(pytorch_strategies.StrategyRegistry)
    fabric_strategy.register_strategies(fabric_strategies.STRATEGY_REGISTRY)
    return accelerator, strategy, fabric_strategy


def _named(name: str, module: str, *bases: type) -> Any:
    """A class that says, and pickles as, what the module calls it."""
    return type(name, bases, {"__module__": module, "__doc__": bases[0].__doc__})


def _strategy(name: str, module: str, strategies: ModuleType, precisions: ModuleType) -> Any:
    base = strategies.SingleDeviceStrategy
    # The Trainer's strategies call the plugin for precision another name than Fabric's do.
    attribute = "precision_plugin" if hasattr(base, "precision_plugin") else "precision"
    inherited = getattr(base, attribute)

    def set_precision(self: Any, plugin: Any) -> None:
        # Lightning makes one for CUDA, whatever the accelerator is.
        if isinstance(plugin, precisions.MixedPrecision) and plugin.device == "cuda":
            plugin = precisions.MixedPrecision(plugin.precision, _NAME)
        inherited.fset(self, plugin)

    def initialize(self: Any, device: torch.device | str = _NAME, **options: Any) -> None:
        base.__init__(self, device=device, **options)

    made = _named(name, module, _Strategy, base)
    made.__init__ = initialize
    setattr(made, attribute, property(inherited.fget, set_precision, doc=inherited.__doc__))
    return made
