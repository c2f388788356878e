# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""The local Modal, as the real client from PyPI finds it."""

import contextlib
import json
import math
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

modal = pytest.importorskip("modal", reason="the tests of Modal need its client: pip install modal")

from backends.modal.local_server import Faults, Launch, LocalModal, localized  # noqa: E402

ROOT = Path(__file__).resolve().parents[3]
TIMEOUT_S = 20  # for what takes a fraction of a second: machines that run tests are busy

# Stands for torch-remote-executor: serves where it is told to, and answers with its environment.
EXECUTOR = """\
import json, os, socket, sys
address = sys.argv[sys.argv.index("--bind") + 1].removeprefix("tcp://")
host, port = address.rsplit(":", 1)
listener = socket.create_server((host, int(port)))
print("serving on", address, flush=True)
while True:
    connection, _ = listener.accept()
    connection.sendall(json.dumps(dict(os.environ)).encode())
    connection.close()
"""

# Asks for a sandbox and reports how that ended: what a provider does, in a process of its own.
CLIENT = """\
import modal
app = modal.App.lookup("tests", create_if_missing=True)
image = modal.Image.debian_slim(python_version="3.11")
try:
    sandbox = modal.Sandbox.create("sleep", "60", app=app, image=image, gpu="T4")
    print(sandbox.object_id)
except BaseException as error:
    print(type(error).__name__)
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LocalModal]:
    executor = tmp_path / "executor"
    executor.write_text(f"#!{sys.executable}\n{EXECUTOR}")
    executor.chmod(0o755)
    with (
        LocalModal(programs={"torch-remote-executor": executor}) as server,
        server.applied(),
    ):
        yield server


@pytest.fixture
def create(server: LocalModal) -> Callable[..., Any]:
    """Creates a sandbox as the provider does: with a GPU, in the tests' app."""
    app = modal.App.lookup("tests", create_if_missing=True)
    image = modal.Image.debian_slim(python_version="3.11")

    def create(*command: str, **options: Any) -> Any:
        return modal.Sandbox.create(
            *command, **{"app": app, "image": image, "gpu": "T4", "timeout": 60} | options
        )

    assert [one.name for one in server.apps] == ["tests"]
    return create


def until(condition: Callable[[], bool]) -> None:
    """Waits for what happens in another process or thread."""
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    # A child that nobody has waited for is still listed.
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return False


# --- A sandbox's life ---


def test_a_sandbox_is_a_local_process_behind_a_tunnel(
    server: LocalModal, create: Callable[..., Any]
) -> None:
    sandbox = create(
        "/usr/bin/torch-remote-executor",
        "--bind",
        "tcp://0.0.0.0:5555",
        gpu="H100!:2",
        region="eu-north",
        unencrypted_ports=[5555],
        secrets=[modal.Secret.from_dict({"KEY": "s3cret"})],
    )
    assert sandbox.poll() is None
    assert next(iter(sandbox.stdout)).startswith("serving on 127.0.0.1:")
    host, port = sandbox.tunnels(timeout=5)[5555].tcp_socket
    assert host == "127.0.0.1"
    with socket.create_connection((host, port)) as connection:
        environment = json.loads(connection.makefile().read())
    assert environment["KEY"] == "s3cret"
    assert environment["LOCAL_MODAL_GPU"] == "H100:2"
    assert environment["MODAL_REGION"] == "eu-north"
    assert environment["MODAL_SANDBOX_ID"] == sandbox.object_id
    assert not [name for name in environment if "TOKEN" in name]

    (kept,) = server.running
    assert sandbox.terminate(wait=True) == 137
    assert kept.pid is not None
    assert gone(kept.pid)
    assert (server.running, server.terminated) == ([], [kept])
    assert "s3cret" not in repr(server.sandboxes) + repr(server.secrets)


