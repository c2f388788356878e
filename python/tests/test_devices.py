# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Making devices, what their machines are, and what stays of them."""

import gc
import math
import os
import pickle
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager

import pytest
import torch
import torch_remote
from programs import output_of


@pytest.mark.parametrize(
    "mode", [torch.no_grad, torch.inference_mode, lambda: torch.set_grad_enabled(False)]
)
def test_made_where_gradients_are_off(mode: Callable[[], AbstractContextManager[None]]) -> None:
    with mode():
        device = torch_remote.emulate("T4", num_threads=1)
        assert (torch.ones(3, device=device) + 1).tolist() == [2, 2, 2]
    torch_remote.machine(device).stop()


def test_a_device_that_could_not_be_finished_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    running = len(torch_remote.machines())

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(torch, "empty", interrupted)
        with pytest.raises(KeyboardInterrupt):
            torch_remote.emulate("T4", num_threads=1)
    assert len(torch_remote.machines()) == running


@pytest.mark.parametrize(
    ("count", "error", "text"),
    [
        (0, ValueError, "num_threads is 0; it has to be from 1 to 4096"),
        (-3, ValueError, "from 1 to 4096"),
        (5000, ValueError, "from 1 to 4096"),
        (4096, ValueError, "4096 threads were asked for"),
        (2.5, TypeError, "whole number, not 2.5"),
        ("2", TypeError, "whole number, not '2'"),
    ],
)
def test_bad_thread_counts(count: int, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        torch_remote.emulate("T4", num_threads=count)


@pytest.mark.parametrize(
    ("timeout", "error"),
    [
        (0, ValueError),
        (-1.0, ValueError),
        (math.nan, ValueError),
        (None, TypeError),
        ("1", TypeError),
    ],
)
@pytest.mark.parametrize("name", ["timeout_s", "reconnect_timeout_s"])
def test_bad_timeouts(name: str, timeout: float, error: type[Exception]) -> None:
    with pytest.raises(error, match=name):
        torch_remote.connect("tcp://127.0.0.1:1", **{name: timeout})


def test_waiting_for_ever(executor: torch_remote.LocalExecutor) -> None:
    device = torch_remote.connect(
        executor.endpoint, timeout_s=math.inf, reconnect_timeout_s=math.inf
    )
    assert torch.ones(2, device=device).sum().item() == 2
    torch_remote.machine(device).stop()


def test_arguments_of_another_type() -> None:
    with pytest.raises(
        TypeError, match="gpu_type has to be a text such as 'H100', or the path of a file, not None"
    ):
        torch_remote.emulate(None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="endpoint has to be a text"):
        torch_remote.connect(5555)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        torch_remote.stats(0.9)  # type: ignore[arg-type]


def test_an_old_machine_is_not_the_next_one_of_its_index() -> None:
    old = torch_remote.machine(torch_remote.emulate("T4", num_threads=1))
    old.stop()
    assert not old.running
    next_device = torch_remote.emulate("H100", num_threads=1)
    assert next_device == old.device
    assert not old.running
    old.stop()
    assert torch_remote.machine(next_device).running
    assert torch.ones(2, device=next_device).sum().item() == 2
    torch_remote.machine(next_device).stop()


def test_a_machine_stays_in_its_process(emulator: torch.device) -> None:
    with pytest.raises(TypeError, match="belongs to this process"):
        pickle.dumps(torch_remote.machine(emulator))


def test_availability_follows_the_devices() -> None:
    program = """
        import torch, torch_remote
        print(torch.remote.is_available(), torch.remote.is_initialized())
        device = torch_remote.emulate("T4")
        print(torch.remote.is_available(), torch.remote.device_count())
        torch_remote.machine(device).stop()
        print(torch.remote.is_available(), torch.remote.device_count())
    """
    assert output_of(program).split("\n") == ["False False", "True 1", "False 1"]


@pytest.mark.skipif(sys.platform != "linux", reason="counts what the process holds in /proc")
def test_stopped_devices_hold_nothing(executor: torch_remote.LocalExecutor) -> None:
    def held() -> tuple[int, int]:
        return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))  # noqa: PTH208

    def make_and_stop() -> None:
        for make in (
            lambda: torch_remote.emulate("T4", num_threads=1),
            lambda: torch_remote.connect(executor.endpoint, num_threads=1),
        ):
            device = make()
            (torch.ones(10, device=device) * 2).sum().item()
            torch_remote.machine(device).stop()

    make_and_stop()
    gc.collect()
    before = held()
    for _ in range(20):
        make_and_stop()
    gc.collect()
    assert held() == before


