# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the tests of other people's libraries share. Import it before any of them.

None of them may reach a hub, and all start without what they would only tell people.
"""

import contextlib
import copy
import os
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch_remote
from comparing import Counting, assert_same, to_device
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

os.environ["HF_HUB_OFFLINE"] = "1"

# torchvision's wheel is built for CUDA, and its library of operators can't be loaded beside a torch
# for CPU. The package goes on without them, except that it gives two of them a shape function, which
# wants a schema to be there. timm, transformers and Lightning use nothing of those operators.
TORCHVISION_REPAIR = """
import sys, torch
try:
    import torchvision
except ModuleNotFoundError:
    pass
except RuntimeError:
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    for name in [name for name in sys.modules if name.startswith("torchvision.")]:
        del sys.modules[name]
    import torchvision
    torchvision._schemas_of_missing_operators = library
"""
exec(TORCHVISION_REPAIR, {})


def library(name: str) -> Any:
    """A library's module; the test is skipped where it isn't installed. They import what PyTorch has deprecated."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(name)


def tensors_of(output: Any) -> list[torch.Tensor]:
    """Those in an output of a model, in order, with those in its caches."""
    leaves = pytree.tree_leaves(output.to_tuple() if hasattr(output, "to_tuple") else output)
    return [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]


Step = Callable[[torch.nn.Module, Any], tuple[torch.Tensor, list[torch.Tensor]]]


class Comparison:
    """A model on CPU and its copy on a device, which are asked the same."""

    def __init__(self, model: torch.nn.Module, inputs: Any, device: torch.device) -> None:
        self.device = device
        self.local, self.remote = model, copy.deepcopy(model).to(device)
        self.inputs, self.remote_inputs = inputs, to_device(inputs, device)
        assert all(parameter.device == device for parameter in self.remote.parameters())
        # Weights that are shared stay shared.
        assert len(list(self.remote.parameters())) == len(list(model.parameters()))

    def inference(self, call: Callable[[torch.nn.Module, Any], Any]) -> None:
        """Outputs in evaluation mode have the same bits."""
        self.local.eval()
        self.remote.eval()
        with torch.no_grad():
            expected = tensors_of(call(self.local, self.inputs))
            actual = tensors_of(call(self.remote, self.remote_inputs))
        assert expected
        assert all(tensor.device == self.device for tensor in actual)
        assert_same(actual, expected)

    def training(self, step: Step, *, steps: int = 3, round_trips: int = 0) -> None:
        """Losses, outputs and gradients of each AdamW step, and the weights after all, have the same bits.

        A step after the first makes so many round trips, and no plan.
        """
        self.local.train()
        self.remote.train()
        here = torch.optim.AdamW(self.local.parameters(), lr=1e-3)
        there = torch.optim.AdamW(self.remote.parameters(), lr=1e-3)
        for number in range(steps):
            torch.manual_seed(number)
            expected = self._step(self.local, self.inputs, here, step)
            torch.manual_seed(number)
            with Counting(self.device) as counted:
                actual = self._step(self.remote, self.remote_inputs, there, step)
            if number > 0:
                assert counted.round_trips == round_trips
                assert counted.plans == 0
            assert_same(actual, expected)
            self._assert_same_gradients()
        assert_same(self.remote.state_dict(), self.local.state_dict())

    @staticmethod
    def _step(
        model: torch.nn.Module, inputs: Any, optimizer: torch.optim.Optimizer, step: Step
    ) -> list[torch.Tensor]:
        optimizer.zero_grad()
        loss, outputs = step(model, inputs)
        loss.backward()
        optimizer.step()
        return [loss, *outputs]

    def _assert_same_gradients(self) -> None:
        seen = 0
        pairs = zip(self.remote.named_parameters(), self.local.parameters(), strict=True)
        for (name, actual), expected in pairs:
            assert (actual.grad is None) == (expected.grad is None), name
            if actual.grad is not None:
                assert_same(actual.grad, expected.grad)
                seen += 1
        assert seen


class HostReads(TorchDispatchMode):
    """Which lines of a program make round trips, and how many: `file:line` of the library that reads."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self._device = device
        self.where: Counter[str] = Counter()

    def __torch_dispatch__(
        self, function: Any, _types: Any, arguments: Any = (), options: Any = None
    ) -> Any:
        before = torch_remote.stats(self._device).round_trips
        result = function(*arguments, **(options or {}))
        count = torch_remote.stats(self._device).round_trips - before
        if count:
            self.where[self._line()] += count
        return result

    @staticmethod
    def _line() -> str:
        frame = sys._getframe(2)
        while "/torch/" in frame.f_code.co_filename and frame.f_back is not None:
            frame = frame.f_back
        return f"{frame.f_code.co_filename.rsplit('/site-packages/')[-1]}:{frame.f_lineno}"


@contextlib.contextmanager
def variable(name: str, value: str | None) -> Iterator[None]:
    """Sets an environment variable, or takes it out, within a with block."""
    with pytest.MonkeyPatch.context() as patch:
        if value is None:
            patch.delenv(name, raising=False)
        else:
            patch.setenv(name, value)
        yield
