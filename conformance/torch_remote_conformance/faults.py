# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Cases of faults: connections that break, executors that go, memory that is used up; and that programs go on.

Each fault is produced, so a target has the cases of those that can be: a connection is broken by a
proxy before an executor at a tcp:// address, an executor is killed where the suite may start one.
"""

import contextlib
import gc
import math
import signal
import threading
from collections.abc import Callable, Iterator

import torch

from torch_remote_conformance.case import Level
from torch_remote_conformance.comparing import assert_same
from torch_remote_conformance.endpoint import Endpoint
from torch_remote_conformance.family import Family, assert_refused
from torch_remote_conformance.late_errors import fail
from torch_remote_conformance.target import Target
from torch_remote_conformance.tcp_proxy import TcpProxy

FAMILY = Family("faults", Level.L5, lambda target: target.is_remote)
cases = FAMILY.cases


def _has_proxy(target: Target) -> bool:
    """Whether the executor is at a TCP address."""
    return target.endpoint is not None and target.endpoint.address.startswith("tcp://")


def _may_kill(target: Target) -> bool:
    """Whether executors of its kind are started on this machine."""
    return target.name.startswith("local:")


def _has_bound(target: Target) -> bool:
    """Whether memory is as small as a known GPU's, and counted at the call."""
    return "emulates" in target.description


# --- Connections ---------------------------------------------------------------------------------


@contextlib.contextmanager
def _connected(
    target: Target, endpoint: str, reconnect_timeout_s: float = 60.0
) -> Iterator[torch.device]:
    import torch_remote

    # A proxy in front of it, or another executor of its kind, has the same keys.
    keys = target.endpoint or Endpoint(endpoint)
    device = torch_remote.connect(
        endpoint,
        server_key=keys.server_key,
        key_file=keys.key_file,
        num_threads=1,
        reconnect_timeout_s=reconnect_timeout_s,
    )
    try:
        yield device
    finally:
        torch_remote.machine(device).stop()


@contextlib.contextmanager
def _behind(target: Target, **faults: float) -> Iterator[tuple[TcpProxy, torch.device]]:
    """A proxy, and a device whose connection goes through it."""
    assert target.endpoint is not None
    proxy = TcpProxy(
        target.endpoint.address,
        chunk_bytes=int(faults.get("chunk_bytes", 1 << 16)),
        delay_s=faults.get("delay_s", 0.0),
    )
    with proxy, _connected(target, proxy.endpoint) as device:
        yield proxy, device


class _Counting:
    """A program whose result tells how often each of its commands was carried out."""

    def __init__(self, device: torch.device) -> None:
        self._count = torch.zeros((), dtype=torch.int64, device=device)
        self._product = torch.ones((), dtype=torch.int64, device=device)
        self._expected = [0, 1]

    def step(self) -> None:
        self._count.add_(1)
        self._product.mul_(3).remainder_(1_000_003)
        self._expected = [self._expected[0] + 1, self._expected[1] * 3 % 1_000_003]

    def check(self) -> None:
        actual = [self._count.item(), self._product.item()]
        assert actual == self._expected, f"{actual} instead of {self._expected}"


@FAMILY.case("cut_between_operations", applies=_has_proxy)
def _cut(target: Target) -> None:
    """Every command is carried out once, and in order, however often the connection breaks."""
    with _behind(target) as (proxy, device):
        program = _Counting(device)
        for number in range(200):
            if number % 40 == 20:
                proxy.cut()
            program.step()
            if number % 25 == 0:
                program.check()
        program.check()
        assert proxy.cuts >= 1
        assert proxy.connections > proxy.cuts


@FAMILY.case("cut_in_a_message", each=(1, 33, 1000, 70_000, 900_000), applies=_has_proxy)
def _cut_in_a_message(target: Target, count: int) -> None:
    with _behind(target) as (proxy, device):
        program = _Counting(device)
        program.step()
        program.check()
        source = (torch.arange(500_000) * 7 % 251).to(torch.uint8)
        proxy.cut_after(count)
        there = source.to(device)
        program.step()
        assert_same(there, source)  # a megabyte in all, there and back
        program.step()
        program.check()
        assert proxy.cuts == 1


