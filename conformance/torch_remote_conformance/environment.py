# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a run depended on, and one short text that is another one where any of it was."""

import hashlib
import json
import os
import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

#: What a run was asked for, rather than what it ran on; the rest is the fingerprint's.
_CHOICES = frozenset({"level", "filter", "shard", "seed", "fingerprint"})
_PACKAGES = ("torch", "torch-remote", "numpy", "hypothesis", "pyzmq")


def environment(choices: Mapping[str, Any], target: Mapping[str, str]) -> dict[str, Any]:
    """The report's "environment".

    Args:
        choices: the target's name, level, filter, shard and seed.
        target: what the target says of itself.
    """
    made: dict[str, Any] = {
        **choices,
        "packages": {name: version for name in _PACKAGES if (version := _version(name))},
        "torch_build": _digest(torch.__config__.show()),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "processor": _processor(),
        "processor_count": os.cpu_count(),
        # What is another one at each start says nothing.
        "executor": {key: value for key, value in sorted(target.items()) if key != "epoch"},
    }
    return made | {"fingerprint": fingerprint(made)}


def fingerprint(environment: Mapping[str, Any]) -> str:
    """16 hexadecimal digits: equal for runs on equal targets with equal software."""
    known = {key: value for key, value in environment.items() if key not in _CHOICES}
    return _digest(json.dumps(known, sort_keys=True))


def torch_version(environment: Mapping[str, Any]) -> str:
    """Of the client; empty where a report does not say it."""
    return str(environment.get("packages", {}).get("torch", ""))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), ""
    )
