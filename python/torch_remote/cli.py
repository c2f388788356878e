# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""The command `torch-remote`."""

import argparse
import platform
import sys

from _torch_remote_executor import run as run_executor

from torch_remote._machines.commands import add_verbs
from torch_remote._machines.commands import run as run_verb


def main(arguments: list[str] | None = None) -> int:
    """Runs one of the verbs; the exit code is that of the process."""
    words = sys.argv[1:] if arguments is None else arguments
    if words[:1] == ["executor"]:
        run_executor(words[1:])  # its options are its own
    if words[:1] == ["conformance"]:
        return conformance(words[1:])
    if words[:1] == ["run"]:  # the words after the program are the program's
        from torch_remote._run.command import run as run_program

        return run_program(words[1:])
    if words[:1] == ["emulate"]:
        from torch_remote._emulation.command import emulate

        return emulate(words[1:])
    parser = argparse.ArgumentParser(
        prog="torch-remote", description="A PyTorch device whose tensors live elsewhere."
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    verbs.add_parser("executor", help="serve a device to others", add_help=False)
    verbs.add_parser(
        "conformance", help="prove an executor, a provider or a device", add_help=False
    )
    verbs.add_parser("run", help='run a script that says "cuda" on a remote device', add_help=False)
    verbs.add_parser(
        "emulate", help="say what a script needs of each GPU: memory, time, price", add_help=False
    )
    verbs.add_parser("doctor", help="say what is installed and whether the device works")
    keys = verbs.add_parser("keys", help="make a key pair, or say where it is")
    keys.add_argument("name", nargs="?", default="client", help="default: your programs' own")
    add_verbs(verbs)
    known = parser.parse_args(words)
    if known.verb == "keys":
        return show_keys(known.name)
    return doctor() if known.verb == "doctor" else run_verb(known)


def conformance(words: list[str]) -> int:
    """Runs the conformance suite, which needs packages that the device doesn't."""
    try:
        from torch_remote_conformance.cli import main as run_conformance
    except ModuleNotFoundError as error:
        print(
            f'torch-remote conformance: {error}; pip install "torch-remote[conformance]"',
            file=sys.stderr,
        )
        return 2
    return run_conformance(words)


def show_keys(name: str) -> int:
    """Makes the keys of a name if there are none; prints the public one and where both are."""
    from torch_remote._keys import find_or_make_keys

    try:
        keys = find_or_make_keys(name)
    except (OSError, ValueError) as error:
        print(f"torch-remote keys: {error}", file=sys.stderr)
        return 1
    print(f"public key   {keys.public_key}")
    print(f"public file  {keys.public_file}")
    print(f"secret file  {keys.secret_file}")
    return 0


def doctor() -> int:
    """Prints the versions and tries one operation on an emulated GPU."""
    import torch

    import torch_remote

    print(
        f"torch-remote {torch_remote.__version__}, torch {torch.__version__}, Python {platform.python_version()}"
    )
    try:
        device = torch_remote.emulate("T4")
        total = torch.ones(3, device=device).sum().item()
    except Exception as error:  # noqa: BLE001 (a doctor reports, whatever it is)
        print(f"the device does not work: {error}", file=sys.stderr)
        return 1
    print(f"the device works: 1 + 1 + 1 = {total:g} on an emulated T4")
    return 0


if __name__ == "__main__":
    sys.exit(main())
