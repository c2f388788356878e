# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""torch.linalg: decompositions, solvers, products and their gradients; errors with their classes."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from comparing import assert_like_cpu
from torch import Tensor, linalg

Program = Callable[[Tensor], Any]


def matrices(*sizes: int, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(sum(sizes))
    return torch.randn(sizes, dtype=dtype, generator=generator)


def definite(x: Tensor) -> Tensor:
    return x @ x.mH + 2 * torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)


# Of two 4x4 matrices.
PROGRAMS: dict[str, Program] = {
    "cholesky": lambda x: linalg.cholesky(definite(x)),
    "cholesky_ex upper": lambda x: linalg.cholesky_ex(definite(x), upper=True).L,
    "cholesky_solve": lambda x: torch.cholesky_solve(x, linalg.cholesky(definite(x))),
    "qr": lambda x: tuple(linalg.qr(x)),
    "lu": lambda x: tuple(linalg.lu(x)),
    "lu_solve": lambda x: linalg.lu_solve(*linalg.lu_factor(x), x),
    "eigh": lambda x: linalg.eigh(definite(x)).eigenvalues,
    "eigvals": lambda x: linalg.eigvals(x).abs().sort().values,
    "svdvals": lambda x: linalg.svdvals(x),
    "svd": lambda x: (lambda u, s, v: (u * s[..., None, :]) @ v)(
        *linalg.svd(x, full_matrices=False)
    ),
    "solve": lambda x: linalg.solve(x, x[..., :2]),
    "solve_triangular": lambda x: linalg.solve_triangular(
        x.triu() + 2 * torch.eye(4).to(x), x, upper=True
    ),
    "inv": linalg.inv,
    "pinv": lambda x: linalg.pinv(x[..., :2]),
    "det": linalg.det,
    "slogdet": lambda x: linalg.slogdet(x)[1],
    "matrix_exp": lambda x: linalg.matrix_exp(x * 0.1),
    "matrix_power": lambda x: linalg.matrix_power(x, -2),
    "norms": lambda x: [linalg.norm(x, p, dim=(-2, -1)) for p in ("fro", "nuc", 2, -2, 1)],
    "vector_norms": lambda x: [linalg.vector_norm(x, p, dim=1) for p in (0, 1, 2, 3.5, torch.inf)],
    "cond": linalg.cond,
    "cross": lambda x: linalg.cross(x[..., :3], x[..., 1:]),
    "multi_dot": lambda x: linalg.multi_dot([x[0], x[1], x[0, :, :2]]),
    "householder_product": lambda x: linalg.householder_product(x, x[..., 0, :].contiguous()),
    "tensorsolve": lambda x: linalg.tensorsolve(x[0].reshape(2, 2, 4), x[1, :2, :2]),
    "vander": lambda x: linalg.vander(x[..., 0], N=3),
    "cdist": lambda x: torch.cdist(x, x * 2 + 1),
    "kron": lambda x: torch.kron(x[0], x[1]),
    "einsum": lambda x: torch.einsum("bij,bjk,bki->b", x, x, x),
    "baddbmm": lambda x: torch.baddbmm(x, x, x, alpha=0.5, beta=2),
    "addmv": lambda x: torch.addmv(x[0, 0], x[0], x[1, 0]),
    "chain of transposes": lambda x: x.mT.contiguous().mT @ x.conj().mT,
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_values_and_gradients(device: torch.device, name: str) -> None:
    def program(_: torch.device, x: Tensor) -> Any:
        x = x.requires_grad_()
        results = torch.utils._pytree.tree_leaves(PROGRAMS[name](x))
        sum(result.abs().sum() for result in results).backward()  # type: ignore[union-attr]
        return [result.detach() for result in results], x.grad

    assert_like_cpu(device, program, matrices(2, 4, 4))


NO_GRADIENT: dict[str, Program] = {
    "matrix_rank": linalg.matrix_rank,
    "eig": lambda x: tuple(linalg.eig(x)),
    "full svd": lambda x: tuple(linalg.svd(x[..., :2])),
    "ldl": lambda x: linalg.ldl_solve(*linalg.ldl_factor(definite(x)), x),
    "inv_ex": lambda x: tuple(linalg.inv_ex(x)),
    "lobpcg": lambda x: torch.lobpcg(definite(x)[0], k=1, X=x[0, :, :1], niter=5)[0],
    "geqrf": lambda x: tuple(torch.geqrf(x)),
    "tril_indices": lambda x: torch.tril_indices(3, 4, device=x.device),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex128])
@pytest.mark.parametrize("name", NO_GRADIENT)
def test_more(device: torch.device, name: str, dtype: torch.dtype) -> None:
    if name == "lobpcg" and dtype.is_complex:
        pytest.skip("for real matrices")
    assert_like_cpu(device, lambda where, x: NO_GRADIENT[name](x), matrices(2, 4, 4, dtype=dtype))


@pytest.mark.parametrize("sizes", [(0, 3, 3), (2, 0, 0), (1, 5, 3), (3, 5)])
def test_shapes(device: torch.device, sizes: tuple[int, ...]) -> None:
    def program(where: torch.device, x: Tensor) -> Any:
        out = torch.empty(0, dtype=x.dtype, device=where)
        return (
            linalg.qr(x, mode="complete"),
            linalg.svdvals(x),
            linalg.svdvals(x, out=out),
            x @ x.mT,
        )

    assert_like_cpu(device, program, matrices(*sizes))


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (lambda x: linalg.cholesky(-x), "not positive-definite"),
        (lambda x: linalg.inv(torch.zeros_like(x)), "singular"),
        (lambda x: linalg.solve(torch.zeros_like(x), x), "singular"),
    ],
)
def test_errors_have_their_class(
    device: torch.device, function: Callable[[Tensor], Tensor], text: str
) -> None:
    x = torch.eye(3, device=device)
    with pytest.raises(linalg.LinAlgError, match=text):
        function(x).cpu()
    assert (x @ x).sum().item() == 3


def test_least_squares(device: torch.device) -> None:
    """LAPACK's last bits depend on where the memory lies."""
    x = matrices(3, 5, 2)
    y = x.to(device).requires_grad_()
    solution = linalg.lstsq(y, y[..., :1] + 1).solution
    solution.sum().backward()
    expected = x.requires_grad_()
    linalg.lstsq(expected, expected[..., :1] + 1).solution.sum().backward()
    torch.testing.assert_close(y.grad.cpu(), expected.grad)  # type: ignore[union-attr]


def test_shapes_that_do_not_fit_are_told_at_the_call(device: torch.device) -> None:
    x = torch.ones(2, 3, device=device)
    for function in (
        lambda: x @ x,
        lambda: linalg.inv(x),
        lambda: torch.linalg.solve(x @ x.mT, x.mT),
    ):
        with pytest.raises(RuntimeError, match=r"must be|cannot be multiplied|Incompatible shapes"):
            function()
