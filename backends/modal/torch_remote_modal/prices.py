# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""What GPUs cost on Modal: its own figures for the workspace, else a table that carries its date."""

import re
from typing import Any

from torch_remote.providers import Price, ProviderError

from torch_remote_modal.errors import client, explained, is_refusal

# USD a second for one GPU. Regions, CPU cores and memory cost extra.
TABLE = {
    "T4": 0.000164,
    "L4": 0.000222,
    "A10G": 0.000306,
    "A100-40GB": 0.000583,
    "A100-80GB": 0.000694,
    "L40S": 0.000542,
    "H100": 0.001097,
    "H200": 0.001261,
    "B200": 0.001736,
}
TABLE_SOURCE = "Modal's price list (modal.com/pricing), autumn 2026"

# Modal's names where they differ from ours.
_OTHER_NAMES = {"A10G": "A10", "A100-40GB": "A100"}
# The client does not say whether a rate is for a second or an hour. They are 3600 times apart, and
# no price moves that far: what is near the table's in one of the two units is in that one.
_NEAR = 20.0


def price(gpu_type: str, gpu_count: int) -> Price:
    """Of so many GPUs. Asks Modal; without an answer the table counts.

    Raises:
        ProviderError: there is no package modal, or it has no valid token.
    """
    try:
        with explained("asking for prices", nothing_started=True):
            rates = dict(client().Workspace.from_context().billing.rates())
    except ProviderError as error:
        if is_refusal(error):  # nor could a machine be started
            raise
        rates = {}
    usd_per_s = _rate(rates, gpu_type)
    if usd_per_s is not None:
        return Price(usd_per_s * gpu_count, "Modal's rates for your workspace")
    return Price(TABLE[gpu_type] * gpu_count, TABLE_SOURCE)


def _rate(rates: dict[str, Any], gpu_type: str) -> float | None:
    """USD a second; None where no rate can be one for this GPU."""
    by_name = {_plain(name): rate for name, rate in rates.items()}
    for name in (gpu_type, _OTHER_NAMES.get(gpu_type, gpu_type)):
        if (rate := by_name.get(_plain(name))) is None:
            continue
        for unit_s in (1.0, 3600.0):
            usd_per_s = float(rate) / unit_s
            if TABLE[gpu_type] / _NEAR < usd_per_s < TABLE[gpu_type] * _NEAR:
                return usd_per_s
    return None


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower()).removeprefix("gpu").removeprefix("nvidia")
