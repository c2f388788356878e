# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Cases of random numbers: seeds and states, generators, CPU's own numbers where a target draws them, statistics.

Seeds are fixed, so the statistics are the same each time: their bounds are those of one honest draw.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from torch_remote_conformance.case import Level
from torch_remote_conformance.comparing import assert_same
from torch_remote_conformance.family import Family, assert_refused
from torch_remote_conformance.philox import Philox, card_of
from torch_remote_conformance.target import Target

FAMILY = Family("random", Level.L4, lambda target: target.device.type != "meta")
cases = FAMILY.cases

#: Draws so many numbers with a generator; None is the default one.
Draw = Callable[[torch.device, int, torch.Generator | None], torch.Tensor]


def _filled(name: str, *arguments: float, dtype: torch.dtype = torch.float32) -> Draw:
    """A method that fills a tensor."""

    def draw(device: torch.device, count: int, generator: torch.Generator | None) -> torch.Tensor:
        made = torch.zeros(count, dtype=dtype, device=device)
        drawn: torch.Tensor = getattr(made, name)(*arguments, generator=generator)
        return drawn

    return draw


@dataclass(frozen=True)
class _Law:
    """What an operator draws, and how that is distributed."""

    draw: Draw
    mean: float
    variance: float
    #: Cumulative distribution, where it is continuous.
    below: Callable[[float], float] | None = None


def _normal(x: float) -> float:
    return 0.5 * (1 + math.erf(x / math.sqrt(2)))