@pytest.mark.parametrize("gpu", ["T4", None], ids=["first generation", "second generation"])
def test_output_and_exit_code(create: Callable[..., Any], gpu: str | None) -> None:
    sandbox = create(
        "sh", "-c", "echo one; echo zwei: é >&2; sleep 0.1; echo three; exit 3", gpu=gpu
    )
    assert next(iter(sandbox.stdout)) == "one\n"
    sandbox.wait()
    assert (sandbox.returncode, sandbox.poll()) == (3, 3)
    again = modal.Sandbox.from_id(sandbox.object_id)
    assert (again.stdout.read(), again.stderr.read()) == ("one\nthree\n", "zwei: é\n")


def test_a_command_that_is_not_there(create: Callable[..., Any]) -> None:
    sandbox = create("no-such-program")
    sandbox.wait()
    assert sandbox.returncode == 127
    assert sandbox.stderr.read() == "no-such-program: No such file or directory\n"


@pytest.mark.parametrize("gpu", ["T4", None], ids=["first generation", "second generation"])
def test_termination_ends_the_whole_group(create: Callable[..., Any], gpu: str | None) -> None:
    sandbox = create("sh", "-c", "sleep 60 & echo $!; wait", gpu=gpu)
    child = int(next(iter(sandbox.stdout)))
    sandbox.terminate()
    until(lambda: gone(child))
    with pytest.raises(modal.exception.SandboxTerminatedError):
        sandbox.wait()
    assert sandbox.terminate(wait=True) == 137


def test_the_timeout_ends_a_sandbox(server: LocalModal, create: Callable[..., Any]) -> None:
    sandbox = create("sleep", "60", timeout=1)
    with pytest.raises(modal.exception.SandboxTimeoutError):
        sandbox.wait()
    assert sandbox.returncode == 124
    assert (server.running, server.terminated) == ([], [])
    # Ending what a time-out has ended already raises too, if one waits for it.
    sandbox.terminate()
    with pytest.raises(modal.exception.SandboxTimeoutError):
        sandbox.terminate(wait=True)


def test_finding_sandboxes(create: Callable[..., Any]) -> None:
    sandbox = create("sleep", "60", name="mine", tags={"owner": "me", "run": "1"})
    other = create("sleep", "60", tags={"owner": "you"}, gpu=None)
    app_id = modal.App.lookup("tests").app_id

    def found(**tags: str) -> set[str]:
        return {one.object_id for one in modal.Sandbox.list(app_id=app_id, tags=tags)}

    assert found() == {sandbox.object_id, other.object_id}
    assert found(owner="me") == {sandbox.object_id}
    assert found(owner="me", run="2") == set()
    sandbox.set_tags({"run": "2"})
    assert sandbox.get_tags() == {"run": "2"}
    assert found(run="2") == {sandbox.object_id}

    assert modal.Sandbox.from_name("tests", "mine").object_id == sandbox.object_id
    with pytest.raises(modal.exception.AlreadyExistsError):
        create("sleep", "60", name="mine")
    sandbox.detach()
    with pytest.raises(modal.exception.ClientClosed):
        sandbox.poll()
    modal.Sandbox.from_id(sandbox.object_id).terminate()
    assert found() == {other.object_id}
    with pytest.raises(modal.exception.NotFoundError):
        modal.Sandbox.from_name("tests", "mine")
    with pytest.raises(modal.exception.NotFoundError):
        modal.Sandbox.from_id("sb-" + "0" * 22)


def test_closing_ends_every_sandbox() -> None:
    with LocalModal() as server, server.applied():
        app = modal.App.lookup("tests", create_if_missing=True)
        modal.Sandbox.create("sleep", "60", app=app, gpu="T4")
        (sandbox,) = server.running
        assert sandbox.pid is not None
        assert not gone(sandbox.pid)
    assert gone(sandbox.pid)
    assert not server.running


# --- What sandboxes are made of ---


