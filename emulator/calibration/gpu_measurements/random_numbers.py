# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Section `random_numbers`: what each random operator draws for given seeds, bit by bit.

A record of kind "random" holds the operator, dtype, number of elements, seed, the generator's offset
before and after, a hash of all bytes, and windows of elements as hex bits: the first and last 8,
and 8 around each place where CUDA's grid of threads wraps (T, 2T and 4T; T is in the record "grid").
"""

import base64
import hashlib
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from gpu_measurements.random_operators import OPERATORS, RandomOperator, is_value_transform
from gpu_measurements.target import Session, tensor_bytes

WINDOW = 8
FULL_ARRAY_SIZE = 1000


def sizes(grid_threads: int, is_tiny: bool) -> list[int]:
    """Numbers of elements: within a block, across blocks, above one and four grids of threads."""
    small = [1, 5, 255, FULL_ARRAY_SIZE]
    if is_tiny:
        return [*small, 4 * grid_threads + 5]
    return [*small, 40961, 300001, 4 * grid_threads + 5, (1 << 22) + 7]


def cases(
    session: Session,
) -> Iterator[tuple[RandomOperator, torch.dtype, int, int, int]]:
    """(operator, dtype, size, seed, offset), those of most value first."""
    all_sizes = sizes(session.target.random_grid_threads(), session.is_tiny)
    # Seed 1 from a nonzero offset, where the largest key parts and counters have been seen already.
    plans = [(0, 0, all_sizes), (1, 24, [FULL_ARRAY_SIZE, 300001]), (2**40 + 3, 0, [5])]
    for seed, offset, plan_sizes in plans:
        for operator in OPERATORS:
            for dtype in operator.dtypes:
                for size in plan_sizes:
                    if size in all_sizes and size <= operator.largest_size:
                        yield operator, dtype, size, seed, offset


def run(session: Session) -> None:
    grid_threads = session.target.random_grid_threads()
    session.recorder.write("grid", threads=grid_threads, window=WINDOW)
    for operator in OPERATORS:
        if operator.cuda_only and not session.target.is_cuda:
            session.recorder.skip(operator.name, "exists on CUDA alone")
    last_seed = -1
    for operator, dtype, size, seed, offset in cases(session):
        if session.budget.is_spent():
            session.recorder.skip(f"{operator.name} {dtype} {size} seed {seed} and on", "budget")
            return
        if operator.cuda_only and not session.target.is_cuda:
            continue
        if seed != last_seed:
            last_seed = seed
            session.recorder.progress(f"seed {seed}")
        session.recorder.attempt(
            f"{operator.name} {dtype} {size} seed {seed}",
            partial(draw, session, operator, dtype, size, seed, offset),
        )


def draw(
    session: Session,
    operator: RandomOperator,
    dtype: torch.dtype,
    size: int,
    seed: int,
    offset: int,
) -> None:
    """Run one case from a set state of the generator, and record what came out."""
    make = operator.prepare(size, dtype, session.target.device)
    set_generator(session, seed, offset)
    before = generator_offset(session)
    result = make()
    session.target.synchronize()
    after = generator_offset(session)
    results = result if isinstance(result, tuple) else (result,)
    for number, tensor in enumerate(results):
        if not isinstance(tensor, Tensor):
            continue
        session.recorder.write(
            "random",
            operator=operator.name,
            dtype=str(dtype).removeprefix("torch."),
            size=size,
            seed=seed,
            offset_before=before,
            offset_after=after,
            **({"output": number} if len(results) > 1 else {}),
            **describe(tensor, session.target.random_grid_threads(), is_value_transform(operator)),
        )


def set_generator(session: Session, seed: int, offset: int) -> None:
    if not session.target.is_cuda:
        torch.manual_seed(seed)
        return
    torch.cuda.manual_seed(seed)
    if offset:
        state = seed.to_bytes(8, "little") + offset.to_bytes(8, "little")
        torch.cuda.set_rng_state(torch.tensor(list(state), dtype=torch.uint8))


def generator_offset(session: Session) -> int:
    """The Philox offset in the generator's state; -1 on the CPU, whose generator has none."""
    if not session.target.is_cuda:
        return -1
    return int.from_bytes(tensor_bytes(torch.cuda.get_rng_state())[8:16], "little", signed=True)


def describe(tensor: Tensor, grid_threads: int, has_full_array: bool) -> dict[str, Any]:
    """Shape, hash and windows of a result; all of it as base64 for arrays of FULL_ARRAY_SIZE."""
    data = tensor_bytes(tensor)
    width = tensor.element_size()
    count = tensor.numel()
    fields: dict[str, Any] = {
        "result_dtype": str(tensor.dtype).removeprefix("torch."),
        "shape": list(tensor.shape),
        "sha256": hashlib.sha256(data).hexdigest()[:32],
        "windows": {
            str(start): hex_elements(data, width, start, stop)
            for start, stop in windows(count, grid_threads)
        },
    }
    if has_full_array and count == FULL_ARRAY_SIZE:
        fields["base64"] = base64.b64encode(data).decode()
    return fields


def windows(count: int, grid_threads: int) -> list[tuple[int, int]]:
    """[start, stop) of the elements to keep; they may not overlap."""
    half = WINDOW // 2
    centers = [grid_threads, 2 * grid_threads, 4 * grid_threads]
    wanted = [(0, WINDOW), *((center - half, center + half) for center in centers)]
    wanted.append((count - WINDOW, count))
    result: list[tuple[int, int]] = []
    for start, stop in sorted(wanted):
        start = max(start, result[-1][1] if result else 0)
        stop = min(stop, count)
        if start < stop:
            result.append((start, stop))
    return result


def hex_elements(data: bytes, width: int, start: int, stop: int) -> str:
    """The bits of elements [start, stop), most significant digit first, separated by spaces."""
    return " ".join(
        data[position * width : (position + 1) * width][::-1].hex()
        for position in range(start, stop)
    )