_LAWS: dict[str, _Law] = {
    "rand": _Law(
        lambda d, n, g: torch.rand(n, device=d, generator=g),
        0.5,
        1 / 12,
        lambda x: min(max(x, 0), 1),
    ),
    "rand_float64": _Law(
        lambda d, n, g: torch.rand(n, dtype=torch.float64, device=d, generator=g),
        *(0.5, 1 / 12, lambda x: min(max(x, 0), 1)),
    ),
    "randn": _Law(lambda d, n, g: torch.randn(n, device=d, generator=g), 0, 1, _normal),
    "randint": _Law(
        lambda d, n, g: torch.randint(3, 13, (n,), device=d, generator=g), 7.5, 99 / 12
    ),
    "randperm": _Law(
        lambda d, n, g: torch.randperm(n, device=d, generator=g).double() / n,
        *(0.5, 1 / 12, lambda x: min(max(x, 0), 1)),
    ),
    "uniform_": _Law(_filled("uniform_", -1, 3), 1, 16 / 12, lambda x: min(max((x + 1) / 4, 0), 1)),
    "normal_": _Law(_filled("normal_", 2, 3), 2, 9, lambda x: _normal((x - 2) / 3)),
    "exponential_": _Law(
        _filled("exponential_", 2), 0.5, 0.25, lambda x: 1 - math.exp(-2 * max(x, 0))
    ),
    "log_normal_": _Law(
        _filled("log_normal_", 0, 0.5),
        *(math.exp(0.125), (math.exp(0.25) - 1) * math.exp(0.25)),
        lambda x: _normal(2 * math.log(x)) if x > 0 else 0.0,
    ),
    "geometric_": _Law(_filled("geometric_", 0.25), 4, 12),
    "bernoulli_": _Law(_filled("bernoulli_", 0.3), 0.3, 0.21),
    "random_": _Law(_filled("random_", 0, 10), 4.5, 8.25),
    "random_ of int64": _Law(_filled("random_", 0, 10, dtype=torch.int64), 4.5, 8.25),
    "bernoulli": _Law(
        lambda d, n, g: torch.full((n,), 0.8, device=d).bernoulli(generator=g), 0.8, 0.16
    ),
    "poisson": _Law(
        lambda d, n, g: torch.poisson(torch.full((n,), 5.0, device=d), generator=g), 5, 5
    ),
    "binomial": _Law(
        lambda d, n, g: torch.binomial(
            torch.full((n,), 10.0, device=d), torch.full((n,), 0.3, device=d), generator=g
        ),
        *(3, 2.1),
    ),
    "normal of tensors": _Law(
        lambda d, n, g: torch.normal(
            torch.full((n,), -1.0, device=d), torch.full((n,), 2.0, device=d), generator=g
        ),
        *(-1, 4, lambda x: _normal((x + 1) / 2)),
    ),
    "multinomial": _Law(
        lambda d, n, g: torch.multinomial(
            torch.tensor([1.0, 2.0, 1.0], device=d), n, replacement=True, generator=g
        ),
        *(1, 0.5),
    ),
    "standard_gamma": _Law(
        lambda d, n, g: torch._standard_gamma(torch.full((n,), 3.0, device=d), generator=g), 3, 3
    ),
}
#: They take no generator of the program's.
_DEFAULT_ONLY: dict[str, _Law] = {
    "cauchy_, its arctangent": _Law(
        lambda d, n, _: torch.zeros(n, device=d).cauchy_().atan() / math.pi + 0.5,
        *(0.5, 1 / 12, lambda x: min(max(x, 0), 1)),
    ),
    "dropout": _Law(
        lambda d, n, _: torch.nn.functional.dropout(torch.ones(n, device=d), 0.25), 1, 1 / 3
    ),
    "native_dropout": _Law(
        lambda d, n, _: torch.native_dropout(torch.ones(n, device=d), 0.5, True)[0], 1, 1
    ),
    "rand_like": _Law(
        lambda d, n, _: torch.rand_like(torch.zeros(n, device=d)),
        *(0.5, 1 / 12, lambda x: min(max(x, 0), 1)),
    ),
    "randn_like": _Law(lambda d, n, _: torch.randn_like(torch.zeros(n, device=d)), 0, 1, _normal),
    "randint_like": _Law(
        lambda d, n, _: torch.randint_like(torch.zeros(n, device=d), 10), 4.5, 8.25
    ),
    "rrelu": _Law(
        lambda d, n, _: torch.nn.functional.rrelu(
            torch.full((n,), -1.0, device=d), 0.2, 0.6, training=True
        ),
        *(-0.4, 0.16 / 12, lambda x: min(max((x + 0.6) / 0.4, 0), 1)),
    ),
    "gumbel_softmax": _Law(
        lambda d, n, _: torch.nn.functional.gumbel_softmax(torch.zeros(n, 2, device=d))[:, 0],
        *(0.5, 1 / 12, lambda x: min(max(x, 0), 1)),
    ),
    "Beta(1, 1)": _Law(
        lambda d, n, _: torch.distributions.Beta(
            torch.ones(n, device=d), torch.ones(n, device=d)
        ).sample(),
        *(0.5, 1 / 12, lambda x: min(max(x, 0), 1)),
    ),
    "trunc_normal_": _Law(
        lambda d, n, _: torch.nn.init.trunc_normal_(torch.zeros(n, device=d)),
        *(0, 0.7737, lambda x: min(max((_normal(x) - 0.02275) / 0.9545, 0), 1)),
    ),
}
_ALL = _LAWS | _DEFAULT_ONLY
_COUNT = 20_000
#: Standard deviations, of the mean and of the variance: one honest draw in two million is farther off.
_SIGMAS = 5.0
#: Kolmogorov's distance times the root of the count: the same.
_KOLMOGOROV = 2.7


@FAMILY.case("statistics", each=_ALL)
def _statistics(target: Target, law: _Law) -> None:
    torch.manual_seed(20260101)
    drawn = law.draw(target.device, _COUNT, None).cpu().double()
    assert drawn.numel() == _COUNT
    centered = drawn - law.mean
    for what, values, expected in (
        ("mean", drawn, law.mean),
        ("variance", centered.square(), law.variance),
    ):
        actual, sigma = values.mean().item(), values.std().item() / math.sqrt(_COUNT)
        assert abs(actual - expected) <= _SIGMAS * sigma + 1e-4, f"{what} {actual}, not {expected}"
    if law.below is not None:
        ordered = drawn.sort().values.tolist()
        distance = max(abs(law.below(x) - (rank + 0.5) / _COUNT) for rank, x in enumerate(ordered))
        assert distance * math.sqrt(_COUNT) < _KOLMOGOROV, f"Kolmogorov's distance {distance}"
    # Neighbours know nothing of each other.
    products = centered[1:] * centered[:-1]
    sigma = products.std().item() / math.sqrt(_COUNT)
    if law is not _LAWS["randperm"]:  # whose numbers are all there once
        assert abs(products.mean().item()) <= _SIGMAS * sigma, "neighbours are correlated"


