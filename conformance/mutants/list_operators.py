# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Writes operators.inc: the operators that mutants are drawn from, and what a mutation has to know about each.

    python conformance/mutants/list_operators.py > conformance/mutants/operators.inc

What programs use, by rules that know nothing of the suite: operators with a CPU kernel of their own (which are those
that a client sends) that PyTorch tags as core or pointwise, linear algebra, `_MORE`, what PyTorch's derivatives call,
in-place variants of all of these, and what torch.optim calls on lists of tensors.
"""

import re
from pathlib import Path

import torch


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_MORE = _words("""
addbmm addmv baddbmm binary_cross_entropy bincount bucketize.Tensor convolution
_scaled_dot_product_fused_attention_overrideable cumprod _cumprod _cumsum _logcumsumexp dot eye
grid_sampler_3d histc huber_loss im2col index_add kthvalue linspace log_sigmoid_forward masked_select
max_unpool2d mode mse_loss multi_margin_loss multilabel_margin_loss_forward native_batch_norm nll_loss2d_forward
nll_loss_forward roll searchsorted.Tensor smooth_l1_loss soft_margin_loss sort.stable
std.correction std_mean.correction trace tril triu _unique2 upsample_bicubic2d upsample_bilinear2d
upsample_linear1d upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_trilinear3d var_mean.correction
aminmax median.dim nanmedian.dim cross logsumexp linalg_cross renorm repeat_interleave.Tensor
""")
_MORE_IN_PLACE = _words("""
bernoulli_.float copy_ fill_.Scalar fill_.Tensor zero_ _index_put_impl_ masked_fill_.Scalar masked_fill_.Tensor
normal_ uniform_ random_ random_.from exponential_ index_fill_.int_Scalar masked_scatter_
""")
_MORE_BACKWARD = _words("""
convolution_backward _scaled_dot_product_fused_attention_overrideable_backward
""")

#: Make or look at metadata alone, have no tensor to change, or are internal to a kernel that is sent as a whole.
_LEFT_OUT = re.compile(
    r"empty|as_strided|view|_local_scalar_dense|copy$|equal$|__|mkldnn|slow_conv|flash_attention|_fake_quantize|"
    r"_embedding_bag_dense_backward|_weight_norm_interface|glu_backward_jvp|"
    r"batch_norm_backward$(?<!native_batch_norm_backward)"
)
#: Clients send these as they are, although PyTorch makes them of others on CPU (register_operators.cpp).
_SENT_WHOLE = re.compile(
    r"aten::(copy_|linalg_lstsq|mode|convolution|convolution_backward|_foreach_\w+|"
    r"_scaled_dot_product_fused_attention_overrideable\w*)(\.\w+)?$"
)
#: Arguments whose change nothing can notice, or which travel in another form.
_NO_NUMBERS = re.compile(
    r"dtype|layout|device|pin_memory|memory_format|non_blocking|cudnn|sorted|stable|check_errors|"
    r"driver|generator|unsafe|sparse|implicit|self_is_|benchmark|deterministic|allow_tf32|debug_mask"
)
_NUMBERS = {
    "int",
    "SymInt",
    "float",
    "bool",
    "number",
    "Optional[int]",
    "Optional[float]",
    "Optional[number]",
}

_BOOLEAN_OR_WHOLE = re.compile(
    r"(eq|ne|lt|le|gt|ge|is\w+|any|all|signbit|argmax|argmin|bincount|nonzero|bitwise_\w+|searchsorted|bucketize|"
    r"_unique2|gcd|lcm|floor|ceil|round|trunc|sign|sgn|heaviside|eye|histc|random_|bernoulli_|zero_|fill_|sort|\w*shift\w*|"
    r"mode|repeat_interleave)_?$"
)
_SMALL = re.compile(
    r"(any|all|prod|dot|mv|addmv_?|trace|bincount|nonzero|histc|linspace|masked_select|_unique2|repeat_interleave|_pdist_forward|"
    r"\w*_loss\w*|\w*binary_cross_entropy|_linalg_det|_linalg_slogdet|_linalg_eigvals|reflection_pad1d|_embedding_bag\w*)$"
)
_NON_COMMUTATIVE = re.compile(
    r"(sub|div|pow|atan2|fmod|remainder|gt|lt|ge|le|copysign|nextafter|heaviside|mm|bmm|xlogy|special_xlog1py|special_zeta|"
    r"igamma|igammac|logaddexp_not|linalg_cross|bitwise_left_shift|bitwise_right_shift)_?$"
)
_ALIKE_RESULTS = re.compile(
    r"(var_mean|std_mean|native_layer_norm|native_group_norm|native_batch_norm|_native_batch_norm_legit|aminmax|linalg_qr|"
    r"_linalg_svd|linalg_lu|native_layer_norm_backward|native_group_norm_backward|native_batch_norm_backward)$"
)


def main() -> None:
    print("// Made by list_operators.py: name, group, traits, number arguments.")
    for name, group in sorted(_chosen().items()):
        print(_line(name, group))


def _chosen() -> dict[str, str]:
    found: dict[str, str] = {}
    for full in sorted(torch._C._dispatch_get_all_op_names()):
        if not full.startswith("aten::"):
            continue
        name = full.removeprefix("aten::")
        base = name.partition(".")[0]
        if _LEFT_OUT.search(base) or _is_out(name):
            continue
        if base.endswith("_") and name not in _MORE_IN_PLACE:
            continue
        if not _is_sent(full):
            continue
        if name in _MORE or name in _MORE_IN_PLACE:
            found[name] = "kInPlace" if name in _MORE_IN_PLACE else "kForward"
        elif name in _MORE_BACKWARD or "backward" in base:
            found[name] = "kBackward"
        elif _has_tag(name) or base.startswith(("linalg_", "_linalg_")):
            found[name] = "kForward"
    for name in [one for one, group in found.items() if group == "kForward"]:
        base, dot, overload = name.partition(".")
        in_place = f"{base}_{dot}{overload}"
        if _exists(in_place) and _is_sent(f"aten::{in_place}"):
            found[in_place] = "kInPlace"
    for name in _of_optimizers():
        found[name] = "kOptimizer"
    return found


def _of_optimizers() -> list[str]:
    source = "".join(path.read_text() for path in Path(torch.optim.__file__).parent.glob("*.py"))
    bases = set(re.findall(r"torch\.(_(?:foreach|fused)_\w+)\(", source)) | set(
        re.findall(r"torch\.(_fused_\w+_)\b", source)
    )
    overloads = ("", ".Scalar", ".List", ".ScalarList", ".Tensor", ".tensor_lr")
    return [base + overload for base in bases for overload in overloads if _exists(base + overload)]


def _operator(name: str):  # type: ignore[no-untyped-def]
    base, _, overload = name.partition(".")
    return getattr(getattr(torch.ops.aten, base), overload or "default")


def _exists(name: str) -> bool:
    return torch._C._dispatch_has_kernel(f"aten::{name}")


def _is_sent(full: str) -> bool:
    return bool(_SENT_WHOLE.match(full)) or any(
        torch._C._dispatch_has_kernel_for_dispatch_key(full, key)
        for key in ("CPU", "CompositeExplicitAutogradNonFunctional")
    )


def _is_out(name: str) -> bool:
    arguments = _operator(name)._schema.arguments
    return any(one.alias_info and one.alias_info.is_write and one.kwarg_only for one in arguments)


def _has_tag(name: str) -> bool:
    tags = _operator(name).tags
    return torch.Tag.core in tags or torch.Tag.pointwise in tags


def _line(name: str, group: str) -> str:
    schema = _operator(name)._schema
    base = name.partition(".")[0]
    numbers = [
        str(index)
        for index, one in enumerate(schema.arguments)
        if str(one.type) in _NUMBERS and not _NO_NUMBERS.search(one.name)
    ]
    reads = [one for one in schema.arguments if "Tensor" in str(one.type) and not one.alias_info]
    traits = []
    if not _BOOLEAN_OR_WHOLE.match(base):
        traits.append("kFloats")
    if not _SMALL.match(base) and name not in ("mean", "std", "var"):
        traits.append("kWide")
    if _NON_COMMUTATIVE.match(base) and len(reads) >= (1 if group == "kInPlace" else 2):
        traits.append("kNonCommutative")
    if _ALIKE_RESULTS.match(base):
        traits.append("kAlikeResults")
    if reads:
        traits.append("kReads")
    if any("Generator" in str(one.type) for one in schema.arguments) or base == "native_dropout":
        traits.append("kRandom")
    shown = " | ".join(traits) or "0"
    return f'{{"aten::{name}", Group::{group}, {shown}, {{{", ".join(numbers[:4])}}}}},'


if __name__ == "__main__":
    main()
