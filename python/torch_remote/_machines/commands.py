# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""`torch-remote up|ls|logs|stop|cost`."""

import argparse
import json
import sys
from collections.abc import Callable
from typing import Any

from torch_remote._machines import manage, records
from torch_remote._machines.manage import Listed
from torch_remote._machines.progress import counted, duration
from torch_remote._machines.tables import print_table
from torch_remote._names import made_index
from torch_remote.providers.interface import ProviderError

_EXPECTED = (ProviderError, ValueError, TypeError, LookupError, OSError)


def add_verbs(verbs: Any) -> None:
    """Adds the commands to the parser of `torch-remote`."""
    up = _verb(verbs, "up", _up, "start a machine that stays when this command ends")
    up.add_argument("provider", help="modal, local, or another that is installed")
    up.add_argument("--gpu-type", default="A100")
    up.add_argument("--gpu-count", type=int, default=1)
    up.add_argument("--name", help="default: one is made up")
    up.add_argument("--region", help="in the provider's words")
    up.add_argument("--idle-timeout-s", type=float, default=900.0, help="default: %(default)g")
    up.add_argument("--lease-s", type=float, help="default: without clients only idleness ends it")
    up.add_argument("--budget-usd", type=float, help="it ends before its GPUs have cost more")
    up.add_argument("--option", action="append", default=[], metavar="NAME=VALUE")
    ls = _verb(verbs, "ls", _ls, "list the machines that were started and have not ended")
    logs = _verb(verbs, "logs", _logs, "print what a machine's executor wrote")
    logs.add_argument("name")
    stop = _verb(verbs, "stop", _stop, "end a machine")
    which = stop.add_mutually_exclusive_group(required=True)
    which.add_argument("name", nargs="?")
    which.add_argument("--all", action="store_true", help="every machine, after a crash too")
    _verb(verbs, "cost", _cost, "say what the machines have cost until now")
    for asking in (ls, stop):
        asking.add_argument(
            "--provider",
            action="append",
            default=[],
            help="look there for machines without a record on this computer, too",
        )


def run(known: argparse.Namespace) -> int:
    """Runs one of the commands; the exit code is that of the process."""
    try:
        return int(known.run(known))
    except _EXPECTED as error:
        print(f"torch-remote {known.verb}: {error}", file=sys.stderr)
        return 1


def _verb(verbs: Any, name: str, run: Callable[..., int], text: str) -> Any:
    parser = verbs.add_parser(name, help=text)
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(run=run)
    return parser


def _up(known: argparse.Namespace) -> int:
    import torch_remote

    device = torch_remote.create_device(
        known.provider,
        known.gpu_type,
        gpu_count=known.gpu_count,
        name=known.name,
        region=known.region,
        idle_timeout_s=known.idle_timeout_s,
        lease_s=known.lease_s,
        budget_usd=known.budget_usd,
        **dict(_option(text) for text in known.option),
    )
    machine = torch_remote.machine(device)
    machine.detach()
    assert machine.name is not None
    record = records.get(machine.name)
    for one in machine.devices:
        torch_remote.ensure_loaded().stop(made_index(one))
    if known.json:
        print(json.dumps(_facts(Listed(record, "running"))))
    else:
        print(f"{machine.name} runs; torch_remote.attach({machine.name!r}) gives its device")
        print(f"torch-remote stop {machine.name} ends it")
    return 0


def _ls(known: argparse.Namespace) -> int:
    found = manage.listed(known.provider)
    if known.json:
        print(json.dumps([_facts(one) for one in found], indent=1))
        return 0
    for one in found:
        if one.problem:
            print(f"torch-remote ls: {one.record.name}: {one.problem}", file=sys.stderr)
    rows = [
        (
            one.record.name,
            one.state,
            one.record.provider,
            counted(one.record.gpu_count, one.record.gpu_type),
            duration(one.record.elapsed_s()),
            _usd(one.record.cost_usd()),
        )
        for one in found
    ]
    print_table(("name", "state", "provider", "GPU", "time", "cost"), rows, "no machine is running")
    return 0


def _logs(known: argparse.Namespace) -> int:
    text = manage.logs(records.get(known.name))
    if known.json:
        print(json.dumps({"name": known.name, "logs": text}))
    else:
        print(text, end="")
    return 0


def _stop(known: argparse.Namespace) -> int:
    """Goes on with the others where one can't be ended; the exit code is 1 then."""
    wanted = manage.listed(known.provider)
    if not known.all:
        wanted = [one for one in wanted if one.record.name == known.name]
        if not wanted:
            records.get(known.name)  # says which there are
    stopped, problems = [], {}
    for one in wanted:
        try:
            manage.stop(one.record)
            stopped.append(one)
        except ProviderError as error:  # noqa: PERF203 (the others have to be ended, too)
            problems[one.record.name] = str(error)
    if known.json:
        print(json.dumps({"stopped": [_facts(one) for one in stopped], "problems": problems}))
    else:
        for one in stopped:
            record = one.record
            print(
                f"stopped {record.name} after {duration(record.elapsed_s())}, {_usd(record.cost_usd())}"
            )
        for name, problem in problems.items():
            print(f"torch-remote stop: {name}: {problem}", file=sys.stderr)
        if not wanted:
            print("no machine is running")
    return 1 if problems else 0


def _cost(known: argparse.Namespace) -> int:
    found = manage.listed()
    costs = [one.record.cost_usd() for one in found]
    total = sum(cost for cost in costs if cost is not None)
    if known.json:
        facts = [_facts(one) for one in found]
        print(json.dumps({"machines": facts, "total_usd": total}, indent=1))
        return 0
    rows = [
        (
            one.record.name,
            duration(one.record.elapsed_s()),
            "unknown" if one.record.usd_per_s is None else f"{one.record.usd_per_s * 3600:.2f} USD",
            _usd(cost),
            one.record.price_source,
        )
        for one, cost in zip(found, costs, strict=True)
    ]
    print_table(
        ("name", "time", "an hour", "until now", "price from"), rows, "no machine is running"
    )
    if rows:
        print(f"total {_usd(total)}")
    return 0


def _facts(one: Listed) -> dict[str, Any]:
    record = one.record
    return {
        "name": record.name,
        "state": one.state,
        "provider": record.provider,
        "gpu_type": record.gpu_type,
        "gpu_count": record.gpu_count,
        "region": record.region,
        "machine_id": record.machine_id,
        "endpoint": record.endpoint,
        "started_at": record.started_at,
        "elapsed_s": record.elapsed_s(),
        "usd_per_s": record.usd_per_s,
        "cost_usd": record.cost_usd(),
        "price_source": record.price_source,
        "lease_s": record.lease_s,
        "idle_timeout_s": record.idle_timeout_s,
        "lifetime_s": record.lifetime_s,
        "metadata": dict(record.metadata),
        "problem": one.problem,
    }


def _usd(cost: float | None) -> str:
    return "cost unknown" if cost is None else f"{cost:.2f} USD"


def _option(text: str) -> tuple[str, Any]:
    """Values are JSON where they can be read as that, such as true, 3 or {"/data": "volume"}."""
    name, equals, value = text.partition("=")
    if not (equals and name.isidentifier()):
        raise ValueError(f"--option takes NAME=VALUE, not {text!r}")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
