# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""A call's arguments on CPU and on the target, and how what it does on both sides is compared."""

import contextlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from unittest import mock

import torch
from torch.utils import _pytree as pytree

from torch_remote_conformance import rules
from torch_remote_conformance.case import Recorder, Skip, describe
from torch_remote_conformance.comparing import Comparison, assert_same
from torch_remote_conformance.placing import placed, tensors
from torch_remote_conformance.sources import Sample
from torch_remote_conformance.target import Target

Arguments = tuple[tuple[Any, ...], dict[str, Any]]


@dataclass
class Pair:
    """The arguments of a call on both sides.

    Args:
        info: what has the name that the rules are for.
        sample: the arguments on CPU.
        recorder: of the case.
    """

    info: Any
    sample: Sample
    recorder: Recorder

    def __post_init__(self) -> None:
        self.target: Target = self.recorder.target
        #: Whether the last call drew random numbers.
        self.is_random = False
        # A copy on CPU as well: calls change their arguments, and some samples are odd views.
        self.local: Arguments = self._placed(torch.device("cpu"))
        self.remote = rules.adjusted(
            self.info.name, self.local, self._placed(self.target.device), self.target.device
        )

    def _placed(self, device: torch.device) -> Arguments:
        positional, keywords = placed((self.sample.positional, self.sample.keywords), device)
        return positional, keywords

    def compare(self, call: Callable[..., Any]) -> tuple[Any, Any] | None:
        """Calls on both sides; both results if they agree, None if both raise; AssertionError else."""
        expected, self.is_random = self.reference(call)
        if self.is_random:
            torch.manual_seed(self.recorder.seed)
        actual = attempt(call, self.remote, self.target)
        if isinstance(expected, Exception):
            if "INTERNAL ASSERT FAILED" in str(expected):
                raise Skip  # a defect of PyTorch's, which is no reference
            _compare_errors(actual, expected)
            return None
        if isinstance(actual, Exception):
            raise actual
        how = self.comparison(is_random=self.is_random)
        precise = None if how.exact else _in_double(call, self.local)
        assert_same(actual, expected, how, precise=precise)
        _compare_aliases(self.remote, actual, self.local, expected)
        _compare_contents(self)
        return actual, expected

    def reference(self, call: Callable[..., Any]) -> tuple[Any, bool]:
        """CPU's result, or its exception; and whether it drew random numbers."""
        torch.manual_seed(self.recorder.seed)
        before = torch.get_rng_state()
        # PyTorch's table wraps random operators: they seed themselves, and put the state back.
        with mock.patch.object(torch, "manual_seed", wraps=torch.manual_seed) as seeding:
            expected = attempt(call, self.local, None)
        return expected, seeding.called or not torch.equal(before, torch.get_rng_state())

    def comparison(self, *, is_random: bool) -> Comparison:
        return rules.comparison(self.info.name, self.target, is_random=is_random)


