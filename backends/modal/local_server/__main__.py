# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""The local Modal as a program: prints the variables that clients need and serves until ended.

    python -m backends.modal.local_server --program torch-remote-executor=PATH --fault scheduling_s=2

The first line is the server's URL. The lines after it, up to an empty one, are for a shell's
`export`. SIGTERM or Ctrl-C ends the server and its sandboxes, and lists what became of them.
"""

import argparse
import contextlib
import dataclasses
import signal
import sys
from types import FrameType

from .faults import Faults
from .server import LocalModal


def main() -> None:
    arguments = _arguments()
    signal.signal(signal.SIGTERM, _interrupted)
    with LocalModal(
        programs=dict(arguments.program),
        faults=Faults(**dict(arguments.fault)),
        port=arguments.port,
    ) as server:
        with contextlib.suppress(KeyboardInterrupt):
            print(server.url)
            for name, value in server.environment().items():
                print(f"{name}={value}")
            print(flush=True)
            while True:
                signal.pause()
        left = len(server.running)
    for sandbox in server.sandboxes:
        print(sandbox, file=sys.stderr)
    print(f"{left} of {len(server.sandboxes)} sandboxes were running at the end", file=sys.stderr)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="local_server", description="Modal on this machine")
    parser.add_argument("--port", type=int, default=0, help="where to serve; 0 picks a free port")
    parser.add_argument(
        "--program",
        type=lambda text: tuple(text.split("=", 1)),
        action="append",
        default=[],
        metavar="NAME=PATH",
        help="what runs here for a program in a container",
    )
    parser.add_argument(
        "--fault",
        type=_fault,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="one of " + ", ".join(field.name for field in dataclasses.fields(Faults)),
    )
    return parser.parse_args()


def _fault(text: str) -> tuple[str, object]:
    name, _, value = text.partition("=")
    defaults = {field.name: field.default for field in dataclasses.fields(Faults)}
    if name not in defaults:
        raise argparse.ArgumentTypeError(f"{name!r} is not one of {', '.join(defaults)}")
    if isinstance(defaults[name], bool):
        return name, value in ("", "1", "true")
    numbers = {"dies_with": int, "granted_gpu": str, "image_build_error": str}
    return name, numbers.get(name, float)(value)


def _interrupted(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
