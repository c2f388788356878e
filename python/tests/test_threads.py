# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Several threads and several devices in one program, and who may run while somebody waits."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch_remote
from comparing import assert_same
from programs import output_of

THREADS = 4


def in_threads(function: Callable[[int], object], count: int = THREADS) -> list[object]:
    """Runs function in threads that start together; raises what any of them raised."""
    barrier = threading.Barrier(count)

    def run(index: int) -> object:
        torch.set_num_threads(1)
        barrier.wait(30)
        return function(index)

    with ThreadPoolExecutor(count) as pool:
        return [
            future.result(120) for future in [pool.submit(run, index) for index in range(count)]
        ]


def work(device: torch.device | str, seed: int) -> torch.Tensor:
    """Training in small: new plans, views, in-place operators, reads."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(6 + seed, 4, generator=generator).to(device).requires_grad_()
    for step in range(20):
        x = torch.randn(5, 6 + seed, generator=generator).to(device)
        loss = (x @ weight).tanh()[:, step % 4 :].square().sum()
        loss.backward()
        assert weight.grad is not None
        with torch.no_grad():
            weight.sub_(weight.grad, alpha=0.1)
            weight.grad.zero_()
        if step % 5 == 0:
            loss.item()
            x[x > 0].sum().item()
    return weight.detach().cpu()


def test_one_device_from_several_threads(device: torch.device) -> None:
    expected = [work("cpu", seed) for seed in range(THREADS)]
    for _ in range(3):
        assert_same(in_threads(lambda seed: work(device, seed)), expected)


def test_several_devices_at_once(
    emulator: torch.device, tcp: torch.device, make_emulator: Callable[..., torch.device]
) -> None:
    devices = [emulator, tcp, make_emulator("T4"), make_emulator("H100")]
    expected = [work("cpu", seed) for seed in range(THREADS)]
    assert_same(in_threads(lambda seed: work(devices[seed], seed)), expected)
    # And every thread with every device.
    everything = in_threads(lambda seed: [work(where, seed) for where in devices])
    for seed, results in enumerate(everything):
        assert_same(results, [expected[seed]] * len(devices))


def test_one_tensor_from_several_threads(device: torch.device) -> None:
    total = torch.zeros(8, device=device)

    def add(index: int) -> None:
        for _ in range(200):
            total.add_(index + 1)

    in_threads(add)
    assert total.tolist() == [200.0 * sum(range(1, THREADS + 1))] * 8


def test_same_new_plan_in_several_threads(device: torch.device) -> None:
    for size in range(101, 121):
        x = torch.ones(size, device=device)
        before = torch_remote.stats(device).plans
        assert_same(in_threads(lambda _, x=x: x.square()), [torch.ones(size)] * THREADS)
        # Two threads may both find it missing; only one defines it.
        assert torch_remote.stats(device).plans - before <= 1


def test_tensors_dropped_in_another_thread(device: torch.device) -> None:
    torch.remote.synchronize(device)
    before = torch_remote.stats(device).storages
    handed = [[torch.ones(100, device=device) for _ in range(200)] for _ in range(THREADS)]
    in_threads(lambda index: handed[index].clear())
    assert torch_remote.stats(device).storages == before


def test_devices_made_and_stopped_in_threads() -> None:
    def make(index: int) -> float:
        device = torch_remote.emulate("T4", num_threads=1)
        total = torch.full((10,), float(index), device=device).sum().item()
        torch_remote.machine(device).stop()
        return total

    before = torch_remote.machines()
    for _ in range(3):
        assert in_threads(make) == [10.0 * index for index in range(THREADS)]
    assert torch_remote.machines() == before


def test_failures_go_to_whoever_reads(device: torch.device) -> None:
    def fail_or_not(index: int) -> object:
        x = torch.arange(3.0, device=device)
        picked = x.index_select(0, torch.tensor([9 if index % 2 else 1], device=device))
        if index % 2 == 0:
            return picked.item()
        with pytest.raises(IndexError):
            picked.item()
        return None

    assert in_threads(fail_or_not) == [1.0, None, 1.0, None]


def test_current_device_is_the_threads_own(emulator: torch.device, tcp: torch.device) -> None:
    def use(index: int) -> list[torch.device]:
        mine = [emulator, tcp][index % 2]
        torch.remote.set_device(mine)
        return [torch.ones(1, device="remote").device for _ in range(50)]

    for index, seen in enumerate(in_threads(use)):
        assert seen == [[emulator, tcp][index % 2]] * 50
    with torch.remote.device(tcp):
        assert torch.ones(1, device="remote").device == tcp


@pytest.mark.parametrize("wait", ["synchronize", "item", "cpu", "nonzero"])
def test_other_threads_run_while_one_waits(device: torch.device, wait: str) -> None:
    x = torch.randn(700, 700, device=device)
    for _ in range(40):
        x = (x @ x).softmax(1)
    stop = threading.Event()
    counts = [0]

    def count() -> None:
        while not stop.is_set():
            counts[0] += 1

    counter = threading.Thread(target=count)
    counter.start()
    try:
        before = counts[0]
        waits: dict[str, Callable[[], object]] = {
            "synchronize": lambda: torch.remote.synchronize(device),
            "item": lambda: x[0, 0].item(),
            "cpu": x.cpu,
            "nonzero": lambda: x[:2].nonzero(),
        }
        waits[wait]()
        # With the interpreter's lock held it would stay where it was, but for a step or two.
        assert counts[0] - before > 1000
    finally:
        stop.set()
        counter.join()


def test_devices_made_before_and_after_the_first_backward() -> None:
    program = """
        import torch, torch_remote

        def gradient(device):
            x = torch.arange(3.0, device=device, requires_grad=True)
            x.square().sum().backward()
            return x.grad.tolist()

        print(gradient(torch_remote.emulate("T4")))
        print(gradient("cpu"))
        print(gradient(torch_remote.emulate("H100")))
        with torch_remote.LocalExecutor() as executor:
            device = torch_remote.connect(executor.endpoint)
            print(gradient(device))
            # One graph over several devices.
            x = torch.arange(3.0, requires_grad=True)
            y = x.to("remote:0") * 2
            (y.to(device) * 3).cpu().sum().backward()
            print(x.grad.tolist())
            torch_remote.machine(device).stop()
    """
    assert output_of(program).split("\n") == ["[0.0, 2.0, 4.0]"] * 4 + ["[6.0, 6.0, 6.0]"]


def test_a_backward_before_the_import_is_explained() -> None:
    program = """
        import torch
        x = torch.ones(2, requires_grad=True)
        x.sum().backward()
        import torch_remote
        try:
            torch_remote.emulate("T4")
            print("works")
        except RuntimeError as error:
            print("import torch_remote at the top" in str(error))
        print(len(torch_remote.machines()))
    """
    assert output_of(program, variables={"TORCH_DEVICE_BACKEND_AUTOLOAD": "0"}).split("\n") == [
        "True",
        "0",
    ]


def test_ends_with_work_left_and_threads_running() -> None:
    program = """
        import threading, torch, torch_remote
        device = torch_remote.emulate("T4", num_threads=1)
        x = torch.randn(1000, 1000, device=device)

        def work():
            y = x
            try:
                while True:
                    y = (y @ x).softmax(1)
            except RuntimeError as error:
                assert "the device was stopped" in str(error)

        threading.Thread(target=work, daemon=True).start()
        for _ in range(100):
            x @ x
        print("end")
    """
    assert output_of(program) == "end"
