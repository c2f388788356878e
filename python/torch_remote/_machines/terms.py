# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is asked for, checked before anything is started: GPU type, count, name, limits, budget."""

import difflib
import hashlib
import json
import math
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch_remote._arguments import SECONDS_MAX, text, whole_number
from torch_remote._gpus import GPU_TYPES
from torch_remote._keys import Keys, find_or_make_keys
from torch_remote._loading import ensure_loaded
from torch_remote._machines.progress import counted
from torch_remote.providers.interface import MachineRequest, Price, Provider

LEASE_S = 60.0
_BUDGET_USD_MAX = 1_000_000_000
IDLE_TIMEOUT_S = 900.0
GPU_COUNT_MAX = 8
# Clients say that they live every five seconds.
_LEASE_MIN_S = 6

# Tags by which machines are found again.
OWNER_TAG = "torch-remote-owner"
NAME_TAG = "torch-remote-machine"
START_TAG = "torch-remote-start"


@dataclass(frozen=True)
class Terms:
    """What the user wants, whatever the provider."""

    gpu_type: str
    gpu_count: int = 1
    name: str | None = None
    region: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    idle_timeout_s: float | None = IDLE_TIMEOUT_S
    lease_s: float | None = LEASE_S
    budget_usd: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Order:
    """A request, and what the client keeps of it for itself."""

    request: MachineRequest
    server_key: str
    lease_s: int | None
    idle_timeout_s: int | None
    price: Price | None


def make_order(provider: Provider, terms: Terms) -> Order:
    """The request for a provider, with a key pair of its own for the executor.

    Raises:
        ValueError: an unknown GPU type (the message names the nearest), a count, name, limit or
            budget that can't be, or a budget where no price is known.
        TypeError: a value of another type, or options that JSON can't hold.
    """
    gpu_type = canonical_gpu_type(terms.gpu_type)
    gpu_count = checked_count(terms.gpu_count)
    idle_timeout_s = _whole_seconds("idle_timeout_s", terms.idle_timeout_s, 1)
    lease_s = _whole_seconds("lease_s", terms.lease_s, _LEASE_MIN_S)
    if terms.region is not None:
        text("region", terms.region, "eu-north")
    name = _checked_name(terms.name) if terms.name is not None else _new_name(gpu_type)
    _check_options(provider, terms.options)
    client = find_or_make_keys()
    server_key, secret_key = ensure_loaded().make_key_pair()

    def request(lifetime_s: int | None) -> MachineRequest:
        limits = (
            ("--idle-timeout-s", idle_timeout_s),
            ("--lease-s", lease_s),
            ("--lifetime-s", lifetime_s),
        )
        return MachineRequest(
            name=name,
            gpu_type=gpu_type,
            gpu_count=gpu_count,
            tags=_checked_tags(terms.tags) | _own_tags(name, client),
            environment={
                "TORCH_REMOTE_SECRET_KEY": secret_key,
                "TORCH_REMOTE_AUTHORIZED_KEYS": client.public_key,
            },
            arguments=tuple(
                word for option, value in limits if value for word in (option, str(value))
            ),
            lifetime_s=lifetime_s,
            region=terms.region,
            options=terms.options,
        )

    unlimited = request(None)
    provider.check(unlimited)
    price = provider.price(unlimited)
    lifetime_s = _lifetime(terms.budget_usd, price, unlimited, provider)
    return Order(request(lifetime_s), server_key, lease_s, idle_timeout_s, price)


def renewed(order: Order) -> Order:
    """The same for another try: what the first one made can't be taken for the second's."""
    tags = {**order.request.tags, START_TAG: _start_tag(order.request.name)}
    return replace(order, request=replace(order.request, tags=tags))


