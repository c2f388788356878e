# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""`torch.accelerator` and PyTorch's other device-independent functions, on a remote device."""

import threading
from collections.abc import Callable, Iterator

import pytest
import torch
import torch_remote
from comparing import Counting
from programs import output_of

accelerator = torch.accelerator
MIB = 1 << 20


def needs(name: str) -> pytest.MarkDecorator:
    """For functions that came after torch 2.11."""
    return pytest.mark.skipif(
        not hasattr(accelerator, name), reason=f"this torch has no torch.accelerator.{name} yet"
    )


@pytest.fixture
def current(device: torch.device) -> Iterator[torch.device]:
    """Each of the two devices, as the current one."""
    with torch.remote.device(device):
        yield device


# ---- devices ----


def test_the_accelerator_is_this_device(device: torch.device) -> None:
    assert accelerator.current_accelerator() == torch.device("remote")
    assert accelerator.current_accelerator(check_available=True) == torch.device("remote")
    assert accelerator.is_available()
    assert accelerator.device_count() == torch.remote.device_count() > device.index


def test_before_there_is_a_device() -> None:
    program = """
        import torch, torch_remote
        accelerator = torch.accelerator
        assert accelerator.current_accelerator() == torch.device("remote")
        assert accelerator.current_accelerator(check_available=True) is None
        assert not accelerator.is_available()
        assert accelerator.device_count() == accelerator.memory_allocated() == 0
        assert accelerator.memory_stats() == {}
        accelerator.empty_cache()
        accelerator.synchronize()
        torch.remote.synchronize()
        try:
            torch.ones(2, device="remote")
        except RuntimeError as error:
            assert "make one with torch_remote.emulate" in str(error)
        else:
            raise AssertionError
    """
    assert output_of(program) == ""


def test_the_current_device(emulator: torch.device, tcp: torch.device) -> None:
    with torch.remote.device(emulator):
        accelerator.set_device_index(tcp)
        assert accelerator.current_device_index() == torch.remote.current_device() == tcp.index
        assert torch.empty(1, device="remote").device == tcp
        accelerator.set_device_index(str(emulator))
        assert accelerator.current_device_index() == emulator.index
        accelerator.set_device_index(-1)  # changes nothing
        assert accelerator.current_device_index() == emulator.index
        with pytest.raises(ValueError, match="doesn't match the current accelerator"):
            accelerator.set_device_index("cuda:0")
        with pytest.raises(IndexError, match="there is no device remote:99"):
            accelerator.set_device_index(99)
        assert accelerator.current_device_index() == emulator.index


def test_a_device_that_is_not_there_is_told_where_it_is_used(emulator: torch.device) -> None:
    with torch.remote.device(emulator):
        accelerator.set_device_index(15)
        with pytest.raises(RuntimeError, match="there is no device remote:15"):
            torch.ones(2, device="remote")


@needs("device_index")
def test_a_device_for_a_while(emulator: torch.device, tcp: torch.device) -> None:
    with torch.remote.device(emulator):
        with accelerator.device_index(tcp.index):
            assert torch.empty(1, device="remote").device == tcp
            with accelerator.device_index(None):
                assert accelerator.current_device_index() == tcp.index
        assert accelerator.current_device_index() == emulator.index


def test_each_thread_has_its_own_current_device(emulator: torch.device, tcp: torch.device) -> None:
    seen: list[int] = []
    with torch.remote.device(tcp):
        thread = threading.Thread(target=lambda: seen.append(accelerator.current_device_index()))
        thread.start()
        thread.join()
    assert seen == [0]
    assert emulator.type == "remote"


def test_default_devices(emulator: torch.device, tcp: torch.device) -> None:
    with torch.remote.device(emulator), torch.device("remote"):
        assert torch.ones(2).device == emulator
    with torch.device(tcp):
        assert torch.tensor([1.0]).device == torch.nn.Linear(2, 2).weight.device == tcp
        assert torch.ones(2, device="cpu").device.type == "cpu"
    torch.set_default_device(tcp)
    try:
        assert torch.get_default_device() == torch.arange(3).device == torch.randperm(3).device
        assert torch.get_default_device() == tcp
    finally:
        torch.set_default_device(None)
    assert torch.ones(2).device.type == "cpu"


def test_the_devices_module(device: torch.device) -> None:
    for name in ("remote", device, None):
        assert torch.get_device_module(name) is torch.remote


@needs("get_device_capability")
def test_capability(device: torch.device) -> None:
    dtypes = accelerator.get_device_capability(device)["supported_dtypes"]
    assert {torch.float32, torch.bfloat16, torch.complex64, torch.int64, torch.bool} <= dtypes


@needs("Graph")
@pytest.mark.usefixtures("device")
def test_graphs_are_refused() -> None:
    with pytest.raises(RuntimeError, match="not supported on device type: remote"):
        accelerator.Graph()


# ---- streams ----


def test_streams(current: torch.device) -> None:
    stream = torch.Stream(current)
    before = accelerator.current_stream()
    assert before == torch.remote.default_stream()
    accelerator.set_stream(stream)
    try:
        assert accelerator.current_stream() == accelerator.current_stream(current) == stream
        assert (torch.ones(3, device=current) + 1).tolist() == [2, 2, 2]
    finally:
        accelerator.set_stream(before)
    assert accelerator.current_stream() == before


