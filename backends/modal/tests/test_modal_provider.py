# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""The provider for Modal, with the real client against a local server of Modal's protocol."""

import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
import torch_remote

pytest.importorskip("modal", reason="the tests of Modal need its client: pip install modal")

from _torch_remote_executor import PROGRAM
from torch_remote._machines import manage, records
from torch_remote.providers import MachineRequest, Provider, ProviderError
from torch_remote.testing import ProviderContract
from torch_remote_modal import ModalProvider, prices, provider, source

from backends.modal.local_server import Faults, Launch, LocalModal, localized

ROOT = Path(__file__).resolve().parents[3]
TIMEOUT_S = 60  # for what takes seconds: machines that run tests are busy
PACKAGES = (ROOT / "python", ROOT / "backends" / "modal")

# What the user's program does, in a process that can be interrupted and killed.
CLIENT = """
import sys, torch, torch_remote
device = torch_remote.create_modal_device("T4", device="cpu", lease_s=6, name="mine")
print(torch.ones(3, device=device).sum().item(), flush=True)
sys.stdin.read()
"""


def on_this_machine(launch: Launch) -> list[str]:
    """The real executor, which says that it has the GPU that was granted."""
    assert launch.gpu is not None
    gpu_type, _, gpu_count = launch.gpu.partition(":")
    words = localized(launch, {"torch-remote-executor": PROGRAM})
    if "--device-count" in words:  # as if the executor had counted the GPUs itself
        words[words.index("--device-count") + 1] = gpu_count
    return [*words, "--emulate", gpu_type]


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalModal]:
    """A Modal without anything in it; at the end nothing runs there, and nothing is on record."""
    monkeypatch.setenv("TORCH_REMOTE_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("TORCH_REMOTE_KEYS", str(tmp_path / "keys"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with LocalModal(rewrite=on_this_machine) as running, running.applied():
        yield running
        assert running.running == []
        assert records.everything() == []


def create(gpu_type: str = "A100", **changes: Any) -> torch.device:
    wanted = {"device": "cpu", "lease_s": 6, **changes}
    return torch_remote.create_modal_device(gpu_type, **wanted)


@pytest.mark.usefixtures("server")
class TestModal(ProviderContract):
    options: ClassVar[dict[str, object]] = {"device": "cpu"}

    @pytest.fixture
    def provider(self, server: LocalModal) -> Provider:  # noqa: ARG002 (it has to be there first)
        return ModalProvider()


def test_what_is_asked_of_modal(server: LocalModal) -> None:
    device = create(
        "A100",
        name="mine",
        region="eu-north",
        tags={"project": "one"},
        volumes={"/models": "weights"},
        cpu=2,
        memory_mib=1024,
        budget_usd=1,
    )
    (sandbox,) = server.running
    asked = sandbox.request
    assert (asked.gpu, asked.regions, asked.ports) == ("A100-40GB:1", ("eu-north",), (5555,))
    lifetime_s = int(1 / prices.TABLE["A100-40GB"])
    assert asked.timeout_s == lifetime_s + 10
    assert asked.command == (
        *("torch-remote-executor", "--device", "cpu", "--device-count", "1"),
        *("--idle-timeout-s", "900", "--lease-s", "6", "--lifetime-s", str(lifetime_s)),
        *("--bind", "tcp://0.0.0.0:5555"),
    )
    (secret,) = asked.secrets
    assert set(secret.values) == {"TORCH_REMOTE_SECRET_KEY", "TORCH_REMOTE_AUTHORIZED_KEYS"}
    key = secret.values["TORCH_REMOTE_SECRET_KEY"]
    assert key not in repr(asked)
    assert key not in Path(os.environ["TORCH_REMOTE_STATE"], "machines/mine.json").read_text()
    assert set(asked.volumes) == {"/models"}
    assert sandbox.tags["project"] == "one"
    commands = "\n".join(asked.image.commands)
    for part in ("nvidia/cuda", "torch==" + torch.__version__.split("+")[0], "/opt/torch-remote"):
        assert part in commands
    torch_remote.machine(device).stop()
    assert server.terminated == [sandbox]

    builds = server.calls.count("ImageJoinStreaming")
    torch_remote.machine(create("H100")).stop()
    assert server.calls.count("ImageJoinStreaming") == builds, "the image is kept"
    assert server.sandboxes[-1].request.gpu == "H100!:1"


def test_two_gpus_are_one_sandbox(server: LocalModal) -> None:
    machine = torch_remote.machine(create("H100", gpu_count=2, budget_usd=1))
    (sandbox,) = server.running
    assert sandbox.request.gpu == "H100!:2"
    assert sandbox.request.timeout_s == int(1 / (2 * 3.95 / 3600)) + 10, "the budget is for both"
    names = [torch.remote.get_device_name(device) for device in machine.devices]
    assert names == ["NVIDIA H100 80GB HBM3"] * 2
    torch_remote.machine(machine.devices[1]).stop()
    assert server.terminated == [sandbox]


def test_fewer_gpus_than_were_asked_for(server: LocalModal) -> None:
    server.faults.granted_gpu = "H100:1"
    with pytest.raises(ProviderError, match="with 2 GPUs was asked for, and its executor has 1"):
        create("H100", gpu_count=2)
    assert server.running == []
    assert len(server.terminated) == 1


def test_without_the_package(server: LocalModal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "modal", None)
    with pytest.raises(ProviderError, match=r"pip install 'modal>=1.6,<2', then modal token new"):
        create()
    assert server.calls == []


def test_without_credentials(server: LocalModal) -> None:
    done = run_client(server, MODAL_TOKEN_ID="", MODAL_TOKEN_SECRET="")
    _, errors = done.communicate(timeout=TIMEOUT_S)
    assert done.returncode == 1
    assert "ProviderError" in errors.splitlines()[-1]
    assert "modal token new" in errors.splitlines()[-1]
    server.faults.reject_credentials = True
    with pytest.raises(ProviderError, match=r"does not accept your token.*run modal token new"):
        create()
    server.faults.reject_credentials = False


@pytest.mark.parametrize(
    ("faults", "reason"),
    [
        (Faults(no_capacity_after_s=0.1), "no such GPU is free .* try again later"),
        (Faults(image_build_error="E: no package"), "the image could not be built"),
        (Faults(no_tunnels=True), "it took too long"),
        (Faults(dies_with=7), "ended at once"),
        (Faults(granted_gpu="H200:1"), "A100-40GB was asked for, and one with H200 was granted"),
    ],
    ids=["no capacity", "no image", "no tunnel", "dies", "another GPU"],
)
def test_what_goes_wrong(
    server: LocalModal, monkeypatch: pytest.MonkeyPatch, faults: Faults, reason: str
) -> None:
    monkeypatch.setattr(provider, "_TUNNEL_TIMEOUT_S", 1)
    server.faults = faults
    with pytest.raises(ProviderError, match=reason):
        create()


def test_another_gpu_may_be_accepted(server: LocalModal) -> None:
    server.faults.granted_gpu = "H200:1"
    with pytest.warns(UserWarning, match="one with H200 was granted"):
        device = create(accept_other_gpu=True)
    torch_remote.machine(device).stop()


@pytest.mark.slow
def test_a_sandbox_that_is_killed_under_a_program(server: LocalModal) -> None:
    device = create()
    x = torch.ones(3, device=device)
    assert x.sum().item() == 3
    (sandbox,) = server.running
    assert sandbox.pid is not None
    os.killpg(sandbox.pid, signal.SIGKILL)
    with pytest.raises(RuntimeError, match=r"not usable|lost|ended"):
        x.sum().item()
    torch_remote.machine(device).stop()


@pytest.mark.parametrize(
    ("faults", "call"),
    [
        (Faults(image_build_s=60), "ImageJoinStreaming"),
        (Faults(create_reply_delay_s=60), "SandboxCreate"),
        (Faults(create_reply_delay_s=3), "SandboxCreate"),
        (Faults(scheduling_s=600), "SandboxGetTaskId"),
        (Faults(no_tunnels=True), "SandboxGetTunnels"),
    ],
    ids=["building", "creating", "created late", "waiting", "tunnel"],
)
def test_interrupted(server: LocalModal, faults: Faults, call: str) -> None:
    server.faults = faults
    client = run_client(server)
    until(lambda: call in server.calls)
    client.send_signal(signal.SIGINT)
    _, errors = client.communicate(timeout=TIMEOUT_S)
    assert errors.splitlines()[-1] == "KeyboardInterrupt"
    assert server.running == []


def test_a_client_that_is_killed(server: LocalModal) -> None:
    client = run_client(server)
    assert client.stdout is not None
    assert client.stdout.readline() == "3.0\n"
    client.kill()
    client.communicate()
    until(lambda: server.running == [])  # its lease is six seconds
    assert server.terminated == [], "it ended by itself"
    assert manage.listed() == []


def test_a_client_that_is_killed_during_the_start(server: LocalModal) -> None:
    server.faults = Faults(create_reply_delay_s=60)
    client = run_client(server)
    until(lambda: server.running != [])
    client.kill()
    client.communicate()
    (found,) = manage.listed()
    assert (found.record.name, found.state, found.record.machine_id) == (
        "mine",
        "left behind",
        None,
    )
    manage.stop(found.record)


def test_prices(server: LocalModal) -> None:
    live = prices.price("T4", 2)  # the server's is 0.59 an hour
    assert live.usd_per_s == pytest.approx(2 * 0.59 / 3600)
    assert "your workspace" in live.source
    assert prices.price("B200", 1).source == prices.TABLE_SOURCE
    assert set(prices.TABLE) == set(torch_remote.GPU_TYPES)
    for rate, expected in ((0.0007, 0.0007), (2.5, 2.5 / 3600), (900.0, None)):
        assert prices._rate({"A100 80GB": rate}, "A100-80GB") == expected
    assert server.sandboxes == []


def test_options() -> None:
    def check(gpu_type: str = "T4", gpu_count: int = 1, **options: Any) -> None:
        request = MachineRequest("mine", gpu_type, gpu_count, {}, {}, (), options=options)
        ModalProvider().check(request)

    check(device="cpu", cpu=0.5, volumes={"/data": "data"})
    check("A10G", 4)
    with pytest.raises(ValueError, match="at most 4 A10G"):
        check("A10G", 5)
    with pytest.raises(TypeError, match="has no option 'bogus'; it has app"):
        check(bogus=1)
    with pytest.raises(TypeError, match="the option volumes has to be dict"):
        check(volumes="data")
    with pytest.raises(ValueError, match="device is 'tpu'"):
        check(device="tpu")


def test_the_source_is_whole_and_its_bytes_are_always_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "one"))
    first = source.packed()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "two"))
    second = source.packed(ROOT)
    assert (first.name, first.read_bytes()) == (second.name, second.read_bytes())
    assert source.packed(first) == first
    with tarfile.open(first) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"CMakeLists.txt", "pyproject.toml", "core/executor/server.h"} <= names
    assert "python/torch_remote/bindings.cpp" in names
    assert "backends/modal/torch_remote_modal/__init__.py" in names
    assert not [name for name in names if name.endswith(".so") or "/bin/" in name]


def test_without_a_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ProviderError, match="is neither torch-remote's source folder"):
        source.packed(tmp_path)
    monkeypatch.setattr(source, "_candidates", lambda: iter([tmp_path]))
    with pytest.raises(ProviderError, match="pass source= with the path of a source folder"):
        source.packed()


def run_client(server: LocalModal, **variables: str) -> subprocess.Popen[str]:
    path = os.pathsep.join(map(str, PACKAGES))
    return subprocess.Popen(
        [sys.executable, "-c", CLIENT],
        env=os.environ | server.environment() | {"PYTHONPATH": path} | variables,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def until(condition: Callable[[], bool]) -> None:
    """Waits for what happens in another process or thread."""
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