def test_an_image_is_its_recipe(
    server: LocalModal,
    create: Callable[..., Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    wheel = tmp_path / "torch_remote.whl"
    wheel.write_bytes(b"x" * 5_000_000)  # from 4 MiB on a file goes to a store of its own
    os.utime(wheel, (1, 1))  # the client refuses files that change during a build

    def image() -> Any:
        return (
            modal.Image.from_registry("nvidia/cuda:12.8.0-runtime-ubuntu24.04", add_python="3.11")
            .apt_install("libzmq5")
            .pip_install("numpy")
            .add_local_file(wheel, "/opt/torch_remote.whl", copy=True)
            .run_commands("pip install /opt/torch_remote.whl")
            .env({"HF_HOME": "/models"})
        )

    with modal.enable_output():
        create("true", image=image())
    assert "Built image im-" in capsys.readouterr().out
    built = server.images[-1]
    assert "/opt/torch_remote.whl" in built.files
    commands = "\n".join(built.commands)
    for part in ("nvidia/cuda", "libzmq5", "numpy", "pip install /opt", "HF_HOME=/models"):
        assert part in commands

    builds = server.calls.count("ImageJoinStreaming")
    sandbox = create("true", image=image())
    assert server.calls.count("ImageJoinStreaming") == builds
    assert server.sandboxes[-1].request.image == built
    sandbox.wait()


def test_a_volume_outlives_its_sandboxes(server: LocalModal, create: Callable[..., Any]) -> None:
    volume = modal.Volume.from_name("weights", create_if_missing=True)
    create("touch", "/models/one", volumes={"/models": volume}).wait()
    sandbox = create("ls", "/models", volumes={"/models": modal.Volume.from_name("weights")})
    assert sandbox.stdout.read() == "one\n"
    assert [one.name for one in server.volumes] == ["weights"]
    assert set(server.sandboxes[-1].request.volumes) == {"/models"}
    with pytest.raises(modal.exception.NotFoundError):
        create("true", volumes={"/models": modal.Volume.from_name("other")})


@pytest.mark.usefixtures("server")
def test_prices() -> None:
    rates = modal.Workspace.from_context().billing.rates()
    assert rates["H100"] == Decimal("3.95")


def test_what_is_not_covered_says_so(create: Callable[..., Any]) -> None:
    with pytest.raises(modal.exception.UnimplementedError, match="unencrypted"):
        create("true", encrypted_ports=[5555])
    with pytest.raises(modal.exception.UnimplementedError, match="TaskGetCommandRouterAccess"):
        create("sleep", "60").exec("true")


# --- Faults ---


def test_credentials(server: LocalModal) -> None:
    # The client connects without a word; the first call is what is refused.
    with (
        modal.Client.from_credentials("ak-other", "as-other") as client,
        pytest.raises(modal.exception.AuthError, match="Token validation failed"),
    ):
        modal.App.lookup("tests", create_if_missing=True, client=client)
    modal.App.lookup("tests", create_if_missing=True)
    server.faults.reject_credentials = True
    with pytest.raises(modal.exception.AuthError):
        modal.App.lookup("tests")


def test_no_capacity(server: LocalModal, create: Callable[..., Any]) -> None:
    server.faults.no_capacity_after_s = 0.1
    with pytest.raises(modal.exception.ResourceExhaustedError, match="Insufficient capacity"):
        create("sleep", "60")
    assert not server.running
    server.faults.no_capacity_after_s = None
    server.faults.scheduling_s = 0.2
    assert create("sleep", "60").poll() is None


@pytest.mark.parametrize(
    ("faults", "call", "left"),
    [
        pytest.param(Faults(image_build_s=60), "ImageJoinStreaming", 0, id="building"),
        pytest.param(Faults(scheduling_s=math.inf), "SandboxGetTaskId", 0, id="waiting"),
        # The client doesn't know the sandbox yet, and leaves it running.
        pytest.param(Faults(create_reply_delay_s=60), "SandboxCreate", 1, id="creating"),
    ],
)
def test_an_interrupted_client(faults: Faults, call: str, left: int) -> None:
    with LocalModal(faults=faults) as server:
        client = subprocess.Popen(
            [sys.executable, "-c", CLIENT],
            env=os.environ | server.environment(),
            stdout=subprocess.PIPE,
            text=True,
        )
        until(lambda: call in server.calls)
        client.send_signal(signal.SIGINT)
        assert client.communicate(timeout=TIMEOUT_S)[0] == "KeyboardInterrupt\n"
        assert len(server.running) == left


def test_a_failed_build(
    server: LocalModal, create: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    server.faults.image_build_error = "E: Unable to locate package libzmq55"
    with modal.enable_output(), pytest.raises(modal.exception.ImageBuildError, match="failed"):
        create("true")
    assert "Unable to locate package" in capsys.readouterr().out
    assert not server.sandboxes
    server.faults.image_build_error = None
    create("true").wait()


def test_another_gpu_than_asked_for(server: LocalModal, create: Callable[..., Any]) -> None:
    server.faults.granted_gpu = "H200:1"
    sandbox = create("sh", "-c", "echo $LOCAL_MODAL_GPU", gpu="H100")
    assert sandbox.stdout.read() == "H200:1\n"
    kept = server.sandboxes[-1]
    assert (kept.request.gpu, kept.gpu) == ("H100:1", "H200:1")
    with pytest.raises(modal.exception.InvalidError, match="H1000"):
        create("true", gpu="H1000")


def test_a_sandbox_that_dies_at_once(server: LocalModal, create: Callable[..., Any]) -> None:
    server.faults.dies_with = 7
    sandbox = create("sleep", "60", unencrypted_ports=[5555])
    sandbox.wait()
    assert sandbox.returncode == 7
    assert "dies" in sandbox.stderr.read()
    assert sandbox.tunnels() == {}


def test_tunnels_that_never_come(server: LocalModal, create: Callable[..., Any]) -> None:
    server.faults.no_tunnels = True
    sandbox = create("sleep", "60", unencrypted_ports=[5555])
    with pytest.raises(modal.exception.SandboxTimeoutError):
        sandbox.tunnels(timeout=1)


# --- Around it ---


@pytest.mark.parametrize(
    ("command", "local"),
    [
        (["serve", "--bind", "tcp://0.0.0.0:5555"], ["/here/serve", "--bind", "tcp://127.0.0.1:7"]),
        (["/opt/serve", "--port", "5555"], ["/here/serve", "--port", "7"]),
        (["other", "--port=5555", "*:5556"], ["other", "--port=7", "127.0.0.1:5555"]),
        (["sh", "-c", "serve [::]:5555 5555"], ["sh", "-c", "serve 127.0.0.1:7 5555"]),
        (["other", "10.0.0.1:5555", "0.0.0.0:55555"], ["other", "10.0.0.1:5555", "0.0.0.0:55555"]),
        (["cat", "/data/x", "--to=/data", "/database"], ["cat", "/v/x", "--to=/v", "/database"]),
    ],
)
def test_commands_become_local(command: list[str], local: list[str]) -> None:
    launch = Launch(
        command=tuple(command),
        gpu=None,
        ports={5555: 7, 5556: 5555},
        volumes={"/data": Path("/v")},
        environment={},
    )
    assert localized(launch, {"serve": Path("/here/serve")}) == local


def test_a_rewriting_of_ones_own() -> None:
    def rewrite(launch: Launch) -> list[str]:
        return ["echo", f"emulating {launch.gpu}"]

    with LocalModal(rewrite=rewrite) as server, server.applied():
        app = modal.App.lookup("tests", create_if_missing=True)
        sandbox = modal.Sandbox.create("torch-remote-executor", app=app, gpu="L4")
        assert sandbox.stdout.read() == "emulating L4:1\n"


def test_the_program_serves_other_processes() -> None:
    program = subprocess.Popen(
        [sys.executable, "-m", "backends.modal.local_server", "--fault", "scheduling_s=0.1"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert program.stdout is not None
    assert program.stdout.readline().startswith("http://127.0.0.1:")
    variables = iter(program.stdout.readline, "\n")
    environment = dict(line.rstrip("\n").split("=", 1) for line in variables)
    client = subprocess.run(
        [sys.executable, "-c", CLIENT],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert client.stdout.startswith("sb-")
    program.terminate()
    errors = program.communicate(timeout=TIMEOUT_S)[1]
    assert program.returncode == 0
    assert f"{client.stdout.strip()} (sleep 60): terminated" in errors
    assert "1 of 1 sandboxes were running at the end" in errors
