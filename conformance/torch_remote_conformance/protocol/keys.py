# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Cases of keys: only clients on the executor's list are served, and only by the executor they mean."""

from dataclasses import dataclass

import zmq
from zmq.utils.monitor import recv_monitor_message

from torch_remote_conformance.protocol.executor import Checks, Executor
from torch_remote_conformance.protocol.wire import expect

CHECKS = Checks("keys")

_OUTCOME_S = 60
_FAILED = (
    zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_DISCONNECTED
)


@dataclass(frozen=True)
class _Keys:
    """What a client connects with."""

    has_own: bool = False
    has_servers: bool = False


def _has_keys(executor: Executor) -> bool:
    return executor.endpoint.server_key is not None


@CHECKS.case("listed_client_is_served", applies=_has_keys)
def _listed(executor: Executor) -> None:
    with executor.session() as client:
        client.synchronize()


_WRONG = {
    "a client that is not on the list": _Keys(has_servers=True),
    "another executor is meant": _Keys(has_own=True),
    "neither": _Keys(),
    "no keys": None,
}


@CHECKS.case("wrong_keys_are_not_served", each=_WRONG, applies=_has_keys)
def _wrong(executor: Executor, keys: _Keys | None) -> None:
    with executor.undisturbed():
        event = _handshake(executor, keys)
        expect(event != zmq.EVENT_HANDSHAKE_SUCCEEDED, "the connection was made")


def _handshake(executor: Executor, keys: _Keys | None) -> int:
    """How it ends."""
    socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
    monitor = socket.get_monitor_socket(_FAILED | zmq.EVENT_HANDSHAKE_SUCCEEDED)
    try:
        if keys is not None:
            other_public, _ = zmq.curve_keypair()
            public, secret = zmq.curve_keypair()
            if keys.has_own:
                secret = executor.endpoint.secret_key()
                public = zmq.curve_public(secret)
            socket.curve_publickey, socket.curve_secretkey = public, secret
            servers = executor.endpoint.server_key
            assert servers is not None
            socket.curve_serverkey = servers.encode() if keys.has_servers else other_public
        socket.connect(executor.endpoint.address)
        if not monitor.poll(_OUTCOME_S * 1000):
            raise TimeoutError(f"no end of the handshake within {_OUTCOME_S} s")
        event: int = recv_monitor_message(monitor)["event"]
        return event
    finally:
        socket.disable_monitor()
        monitor.close(linger=0)
        socket.close(linger=0)