def test_setting_a_stream_sets_its_device(emulator: torch.device, tcp: torch.device) -> None:
    with torch.remote.device(emulator):
        accelerator.set_stream(torch.remote.default_stream(tcp))
        assert accelerator.current_device_index() == tcp.index


def test_synchronize(current: torch.device) -> None:
    torch.zeros(2, device=current)[torch.tensor([7], device=current)]
    with pytest.raises(IndexError, match="out of bounds"):
        accelerator.synchronize()
    accelerator.synchronize(current)
    accelerator.synchronize(current.index)


# ---- memory ----


@needs("memory_stats")
def test_counts_of_memory(make_emulator: Callable[..., torch.device]) -> None:
    device = make_emulator()
    accelerator.reset_peak_memory_stats(device)
    accelerator.reset_accumulated_memory_stats(device)
    with torch.remote.device(device):
        kept = torch.empty(3 * MIB, dtype=torch.uint8, device=device)
        torch.empty(5 * MIB, dtype=torch.uint8, device=device)
        torch.empty(1 * MIB, dtype=torch.uint8, device=device)
        stats = accelerator.memory_stats()
        for name in ("allocated_bytes", "active_bytes", "requested_bytes"):
            assert [
                stats[f"{name}.all.{kind}"] for kind in ("current", "peak", "allocated", "freed")
            ] == [3 * MIB, 8 * MIB, 9 * MIB, 6 * MIB]
        for name in ("allocation", "active"):
            assert [
                stats[f"{name}.all.{kind}"] for kind in ("current", "peak", "allocated", "freed")
            ] == [1, 2, 3, 2]
        assert accelerator.memory_allocated() == kept.nbytes
        assert accelerator.max_memory_allocated() == 8 * MIB
        # A segment for what is larger than 1 MiB, and one for the rest.
        assert accelerator.memory_reserved() == accelerator.max_memory_reserved() == 22 * MIB
        for name, value in torch.remote.memory_stats().items():
            # torch.accelerator has no names for these.
            if name not in ("free_bytes", "total_bytes", "num_oom_rejections"):
                assert stats[name] == value


@needs("reset_accumulated_memory_stats")
@pytest.mark.parametrize("of", [accelerator, torch.remote])
def test_resets(make_emulator: Callable[..., torch.device], of: object) -> None:
    device = make_emulator()
    with torch.remote.device(device):
        kept = torch.empty(3 * MIB, dtype=torch.uint8, device=device)
        torch.empty(5 * MIB, dtype=torch.uint8, device=device)
        of.reset_peak_memory_stats()  # type: ignore[attr-defined]
        assert accelerator.max_memory_allocated() == kept.nbytes
        assert accelerator.memory_stats()["allocation.all.peak"] == 1
        assert accelerator.memory_stats()["allocated_bytes.all.allocated"] >= 8 * MIB
        of.reset_accumulated_memory_stats()  # type: ignore[attr-defined]
        torch.empty(2 * MIB, dtype=torch.uint8, device=device)
        for stats in (accelerator.memory_stats(), torch.remote.memory_stats()):
            assert stats["allocated_bytes.all.allocated"] == 2 * MIB
            assert stats["allocated_bytes.all.freed"] == 2 * MIB
            assert stats["allocation.all.allocated"] == 1
            assert stats["allocated_bytes.all.current"] == 3 * MIB


@needs("memory_stats")
def test_refused_memory_is_counted(make_emulator: Callable[..., torch.device]) -> None:
    device = make_emulator("T4")
    for _ in range(2):
        with pytest.raises(torch.OutOfMemoryError):
            torch.empty(20 << 30, dtype=torch.uint8, device=device)
    stats = accelerator.memory_stats(device)
    assert stats["num_ooms"] == 2
    assert stats["allocated_bytes.all.current"] == 0


@needs("get_memory_info")
def test_free_and_total_memory(current: torch.device) -> None:
    accelerator.empty_cache()  # so that what follows takes a segment of its own
    free_bytes, total_bytes = accelerator.get_memory_info()
    assert (free_bytes, total_bytes) == torch.remote.mem_get_info()
    assert total_bytes == torch.remote.get_device_properties().total_memory
    kept = torch.empty(64 * MIB, dtype=torch.uint8, device=current)
    assert accelerator.get_memory_info(current) == (free_bytes - kept.nbytes, total_bytes)


@needs("get_memory_info")
def test_memory_that_nobody_knows(null: torch.device) -> None:
    assert accelerator.get_memory_info(null) == (0, 0)


@needs("memory_stats")
def test_asking_for_memory_waits_for_no_executor(device: torch.device) -> None:
    with Counting(device) as counting:
        accelerator.memory_stats(device)
        accelerator.memory_allocated(device)
        accelerator.reset_peak_memory_stats(device)
        accelerator.empty_cache()
    assert counting.round_trips == 0


@needs("memory_stats")
def test_a_device_is_not_started_for_its_memory() -> None:
    extension = torch_remote.ensure_loaded()

    def start(_: int) -> None:
        raise AssertionError("nothing was computed")

    index = extension.add_pending(start)
    assert accelerator.memory_allocated(index) == torch.remote.memory_allocated(index) == 0
    accelerator.reset_peak_memory_stats(index)
    accelerator.reset_accumulated_memory_stats(index)
    if hasattr(accelerator, "get_memory_info"):
        assert accelerator.get_memory_info(index) == (0, 0)
    extension.stop(index)
