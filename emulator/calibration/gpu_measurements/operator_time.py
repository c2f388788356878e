# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Section `time`: durations of kernels and the host's time of single operators, and what surrounds them."""

from collections.abc import Callable, Iterable

from gpu_measurements import launch_costs, time_matrix, time_pointwise
from gpu_measurements.recording import Budget
from gpu_measurements.target import Session
from gpu_measurements.timing import Item, Timer

# Groups in order of value, with their shares of the section's time.
GROUPS: list[tuple[str, float, Callable[[Session], Iterable[Item]]]] = [
    ("matrix", 24, lambda s: time_matrix.matrix_items(s.target.device, s.is_tiny)),
    ("elementwise", 16, lambda s: time_pointwise.elementwise_items(s.target.device, s.is_tiny)),
    ("convolution", 14, lambda s: time_matrix.convolution_items(s.target.device, s.is_tiny)),
    ("attention", 12, lambda s: time_matrix.attention_items(s.target.device, s.is_tiny)),
    ("rows", 10, lambda s: time_pointwise.row_items(s.target.device, s.is_tiny)),
    ("optimizers", 4, lambda s: time_pointwise.optimizer_items(s.target.device, s.is_tiny)),
    ("copies", 5, launch_costs.copy_items),
    ("cache", 3, launch_costs.cache_items),
    ("indexing", 8, lambda s: time_pointwise.indexing_items(s.target.device, s.is_tiny)),
    ("images", 8, lambda s: time_pointwise.image_items(s.target.device, s.is_tiny)),
    ("layouts", 6, lambda s: time_pointwise.layout_items(s.target.device, s.is_tiny)),
]


def run(session: Session) -> None:
    session.attempt_all(
        {
            "host costs": lambda: launch_costs.host_costs(session),
            "waiting": lambda: launch_costs.waiting_costs(session),
            "launch gaps": lambda: launch_costs.launch_gaps(session),
        }
    )
    session.recorder.progress("costs of launching and waiting")
    timer = Timer(session)
    shares = sum(share for _, share, _ in GROUPS)
    for name, share, items in GROUPS:
        # What earlier groups left over is shared by those that follow.
        budget = Budget(max(session.budget.left_s(), 0) * share / shares)
        shares -= share
        session.recorder.attempt(
            name,
            lambda name=name, items=items, budget=budget: timer.measure(  # type: ignore[misc]
                name, items(session), budget
            ),
        )
        session.target.release_memory()
    session.attempt_all({"clocks": lambda: launch_costs.clocks_during_work(session)})