def attempt(call: Callable[..., Any], arguments: Arguments, target: Target | None) -> Any:
    """The result, or the exception, whenever it comes: operations may fail after their call."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = call(*arguments[0], **arguments[1])
        if target is not None:
            target.synchronize()
    except Exception as error:  # noqa: BLE001 (it is what is compared)
        if target is not None:
            with contextlib.suppress(Exception):
                target.synchronize()  # what failed with it belongs to this call
        return error
    return result


def check_ownership(pair: "Pair", remote: Any, local: Any, results: Any) -> None:
    """Writes into the results: those that share no memory with what was given change nothing there; and the other way round.

    Args:
        pair: of the call.
        remote: what the target was given.
        local: the same on CPU.
        results: of the target.
    """
    aliases = _aliases(remote, results)
    for tensor, alias in zip(tensors(results), aliases, strict=True):
        if alias is None:
            _invert(tensor)
    try:
        _compare_given(remote, local, pair.comparison(is_random=pair.is_random))
    except AssertionError as error:
        raise AssertionError(f"writing into a result changes an argument: {error}") from None
    own = [result for result, alias in zip(tensors(results), aliases, strict=True) if alias is None]
    before = [result.detach().cpu() for result in own]
    for tensor in tensors(remote):
        if tensor.device == pair.target.device:
            _invert(tensor)
    for result, content in zip(own, before, strict=True):
        if not torch.equal(_bytes_of(result.detach().cpu()), _bytes_of(content)):
            raise AssertionError("writing into an argument changes a result")


def _invert(tensor: torch.Tensor) -> None:
    """All bits of its memory."""
    # Lazy zeros (torch._efficientzerotensor) have no memory.
    if tensor.layout == torch.strided and tensor.numel() > 0 and not tensor._is_zerotensor():
        content = torch.empty(0, dtype=torch.uint8, device=tensor.device)
        content.set_(tensor.untyped_storage()).bitwise_not_()


def _bytes_of(tensor: torch.Tensor) -> torch.Tensor:
    if tensor.layout != torch.strided:
        return torch.empty(0, dtype=torch.uint8)  # its components are compared by another case
    return tensor.resolve_conj().resolve_neg().contiguous().reshape(-1).view(torch.uint8)


def _compare_errors(actual: Any, expected: Exception) -> None:
    if not isinstance(actual, Exception):
        raise AssertionError(f"accepted what CPU refuses: {describe(expected)}")
    # One that tells more than RuntimeError is as good: PyTorch's own kinds are made from it in C++.
    is_finer = type(expected) is RuntimeError and isinstance(
        actual, (IndexError, ValueError, TypeError)
    )
    if (
        not is_finer
        and not isinstance(actual, type(expected))
        and not isinstance(expected, type(actual))
    ):
        raise AssertionError(f"{describe(actual)}\ninstead of {describe(expected)}")


def _compare_aliases(remote: Arguments, actual: Any, local: Arguments, expected: Any) -> None:
    ours, theirs = _aliases(remote, actual), _aliases(local, expected)
    if ours != theirs:
        raise AssertionError(
            f"results share memory with the arguments (index, offset) {ours} instead of {theirs}"
        )


def _aliases(arguments: Any, results: Any) -> list[tuple[int, int] | None]:
    """For each result the first argument with the same storage, and its offset in there."""
    storages = [_storage(tensor) for tensor in tensors(arguments)]
    found: list[tuple[int, int] | None] = []
    for tensor in tensors(results):
        storage = _storage(tensor)
        is_shared = storage is not None and storage in storages
        found.append((storages.index(storage), int(tensor.storage_offset())) if is_shared else None)
    return found


def _storage(tensor: torch.Tensor) -> int | None:
    if tensor.layout != torch.strided or tensor.numel() == 0:
        return None
    return int(tensor.untyped_storage()._cdata)


def _compare_contents(pair: "Pair") -> None:
    """What the call has left in the arguments."""
    _compare_given(pair.remote, pair.local, pair.comparison(is_random=pair.is_random))


def _compare_given(remote: Any, local: Any, how: Comparison) -> None:
    for ours, theirs in zip(tensors(remote), tensors(local), strict=True):
        if theirs.device.type == "cpu" and ours is not theirs:
            assert_same(ours.detach(), theirs.detach(), how)


def _in_double(call: Callable[..., Any], arguments: Arguments) -> Any:
    def widened(leaf: Any) -> Any:
        reduced = (torch.float16, torch.bfloat16, torch.float32)
        if isinstance(leaf, torch.Tensor) and leaf.dtype in reduced:
            return leaf.detach().double()
        return leaf

    wide = pytree.tree_map(widened, arguments)
    outcome = attempt(call, wide, None)
    return None if isinstance(outcome, Exception) else outcome


def compare_gradients(
    pair: Pair,
    actual: Any,
    expected: Any,
    how: Comparison,
    *,
    create_graph: bool = False,
    write: bool = False,
    weigh: "Callable[[list[torch.Tensor], int], list[torch.Tensor]] | None" = None,
) -> tuple[Any, Any] | None:
    """The gradients on both sides; None where there are none, or both sides can't compute them.

    Args:
        pair: the arguments.
        actual: the target's results.
        expected: CPU's.
        how: gradients are compared.
        create_graph: so that gradients have gradients.
        write: into the gradients, to see whose memory they have.
        weigh: makes the results' gradients, of the results and a seed.
    """
    ours, theirs = _wanting(actual), _wanting(expected)
    if len(ours) != len(theirs):
        raise AssertionError(f"{len(ours)} results have a gradient instead of {len(theirs)}")
    remote, local = _wanting(pair.remote), _wanting(pair.local)
    if not theirs or not local:
        return None
    weights = (weigh or _weights)(theirs, pair.recorder.seed)
    placed_weights = [placed(weight, our.device) for weight, our in zip(weights, ours, strict=True)]
    wanted = attempt(_gradients, ((theirs, local, weights, create_graph), {}), None)
    got = attempt(_gradients, ((ours, remote, placed_weights, create_graph), {}), pair.target)
    if isinstance(wanted, Exception):
        _compare_errors(got, wanted)
        return None
    if isinstance(got, Exception):
        raise AssertionError(f"gradient: {describe(got)}") from got
    try:
        assert_same(got, wanted, how)
        if write:
            check_ownership(pair, (pair.remote, placed_weights), (pair.local, weights), got)
    except AssertionError as error:
        raise AssertionError(f"gradient: {error}") from None
    return got, wanted


def _wanting(structure: Any) -> list[torch.Tensor]:
    return [tensor for tensor in tensors(structure) if tensor.requires_grad]


def _weights(results: list[torch.Tensor], seed: int) -> list[torch.Tensor]:
    """What the results' gradients are multiplied by: other than ones, which hide much."""
    generator = torch.Generator().manual_seed(seed)
    weights = []
    for result in results:
        wide = torch.complex64 if result.dtype.is_complex else torch.float32
        drawn = torch.randn(result.shape, dtype=wide, generator=generator)
        weights.append(drawn.to(result.dtype))
    return weights


def weights_with_gaps(results: list[torch.Tensor], seed: int) -> list[torch.Tensor]:
    """The same, each the second half of pairs."""
    return [
        torch.stack([torch.zeros_like(one), one], dim=-1)[..., 1] for one in _weights(results, seed)
    ]


def _gradients(
    results: list[torch.Tensor], inputs: list[torch.Tensor], weights: Any, create_graph: bool
) -> tuple[torch.Tensor | None, ...]:
    return torch.autograd.grad(
        results,
        inputs,
        weights,
        allow_unused=True,
        create_graph=create_graph,
        retain_graph=create_graph,
    )
