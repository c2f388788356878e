# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""PyTorch's utilities around models: distributions, normalizations of weights, schedulers, averages, data."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from comparing import assert_like_cpu, assert_same
from torch import Tensor, distributions, nn
from torch.nn.utils import parametrizations, parametrize, prune
from torch.optim import lr_scheduler, swa_utils
from torch.utils.data import DataLoader, TensorDataset

Program = Callable[[torch.device], Any]


def model(where: torch.device) -> nn.Module:
    torch.manual_seed(0)
    made = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 2)).to(where)
    torch.manual_seed(1)
    return made


def batch(where: torch.device) -> Tensor:
    return torch.linspace(-1, 1, 20).reshape(5, 4).to(where)


# ---- distributions ----


def positive(where: torch.device) -> Tensor:
    return torch.tensor([0.3, 1.0, 2.5], device=where)


DISTRIBUTIONS: dict[str, Callable[[torch.device], distributions.Distribution]] = {
    "Normal": lambda d: distributions.Normal(positive(d), positive(d)),
    "Bernoulli": lambda d: distributions.Bernoulli(logits=positive(d)),
    "Categorical": lambda d: distributions.Categorical(positive(d)),
    "Multinomial": lambda d: distributions.Multinomial(5, positive(d)),
    "Uniform": lambda d: distributions.Uniform(positive(d), positive(d) + 1),
    "Exponential": lambda d: distributions.Exponential(positive(d)),
    "Gamma": lambda d: distributions.Gamma(positive(d), positive(d)),
    "Beta": lambda d: distributions.Beta(positive(d), positive(d)),
    "Dirichlet": lambda d: distributions.Dirichlet(positive(d)),
    "Poisson": lambda d: distributions.Poisson(positive(d)),
    "Geometric": lambda d: distributions.Geometric(positive(d) / 3),
    "Laplace": lambda d: distributions.Laplace(positive(d), positive(d)),
    "Cauchy": lambda d: distributions.Cauchy(positive(d), positive(d)),
    "StudentT": lambda d: distributions.StudentT(positive(d)),
    "LogNormal": lambda d: distributions.LogNormal(positive(d), positive(d)),
    "Weibull": lambda d: distributions.Weibull(positive(d), positive(d)),
    "VonMises": lambda d: distributions.VonMises(positive(d), positive(d)),
    "Binomial": lambda d: distributions.Binomial(5, positive(d) / 3),
    "MultivariateNormal": lambda d: distributions.MultivariateNormal(
        positive(d), torch.diag(positive(d))
    ),
    "mixture": lambda d: distributions.MixtureSameFamily(
        distributions.Categorical(positive(d)), distributions.Normal(positive(d), positive(d))
    ),
    "transformed": lambda d: distributions.TransformedDistribution(
        distributions.Normal(positive(d), 1.0), [distributions.SigmoidTransform()]
    ),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_distributions(draws_as_cpu: torch.device, name: str) -> None:
    def program(where: torch.device) -> Any:
        made = DISTRIBUTIONS[name](where)
        draws = made.sample(torch.Size([4]))
        assert draws.device == where
        return draws, made.log_prob(draws)

    assert_like_cpu(draws_as_cpu, program)


def test_divergences_and_reparametrized_gradients(draws_as_cpu: torch.device) -> None:
    def program(where: torch.device) -> Any:
        mean, deviation = positive(where).requires_grad_(), positive(where).requires_grad_()
        made = distributions.Normal(mean, deviation)
        loss = distributions.kl_divergence(made, distributions.Normal(0.0, 1.0)).sum()
        (loss + made.rsample().square().sum() + made.entropy().sum()).backward()
        gamma = distributions.Gamma(mean, deviation).rsample().sum()
        return mean.grad, deviation.grad, torch.autograd.grad(gamma, [mean, deviation])

    assert_like_cpu(draws_as_cpu, program)


# ---- modules ----


def weight_norm(where: torch.device) -> Any:
    layer = parametrizations.weight_norm(model(where)[0])  # type: ignore[index]
    layer(batch(where)).square().sum().backward()
    return layer.weight, [parameter.grad for parameter in layer.parameters()], layer.state_dict()


def spectral_norm(where: torch.device) -> Any:
    layer = parametrizations.spectral_norm(model(where)[0])  # type: ignore[index]
    for _ in range(3):
        layer(batch(where)).square().sum().backward()
    return layer.weight, [parameter.grad for parameter in layer.parameters()]


def orthogonal(where: torch.device) -> Any:
    layer = parametrizations.orthogonal(model(where)[0], orthogonal_map="householder")  # type: ignore[index]
    layer(batch(where)).square().sum().backward()
    return layer.weight, [parameter.grad for parameter in layer.parameters()]


class Symmetric(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.triu() + x.triu(1).mT


def parametrized(where: torch.device) -> Any:
    layer = nn.Linear(3, 3, device=where)
    nn.init.ones_(layer.weight)
    parametrize.register_parametrization(layer, "weight", Symmetric())
    with parametrize.cached():
        shown = layer.weight.clone()
    parametrize.remove_parametrizations(layer, "weight")
    return shown, layer.weight


def pruned(where: torch.device) -> Any:
    layers = model(where)
    prune.l1_unstructured(layers[0], "weight", amount=0.5)  # type: ignore[index]
    prune.ln_structured(layers[3], "weight", amount=1, n=2, dim=0)  # type: ignore[index]
    layers(batch(where)).sum().backward()
    masked = layers[0].weight.detach().clone()  # type: ignore[index]
    prune.remove(layers[0], "weight")  # type: ignore[index]
    return masked, layers.state_dict(), layers[0].weight  # type: ignore[index]


def vectors(where: torch.device) -> Any:
    layers = model(where)
    vector = nn.utils.parameters_to_vector(layers.parameters())
    nn.utils.vector_to_parameters(vector * 2, layers.parameters())
    return vector.detach(), layers.state_dict()


def initialized(where: torch.device) -> Any:
    x = torch.empty(6, 6, device=where)
    kinds = (
        "xavier_normal_",
        "kaiming_uniform_",
        "orthogonal_",
        "trunc_normal_",
        "eye_",
    )
    return [getattr(nn.init, kind)(x.clone().zero_()) for kind in kinds]


def fused_and_moved(where: torch.device) -> Any:
    made = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)).eval()
    fused = nn.utils.fuse_conv_bn_eval(made[0].to(where), made[1].to(where))  # type: ignore[type-var]
    meta = nn.Linear(2, 3, device="meta").to_empty(device=where)
    nn.init.constant_(meta.weight, 0.5)
    skipped = nn.utils.skip_init(nn.Linear, 2, 2, device=where)
    assert {p.device for p in (*fused.parameters(), *meta.parameters(), *skipped.parameters())} == {
        where
    }
    return meta.weight.double(), meta.half().weight, meta.to(torch.bfloat16).weight