def canonical_gpu_type(gpu_type: str) -> str:
    """One of GPU_TYPES. Raises ValueError with the nearest name for an unknown one."""
    if not isinstance(gpu_type, str):
        raise TypeError(f"gpu_type has to be a text such as 'H100', not {gpu_type!r}")
    by_upper_case = {"A100": "A100-40GB"} | {one.upper(): one for one in GPU_TYPES}
    if found := by_upper_case.get(gpu_type.strip().upper()):
        return found
    nearest = difflib.get_close_matches(gpu_type.upper(), by_upper_case, n=1, cutoff=0.4)
    meant = f"did you mean {nearest[0]!r}? " if nearest else ""
    raise ValueError(f"unknown GPU type {gpu_type!r}; {meant}There are {', '.join(GPU_TYPES)}")


def owner(client: Keys | None = None) -> str:
    """Who may end a machine: a tag value made of this user's public key."""
    key = (client or find_or_make_keys()).public_key
    return hashlib.sha256(key.encode()).hexdigest()[:16]


def _own_tags(name: str, client: Keys) -> dict[str, str]:
    # The last is another one at each start: by it a machine is found whose id was never learned.
    return {OWNER_TAG: owner(client), NAME_TAG: name, START_TAG: _start_tag(name)}


def _start_tag(name: str) -> str:
    return f"{name}-{secrets.token_hex(8)}"


def checked_count(gpu_count: int) -> int:
    """GPUs of one machine: 1 to 8. Raises TypeError or ValueError."""
    return whole_number("gpu_count", gpu_count, 1, GPU_COUNT_MAX)


def _checked_name(name: str) -> str:
    # The narrowest of the rules of file names and providers' tags.
    if not isinstance(name, str) or not re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9-]{0,39}", name):
        raise ValueError(
            f"{name!r} is no name for a machine: use up to 40 letters, digits and dashes"
        )
    return name


def _checked_tags(tags: Mapping[str, str]) -> dict[str, str]:
    for key, value in tags.items():
        for word in (key, value):
            if not isinstance(word, str) or not re.fullmatch(r"[a-zA-Z0-9._-]{1,63}", word):
                raise ValueError(
                    f"{word!r} can't be in a tag: use up to 63 letters, digits, dots and dashes"
                )
        if key.startswith("torch-remote-"):
            raise ValueError(f"the tag {key!r} is torch-remote's own")
    return dict(tags)


def _check_options(provider: Provider, options: Mapping[str, Any]) -> None:
    try:
        json.dumps(options)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"options of the provider {provider.name!r} have to be texts, numbers, lists and "
            f"dictionaries: {error}"
        ) from None


def _new_name(gpu_type: str) -> str:
    return f"{gpu_type.lower()}-{secrets.token_hex(3)}"


def _whole_seconds(name: str, value: float | None, least: int) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"{name} has to be a number of seconds or None, not {value!r}")
    if value == math.inf:
        return None
    if not least <= value <= SECONDS_MAX:  # nor is that true of what is no number
        raise ValueError(
            f"{name} is {value}; it has to be at least {least} seconds and at most ten years, or None"
        )
    return math.ceil(value)


def _lifetime(
    budget_usd: float | None, price: Price | None, request: MachineRequest, provider: Provider
) -> int | None:
    """Seconds after which the executor ends, whatever its client does."""
    if budget_usd is None:
        return provider.lifetime_max_s
    if not isinstance(budget_usd, int | float) or isinstance(budget_usd, bool):
        raise TypeError(f"budget_usd has to be a number, not {budget_usd!r}")
    if not 0 < budget_usd <= _BUDGET_USD_MAX:
        raise ValueError(
            f"budget_usd is {budget_usd}; it has to be more than 0 and at most {_BUDGET_USD_MAX}"
        )
    what = f"{counted(request.gpu_count, request.gpu_type)} of the provider {provider.name!r}"
    if price is None:
        raise ValueError(f"no price is known for {what}, so budget_usd can't be kept")
    if price.usd_per_s == 0:
        return provider.lifetime_max_s
    lifetime_s = math.floor(budget_usd / price.usd_per_s)
    if lifetime_s < 1:
        raise ValueError(
            f"budget_usd={budget_usd} buys less than a second: {what} costs "
            f"{price.usd_per_s * 3600:.2f} USD an hour"
        )
    return min(lifetime_s, provider.lifetime_max_s or lifetime_s)
