# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Traps of a PyTorch device that are none of operators, plans or copies, each with the test that it needs."""

import itertools
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch_remote
from programs import TIMEOUT_S, environment, output_of, run_python, wait_for_end

# ---- autograd's queues: made once, at the first backward ----


def test_devices_made_after_the_first_backward() -> None:
    program = """
        import torch, torch_remote
        torch.ones(1, requires_grad=True).sum().backward()
        devices = [torch_remote.null_device()]
        with torch_remote.LocalExecutor(emulate="T4") as executor:
            devices += [torch_remote.emulate("T4"), torch_remote.connect(executor.endpoint)]
            for device in devices[1:]:
                x = torch.ones(3, device=device, requires_grad=True)
                (x * x).sum().backward()
                assert x.grad.tolist() == [2, 2, 2]
            devices[0] = torch_remote.emulate("H100")
            both = torch.ones(2, device=devices[0], requires_grad=True)
            (both.cpu().to(devices[1]) * 3).sum().backward()
            print(both.grad.tolist())
            torch_remote.machine(devices[2]).stop()
    """
    assert output_of(program) == "[3.0, 3.0]"


def test_a_backward_before_the_import_is_told_of() -> None:
    program = """
        import torch
        torch.ones(1, requires_grad=True).sum().backward()
        import torch_remote
        for _ in range(2):
            try:
                torch_remote.emulate("T4")
            except RuntimeError as error:
                print(error)
        assert torch_remote.machines() == []
        torch.ones(1, requires_grad=True).sum().backward()
    """
    told = output_of(program, variables={"TORCH_DEVICE_BACKEND_AUTOLOAD": "0"}).splitlines()
    assert len(told) == 2
    assert all("import torch_remote at the top of the program" in line for line in told)


def test_the_guard_is_told_of_more_devices_than_there_are(emulator: torch.device) -> None:
    assert emulator.index < torch.remote.device_count() == torch.accelerator.device_count() < 16


