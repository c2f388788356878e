# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""The command `torch-remote`."""

import argparse
import platform
import sys


def main(arguments: list[str] | None = None) -> int:
    """Runs one of the verbs; the exit code is that of the process."""
    parser = argparse.ArgumentParser(
        prog="torch-remote", description="A PyTorch device whose tensors live elsewhere."
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    executor = verbs.add_parser("executor", help="serve a device to others", add_help=False)
    executor.add_argument("rest", nargs=argparse.REMAINDER)
    verbs.add_parser("doctor", help="say what is installed and whether the device works")
    known, rest = parser.parse_known_args(arguments)
    if known.verb == "executor":
        sys.argv = ["torch-remote-executor", *known.rest, *rest]
        from torch_remote._executor_process import main as run_executor

        run_executor()  # becomes the executor, and does not return
    if rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    return doctor()


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
