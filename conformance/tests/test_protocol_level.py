# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""L0: it passes on every way to an executor, and sees what is wrong with one."""

import fnmatch
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch_remote
from little_executor import LittleExecutor
from torch_remote._keys import Keys, find_or_make_keys
from torch_remote_conformance import catalogue, protocol, workers
from torch_remote_conformance.case import Level, Result, Status
from torch_remote_conformance.catalogue import Selection
from torch_remote_conformance.endpoint import Endpoint
from torch_remote_conformance.protocol import client
from torch_remote_conformance.protocol.wire import ViolationError
from torch_remote_conformance.target import Address, Target, endpoint_of, opened, provided


def target_at(endpoint: Endpoint) -> Target:
    return Target(
        "test", torch.device("meta"), computes_as_cpu=False, draws_as_cpu=False, endpoint=endpoint
    )


def results(endpoint: Endpoint, *patterns: str) -> dict[str, Result]:
    """Of the cases that a pattern takes, run in this process."""
    target = target_at(endpoint)
    return {
        case.id: workers.run_case(case, target, 0)
        for case in protocol.cases(target)
        if not patterns or any(fnmatch.fnmatchcase(case.id, pattern) for pattern in patterns)
    }


def failures(made: dict[str, Result]) -> dict[str, str]:
    return {
        name: str(result.failures)
        for name, result in made.items()
        if result.status is not Status.PASSED
    }


# --- Executors that are as they should be ----------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", ["null", "emulator:T4"])
def test_executors_in_the_process_pass(name: str) -> None:
    with provided(name) as address, opened(address, with_device=False) as target:
        assert target.endpoint is not None
        assert target.endpoint.address.startswith("ipc://")
        made = results(target.endpoint)
    assert failures(made) == {}
    assert len(made) > (120 if name != "null" else 100)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Keys, Keys]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCH_REMOTE_KEYS", str(tmp_path_factory.mktemp("keys")))
        yield find_or_make_keys("executor"), find_or_make_keys("client")


@pytest.mark.slow
def test_an_encrypted_executor_with_limits_and_devices_passes(keys: tuple[Keys, Keys]) -> None:
    own, clients = keys
    with torch_remote.LocalExecutor(
        device_count=2,
        arguments=(
            *("--storage-limit", "4MiB", "--secret-key-file", str(own.secret_file)),
            *("--authorized-keys", str(clients.public_file)),
        ),
    ) as executor:
        made = results(
            Endpoint(executor.endpoint, own.public_key, str(clients.secret_file)),
        )
    assert failures(made) == {}
    assert {name for name in made if name.startswith("protocol/keys/")}
    assert "protocol/failure/storages_beyond_the_announced_size_fail" in made


def test_a_providers_machine_is_reached_with_its_keys(
    keys: tuple[Keys, Keys], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_REMOTE_KEYS", str(keys[0].secret_file.parent))
    monkeypatch.setenv("TORCH_REMOTE_STATE", str(tmp_path))
    machine = torch_remote.machine(torch_remote.create_device("local", "T4"))
    try:
        endpoint = endpoint_of(machine.name)
        assert endpoint is not None
        made = results(endpoint, "protocol/keys/*", "protocol/welcome/*")
    finally:
        machine.stop()
    assert failures(made) == {}
    assert "protocol/keys/wrong_keys_are_not_served" in made


@pytest.mark.slow
def test_level_0_needs_no_device() -> None:
    selection = Selection(Level.L0, "protocol/hello/*")
    assert not selection.needs_device
    made = list(workers.run(Address("null"), selection, workers.Options()))
    assert made
    assert {result.status for result in made} == {Status.PASSED}


def test_other_levels_have_both() -> None:
    with opened(Address("null")) as target:
        assert target.device.type == "remote"
        made = [case.id for case in catalogue.cases(target, Selection(Level.L0))]
    assert made
    assert all(name.startswith("protocol/") for name in made)


def test_devices_without_an_executor_have_no_cases() -> None:
    with opened(Address("torch:cpu")) as target:
        assert list(protocol.cases(target)) == []


def test_ids_are_unique() -> None:
    with opened(Address("emulator:T4"), with_device=False) as target:
        made = [case.id for case in protocol.cases(target)]
    assert len(set(made)) == len(made)


# --- Executors that are not ------------------------------------------------------------------------


#: What a little executor knows.
PATTERNS = tuple(
    f"protocol/{about}/*"
    for about in ("hello", "welcome", "order", "acknowledge", "session", "goodbye", "keep_alive")
)

#: The cases that see a fault, and no other does.
FAULTS: dict[str, set[str]] = {
    "": set(),
    "welcomes any version": {"hello/other_major_is_refused"},
    "speaks a later minor": {"hello/minor_is_the_smaller"},
    "knows all keys": {"hello/unknown_fields_are_skipped", "hello/64_kib_are_taken"},
    "announces no plans": {"welcome/limits_are_announced_and_sane"},
    "executes duplicates": {"order/duplicates_are_dropped"},
    "asks for every message": {"order/gap_asks_resumed_once"},
    "overlooks gaps": {
        "order/gap_asks_resumed_once",
        "order/every_gap_asks_again",
        "order/lost_commands_are_executed_once",
        "order/commands_lost_with_a_connection_are_executed",
    },
    "never repeats": {"order/resume_repeats_what_is_not_acknowledged", "order/replay_after_resume"},
    "rarely acknowledges": {"acknowledge/after_eight_messages"},
    "believes acknowledgements": {"acknowledge/of_never_sent_is_refused"},
    "answers to goodbye": {"goodbye/of_an_unknown_session_is_not_answered"},
    "answers to keep alive": {"keep_alive/is_not_answered"},
}

#: What is lost with a connection, an answer or commands, is decided by chance.
MAY_SEE = {
    fault: {"order/a_session_survives_many_connections"}
    for fault in ("never repeats", "executes duplicates")
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_fails_its_cases_and_no_others(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "ANSWER_S", 3.0)
    with LittleExecutor(fault) as executor:
        made = results(Endpoint(executor.endpoint), *PATTERNS)
    seen = {name.removeprefix("protocol/") for name in failures(made)}
    assert FAULTS[fault] <= seen <= FAULTS[fault] | MAY_SEE.get(fault, set()), failures(made)


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ("mistakes its session", "a message of session"),
        ("fills reserved bytes", "reserved bytes"),
        ("has no epoch", "field 16 of 7 bytes"),
    ],
)
def test_what_the_client_checks_in_every_message(fault: str, why: str) -> None:
    with (
        LittleExecutor(fault) as executor,
        pytest.raises(ConnectionError, match=why),
    ):
        list(protocol.cases(target_at(Endpoint(executor.endpoint))))


def test_replies_with_gaps_are_seen() -> None:
    with (
        LittleExecutor("leaves out sequences") as executor,
        client.Client(executor.endpoint) as one,
    ):
        one.open()
        with pytest.raises(ViolationError, match="replies 2 after 0"):
            one.synchronize()
