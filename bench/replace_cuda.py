# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""What replaced names cost: operations a second with and without `torch_remote.replace_cuda`, in turns.

    python bench/replace_cuda.py [--calls 20000] [--rounds 7]

The device is the null executor, which computes nothing, so that the client's own time is what is left.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
import torch_remote


def main() -> None:
    """Prints a row a kind of call: nanoseconds a call without and with, and the median of the rounds' ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(1)
    device = torch_remote.null_device()
    tensor = torch.empty(16, 16, device=device)
    kinds: dict[str, Callable[[], object]] = {
        "x + x": lambda: tensor + tensor,
        "x.add_(1)": lambda: tensor.add_(1),
        "x @ x": lambda: tensor @ tensor,
        "torch.empty(16, device=device)": lambda: torch.empty(16, device=device),
        "x.to(device), already there": lambda: tensor.to(device),
        "x.is_cuda": lambda: tensor.is_cuda,
        "x.device.type": lambda: tensor.device.type,
    }
    print(f"{'call':34}{'ns without':>12}{'ns with':>12}{'ratio':>8}")
    for name, call in kinds.items():
        without, replaced = [], []
        for _ in range(options.rounds):
            without.append(_ns_a_call(call, options.calls, device))
            with torch_remote.replace_cuda(device):
                replaced.append(_ns_a_call(call, options.calls, device))
        ratios = [b / a for a, b in zip(without, replaced, strict=True)]
        print(
            f"{name:34}{statistics.median(without):12.0f}{statistics.median(replaced):12.0f}"
            f"{statistics.median(ratios):8.3f}"
        )


def _ns_a_call(call: Callable[[], object], count: int, device: torch.device) -> float:
    for _ in range(100):
        call()
    torch.remote.synchronize(device)
    start = time.perf_counter_ns()
    for _ in range(count):
        call()
    torch.remote.synchronize(device)
    return (time.perf_counter_ns() - start) / count


if __name__ == "__main__":
    main()