@FAMILY.case("a_seed_gives_the_same", each=_ALL)
def _seeded(target: Target, law: _Law) -> None:
    def drawn(seed: int, count: int = 100) -> torch.Tensor:
        torch.manual_seed(seed)
        return law.draw(target.device, count, None).cpu()

    first = drawn(7)
    assert_same(drawn(7), first)
    assert not torch.equal(drawn(8), first)
    torch.manual_seed(7)
    law.draw(target.device, 100, None)
    assert not torch.equal(law.draw(target.device, 100, None).cpu(), first)


@FAMILY.case("numbers_of_cpu", each=_ALL, applies=lambda target: target.draws_as_cpu)
def _as_cpu(target: Target, law: _Law) -> None:
    for count in (1, 15, 16, 1000):
        torch.manual_seed(11)
        expected = law.draw(torch.device("cpu"), count, None)
        torch.manual_seed(11)
        assert_same(law.draw(target.device, count, None), expected)


@dataclass(frozen=True)
class _OfCuda:
    """An operator beside its model, and how far they may be apart."""

    draw: Callable[[torch.device, int, torch.dtype], torch.Tensor]
    model: Callable[[Philox, int, torch.dtype], torch.Tensor]
    #: Standard deviation where the GPU's own functions are in between; None: bit for bit.
    scale: float | None = None


_OF_CUDA: dict[str, _OfCuda] = {
    "rand": _OfCuda(lambda d, n, t: torch.rand(n, dtype=t, device=d), lambda m, n, t: m.rand(n, t)),
    "randint": _OfCuda(
        lambda d, n, t: torch.randint(-5, 100, (n,), dtype=t, device=d),
        lambda m, n, t: m.randint(-5, 100, n, t),
    ),
    "randint, 64 bits a number": _OfCuda(
        lambda d, n, _: torch.randint(-7, 2**40, (n,), device=d),
        lambda m, n, _: m.randint(-7, 2**40, n),
    ),
    "bernoulli_": _OfCuda(
        lambda d, n, t: torch.zeros(n, dtype=t, device=d).bernoulli_(0.3),
        lambda m, n, t: m.bernoulli(0.3, n, t),
    ),
    "bernoulli": _OfCuda(
        lambda d, n, t: torch.bernoulli(torch.full((n,), 0.25, dtype=t, device=d)),
        lambda m, n, t: m.bernoulli_of(torch.full((n,), 0.25, dtype=t)),
    ),
    "dropout": _OfCuda(
        lambda d, n, t: torch.nn.functional.dropout(torch.ones(n, dtype=t, device=d), 0.5),
        lambda m, n, t: m.dropout_mask(0.5, n, t).to(t) * 2,
    ),
    "randn": _OfCuda(
        lambda d, n, t: torch.randn(n, dtype=t, device=d), lambda m, n, t: m.normal(n, t), 1.0
    ),
    "exponential_": _OfCuda(
        lambda d, n, t: torch.zeros(n, dtype=t, device=d).exponential_(2),
        lambda m, n, t: m.exponential(2, n, t),
        0.5,
    ),
}
#: Of the scale: the last place of a dtype, and what a GPU's functions leave out of a float.
_GPU_ERROR = 2.0**-20


@FAMILY.case(
    "numbers_of_cuda",
    each=_OF_CUDA,
    applies=lambda target: card_of(target.description) is not None,
)
def _as_cuda(target: Target, operator: _OfCuda) -> None:
    """As the GPU draws them whose numbers the executor says it has, below and above its largest grid."""
    model = Philox(str(card_of(target.description)), seed=11)
    torch.manual_seed(11)
    for count in (1, 255, 1000, 4 * model.threads_max + 6):
        for dtype in (torch.float32, torch.float64, torch.float16, torch.bfloat16):
            drawn = operator.draw(target.device, count, dtype).cpu()
            expected = operator.model(model, count, dtype)
            if operator.scale is None:
                assert_same(drawn, expected.to(drawn.dtype))
            else:
                last_places = torch.finfo(dtype).eps * expected.abs() + 2.0**-24
                allowed = last_places + _GPU_ERROR * operator.scale
                assert (drawn.double() - expected).abs().le(allowed).all(), (count, dtype)
    state = _state(target)
    assert bytes(state.tolist()) == model.state(), "the offset is another one than CUDA's"


