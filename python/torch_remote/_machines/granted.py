# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""The GPUs that were granted, compared with those that were asked for."""

import re
import warnings
from collections.abc import Mapping

from torch_remote.providers.interface import ProviderError

# Names that drivers report, as far as they tell types apart. The first that fits counts.
_NAMES = (
    (r"A100.*80\s?GB", "A100-80GB"),
    (r"A100.*40\s?GB", "A100-40GB"),
    (r"\bL40S\b", "L40S"),
    (r"\bA10G\b", "A10G"),
    (r"\b(T4|L4|L40|A10|H100|H200|B200)\b", r"\1"),
)


def reported_gpu_type(description: Mapping[str, str]) -> str | None:
    """The type that an executor says it has; None where it computes on no GPU.

    Args:
        description: the executor's welcome: "emulates" is a type, "gpu_name" what the driver says.
    """
    if emulated := description.get("emulates"):
        return emulated
    name = description.get("gpu_name")
    if name is None:
        return None
    for pattern, gpu_type in _NAMES:
        if found := re.search(pattern, name):
            return found.expand(gpu_type)
    return name


def check_granted(wanted: str, granted: str | None, *, accept_other: bool) -> None:
    """Raises ProviderError for another GPU than was asked for; warns where the user accepts that."""
    if granted is None or granted == wanted:
        return
    text = f"a machine with {wanted} was asked for, and one with {granted} was granted"
    # Some providers have both under one name.
    if accept_other or (wanted, granted) == ("A10G", "A10"):
        warnings.warn(text, stacklevel=2)
        return
    raise ProviderError(
        f"{text}, so it was stopped; accept_other_gpu=True takes what there is, and region= or "
        "another gpu_type may help"
    )


def check_count(wanted: int, granted: int) -> None:
    """Raises ProviderError where the executor has fewer GPUs than were asked for."""
    if granted < wanted:
        raise ProviderError(
            f"a machine with {wanted} GPUs was asked for, and its executor has {granted}, so it was "
            "stopped; this is the provider's fault"
        )
