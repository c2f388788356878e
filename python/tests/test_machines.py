# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is common to the machines of all providers: terms, records, ends, and the commands."""

import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
import torch_remote
from programs import TIMEOUT_S, environment, run_python
from torch_remote import cli
from torch_remote._machines import manage, records, start
from torch_remote._machines.granted import check_granted, reported_gpu_type
from torch_remote._machines.progress import duration, size
from torch_remote._machines.records import Record
from torch_remote._machines.terms import OWNER_TAG, Terms, canonical_gpu_type, make_order, owner
from torch_remote.providers import MachineRequest, Price, ProviderError, local
from torch_remote.providers.local import LocalProvider


class Priced(LocalProvider):
    """The local provider with a price."""

    usd_per_s: ClassVar[float | None] = 0.001
    lifetime_max_s: ClassVar[int | None] = 3600

    def price(self, request: MachineRequest) -> Any:  # noqa: ARG002
        return None if self.usd_per_s is None else Price(self.usd_per_s, "a test")


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Keys and records of the test's own, and no executor at its end."""
    monkeypatch.setenv("TORCH_REMOTE_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("TORCH_REMOTE_KEYS", str(tmp_path / "keys"))
    yield
    left = LocalProvider().find({OWNER_TAG: owner()}, {})
    for machine_id in left:
        LocalProvider().stop(machine_id)
    assert left == []
    assert records.everything() == []


def machine_on(name: str, **changes: Any) -> torch_remote.Machine:
    device = torch_remote.create_device(
        "local", "T4", name=name, **{"lease_s": 6, "emulate": True, **changes}
    )
    return torch_remote.machine(device)


# ---- terms ----


@pytest.mark.parametrize(
    ("text", "gpu_type"), [("A100", "A100-40GB"), ("h100", "H100"), (" a100-80gb", "A100-80GB")]
)
def test_gpu_types(text: str, gpu_type: str) -> None:
    assert canonical_gpu_type(text) == gpu_type


@pytest.mark.parametrize(
    ("changes", "error", "reason"),
    [
        ({"gpu_type": "H10O"}, ValueError, r"did you mean 'H100'\?"),
        ({"gpu_type": 100}, TypeError, "gpu_type has to be a text"),
        ({"gpu_count": 0}, ValueError, "it has to be from 1 to 8"),
        ({"gpu_count": 9}, ValueError, "it has to be from 1 to 8"),
        ({"gpu_count": 1.5}, TypeError, "has to be a whole number"),
        ({"name": "../escape"}, ValueError, "is no name for a machine"),
        ({"lease_s": 1}, ValueError, "lease_s is 1; it has to be at least 6 seconds"),
        ({"lease_s": 10**400}, ValueError, "at most ten years, or None"),
        ({"idle_timeout_s": 1e9}, ValueError, "at most ten years, or None"),
        ({"region": 5}, TypeError, "region has to be a text"),
        ({"gpu_count": True}, TypeError, "has to be a whole number"),
        ({"idle_timeout_s": "9"}, TypeError, "has to be a number of seconds"),
        ({"budget_usd": -1}, ValueError, "it has to be more than 0"),
        ({"budget_usd": 10**400}, ValueError, "at most 1000000000"),
        ({"budget_usd": 0.0001}, ValueError, "buys less than a second"),
        ({"tags": {"a b": "c"}}, ValueError, "can't be in a tag"),
        ({"tags": {"torch-remote-owner": "me"}}, ValueError, "torch-remote's own"),
        ({"options": {"device": object()}}, TypeError, "options of the provider"),
    ],
)
def test_terms_that_can_not_be(changes: Any, error: type[Exception], reason: str) -> None:
    with pytest.raises(error, match=reason):
        make_order(Priced(), Terms(**{"gpu_type": "T4", **changes}))


def test_a_budget_limits_the_life(monkeypatch: pytest.MonkeyPatch) -> None:
    assert make_order(Priced(), Terms("T4", budget_usd=0.5)).request.lifetime_s == 500
    assert make_order(Priced(), Terms("T4", budget_usd=99)).request.lifetime_s == 3600
    order = make_order(Priced(), Terms("T4", budget_usd=0.5, lease_s=None, idle_timeout_s=30))
    assert order.request.arguments == ("--idle-timeout-s", "30", "--lifetime-s", "500")
    monkeypatch.setattr(Priced, "usd_per_s", None)
    with pytest.raises(ValueError, match=r"no price is known for T4 .* budget_usd can't be kept"):
        make_order(Priced(), Terms("T4", budget_usd=0.5))


def test_each_machine_has_keys_of_its_own() -> None:
    one, other = (make_order(Priced(), Terms("T4")) for _ in range(2))
    secret = one.request.environment["TORCH_REMOTE_SECRET_KEY"]
    assert secret != other.request.environment["TORCH_REMOTE_SECRET_KEY"]
    assert secret not in repr(one)
    assert secret not in " ".join(one.request.arguments)


def test_the_granted_gpu() -> None:
    for name, gpu_type in (
        ("Tesla T4", "T4"),
        ("NVIDIA A10", "A10"),
        ("NVIDIA A100-SXM4-80GB", "A100-80GB"),
        ("NVIDIA A100 80GB PCIe", "A100-80GB"),
        ("NVIDIA A100-PCIE-40GB", "A100-40GB"),
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA L40S", "L40S"),
    ):
        assert reported_gpu_type({"gpu_name": name}) == gpu_type
    for gpu_type in torch_remote.GPU_TYPES:
        reported = torch_remote.gpu_properties(gpu_type).name
        assert reported_gpu_type({"gpu_name": reported}) == gpu_type
    assert reported_gpu_type({"device": "cpu"}) is None
    with pytest.raises(ProviderError, match="so it was stopped"):
        check_granted("H100", "H200", accept_other=False)


def test_texts_for_people() -> None:
    assert [duration(s) for s in (4, 200, 7500)] == ["4 s", "3 min 20 s", "2 h 5 min"]
    assert [size(b) for b in (12, 1480, 3.2e9)] == ["12 B", "1.48 kB", "3.2 GB"]


# ---- starts and ends ----


def test_a_wrong_gpu_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start, "reported_gpu_type", lambda _: "H200")
    with pytest.raises(ProviderError, match="T4 was asked for, and one with H200 was granted"):
        torch_remote.create_device("local", "T4", emulate=True)


