# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""The operators behind measured durations: each is run once on a device that only records."""

import json
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

import torch
from gpu_measurements import launch_costs, time_matrix, time_pointwise
from gpu_measurements.programs import PROGRAMS
from torch.nn import functional
from torch_remote._loading import ensure_loaded

from kernel_times.measured import Sample
from kernel_times.models import model_call

# Operators' indices and how often they are called.
Calls = dict[int, int]

DTYPES = {
    "float32": torch.float32,
    "tf32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}
SQUARE_SIZES = (1024, 2048, 4096, 8192, 10240)


class Capture:
    """Runs programs on a recording device and remembers the operators of each, by a sample's key."""

    def __init__(self) -> None:
        index, self.recorder = ensure_loaded().recording_device(0)
        self.device = torch.device("remote", index)
        self._calls: dict[tuple[Any, ...], Calls] = {}

    def calls(self, key: tuple[Any, ...]) -> Calls:
        return self._calls[key]

    def knows(self, key: tuple[Any, ...]) -> bool:
        return key in self._calls

    def capture(self, samples: Iterable[Sample]) -> None:
        """Run what the samples measure. What can't run without values stays unknown."""
        keys = {sample.key for sample in samples} - set(self._calls)
        if any(key[0] == "item" for key in keys):
            self._capture_items({key for key in keys if key[0] == "item"})
        for key in keys:
            if key[0] == "operator":
                self._record(key, operator_call(self.device, key[1], key[2:]))
            elif key[0] in ("product", "best product"):
                self._record(key, self._square_product(key[1], key[2]))
            elif key[0] == "program":
                self._capture_program(key)
            elif key[0] == "model":
                self._capture_model(key)

    def square_sizes(self, key: tuple[Any, ...]) -> list[tuple[int, Calls]]:
        """Of a best product: all sizes that were tried."""
        found = []
        for size in SQUARE_SIZES:
            one = ("product", key[1], size)
            if not self.knows(one):
                self._record(one, self._square_product(key[1], size))
            found.append((size, self._calls[one]))
        return found

    def _record(self, key: tuple[Any, ...], call: Callable[[], object]) -> None:
        self.recorder.take()
        with (
            torch.no_grad()
            if key[0] in ("operator", "product", "best product")
            else torch.enable_grad()
        ):
            call()
        self._calls[key] = self.recorder.take()

    def _capture_items(self, keys: set[tuple[Any, ...]]) -> None:
        session: Any = SimpleNamespace(target=SimpleNamespace(device=self.device), is_tiny=False)
        groups: dict[str, Callable[[], Iterable[Any]]] = {
            "matrix": lambda: time_matrix.matrix_items(self.device, False),
            "elementwise": lambda: time_pointwise.elementwise_items(self.device, False),
            "convolution": lambda: time_matrix.convolution_items(self.device, False),
            "attention": lambda: time_matrix.attention_items(self.device, False),
            "rows": lambda: time_pointwise.row_items(self.device, False),
            "optimizers": lambda: time_pointwise.optimizer_items(self.device, False),
            "cache": lambda: launch_costs.cache_items(session),
            "indexing": lambda: time_pointwise.indexing_items(self.device, False),
            "images": lambda: time_pointwise.image_items(self.device, False),
            "layouts": lambda: time_pointwise.layout_items(self.device, False),
        }
        for group, items in groups.items():
            for item in items():
                key = ("item", group, item.name, json.dumps(item.parameters), item.is_cold)
                if key not in keys:
                    continue
                try:
                    call = item.make()
                    call()  # what only a first call does
                    self._record(key, call)
                except (RuntimeError, NotImplementedError):
                    continue  # its result's size depends on values, which this device has none of

    def _square_product(self, dtype: str, size: int) -> Callable[[], object]:
        a = torch.empty(size, size, device=self.device, dtype=DTYPES[dtype])
        return lambda: torch.mm(a, a)

    def _capture_program(self, key: tuple[Any, ...]) -> None:
        step = PROGRAMS[key[1]](self.device, False)
        step()
        self._record(key, step)

    def _capture_model(self, key: tuple[Any, ...]) -> None:
        self._record(key, model_call(self.device, *key[1:]))


def operator_call(device: torch.device, name: str, sizes: tuple[int, ...]) -> Callable[[], object]:
    """A call of NeuSight's tables; sizes are (b, m, n, k) or (rows, width)."""

    def empty(*shape: int) -> torch.Tensor:
        return torch.empty(shape, device=device)

    if name == "bmm":
        b, m, n, k = sizes
        return lambda: torch.bmm(empty(b, m, n), empty(b, n, k))
    if name == "linear":
        b, m, n, k = sizes
        return lambda: functional.linear(empty(b, m, n), empty(k, n), empty(k))
    rows, width = sizes
    x = empty(rows, width)
    calls: dict[str, Callable[[], object]] = {
        "ln": lambda: functional.layer_norm(x, (width,), empty(width), empty(width)),
        "softmax": lambda: functional.softmax(x, 1),
        "relu": lambda: torch.relu(x),
        "gelu": lambda: functional.gelu(x),
        "tanh": lambda: torch.tanh(x),
    }
    binary = {"add": torch.add, "mul": torch.mul, "div": torch.div, "pow": torch.pow}
    for operation, function in binary.items():
        calls[operation] = lambda function=function: function(x, empty(rows, width))  # type: ignore[misc]
        calls[operation + "u"] = lambda function=function: function(x, 0.7)  # type: ignore[misc]
    return calls[name]
