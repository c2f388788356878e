# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""L0: the protocol of an executor, spoken by a client of the suite's own (client.py)."""

from collections.abc import Iterator

from torch_remote_conformance.case import Case
from torch_remote_conformance.target import Target


def cases(target: Target) -> Iterator[Case]:
    """Those of an executor; a device without one has none.

    Raises:
        ConnectionError: the executor does not welcome a plain hello.
    """
    if target.endpoint is None:
        return
    # Only here is pyzmq needed, and an executor.
    from torch_remote_conformance.protocol import (
        calls,
        describing,
        devices,
        ending,
        failures,
        keys,
        limits,
        malformed,
        messages,
        opening,
        order,
        payload,
        storages,
    )
    from torch_remote_conformance.protocol.executor import Executor

    executor = Executor.at(target.endpoint)
    for checks in (
        *(opening.HELLO, opening.WELCOME, messages.CHECKS, order.ORDER, order.ACKNOWLEDGE),
        *(ending.SESSION, ending.GOODBYE, ending.KEEP_ALIVE, storages.CHECKS, payload.CHECKS),
        *(calls.EXAMPLE, calls.OPERATOR, calls.PLAN, calls.CALL, describing.CHECKS),
        *(devices.GENERATOR, devices.STREAM, devices.EVENT, devices.MEMORY),
        *(failures.CHECKS, limits.CHECKS, malformed.CHECKS, keys.CHECKS),
    ):
        yield from checks.cases(executor)