def test_the_start_fails_and_the_machine_can_not_be_stopped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise ProviderError("no network")

    with monkeypatch.context() as changed:
        changed.setattr(start, "_connected", fail)
        changed.setattr(LocalProvider, "stop", fail)
        with pytest.raises(ProviderError, match="no network"):
            machine_on("lost")
    assert "End it with: torch-remote stop lost" in capsys.readouterr().err
    assert cli.main(["stop", "lost"]) == 0


def test_a_lazy_start_that_fails_may_be_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    device = torch_remote.create_device("local", "T4", lease_s=6, start="lazy")
    with monkeypatch.context() as changed:
        changed.setattr("torch_remote.providers.local._command", lambda _: ["false"])
        with pytest.raises(ProviderError, match="did not start"):
            torch.ones(2, device=device)
    assert torch.ones(2, device=device).sum().item() == 2
    torch_remote.machine(device).stop()


def test_a_name_of_a_machine_that_ended_by_itself() -> None:
    first = machine_on("again")
    machine_id = records.get("again").machine_id
    assert machine_id is not None
    LocalProvider().stop(machine_id)
    second = machine_on("again")
    assert torch.ones(2, device=second.device).sum().item() == 2
    first.stop()
    assert records.get("again").machine_id != machine_id, "the record is the second's"
    second.stop()


def test_attaching_to_one_that_has_ended() -> None:
    machine = machine_on("short")
    machine.detach()
    machine_id = records.get("short").machine_id
    assert machine_id is not None
    os.kill(
        int((Path(os.environ["TORCH_REMOTE_STATE"]) / "local" / machine_id / "pid").read_text()), 9
    )
    with pytest.raises(ProviderError, match="the machine 'short' has ended"):
        torch_remote.attach("short")
    machine.stop()


# ---- several GPUs of one machine ----


def test_several_gpus(capsys: pytest.CaptureFixture[str]) -> None:
    machine = machine_on("pair", gpu_count=2)
    first, second = machine.devices
    assert torch_remote.machine(second) == machine
    assert torch_remote.machine(second).name == "pair"
    x = torch.arange(3.0, device=first) + 1
    assert (x.to(second) * 2).tolist() == [2, 4, 6]
    assert records.get("pair").gpu_count == 2
    assert cli.main(["ls"]) == 0
    assert "2 x T4" in capsys.readouterr().out
    torch_remote.machine(second).stop()
    assert not machine.running
    assert records.everything() == []


def test_several_gpus_are_detached_and_attached() -> None:
    running = torch_remote.machines()
    assert cli.main(["up", "local", "--gpu-type", "T4", "--gpu-count", "2", "--name", "pair"]) == 0
    assert torch_remote.machines() == running
    machine = torch_remote.machine(torch_remote.attach("pair"))
    assert len(set(machine.devices)) == 2
    for device in machine.devices:
        assert torch.ones(3, device=device).sum().item() == 3
    machine.stop()