@FAMILY.case("generators", each=_LAWS)
def _generators(target: Target, law: _Law) -> None:
    """One's own generator: by itself, saved and restored, copied, and the default one goes on without."""
    torch.manual_seed(3)
    default = law.draw(target.device, 50, None).cpu()
    one, other = (torch.Generator(target.device).manual_seed(3) for _ in range(2))
    torch.manual_seed(3)
    assert_same(law.draw(target.device, 50, one), default)
    state = one.get_state()
    following = law.draw(target.device, 50, one).cpu()
    law.draw(target.device, 50, other)
    assert_same(law.draw(target.device, 50, other), following)
    one.set_state(state)
    copied = one.clone_state()
    assert_same(law.draw(target.device, 50, one), following)
    assert_same(law.draw(target.device, 50, copied), following)
    assert_same(law.draw(target.device, 50, None), default)


def _state(target: Target) -> torch.Tensor:
    if target.device.type == "cpu":
        return torch.get_rng_state()
    state: torch.Tensor = torch.get_device_module(target.device).get_rng_state(target.device)
    return state


def _set_state(target: Target, state: torch.Tensor) -> None:
    if target.device.type == "cpu":
        torch.set_rng_state(state)
    else:
        torch.get_device_module(target.device).set_rng_state(state, target.device)


def _rand(target: Target) -> torch.Tensor:
    return torch.rand(20, device=target.device).cpu()


@FAMILY.case("state_of_the_device")
def _states(target: Target) -> None:
    _rand(target)
    state = _state(target)
    assert (state.dtype, state.device.type) == (torch.uint8, "cpu")
    first, second = _rand(target), _rand(target)
    _set_state(target, state)
    assert_same([_rand(target), _rand(target)], [first, second])
    assert not torch.equal(_state(target), state)
    assert_refused(target, lambda: _set_state(target, torch.zeros(16)), (TypeError, RuntimeError))


@FAMILY.case("fork_rng")
def _fork(target: Target) -> None:
    torch.manual_seed(5)
    expected = _rand(target)
    torch.manual_seed(5)
    kind = target.device.type
    devices = [] if kind == "cpu" else [target.device.index]
    with torch.random.fork_rng(devices, device_type="cuda" if kind == "cpu" else kind):
        torch.manual_seed(99)
        _rand(target)
    assert_same(_rand(target), expected)


@FAMILY.case(
    "cpus_generator_is_not_the_devices", applies=lambda target: target.device.type != "cpu"
)
def _apart(target: Target) -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    for law in _ALL.values():
        law.draw(target.device, 20, None)
    target.synchronize()
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(1)
    expected = _rand(target)
    torch.manual_seed(1)
    torch.rand(50)
    assert_same(_rand(target), expected)


@FAMILY.case("seeds", each=(0, 1, -1, 2**31, 2**63, 2**64 - 1))
def _seeds(target: Target, seed: int) -> None:
    torch.manual_seed(seed)
    first = _rand(target)
    torch.manual_seed(seed)
    assert_same(_rand(target), first)
    generator = torch.Generator(target.device).manual_seed(seed)
    assert generator.initial_seed() == seed % 2**64
    assert_same(torch.rand(20, device=target.device, generator=generator), first)


@FAMILY.case(
    "generators_of_other_devices_are_refused", applies=lambda target: target.device.type != "cpu"
)
def _other_devices(target: Target) -> None:
    for call in (
        lambda: torch.rand(2, device=target.device, generator=torch.Generator()),
        lambda: torch.rand(2, generator=torch.Generator(target.device)),
    ):
        assert_refused(target, call, (RuntimeError, ValueError))
    assert torch.Generator(target.device).device == target.device
