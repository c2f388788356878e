# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""A forked child has none of its parent's devices, says so, and leaves the parent alone."""

import os

import pytest
from programs import output_of, run_python

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork()")

# Runs the function child() in a forked process, which then ends as a Python program does.
FORK = """
import os, sys, torch, torch_remote

def forked(child):
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        child()
        sys.exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def refused(action):
    try:
        action()
    except RuntimeError as error:
        assert "Cannot use a remote device in a forked process" in str(error), error
        assert "'spawn'" in str(error), error
    else:
        raise AssertionError("it works?")
"""


def test_using_a_device_in_a_forked_child_is_refused() -> None:
    program = f"""{FORK}
executor = torch_remote.LocalExecutor(emulate="T4")
devices = [torch_remote.emulate("T4"), torch_remote.connect(executor.endpoint)]
tensors = [torch.ones(3, device=device, requires_grad=True) for device in devices]
generators = [torch.Generator(device) for device in devices]

def child():
    global tensors
    for device, tensor, generator in zip(devices, tensors, generators):
        refused(lambda: tensor + 1)
        refused(lambda: tensor.tolist())
        refused(lambda: tensor.cpu())
        refused(lambda: tensor.detach().copy_(torch.zeros(3)))
        refused(lambda: torch.empty(2, device=device))
        refused(lambda: torch.ones(2).to(device))
        refused(lambda: torch.remote.synchronize(device))
        refused(lambda: torch.accelerator.synchronize(device.index))
        refused(lambda: torch.remote.get_rng_state(device))
        refused(lambda: generator.manual_seed(1))
        refused(lambda: torch.Generator(device))
        refused(lambda: torch_remote.stats(device))
    refused(lambda: torch_remote.emulate("T4"))
    refused(lambda: torch_remote.connect(executor.endpoint))
    assert torch_remote.machines() == []
    assert torch.remote._is_in_bad_fork()
    torch.manual_seed(0)  # what every worker of a DataLoader does
    assert torch.ones(3).sum().item() == 3
    tensors = tensor = None  # must not free the parent's
    executor.stop()  # nor end its executor

print(forked(child))
for tensor in tensors:
    print((tensor * 2).tolist())
"""
    assert output_of(program) == "0\n[2.0, 2.0, 2.0]\n[2.0, 2.0, 2.0]"


def test_a_child_in_the_middle_of_work_ends() -> None:
    program = f"""{FORK}
device = torch_remote.emulate("T4")
x = torch.ones(64, 64, device=device) / 64
codes = []
for _ in range(2):
    for _ in range(300):
        x = x @ x
    codes.append(forked(lambda: None))
print(codes, x.sum().item())
"""
    assert output_of(program) == "[0, 0] 64.0"


def test_a_child_may_make_devices_where_the_parent_has_none() -> None:
    program = f"""{FORK}
def child():
    device = torch_remote.emulate("T4")
    print(torch.ones(3, device=device).sum().item())

print(forked(child))
print(torch.ones(4, device=torch_remote.emulate("T4")).sum().item())
"""
    assert output_of(program) == "3.0\n0\n4.0"


def test_the_end_of_a_child_does_not_wait_for_autograds_threads() -> None:
    program = f"""{FORK}
import atexit
limit = "TORCH_AUTOGRAD_SHUTDOWN_WAIT_LIMIT"
atexit.register(lambda: print(os.environ.get(limit), flush=True))  # called after those that come later
torch.ones(1, requires_grad=True).sum().backward()
assert forked(lambda: None) == 0
assert limit not in os.environ
"""
    assert output_of(program, variables={"TORCH_AUTOGRAD_SHUTDOWN_WAIT_LIMIT": None}) == "0\nNone"


def test_multiprocessing_reports_the_refusal_of_a_forked_worker() -> None:
    program = """
import multiprocessing
import torch, torch_remote

device = torch_remote.emulate("T4")

def work(number):
    return torch.full((2,), number, device=device).sum().item()

with multiprocessing.get_context("fork").Pool(1) as pool:
    try:
        pool.apply(work, (1,))
    except RuntimeError as error:
        print(error)
print(work(2))
"""
    done = run_python(program)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Cannot use a remote device in a forked process")
    assert done.stdout.endswith("\n4\n")


def test_a_child_by_spawn_makes_its_own(tmp_path: os.PathLike[str]) -> None:
    module = os.path.join(tmp_path, "spawned_work.py")  # noqa: PTH118
    with open(module, "w") as file:  # noqa: PTH123
        file.write(
            "import torch, torch_remote\n"
            "def work(number):\n"
            "    return torch.full((2,), number, device=torch_remote.emulate('T4')).sum().item()\n"
        )
    program = f"""
import multiprocessing, sys
sys.path.insert(0, {os.fspath(tmp_path)!r})
from spawned_work import work
print(work(1))
with multiprocessing.get_context("spawn").Pool(1) as pool:
    print(pool.apply(work, (3,)))
"""
    assert output_of(program) == "2\n6"
