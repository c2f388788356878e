# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Operators and overloads that none of PyTorch's tables has: a masked softmax, resampling by Lanczos' kernel, bounds by
numbers, draws into tensors that are there, lengths that are tensors. Each is called twice, the second time by a plan that is there."""

from collections.abc import Callable

import torch

from torch_remote_conformance.case import Level
from torch_remote_conformance.comparing import CLASS_FACTORS, Comparison
from torch_remote_conformance.family import Family, assert_same_program
from torch_remote_conformance.target import Target

FAMILY = Family("unlisted", Level.L3, lambda target: target.device.type != "meta")
cases = FAMILY.cases

#: Results of one call, from a tensor of 2 x 3 x 8 x 8 standard normal numbers.
Call = Callable[[torch.Tensor], torch.Tensor]


def _masked_softmax(x: torch.Tensor) -> torch.Tensor:
    mask = (torch.arange(8) % 3 == 1).expand(x.shape).to(x.device)
    return torch._masked_softmax(x, mask, -1)


def _resampled(x: torch.Tensor) -> torch.Tensor:
    made: torch.Tensor = torch.ops.aten._upsample_lanczos2d_aa(x, [5, 11], False)
    return made


def _aligned(x: torch.Tensor) -> torch.Tensor:
    """The connectionist temporal classification whose lengths are tensors of the device."""
    steps, classes = 12, 5
    rows = x.flatten()[: steps * classes].reshape(steps, 1, classes).log_softmax(-1)
    targets = torch.tensor([[1, 2, 2, 4]], device=x.device)
    lengths = torch.tensor([steps], device=x.device), torch.tensor([4], device=x.device)
    # torch.nn.functional.ctc_loss reads the lengths where this kernel takes them.
    loss: torch.Tensor = torch.ops.aten._ctc_loss.Tensor(rows, targets, *lengths)[0]
    return loss


#: Two numbers each: the first and the second call's.
_BOUNDS: dict[str, Callable[[torch.Tensor, float], torch.Tensor]] = {
    "clamp": lambda x, number: torch.clamp(x, -abs(number), number + 0.75),
    "clamp_max": torch.clamp_max,
    "clamp_min": torch.clamp_min,
    "clamp_max_": lambda x, number: x.clone().clamp_max_(number),
    "clamp_min_": lambda x, number: x.clone().clamp_min_(number),
    "maximum of a number": lambda x, number: torch.maximum(x, torch.tensor(number)),
    "threshold": lambda x, number: torch.nn.functional.threshold(x, number, -number),
}
_CALLS: dict[str, Call] = {"masked softmax": _masked_softmax, "ctc": _aligned}
if hasattr(torch.ops.aten, "_upsample_lanczos2d_aa"):
    _CALLS["Lanczos"] = _resampled


def _how(target: Target) -> Comparison:
    return Comparison(target.computes_as_cpu, CLASS_FACTORS["reduction"])


@FAMILY.case("calls", each=_CALLS)
def _calls(target: Target, call: Call) -> None:
    def program(device: torch.device) -> list[torch.Tensor | None]:
        generator = torch.Generator().manual_seed(3)
        made: list[torch.Tensor | None] = []
        for _ in range(2):
            x = torch.randn(2, 3, 8, 8, generator=generator).to(device).requires_grad_()
            y = call(x)
            y.backward(torch.randn(y.shape, generator=generator).to(device))
            made += [y.detach(), x.grad]
        return made

    assert_same_program(target, program, _how(target))


@FAMILY.case("bounds", each=_BOUNDS)
def _bounds(target: Target, call: Callable[[torch.Tensor, float], torch.Tensor]) -> None:
    def program(device: torch.device) -> list[torch.Tensor | None]:
        generator = torch.Generator().manual_seed(4)
        made: list[torch.Tensor | None] = []
        for number in (0.25, -0.5):
            x = torch.randn(3, 7, generator=generator).to(device).requires_grad_()
            y = call(x, number)
            y.backward(torch.randn(y.shape, generator=generator).to(device))
            # The result is what it was, whatever becomes of its operand.
            x.detach().copy_(torch.zeros(3, 7))
            made += [y.detach().clone(), x.grad]
            x.detach().add_(1)
            made += [y.detach()]
        return made

    assert_same_program(target, program, _how(target))


@FAMILY.case("draws_into_tensors_that_are_there", each=("uniform_", "normal_", "exponential_"))
def _draws(target: Target, name: str) -> None:
    """Nothing but the draws comes after the seed."""

    def program(device: torch.device) -> list[torch.Tensor]:
        tensors = [torch.zeros(9, device=device) for _ in range(4)]
        torch.manual_seed(11)
        for tensor in tensors:
            getattr(tensor, name)()
        return tensors

    if target.draws_as_cpu:
        assert_same_program(target, program)
    drawn = {tuple(tensor.tolist()) for tensor in program(target.device)}
    assert len(drawn) == 4, "the same numbers twice"