MODULES: list[Program] = [
    weight_norm,
    spectral_norm,
    orthogonal,
    parametrized,
    pruned,
    vectors,
    initialized,
    fused_and_moved,
]


@pytest.mark.parametrize("program", MODULES, ids=lambda program: program.__name__)
def test_modules(draws_as_cpu: torch.device, program: Program) -> None:
    assert_like_cpu(draws_as_cpu, program)


# ---- optimization ----

SCHEDULERS: dict[str, Callable[[torch.optim.Optimizer], Any]] = {
    "step": lambda o: lr_scheduler.StepLR(o, 2, 0.5),
    "cosine": lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 3),
    "one cycle": lambda o: lr_scheduler.OneCycleLR(o, 0.2, total_steps=6),
    "sequence": lambda o: lr_scheduler.SequentialLR(
        o, [lr_scheduler.LinearLR(o), lr_scheduler.ExponentialLR(o, 0.9)], [2]
    ),
    "plateau": lambda o: lr_scheduler.ReduceLROnPlateau(o, patience=0),
    "average": lambda o: swa_utils.SWALR(o, swa_lr=0.05, anneal_epochs=2),
}


@pytest.mark.parametrize("name", SCHEDULERS)
def test_schedulers(device: torch.device, name: str) -> None:
    def program(where: torch.device) -> Any:
        layers = model(where)
        optimizer = torch.optim.SGD(layers.parameters(), lr=0.1, momentum=0.9)
        scheduler, rates = SCHEDULERS[name](optimizer), []
        for _ in range(5):
            optimizer.zero_grad()
            loss = layers(batch(where)).square().mean()
            loss.backward()
            optimizer.step()
            scheduler.step(*([loss.detach() * 0 + 1] if name == "plateau" else []))
            rates.append(float(optimizer.param_groups[0]["lr"]))
        return rates, layers.state_dict()

    assert_like_cpu(device, program)


