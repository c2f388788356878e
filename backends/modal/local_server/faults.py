# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a test can ask to go wrong."""

from dataclasses import dataclass


@dataclass
class Faults:
    """How this Modal misbehaves. Change a field at any time; it counts from the next call on."""

    #: Every call answers UNAUTHENTICATED, as with a token that was revoked. (A token that is not
    #: the server's own is refused in any case.)
    reject_credentials: bool = False

    #: Building an image takes so long.
    image_build_s: float = 0.0
    #: Building an image ends in a failure after these lines of the build log.
    image_build_error: str | None = None

    #: The call that creates a sandbox is answered so much later than the sandbox exists: the moment
    #: in which an interrupted client does not know yet what it would have to terminate.
    create_reply_delay_s: float = 0.0
    #: A sandbox waits so long for a machine. math.inf: until the client gives up, which it does
    #: after 21 minutes, with ResourceExhaustedError.
    scheduling_s: float = 0.0
    #: The client is told after so long a wait that there is no machine: the same error in test time.
    no_capacity_after_s: float | None = None

    #: The GPUs that a sandbox gets whatever it asked for, such as "H200:1".
    granted_gpu: str | None = None
    #: A sandbox ends with this exit code instead of running its command.
    dies_with: int | None = None
    #: No sandbox ever gets its tunnels.
    no_tunnels: bool = False
