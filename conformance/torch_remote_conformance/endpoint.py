# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where an executor serves, and the keys for it: what a client of any kind needs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Endpoint:
    """An executor's endpoint."""

    #: tcp://host:port or ipc://path.
    address: str
    #: The executor's public key; None where the connection is not encrypted.
    server_key: str | None = None
    #: The client's secret key; None for the one that `torch-remote keys` makes.
    key_file: str | None = None

    def set_keys(self, socket: Any) -> None:
        """Readies a socket of pyzmq for the connection."""
        if self.server_key is None:
            return
        import zmq

        secret = self.secret_key()
        socket.curve_serverkey = self.server_key.encode()
        socket.curve_secretkey = secret
        socket.curve_publickey = zmq.curve_public(secret)

    def secret_key(self) -> bytes:
        """The client's. Raises PermissionError where others can read it."""
        from torch_remote import _keys

        file = Path(self.key_file) if self.key_file else _keys.find_or_make_keys().secret_file
        return _keys.read_secret_key(file).encode()
