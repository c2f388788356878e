# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""torch.fft: transforms of every kind, their inverses, norms, layouts and gradients."""

import itertools

import pytest
import torch
from comparing import assert_like_cpu
from torch import Tensor, fft

KINDS = {
    "fft": fft.fft,
    "ifft": fft.ifft,
    "rfft": fft.rfft,
    "irfft": fft.irfft,
    "hfft": fft.hfft,
    "ihfft": fft.ihfft,
    "fft2": fft.fft2,
    "ifft2": fft.ifft2,
    "rfft2": fft.rfft2,
    "irfft2": fft.irfft2,
    "fftn": fft.fftn,
    "ifftn": fft.ifftn,
    "rfftn": fft.rfftn,
    "irfftn": fft.irfftn,
    "hfft2": fft.hfft2,
    "ihfftn": fft.ihfftn,
}
OF_REAL = {"rfft", "rfft2", "rfftn", "ihfft", "ihfftn"}
NORMS = ("forward", "backward", "ortho")


def signal(where: torch.device | str, *sizes: int, dtype: torch.dtype) -> Tensor:
    made = (
        torch.linspace(-1, 2, torch.Size(sizes).numel(), dtype=torch.float64).sin().reshape(sizes)
    )
    if dtype.is_complex:
        return torch.complex(made, made.flip(0)).to(where, dtype)
    return made.to(where, dtype)


def dtype_of(name: str) -> torch.dtype:
    return torch.float32 if name in OF_REAL else torch.complex64


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", KINDS)
def test_values_and_gradients(device: torch.device, name: str, norm: str) -> None:
    def program(where: torch.device) -> list[Tensor | None]:
        x = signal(where, 3, 4, 6, dtype=dtype_of(name)).requires_grad_()
        y = KINDS[name](x, norm=norm)
        y.abs().square().sum().backward()
        return [y.detach(), x.grad]

    assert_like_cpu(device, program)


@pytest.mark.parametrize("name", ["fft", "rfft", "irfft", "fftn", "irfftn"])
def test_sizes_and_dimensions(device: torch.device, name: str) -> None:
    x = signal("cpu", 4, 5, 6, dtype=dtype_of(name))
    options: list[dict[str, object]] = (
        [{"n": n, "dim": dim} for n, dim in itertools.product((3, 8), (0, 1, -1))]
        if not name.endswith("n")
        else [{"s": (3, 8), "dim": (0, 2)}, {"dim": (2, 0)}, {"s": (7,), "dim": (1,)}]
    )
    assert_like_cpu(device, lambda where, x: [KINDS[name](x, **option) for option in options], x)
    assert_like_cpu(device, lambda where, x: KINDS[name](x.transpose(0, 2)), x)
    assert_like_cpu(device, lambda where, x: KINDS[name](x[::2, 1:]), x)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128, torch.int32, torch.bool])
def test_dtypes(device: torch.device, dtype: torch.dtype) -> None:
    def program(where: torch.device) -> Tensor:
        return fft.fft(signal(where, 3, 4, dtype=dtype))

    assert_like_cpu(device, program)


def test_there_and_back(device: torch.device) -> None:
    x = signal(device, 5, 7, dtype=torch.float64)
    for back in (
        fft.irfft(fft.rfft(x), n=7),
        fft.ifft(fft.fft(x)).real,
        fft.irfft2(fft.rfft2(x), s=(5, 7)),
        fft.ifftshift(fft.fftshift(x)),
        fft.hfft(fft.ihfft(x), n=7),
    ):
        torch.testing.assert_close(back.cpu(), x.cpu())


def test_helpers_and_windows(device: torch.device) -> None:
    def program(where: torch.device) -> list[Tensor]:
        x = signal(where, 2, 64, dtype=torch.float32)
        window = torch.hann_window(16, device=where)
        spectrum = torch.stft(x, 16, hop_length=4, window=window, return_complex=True)
        return [
            fft.fftfreq(8, 0.5, device=where),
            fft.rfftfreq(8, device=where),
            fft.fftshift(x, dim=1),
            spectrum,
            torch.istft(spectrum, 16, hop_length=4, window=window),
            torch.fft.fft(spectrum.conj()),
            torch.fft.ifft(spectrum.mH),
        ]

    assert_like_cpu(device, program)


@pytest.mark.parametrize("name", ["fft", "irfft"])
def test_into_a_given_tensor(device: torch.device, name: str) -> None:
    def program(where: torch.device) -> Tensor:
        x = signal(where, 3, 6, dtype=torch.complex64)
        out = torch.empty(
            0, device=where, dtype=torch.complex64 if name == "fft" else torch.float32
        )
        assert KINDS[name](x, out=out) is out
        return out

    assert_like_cpu(device, program)


def test_what_is_refused(device: torch.device) -> None:
    x = torch.ones(3, 0, device=device)
    with pytest.raises(RuntimeError, match="Invalid number of data points"):
        fft.fft(x)
    with pytest.raises(RuntimeError, match=r"real input tensor|expects a real"):
        fft.rfft(torch.ones(3, dtype=torch.complex64, device=device))
