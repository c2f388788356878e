# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Who may call: the server's own token, and the one that second-generation calls carry besides."""

import base64
import json
import secrets
import time
from dataclasses import dataclass, field

from grpclib import GRPCError, Status
from grpclib.events import RecvRequest

_LIFETIME_S = 86_400
# The service that a worker has rather than the control plane; it knows only the second token.
_WORKER_SERVICE = "/modal.task_command_router."


@dataclass(frozen=True)
class Credentials:
    """What a client must show, made anew for each server."""

    token_id: str = field(default_factory=lambda: f"ak-{secrets.token_hex(11)}")
    token_secret: str = field(default_factory=lambda: f"as-{secrets.token_hex(11)}", repr=False)
    #: The client reads its expiry; nothing here checks a signature.
    auth_token: str = field(default_factory=lambda: _unsigned_token(), repr=False)

    def check(self, call: RecvRequest) -> None:
        """Raises what Modal answers to a caller that it doesn't know."""
        shown = [call.metadata.get(name) for name in ("x-modal-token-id", "x-modal-token-secret")]
        if call.method_name.startswith(_WORKER_SERVICE):
            accepted = call.metadata.get("authorization") == f"Bearer {self.auth_token}"
        else:
            accepted = shown == [self.token_id, self.token_secret]
        if not accepted:
            refuse()


def refuse() -> None:
    message = "Token validation failed. Could not authenticate client."
    raise GRPCError(Status.UNAUTHENTICATED, message)


def _unsigned_token() -> str:
    def part(content: dict[str, object]) -> str:
        return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")

    expiry = int(time.time()) + _LIFETIME_S
    return f"{part({'alg': 'none'})}.{part({'exp': expiry})}.local"