def test_keeping_random_states_starts_no_machine() -> None:
    machine = machine_on("lazy", start="lazy")
    (device,) = machine.devices
    torch.manual_seed(7)
    with torch.random.fork_rng([device.index], device_type="remote"):
        torch.manual_seed(8)
        torch.rand(3)
    assert not machine.running
    with torch.random.fork_rng([device.index], device_type="remote"):
        torch.manual_seed(9)
        inside = torch.rand(5, device=device)
    assert machine.running
    after = torch.rand(5, device=device)
    assert not torch.equal(inside.cpu(), after.cpu())
    torch.manual_seed(7)
    assert torch.equal(torch.rand(5, device=device).cpu(), after.cpu())
    machine.stop()


def test_several_gpus_start_once(monkeypatch: pytest.MonkeyPatch) -> None:
    starts: list[str] = []
    original = LocalProvider.start

    def counted(*arguments: Any) -> Any:
        starts.append(arguments[1].name)
        return original(*arguments)

    monkeypatch.setattr(LocalProvider, "start", counted)
    machine = machine_on("lazy", gpu_count=3, start="lazy")
    assert len(set(machine.devices)) == 3
    assert not machine.running
    together = threading.Barrier(6)

    def use(number: int) -> float:
        together.wait()
        device = machine.devices[number % 3]
        return torch.full((2,), float(number), device=device).sum().item()

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(use, range(6))) == [0, 2, 4, 6, 8, 10]
    assert starts == ["lazy"]
    assert machine.running
    machine.stop()
    never = machine_on("never", gpu_count=2, start="lazy")
    never.stop()
    with pytest.raises(RuntimeError, match="there is no device"):
        torch.ones(2, device=never.devices[1])
    assert starts == ["lazy"]


@pytest.mark.parametrize("how", ["now", "lazy"])
def test_fewer_gpus_than_were_asked_for(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    original = local._command
    monkeypatch.setattr(local, "_command", lambda one: original(replace(one, gpu_count=1)))
    running = torch_remote.machines()
    with pytest.raises(ProviderError, match="with 2 GPUs was asked for, and its executor has 1"):
        torch.ones(2, device=machine_on("few", gpu_count=2, start=how).devices[1])
    assert torch_remote.machines() == running


def test_the_gpus_of_a_program_that_ends() -> None:
    done = run_python(
        PROGRAM.replace("lease_s=6,", "lease_s=6, gpu_count=2,")
        + "torch.ones(3, device=torch_remote.machine(device).devices[1])"
    )
    assert (done.returncode, done.stdout) == (0, "3.0\n")
    assert done.stderr.startswith("torch-remote: stopped mine (local 2 x T4) after ")
    assert done.stderr.count("stopped") == 1


PROGRAM = """
import sys, torch, torch_remote
device = torch_remote.create_device("local", "T4", name="mine", lease_s=6, emulate=True)
print(torch.ones(3, device=device).sum().item(), flush=True)
"""


def test_the_end_of_a_program_stops_its_machine() -> None:
    done = run_python(PROGRAM)
    assert (done.returncode, done.stdout) == (0, "3.0\n")
    assert done.stderr.startswith("torch-remote: stopped mine (local T4) after ")
    assert "about 0.00 USD" in done.stderr
    assert " operations, " in done.stderr


def test_a_detached_machine_goes_on() -> None:
    done = run_python(PROGRAM + "torch_remote.machine(device).detach()")
    assert (done.returncode, done.stderr) == (0, "")
    device = torch_remote.attach("mine")
    assert torch.ones(2, device=device).sum().item() == 2
    torch_remote.machine(device).stop()


def test_a_program_that_is_killed() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM + "sys.stdin.read()"],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "3.0\n"
        program.kill()
    (found,) = manage.listed()
    assert (found.record.name, found.state) == ("mine", "running")
    killed_at = time.monotonic()
    folder = Path(os.environ["TORCH_REMOTE_STATE"]) / "local"
    while manage.listed() != []:  # its lease is six seconds
        assert time.monotonic() - killed_at < TIMEOUT_S
        time.sleep(0.1)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "SIGKILL"])
