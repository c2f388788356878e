# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Stand-alone programs that show a failure again."""

import torch

from torch_remote_conformance.target import Target

_PROGRAM = '''\
"""{name}, {direction}, {dtype}: sample {sample} with seed {seed} on {target}."""

import torch
from torch_remote_conformance import calls, sources
from torch_remote_conformance.case import Recorder
from torch_remote_conformance.target import opened, provided

with provided({target!r}) as address, opened(address) as target:
    recorder = Recorder(target, seed={seed}, only={sample})
    calls.check_{direction}(sources.operators()[{name!r}], {dtype}, recorder)
    for failure in recorder.failures:
        print(failure.label, failure.message, sep="\\n")
    raise SystemExit(recorder.failed)
'''


def operator_script(
    name: str, direction: str, dtype: torch.dtype, target: Target, seed: int, sample: int
) -> str:
    """A program that makes one call of an operator on CPU and the target, and ends with 1 if they differ.

    Args:
        name: of the entry in PyTorch's table, with its variant.
        direction: of the case, such as "backward".
        dtype: of the samples.
        target: where it failed.
        seed: of the run.
        sample: its number within the case.
    """
    return _PROGRAM.format(
        name=name, direction=direction, dtype=dtype, target=target.name, seed=seed, sample=sample
    )
