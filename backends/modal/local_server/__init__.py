# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Modal's control plane on this machine, for tests: no account, no network, no bill.

The real client from PyPI talks to it unchanged, over Modal's own protocol. A sandbox is a process
group on this machine and its tunnel a port on 127.0.0.1; an image is only its recipe.

    with LocalModal(programs={"torch-remote-executor": EXECUTOR}) as server, server.applied():
        app = modal.App.lookup("tests", create_if_missing=True)
        sandbox = modal.Sandbox.create(
            "torch-remote-executor", "--bind", "tcp://0.0.0.0:5555",
            app=app, gpu="T4", unencrypted_ports=[5555],
        )
        host, port = sandbox.tunnels()[5555].tcp_socket
        sandbox.terminate(wait=True)
        assert not server.running

`python -m backends.modal.local_server`, in the repository's root, serves other processes. What can
go wrong on purpose is listed in :class:`Faults`. A client call that is not covered answers
UNIMPLEMENTED, with the call's name.
"""

from .commands import Launch, localized
from .faults import Faults
from .records import App, Image, Secret, Volume
from .sandbox import Sandbox
from .server import LocalModal

__all__ = [
    "App",
    "Faults",
    "Image",
    "Launch",
    "LocalModal",
    "Sandbox",
    "Secret",
    "Volume",
    "localized",
]