def test_a_program_that_ends_during_the_start(number: signal.Signals, tmp_path: Path) -> None:
    program = f"""
import time, torch_remote
from pathlib import Path
from torch_remote._machines import start
def slow(*_):
    Path({str(tmp_path / "here")!r}).touch()
    time.sleep(600)
start._connected = slow
start.records.update = lambda _: None
torch_remote.create_device("local", "T4", name="mine", lease_s=60)
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], env=environment(), stderr=subprocess.PIPE, text=True
    ) as running:
        while not (tmp_path / "here").exists():
            assert running.poll() is None
            time.sleep(0.01)
        running.send_signal(number)
        _, errors = running.communicate(timeout=TIMEOUT_S)
    if number is signal.SIGINT:
        assert errors.splitlines()[-1] == "KeyboardInterrupt"
        return
    (found,) = manage.listed()
    assert (found.record.machine_id, found.state) == (None, "left behind")
    assert cli.main(["stop", "--all"]) == 0


# ---- records and commands ----


def test_records() -> None:
    record = Record("one", "local", {"torch-remote-start": "one-1"})
    records.add(record)
    path = records._path("one")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    with pytest.raises(FileExistsError):
        records.add(Record("one", "local", {"torch-remote-start": "one-2"}))
    records.remove(Record("one", "local", {"torch-remote-start": "one-2"}))
    assert records.get("one") == record
    with pytest.raises(LookupError, match="no machine 'two'; there are one"):
        records.get("two")
    records.remove(record)
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("content", ["", "{", '{"name": "mine"}', "[]", "\0\0"])
def test_an_unreadable_record(content: str, capsys: pytest.CaptureFixture[str]) -> None:
    machine = machine_on("mine")
    records._path("mine").write_text(content)
    assert cli.main(["ls", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["name"], found["state"]) == ("mine", "left behind")
    assert cli.main(["stop", "--all"]) == 0
    machine.stop()


def test_a_start_of_which_nothing_is_to_be_seen() -> None:
    records.add(Record("young", "local", {"torch-remote-start": "y"}, pid=-1))
    records.add(Record("old", "local", {"torch-remote-start": "o"}, pid=-1, started_at=1.0))
    records.add(Record("busy", "local", {"torch-remote-start": "b"}))
    states = {one.record.name: one.state for one in manage.listed()}
    assert states == {"young": "uncertain", "busy": "starting"}
    for record in records.everything():
        manage.stop(record)


def test_a_provider_that_can_not_be_asked(capsys: pytest.CaptureFixture[str]) -> None:
    record = Record("far", "no-such-provider", {"torch-remote-start": "f"}, machine_id="1")
    records.add(record)
    machine = machine_on("near", accept_other_gpu=False)
    assert cli.main(["stop", "--all"]) == 1
    said = capsys.readouterr()
    assert "stopped near" in said.out
    assert "far: the machine 'far' can't be asked for: there is no provider" in said.err
    (found,) = manage.listed()
    assert found.state == "unknown"
    records.remove(record)
    machine.stop()


def test_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    def run(*words: str) -> Any:
        assert cli.main([*words]) == 0
        return capsys.readouterr().out

    up = json.loads(
        run(
            "up",
            "local",
            "--gpu-type",
            "T4",
            "--name",
            "mine",
            "--option",
            "emulate=true",
            "--json",
        )
    )
    assert (up["name"], up["gpu_type"], up["lease_s"]) == ("mine", "T4", None)
    assert run("ls").splitlines()[1].split()[:4] == ["mine", "running", "local", "T4"]
    assert json.loads(run("ls", "--json"))[0]["machine_id"] == up["machine_id"]
    assert "torch-remote-executor" in run("logs", "mine")
    assert "torch-remote-executor" in json.loads(run("logs", "mine", "--json"))["logs"]
    assert "total 0.00 USD" in run("cost")
    assert json.loads(run("cost", "--json"))["total_usd"] == 0
    assert run("stop", "mine").startswith("stopped mine after ")
    assert run("ls") == "no machine is running\n"
    assert json.loads(run("stop", "--all", "--json")) == {"stopped": [], "problems": {}}
    assert cli.main(["stop", "mine"]) == 1
    assert "there is no machine 'mine'" in capsys.readouterr().err
    assert cli.main(["up", "local", "--gpu-type", "T5"]) == 1
    assert "did you mean 'T4'?" in capsys.readouterr().err


def test_a_machine_without_a_record(capsys: pytest.CaptureFixture[str]) -> None:
    machine = machine_on("mine")
    records._path("mine").unlink()
    assert cli.main(["ls", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []
    assert cli.main(["ls", "--provider", "local", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 1
    assert cli.main(["stop", "--all", "--provider", "local"]) == 0
    machine.stop()