@FAMILY.case("cut_while_waiting", applies=_has_proxy)
def _cut_while_waiting(target: Target) -> None:
    with _behind(target) as (proxy, device):
        x = torch.ones(400, 400, device=device)
        for _ in range(30):
            x = x @ x / 400
        timer = threading.Timer(0.005, proxy.cut)
        timer.start()
        assert x.sum().item() == 160_000
        timer.join()
        assert (x * 2)[0, 0].item() == 2


@FAMILY.case("cut_in_training", applies=_has_proxy)
def _cut_in_training(target: Target) -> None:
    with _behind(target) as (proxy, device):
        results = []
        for place in (device, target.device):
            weight = torch.linspace(-1, 1, 36).view(6, 6).to(place).requires_grad_()
            for step in range(20):
                (weight @ weight).tanh().sum().backward()
                assert weight.grad is not None
                weight.data.sub_(weight.grad, alpha=0.01)
                weight.grad = None
                if place == device and step % 5 == 2:
                    proxy.cut()
            results.append(weight.detach().cpu())
        assert_same(results[0], results[1])


@FAMILY.case("away_for_a_while", applies=_has_proxy)
def _away(target: Target) -> None:
    with _behind(target) as (proxy, device):
        program = _Counting(device)
        program.step()
        program.check()
        proxy.block()
        timer = threading.Timer(0.5, proxy.unblock)
        timer.start()
        for _ in range(50):
            program.step()
        program.check()
        timer.join()


_SLOW = {
    "a byte at a time": {"chunk_bytes": 1},
    "seven bytes at a time": {"chunk_bytes": 7},
    "a thousand, slowly": {"chunk_bytes": 1000, "delay_s": 0.001},
    "late": {"delay_s": 0.005},
}


@FAMILY.case("slow_and_fragmented", each=_SLOW, applies=_has_proxy)
def _slow(target: Target, faults: dict[str, float]) -> None:
    with _behind(target, **faults) as (_, device):
        program = _Counting(device)
        for _ in range(10):
            program.step()
        program.check()
        source = torch.arange(300)
        assert_same(source.to(device) * 2, source * 2)


@FAMILY.case("failure_across_a_cut", applies=_has_proxy)
def _failure_across(target: Target) -> None:
    with _behind(target) as (proxy, device):
        program = _Counting(device)
        failed, line = fail(device)
        proxy.cut()
        program.step()
        error = assert_refused(target, failed.cpu, torch.linalg.LinAlgError)
        assert f":{line} in fail" in str(error)
        program.check()


@FAMILY.case("gone_for_good", applies=_has_proxy)
def _gone(target: Target) -> None:
    """One clear error, the same at each call; other devices go on."""
    assert target.endpoint is not None
    proxy = TcpProxy(target.endpoint.address)
    with proxy, _connected(target, proxy.endpoint, reconnect_timeout_s=0.3) as device:
        x = torch.ones(2, device=device)
        assert x.sum().item() == 2
        proxy.block()
        _assert_given_up(target, device, x, proxy.endpoint)
    assert torch.ones(2, device=target.device).sum().item() == 2


def _assert_given_up(
    target: Target, device: torch.device, tensor: torch.Tensor, endpoint: str
) -> None:
    error = assert_refused(target, tensor.sum().item, RuntimeError)
    assert f"{device} is not usable any more" in str(error), str(error)
    assert endpoint in str(error), str(error)
    attempts: tuple[Callable[[], object], ...] = (
        lambda: tensor + 1,
        tensor.cpu,
        lambda: torch.ones(2, device=device),
        lambda: torch.accelerator.synchronize(device),
    )
    for attempt in attempts:
        error = assert_refused(target, attempt, RuntimeError)
        assert "is not usable any more" in str(error), str(error)
    assert tuple(tensor.shape) == (2,)  # what the client knows is still there


# --- Executors -----------------------------------------------------------------------------------


@FAMILY.case("executor_killed", applies=_may_kill)
def _killed(target: Target) -> None:
    """One clear error, and the next device works."""
    import torch_remote

    gpu_type = target.name.partition(":")[2]
    with torch_remote.LocalExecutor(emulate=gpu_type) as executor:
        with _connected(target, executor.endpoint, 0.3) as device:
            x = torch.ones(2, device=device)
            assert x.sum().item() == 2
            executor.process.kill()
            executor.process.wait()
            _assert_given_up(target, device, x, executor.endpoint)
        with (
            torch_remote.LocalExecutor(emulate=gpu_type) as another,
            _connected(target, another.endpoint) as device,
        ):
            assert torch.ones(3, device=device).sum().item() == 3
    assert torch.ones(2, device=target.device).sum().item() == 2


