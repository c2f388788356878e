# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""The command `torch-remote-executor`: finds the program that is installed with torch_remote.

A package of its own, because importing any part of torch_remote takes the seconds that torch takes.
"""

import importlib.util
import os
import sys
from pathlib import Path

#: Installed or in the source folder, torch_remote lies beside this package.
PROGRAM = Path(__file__).parents[1] / "torch_remote" / "bin" / "torch-remote-executor"


def main() -> None:
    """Becomes the program."""
    run(sys.argv[1:])


def run(arguments: list[str]) -> None:
    """Becomes the program with these arguments; returns only by raising SystemExit without it."""
    try:
        os.execve(PROGRAM, [PROGRAM.name, *without_gpu_file(arguments)], environment())
    except FileNotFoundError:
        sys.exit(missing())


def without_gpu_file(arguments: list[str]) -> list[str]:
    """The same, with the values of a GPU's file in its place: the program reads no TOML."""
    at = arguments.index("--emulate") if "--emulate" in arguments[:-1] else -1
    if at < 0 or not arguments[at + 1].lower().endswith(".toml"):
        return arguments
    from torch_remote._own_gpu import emulating  # takes the seconds that torch takes

    try:
        return [*arguments[:at], *emulating(arguments[at + 1]), *arguments[at + 2 :]]
    except (ValueError, OSError) as error:
        sys.exit(f"torch-remote-executor: {error}")


def missing() -> str:
    """What to tell where the program isn't there."""
    return f"{PROGRAM} is missing: build torch-remote (./dev build), or install it again"


def environment() -> dict[str, str]:
    """This process's environment, in which the program finds torch's libraries wherever torch is.

    The path that was linked in leads to them only while torch lies beside torch_remote.
    """
    variable = "DYLD_LIBRARY_PATH" if sys.platform == "darwin" else "LD_LIBRARY_PATH"
    torch = importlib.util.find_spec("torch")
    folders = [str(Path(torch.origin).parent / "lib")] if torch and torch.origin else []
    known = os.environ.get(variable)
    return os.environ | {variable: os.pathsep.join([*([known] if known else []), *folders])}
