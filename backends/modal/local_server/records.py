# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the server keeps of the objects that clients make, for its own use and for tests to read."""

import secrets
import string
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from grpclib import GRPCError, Status

if TYPE_CHECKING:
    from .commands import Rewrite
    from .faults import Faults
    from .sandbox import Sandbox

Kept = TypeVar("Kept")

#: Where a client that names no environment is.
DEFAULT_ENVIRONMENT = "main"


@dataclass(frozen=True)
class App:
    app_id: str
    name: str
    environment: str
    created_at: float = field(default_factory=time.time)


@dataclass(frozen=True)
class Secret:
    """Its values are for the sandbox's process; they are in no representation and no log."""

    secret_id: str
    name: str
    values: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True)
class Volume:
    """A folder of the server's own, which is gone when the server closes."""

    volume_id: str
    name: str
    folder: Path


@dataclass(frozen=True)
class Mount:
    mount_id: str
    name: str
    files: Mapping[str, str]  # path in the container: SHA-256 of its content


@dataclass(frozen=True)
class Image:
    """A recipe and its hash: equal recipes are the same image, and nothing is ever run."""

    image_id: str
    #: The commands of all layers, from the base image on.
    commands: tuple[str, ...]
    #: The last layer's own.
    layer: tuple[str, ...]
    #: The local files that layers copied: path in the container, SHA-256 of the content.
    files: Mapping[str, str]
    #: The build's log; empty until it is built.
    log: tuple[str, ...] = field(default=(), repr=False)
    failed: bool = False


@dataclass
class Workspace:
    """Everything that exists, and the settings that decide what happens to it."""

    faults: "Faults"
    rewrite: "Rewrite"
    #: The variables that every sandbox starts from, before Modal's and the secrets.
    base_environment: Mapping[str, str]
    folder: Path
    rates: Mapping[str, str]
    #: Where large files are uploaded to, and the token of the second generation of calls; known
    #: when the server runs.
    url: str = ""
    upload_url: str = ""
    auth_token: str = field(default="", repr=False)

    apps: dict[str, App] = field(default_factory=dict)
    secrets: dict[str, Secret] = field(default_factory=dict)
    volumes: dict[str, Volume] = field(default_factory=dict)
    mounts: dict[str, Mount] = field(default_factory=dict)
    images: dict[str, Image] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)  # SHA-256: content
    blobs: dict[str, bytes] = field(default_factory=dict)
    sandboxes: dict[str, "Sandbox"] = field(default_factory=dict)

    def image(self, image_id: str) -> Image:
        """The image of that id, of which nothing may be known.

        The client keeps its default image, once built, as long as its process lives, whatever
        server it talks to by then.
        """
        return self.images.get(image_id) or Image(image_id, commands=(), layer=(), files={})


def new_id(prefix: str, length: int = 22) -> str:
    """An object's id as Modal makes them."""
    alphabet = string.ascii_letters + string.digits
    return f"{prefix}-" + "".join(secrets.choice(alphabet) for _ in range(length))


def known(kept: Mapping[str, Kept], object_id: str, kind: str) -> Kept:
    """The object with that id, or the answer that Modal gives where there is none."""
    try:
        return kept[object_id]
    except KeyError:
        raise GRPCError(Status.NOT_FOUND, f"{kind} {object_id!r} not found") from None


def named(
    kept: Mapping[str, Kept],
    kind: str,
    name: str,
    same: Callable[[Kept], bool],
    make: Callable[[], Kept] | None = None,
) -> Kept:
    """The object that `same` recognizes, else a new one, else the answer that Modal gives to that."""
    for one in kept.values():
        if same(one):
            return one
    if make is None:
        raise GRPCError(Status.NOT_FOUND, f"{kind} {name!r} not found")
    return make()