@FAMILY.case("executor_stopped_for_a_while", applies=_may_kill)
def _frozen(target: Target) -> None:
    import torch_remote

    with (
        torch_remote.LocalExecutor(emulate=target.name.partition(":")[2]) as executor,
        _connected(target, executor.endpoint) as device,
    ):
        program = _Counting(device)
        program.step()
        program.check()
        executor.process.send_signal(signal.SIGSTOP)
        timer = threading.Timer(0.5, executor.process.send_signal, (signal.SIGCONT,))
        timer.start()
        for _ in range(100):
            program.step()
        program.check()
        timer.join()


# --- Memory --------------------------------------------------------------------------------------


@FAMILY.case("out_of_memory_at_the_call", applies=_has_bound)
def _out_of_memory(target: Target) -> None:
    """Raised by the call that wants the memory; nothing is left of it, and the session goes on.

    What is refused is never really allocated: the executor may have less memory than it emulates.
    """
    from torch_remote import remote

    gc.collect()  # what earlier cases have left in cycles must not go in between
    # More than is free: the allocator may have some of it in its segments.
    _, total = remote.mem_get_info(target.device)
    kept = torch.ones(1 << 18, device=target.device)
    column = torch.empty(1 << 20, 1, dtype=torch.uint8, device=target.device)
    row = torch.empty(1, (total >> 20) + 1, dtype=torch.uint8, device=target.device)
    before = torch.accelerator.memory_allocated(target.device.index)
    attempts: dict[str, Callable[[], object]] = {
        "empty": lambda: torch.empty(total, dtype=torch.uint8, device=target.device),
        "zeros": lambda: torch.zeros(total, dtype=torch.uint8, device=target.device),
        "a result": lambda: column + row,
        "a copy": lambda: column.expand(1 << 20, (total >> 20) + 1).clone(),
        "resize_": lambda: torch.empty(1, dtype=torch.uint8, device=target.device).resize_(total),
        "out=": lambda: torch.add(
            column, row, out=torch.empty(0, dtype=torch.uint8, device=target.device)
        ),
    }
    for name, attempt in attempts.items():
        error = assert_refused(target, attempt, torch.OutOfMemoryError, name)
        assert "Tried to allocate" in str(error), str(error)
        assert torch.accelerator.memory_allocated(target.device.index) == before, name
    assert kept.sum().item() == 1 << 18
    assert torch.empty(1 << 20, dtype=torch.uint8, device=target.device).nbytes == 1 << 20


@FAMILY.case("out_of_memory_in_training", applies=_has_bound)
def _out_of_memory_in_training(target: Target) -> None:
    """A batch that is too large raises and leaves nothing; a smaller one then works."""
    from torch_remote import remote

    gc.collect()
    _, total = remote.mem_get_info(target.device)
    weight = torch.ones(1, device=target.device, requires_grad=True)
    before = torch.accelerator.memory_allocated(target.device.index)

    def step(elements: int) -> None:
        batch = torch.ones(1, device=target.device).expand(elements)
        ((batch[:100] * weight).sum() + (batch * weight).exp().mean()).backward()

    assert_refused(target, lambda: step(total // 4 + 1), torch.OutOfMemoryError)
    assert torch.accelerator.memory_allocated(target.device.index) == before
    step(1000)
    assert weight.grad is not None
    torch.testing.assert_close(weight.grad.cpu(), torch.tensor([100.0 + math.e]))


# --- Failing operations --------------------------------------------------------------------------


@FAMILY.case("a_failure_among_many_programs")
def _among_many(target: Target) -> None:
    """Threads that work on one device; one of them fails again and again, and only it is told."""
    problems: list[str] = []

    def work(number: int) -> None:
        x = torch.full((3,), float(number), device=target.device)
        for _ in range(30):
            x = x + 1
        if x.tolist() != [number + 30.0] * 3:
            problems.append(f"thread {number}: {x.tolist()}")

    def work_badly() -> None:
        for _ in range(30):
            failed, _ = fail(target.device)
            try:
                failed.cpu()
                problems.append("a failure was not told")
            except torch.linalg.LinAlgError:
                pass

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    threads.append(threading.Thread(target=work_badly))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems, problems