def test_backward_from_several_threads(emulator: torch.device, device: torch.device) -> None:
    results: dict[int, list[float]] = {}

    def work(number: int, where: torch.device) -> None:
        x = torch.full((4,), float(number), device=where, requires_grad=True)
        (x * x).sum().backward()
        assert x.grad is not None
        results[number] = x.grad.tolist()

    threads = [threading.Thread(target=work, args=(n, (emulator, device)[n % 2])) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {n: [2.0 * n] * 4 for n in range(6)}


# ---- ids are no addresses ----


@pytest.mark.parametrize("protocol", [None, (1, 0)], ids=["unversioned", "versioned"])
def test_dlpack_is_refused(device: torch.device, protocol: tuple[int, int] | None) -> None:
    with pytest.raises(BufferError, match=rf"{device} has no memory in this process.*\.cpu\(\)"):
        torch.ones(3, device=device).__dlpack__(max_version=protocol)


@pytest.mark.parametrize(
    "export", [torch.to_dlpack, torch.utils.dlpack.to_dlpack, torch.from_dlpack, np.from_dlpack]
)
def test_dlpack_by_functions_is_refused(
    emulator: torch.device, export: Callable[[torch.Tensor], Any]
) -> None:
    with pytest.raises(
        (BufferError, ValueError), match=r"no memory in this process|Unknown device type"
    ):
        export(torch.ones(3, device=emulator))


def test_dlpack_of_cpu_tensors_still_works() -> None:
    x = torch.arange(3.0)
    assert torch.from_dlpack(x).data_ptr() == x.data_ptr()
    assert torch.from_dlpack(torch.to_dlpack(x)).tolist() == [0, 1, 2]
    assert np.from_dlpack(x).tolist() == [0, 1, 2]
    with pytest.raises(BufferError, match="require gradient"):
        torch.ones(1, requires_grad=True).__dlpack__()


@pytest.mark.parametrize(
    "export",
    [
        lambda x: x.numpy(),
        np.asarray,
        memoryview,
        lambda x: torch.frombuffer(x, dtype=torch.float32),
    ],
    ids=["numpy", "asarray", "memoryview", "frombuffer"],
)
def test_other_exports_of_the_address_are_refused(
    emulator: torch.device, export: Callable[[torch.Tensor], Any]
) -> None:
    with pytest.raises((TypeError, ValueError)):
        export(torch.ones(3, device=emulator))


def test_a_host_read_faults() -> None:
    program = """
import ctypes, sys, torch, torch_remote
device = torch_remote.emulate("T4")
x = torch.ones(3, device=device)
print("reads", flush=True)
ctypes.string_at(x.data_ptr() + int(sys.argv[1]), 4)
print("was not stopped", flush=True)
"""
    for offset in (0, 8):
        done = subprocess.run(
            [sys.executable, "-c", program, str(offset)],
            env=environment(PYTHONFAULTHANDLER=None),
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        assert done.stdout == "reads\n"
        assert -done.returncode in (signal.SIGSEGV, signal.SIGBUS)


def test_ids_look_like_memory_that_does_not_overlap(
    emulator: torch.device, device: torch.device
) -> None:
    sizes = (1, 7, 512, 513, 4096, 1 << 20, 3, 1 << 33)
    tensors = [
        torch.empty(size, dtype=torch.uint8, device=where)
        for where in (emulator, device)
        for size in sizes
    ]
    starts = [tensor.data_ptr() for tensor in tensors]
    assert len(set(starts)) == len(starts)
    assert all(start % 64 == 0 for start in starts)
    ranges = sorted((tensor.data_ptr(), tensor.nbytes) for tensor in tensors)
    assert all(
        start + size <= following for (start, size), (following, _) in itertools.pairwise(ranges)
    )


def test_pointer_arithmetic_of_views(device: torch.device) -> None:
    x = torch.zeros(4, 8, device=device)
    assert x[2, 3].data_ptr() == x.data_ptr() + (2 * 8 + 3) * 4
    assert x[1:].untyped_storage().data_ptr() == x.data_ptr()
    assert x.data_ptr() == x.detach().data_ptr() != x.clone().data_ptr()


def test_results_beside_their_arguments_are_no_overlap(device: torch.device) -> None:
    tensors = [torch.ones(3, device=device) for _ in range(50)]
    for first, second in itertools.pairwise(tensors):
        torch.add(first, 1, out=second)
    assert tensors[-1].tolist() == [50, 50, 50]
    shared = torch.ones(4, device=device)
    torch.add(shared[:-1], 1, out=shared[1:])
    with pytest.raises(RuntimeError, match="single memory location"):
        torch.remote.synchronize(device)


def test_a_storage_reads_by_way_of_the_executor(device: torch.device) -> None:
    storage = torch.arange(4, dtype=torch.uint8, device=device).untyped_storage()
    assert (len(storage), storage[2], storage.tolist(), storage.cpu().tolist()) == (
        4,
        2,
        [0, 1, 2, 3],
        [0, 1, 2, 3],
    )


# ---- thread counts change bits ----


def bits_of(device: torch.device | str) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(512, 2048, generator=generator).to(device)
    norm = torch.nn.LayerNorm(2048).to(device)
    norm(x).square().sum().backward()
    assert norm.weight.grad is not None
    flat = x.flatten()
    return [
        value.detach().cpu()
        for value in (x.sum(), torch.dot(flat, flat), x.softmax(0), norm.weight.grad, x @ x.t())
    ]


def test_equal_thread_counts_give_equal_bits() -> None:
    before = torch.get_num_threads()
    devices = {count: torch_remote.emulate("H100", num_threads=count) for count in (1, 2)}
    assert torch.get_num_threads() == before  # the executor's threads are its own
    with torch_remote.LocalExecutor(arguments=("--threads", "2")) as executor:
        remote = {
            count: torch_remote.connect(executor.endpoint, num_threads=count) for count in (2, 1)
        }
        # In turns: a device may not take over the number of the one before it.
        actual = {count: (bits_of(devices[count]), bits_of(remote[count])) for count in (1, 2)}
        for device in (*devices.values(), *remote.values()):
            torch_remote.machine(device).stop()
    try:
        for count, results in actual.items():
            torch.set_num_threads(count)
            expected = bits_of("cpu")
            for result in results:
                assert [torch.equal(a, e) for a, e in zip(result, expected, strict=True)] == [
                    True
                ] * len(expected), count
    finally:
        torch.set_num_threads(before)


def test_the_default_thread_count_is_this_threads() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        device = torch_remote.emulate("T4")
        assert torch_remote.machine(device).description["thread_count"] == "1"
        torch_remote.machine(device).stop()
    finally:
        torch.set_num_threads(before)


# ---- torch.accelerator ----


def test_accelerator_is_the_device(emulator: torch.device) -> None:
    assert torch.accelerator.is_available()
    assert torch.accelerator.current_accelerator() == torch.device("remote")
    with torch.accelerator.device_index(emulator.index):
        assert (
            torch.accelerator.current_device_index()
            == emulator.index
            == torch.remote.current_device()
        )
        stream = torch.accelerator.current_stream()
        assert stream.device == emulator
        torch.accelerator.set_stream(stream)
        x = torch.ones(3, device=torch.accelerator.current_accelerator()) + 1
        event = stream.record_event()
        event.synchronize()
        assert event.query()
        stream.synchronize()
        torch.accelerator.synchronize()
    assert x.device == emulator
    assert x.tolist() == [2, 2, 2]


def test_accelerator_synchronize_raises_what_failed(emulator: torch.device) -> None:
    torch.ones(3, device=emulator).index_select(0, torch.tensor([7], device=emulator))
    with pytest.raises(
        (IndexError, RuntimeError), match=r"(?s)index.*index_select.*test_traps\.py"
    ):
        torch.accelerator.synchronize(emulator.index)
    torch.accelerator.synchronize(emulator.index)  # once


def test_to_takes_the_short_forms(emulator: torch.device) -> None:
    with torch.remote.device(emulator):
        x = torch.ones(2).remote()
        assert x.is_remote
        assert not torch.ones(2).is_remote
        assert x.device == emulator == torch.ones(2).to("remote").device
        assert torch.nn.Linear(2, 2).remote().weight.device == emulator


# ---- operators that PyTorch has for such devices alone ----


def test_convolution_overrideable(device: torch.device) -> None:
    generator = torch.Generator().manual_seed(1)
    x, weight, bias = (
        torch.randn(*size, generator=generator) for size in ((2, 4, 8, 8), (6, 2, 3, 3), (6,))
    )
    geometry = ([2, 1], [1, 1], [1, 1], False, [0, 0], 2)
    expected = torch.ops.aten.convolution(x, weight, bias, *geometry)
    there = [tensor.to(device) for tensor in (x, weight, bias)]
    actual = torch.ops.aten.convolution_overrideable(*there, *geometry)
    torch.testing.assert_close(actual.cpu(), expected)
    assert actual.stride() == expected.stride()
    gradient = torch.randn(expected.shape, generator=generator)
    mask = [True, True, True]
    expected_gradients = torch.ops.aten.convolution_backward(
        gradient, x, weight, [6], *geometry, mask
    )
    gradients = torch.ops.aten.convolution_backward_overrideable(
        gradient.to(device), *there[:2], *geometry, mask
    )
    for actual_one, expected_one in zip(gradients, expected_gradients, strict=True):
        torch.testing.assert_close(actual_one.cpu(), expected_one)


@pytest.mark.parametrize("is_causal", [False, True])
def test_attention_overrideable(device: torch.device, is_causal: bool) -> None:
    generator = torch.Generator().manual_seed(2)
    here = [torch.randn(2, 3, 5, 8, generator=generator).requires_grad_() for _ in range(3)]
    there = [tensor.detach().to(device).requires_grad_() for tensor in here]
    expected = torch.nn.functional.scaled_dot_product_attention(*here, is_causal=is_causal)
    direct = torch.ops.aten._scaled_dot_product_fused_attention_overrideable(
        *there, is_causal=is_causal
    )[0]
    chosen = torch.nn.functional.scaled_dot_product_attention(*there, is_causal=is_causal)
    torch.testing.assert_close(direct.cpu(), expected)
    assert torch.equal(direct.cpu(), chosen.cpu())
    expected.square().sum().backward()
    direct.square().sum().backward()
    for tensor, reference in zip(there, here, strict=True):
        assert tensor.grad is not None
        assert reference.grad is not None
        torch.testing.assert_close(tensor.grad.cpu(), reference.grad)


# ---- PyTorch's own test harness ----


def test_pytorchs_harness_takes_the_device(tmp_path: Path) -> None:
    program = tmp_path / "harness.py"
    program.write_text("""
import torch, torch_remote  # before the harness: it asks once which devices there are
torch_remote.emulate("T4")
from torch.testing._internal.common_device_type import dtypes, instantiate_device_type_tests
from torch.testing._internal.common_utils import TestCase, run_tests

class TestTiny(TestCase):
    def test_add(self, device):
        self.assertEqual(torch.device(device).type, "remote")
        self.assertEqual(torch.ones(3, device=device) + 1, torch.full((3,), 2.0))

    @dtypes(torch.float32, torch.int64)
    def test_sum(self, device, dtype):
        self.assertEqual(torch.arange(4, device=device, dtype=dtype).sum().item(), 6)

instantiate_device_type_tests(TestTiny, globals())
run_tests()
""")
    done = subprocess.run(
        [sys.executable, program, "-v"],
        # In CI the harness wants packages that write reports.
        env=environment(PYTORCH_TESTING_DEVICE_ONLY_FOR="privateuse1", CI=None),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for name in ("test_add_remote", "test_sum_remote_float32", "test_sum_remote_int64"):
        assert name in done.stderr
    assert "Ran 3 tests" in done.stderr


# ---- ends ----


def test_a_program_that_stops_nothing_ends_by_itself() -> None:
    program = """
        import torch, torch_remote
        executor = torch_remote.LocalExecutor(emulate="T4")
        devices = [torch_remote.emulate("T4"), torch_remote.connect(executor.endpoint), torch_remote.null_device()]
        kept = [torch.ones(1000, device=device).cumsum(0) for device in devices]
        print(executor.process.pid)
    """
    done = run_python(program)
    assert (done.returncode, done.stderr) == (0, "")
    wait_for_end(int(done.stdout))


def test_failures_that_nobody_saw_are_told_at_the_end() -> None:
    program = """
        import torch, torch_remote
        device = torch_remote.emulate("T4")
        torch.ones(3, device=device).index_select(0, torch.tensor([7], device=device))
        print(torch.ones(1, device=device).item())  # the failure is known, but it is not this operation's
    """
    done = run_python(program)
    assert done.returncode == 0
    assert "an operation on remote:0 failed and nothing read its result" in done.stderr


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda d: torch.zeros([1] * 65, device=d) + 1, "more dimensions than can travel"),
        (lambda d: torch.empty(4, dtype=torch.bits8, device=d).clone(), "can't travel"),
        (
            lambda d: torch.remote.set_rng_state(torch.zeros(100_000, dtype=torch.uint8), d),
            "at most 65536 bytes",
        ),
        (
            lambda d: torch.Generator(d).set_state(torch.zeros(100_000, dtype=torch.uint8)),
            "at most 65536 bytes",
        ),
    ],
)
def test_what_no_executor_takes_is_refused_here(
    device: torch.device, call: Callable[[torch.device], object], text: str
) -> None:
    """On the wire it would end the session, and every tensor with it."""
    x = torch.ones(3, device=device)
    with pytest.raises((RuntimeError, ValueError), match=text):
        call(device)
    assert x.tolist() == [1, 1, 1]


@pytest.mark.filterwarnings("ignore:An output with one or more elements was resized")
def test_one_tensor_for_several_results(device: torch.device) -> None:
    out = torch.empty(0, device=device)
    with pytest.raises(RuntimeError, match="out= arguments share memory"):
        torch.linalg.qr(torch.randn(4, 3, device=device), out=(out, out))
