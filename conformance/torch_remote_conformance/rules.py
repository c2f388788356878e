# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is special about single operators when their results are compared."""

from typing import Any

import torch
from torch.utils import _pytree as pytree

from torch_remote_conformance.comparing import CLASS_FACTORS, Comparison
from torch_remote_conformance.target import Target

#: Their elements are whatever the memory held.
_UNDEFINED_VALUES = frozenset(
    {"empty", "empty_like", "empty_strided", "empty_permuted", "new_empty", "new_empty_strided"}
)

#: Arguments that are on CPU, wherever the others are: PyTorch reads them on the host.
_HOST_ARGUMENTS: dict[str, tuple[int, ...]] = {"tensor_split": (1,)}

#: Their values are CPU's within a tolerance only, even where the kernels are CPU's: LAPACK's gelsy gives
#: other last bits for operands at other addresses, on CPU as well; and PyTorch composes recurrent layers and
#: root mean square norms of other operators on CPU than on any other device.
_INEXACT = frozenset(
    {
        "linalg.lstsq",
        "nn.RNN",
        "nn.GRU",
        "nn.LSTM",
        "nn.GRUCell",
        "nn.LSTMCell",
        "nn.RMSNorm",
        "nn.functional.rms_norm",
        "rms_norm",
    }
)

#: Names that begin like this; all others are "pointwise".
_CLASSES: dict[str, str] = {
    "decomposition": (
        "linalg. svd pca_lowrank cholesky lu geqrf ormqr qr triangular_solve logdet det inverse pinverse "
        "matrix_exp lobpcg symeig eig tensorinv tensorsolve"
    ),
    "reduction": (
        "matmul mm bmm addmm addbmm baddbmm addmv addr mv dot vdot inner tensordot einsum chain_matmul "
        "__rmatmul__ sum nansum mean nanmean std var prod norm logsumexp cumsum cumprod logcumsumexp "
        "cumulative_trapezoid trapezoid trapz cdist dist cov corrcoef fft. stft istft nn. softmax "
        "log_softmax masked. native_layer_norm native_batch_norm _native_batch_norm_legit renorm sparse. "
        "_softmax_backward_data hash_tensor bucketize index_add scatter_add scatter_reduce index_reduce grid_sampler"
    ),
}
_PREFIXES: tuple[tuple[str, str], ...] = tuple(
    (prefix, name) for name, prefixes in _CLASSES.items() for prefix in prefixes.split()
)


def comparison(name: str, target: Target, *, is_random: bool) -> Comparison:
    """How an operator's results on a target are compared with CPU's.

    Args:
        name: of the operator in PyTorch's table.
        target: what computes.
        is_random: whether the call draws random numbers.
    """
    has_values = name not in _UNDEFINED_VALUES and (target.draws_as_cpu or not is_random)
    is_exact = target.computes_as_cpu and name not in _INEXACT
    kind = operator_class(name)
    # Those of factorizations are the library's, LAPACK's here and cuSOLVER's there; attention with dropout is
    # a fused kernel where a GPU is emulated.
    has_strides = target.computes_as_cpu or kind != "decomposition"
    if is_random and not target.draws_as_cpu and "attention" in name:
        has_strides = False
    return Comparison(is_exact, CLASS_FACTORS[kind], has_values, has_strides)


def operator_class(name: str) -> str:
    """One of comparing.CLASS_FACTORS."""
    for prefix, found in _PREFIXES:
        if name == prefix or (prefix.endswith(".") and name.startswith(prefix)):
            return found
    return "pointwise"


def adjusted(
    name: str,
    local: tuple[tuple[Any, ...], dict[str, Any]],
    remote: tuple[tuple[Any, ...], dict[str, Any]],
    device: torch.device,
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The placed arguments, where device arguments name the target and host tensors are on CPU."""

    def named(leaf: Any) -> Any:
        # Samples name a GPU where PyTorch sees one on this machine.
        kind = leaf.type if isinstance(leaf, torch.device) else leaf.partition(":")[0]
        return device if kind in ("cpu", "cuda") else leaf

    positional, keywords = pytree.tree_map_only((str, torch.device), named, remote)
    for index in _HOST_ARGUMENTS.get(name, ()):
        positional = (*positional[:index], local[0][index], *positional[index + 1 :])
    return positional, keywords