@pytest.mark.parametrize(
    "average",
    [swa_utils.get_swa_multi_avg_fn(), swa_utils.get_ema_multi_avg_fn(0.9)],
    ids=["mean", "moving"],
)
def test_averages_of_weights(device: torch.device, average: Any) -> None:
    def program(where: torch.device) -> Any:
        layers = model(where)
        averaged = swa_utils.AveragedModel(layers, multi_avg_fn=average, use_buffers=False)
        for _ in range(3):
            with torch.no_grad():
                for parameter in layers.parameters():
                    parameter.add_(0.1)
            averaged.update_parameters(layers)
        swa_utils.update_bn([batch(where), batch(where) * 2], averaged, device=where)
        return averaged.state_dict()

    assert_like_cpu(device, program)


def test_a_closure_and_a_rate_in_a_tensor(device: torch.device) -> None:
    def program(where: torch.device) -> Any:
        x = torch.ones(3, device=where, requires_grad=True)
        optimizer = torch.optim.LBFGS([x], max_iter=4, line_search_fn="strong_wolfe")

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = (x - 2).pow(4).sum()
            loss.backward()
            return loss

        first = optimizer.step(closure)  # type: ignore[arg-type]
        other = torch.ones(3, device=where, requires_grad=True)
        other.grad = torch.ones_like(other)
        torch.optim.Adam([other], lr=torch.tensor(0.5), foreach=False).step()
        return first, x, other

    assert_like_cpu(device, program)


# ---- data ----


def test_data_sets(device: torch.device) -> None:
    """A data set may lie on the device; what a loader makes of it stays there."""
    rows = torch.arange(12.0).reshape(6, 2)
    there = TensorDataset(rows.to(device), torch.arange(6).to(device))
    generator = torch.Generator().manual_seed(0)
    batches = list(DataLoader(there, batch_size=4, shuffle=True, generator=generator))
    assert {x.device for batch in batches for x in batch} == {device}
    generator.manual_seed(0)
    here = DataLoader(
        TensorDataset(rows, torch.arange(6)), batch_size=4, shuffle=True, generator=generator
    )
    assert_same(batches, list(here))
    with torch.device(device):
        assert next(iter(DataLoader([1.0, 2.0]))).device == device  # type: ignore[arg-type]


# ---- what PyTorch has for its own devices alone ----


def test_data_parallel_is_refused(emulator: torch.device) -> None:
    """It copies a model to CUDA devices; here it would fail in the middle of a call, or do nothing."""
    layers = model(emulator)
    with pytest.raises(NotImplementedError, match=r"DataParallel.*one remote device"):
        nn.DataParallel(layers, device_ids=[emulator])
    with pytest.raises(NotImplementedError, match="DataParallel"):
        nn.DataParallel(layers)
    with pytest.raises(NotImplementedError, match="DataParallel"):
        nn.parallel.data_parallel(layers, batch(emulator))
    here = model(torch.device("cpu"))  # as where there is no device: it stays what it is
    assert nn.DataParallel(here)(batch(torch.device("cpu"))).device.type == "cpu"