def test_memory_functions(make_emulator: Callable[..., torch.device]) -> None:
    device = make_emulator("T4")
    free, total = torch.remote.mem_get_info(device)
    assert total == torch.remote.get_device_properties(device).total_memory
    assert 0 < total - free < 1 << 30, "the context"
    x = torch.empty(1000, device=device)
    segment, block = 2 << 20, 4096
    assert torch.remote.mem_get_info(device) == (free - segment, total)
    assert torch.remote.memory_reserved(device) == segment
    assert torch.remote.memory_allocated(device) == block
    assert torch.remote.max_memory_reserved(device) == segment
    del x
    numbers = torch.remote.memory_stats(device)
    assert numbers["allocated_bytes.all.current"] == 0
    assert numbers["reserved_bytes.all.peak"] == segment
    assert (numbers["free_bytes"], numbers["total_bytes"]) == (free - segment, total)
    torch.remote.empty_cache()
    assert torch.remote.mem_get_info(device) == (free, total)
    torch.remote.reset_peak_memory_stats(device)
    assert torch.remote.max_memory_allocated(device) == 0


def test_memory_functions_are_parts_of_the_statistics(
    emulator: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def numbers(index: int) -> dict[str, int]:
        asked.append(index)
        return {
            "allocated_bytes.all.current": 1,
            "allocated_bytes.all.peak": 2,
            "reserved_bytes.all.current": 3,
            "reserved_bytes.all.peak": 4,
            "free_bytes": 5,
            "total_bytes": 6,
        }

    fake = Altered(memory_statistics=numbers)
    monkeypatch.setattr("torch_remote._memory.ensure_loaded", lambda: fake)
    remote = torch.remote
    assert (remote.memory_allocated(emulator), remote.max_memory_allocated(emulator)) == (1, 2)
    assert (remote.memory_reserved(emulator), remote.max_memory_reserved(emulator)) == (3, 4)
    assert remote.mem_get_info(emulator) == (5, 6)
    assert remote.memory_stats(emulator) == numbers(0)
    assert asked == [*([emulator.index] * 6), 0]


def test_properties_of_a_real_gpu(emulator: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    told = {
        "device": "cuda:0",
        "gpu_name": "NVIDIA H100 80GB HBM3",
        "gpu_major": "9",
        "gpu_minor": "0",
        "gpu_total_memory": "85017755648",
        "gpu_driver": "none of the properties",
    }
    fake = Altered(description=lambda _: told, emulated_gpu=lambda _: None)
    monkeypatch.setattr("torch_remote._devices.ensure_loaded", lambda: fake)
    properties = torch.remote.get_device_properties(emulator)
    assert (properties.name, properties.type) == ("NVIDIA H100 80GB HBM3", "H100")
    assert (properties.major, properties.minor) == (9, 0)
    assert properties.total_memory == 85017755648
    assert properties.warp_size == 0, "nobody told"
    told["gpu_name"] = "Some other GPU"
    assert torch.remote.get_device_properties(emulator).type == "Some other GPU"


class Altered:
    """The extension with other functions in the place of some."""

    def __init__(self, **functions: Callable[..., object]) -> None:
        self.__dict__.update(functions)

    def __getattr__(self, name: str) -> object:
        return getattr(torch_remote.ensure_loaded(), name)


# ---- devices that start when they are needed ----


def pending(endpoint: str, starts: list[int]) -> torch.device:
    """A device that connects at its first operation."""
    extension = torch_remote.ensure_loaded()

    def start(index: int) -> None:
        starts.append(index)
        extension.connect_pending(index, endpoint, 0, 1, 7, 10.0, 10.0, None, None)

    return torch.device("remote", extension.add_pending(start))


def test_starts_at_the_first_operation(executor: torch_remote.LocalExecutor) -> None:
    starts: list[int] = []
    device = pending(executor.endpoint, starts)
    machine = torch_remote.machine(device)
    assert not machine.running
    assert torch_remote.stats(device).operations == 0
    with torch.remote.device(device):
        torch.remote.set_device(device)
    assert starts == []
    x = torch.arange(4.0).to(device)
    assert (x * 2).tolist() == [0, 2, 4, 6]
    assert starts == [device.index]
    assert machine.running
    machine.stop()
    assert not machine.running


def test_several_threads_need_it_at_once(executor: torch_remote.LocalExecutor) -> None:
    starts: list[int] = []
    device = pending(executor.endpoint, starts)
    with ThreadPoolExecutor(4) as pool:
        totals = list(pool.map(lambda i: torch.full((3,), i, device=device).sum().item(), range(4)))
    assert totals == [0, 3, 6, 9]
    assert len(starts) == 1
    torch_remote.machine(device).stop()


def test_a_start_that_fails_may_be_tried_again(executor: torch_remote.LocalExecutor) -> None:
    extension = torch_remote.ensure_loaded()
    tries: list[int] = []

    def start(index: int) -> None:
        tries.append(index)
        if len(tries) == 1:
            raise ConnectionError("no machine to be had")
        extension.connect_pending(index, executor.endpoint, 0, 1, 0, 10.0, 10.0, None, None)

    device = torch.device("remote", extension.add_pending(start))
    with pytest.raises(ConnectionError, match="no machine to be had"):
        torch.ones(2, device=device)
    assert torch.ones(2, device=device).sum().item() == 2
    torch_remote.machine(device).stop()


def test_one_that_was_never_needed() -> None:
    starts: list[int] = []
    device = pending("tcp://127.0.0.1:1", starts)
    torch_remote.machine(device).stop()
    with pytest.raises(RuntimeError, match="there is no device"):
        torch.ones(2, device=device)
    assert starts == []
