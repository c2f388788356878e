# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whatever Modal's client raises, as one ProviderError that says what to do."""

import contextlib
import importlib
from collections.abc import Iterator
from typing import Any

from torch_remote.providers import ProviderError


def client() -> Any:
    """The package modal. Raises ProviderError where it is not installed."""
    try:
        return importlib.import_module("modal")
    except ImportError as error:
        raise ProviderError(
            f"Modal's client can't be imported ({error}): pip install 'modal>=1.6,<2', then "
            "modal token new",
            nothing_started=True,
        ) from error


@contextlib.contextmanager
def explained(doing: str, *, nothing_started: bool = False) -> Iterator[None]:
    """Turns what Modal's client raises into ProviderError. Ctrl-C and our own errors pass.

    Args:
        doing: what is tried, for the message: "starting a machine".
        nothing_started: it is tried before any machine is asked for.
    """
    modal = client()
    try:
        yield
    except (modal.Error, OSError, TimeoutError) as error:
        raise ProviderError(
            f"{doing} on Modal failed: {_explanation(modal.exception, error)}",
            nothing_started=nothing_started or not _has_token(),
        ) from error


def _has_token() -> bool:
    """Without one, nothing of this user's can run; one that is not accepted any more says nothing."""
    return bool(importlib.import_module("modal.config").config.get("token_id"))


def is_refusal(error: ProviderError) -> bool:
    """Whether nothing of Modal can be used: its package is missing, or it accepts no token."""
    if isinstance(error.__cause__, ImportError):
        return True
    return isinstance(error.__cause__, client().exception.AuthError)


def _explanation(kinds: Any, error: Exception) -> str:
    said = str(error).strip() or type(error).__name__
    for kind, advice in _ADVICE:
        if isinstance(error, getattr(kinds, kind, ())):
            return advice.format(said=said)
    if isinstance(error, kinds.ResourceExhaustedError):
        return _exhausted(said)
    return f"{type(error).__name__}: {said}"


def _exhausted(said: str) -> str:
    if "capacity" in said.lower():
        return f"no such GPU is free ({said}): try again later, another gpu_type, or another region"
    return (
        f"your workspace's limit is reached ({said}): stop what runs (torch-remote ls), or raise "
        "the limit in Modal's settings"
    )


# The first that fits counts: subclasses come before their bases.
_ADVICE = (
    (
        "AuthError",
        "it does not accept your token ({said}): run modal token new, or set MODAL_TOKEN_ID and "
        "MODAL_TOKEN_SECRET",
    ),
    (
        "PermissionDeniedError",
        "your token may not do that ({said}): ask the owner of the workspace, or use another token "
        "(modal token new)",
    ),
    (
        "ImageBuildError",
        "the image could not be built ({said}): on a terminal with rich installed the build's log "
        "is shown, and Modal's web site has it too",
    ),
    (
        "SandboxTimeoutError",
        "it took too long ({said}): Modal may be slow just now; try again",
    ),
    (
        "SandboxTerminatedError",
        "the machine was terminated from outside ({said}): start another; Modal's web site may "
        "tell why",
    ),
    ("TimeoutError", "it took too long ({said}): try again"),
    ("ConnectionError", "it can't be reached ({said}): is there a network, or a proxy in the way?"),
    ("VersionError", "the package modal is too old ({said}): pip install -U 'modal<2'"),
    ("ServiceError", "it does not answer as it should ({said}): try again; status.modal.com"),
    ("NotFoundError", "{said}: check the names of volumes and of the environment"),
    ("InvalidError", "it does not accept the request: {said}"),
)
