# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Key pairs of encrypted connections, and where they are kept.

A pair is two files in one folder: `NAME.secret`, which only its owner may read, and `NAME.public`. A
secret key is never printed and never on a command line.
"""

import contextlib
import os
import re
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from torch_remote._loading import ensure_loaded

#: The pair with which this user's programs connect.
CLIENT = "client"


@dataclass(frozen=True)
class Keys:
    """A key pair in files."""

    name: str
    public_key: str
    public_file: Path
    secret_file: Path


def folder() -> Path:
    """Where keys are kept: TORCH_REMOTE_KEYS, or torch-remote/keys in the user's configuration."""
    if chosen := os.environ.get("TORCH_REMOTE_KEYS"):
        return Path(chosen)
    configuration = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(configuration) / "torch-remote" / "keys"


def find_or_make_keys(name: str = CLIENT) -> Keys:
    """The pair of a name; made at the first time.

    Raises:
        ValueError: a name that is no plain file name, or a file that holds no key.
        PermissionError: others can read the secret key.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
        raise ValueError(f"{name!r} is no name for keys: use letters, digits, dots and dashes")
    secret_file = folder() / f"{name}.secret"
    public_file = folder() / f"{name}.public"
    if not secret_file.exists():
        _write_secret(secret_file, ensure_loaded().make_key_pair()[1])
    public_key: str = ensure_loaded().public_key_of(read_secret_key(secret_file))
    public_file.write_text(f"{public_key} # {name}\n")
    return Keys(name, public_key, public_file, secret_file)


def read_secret_key(path: Path) -> str:
    """The key in a file of find_or_make_keys. Raises as that does, and OSError without the file."""
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise PermissionError(
            f"other users can read or write the secret key in {path}: chmod 600 it"
        )
    words = path.read_text().split()
    if len(words) != 1:
        raise ValueError(f"{path} has to hold one secret key and nothing else")
    return words[0]


def _write_secret(path: Path, key: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Private from its first moment, there only when whole, and never over another key: a program that
    # runs at the same time may be making one as well.
    with tempfile.NamedTemporaryFile("w", dir=path.parent) as file:
        file.write(key + "\n")
        file.flush()
        with contextlib.suppress(FileExistsError):
            os.link(file.name, path)
