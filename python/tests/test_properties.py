# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a program can ask a device about itself."""

import difflib
import threading

import pytest
import torch
import torch_remote
from programs import output_of
from torch_remote import _C

# From the vendor's tables, apart from the project's own: capability, multiprocessors, name.
PUBLISHED = {
    "T4": ((7, 5), 40, "Tesla T4"),
    "L4": ((8, 9), 58, "NVIDIA L4"),
    "A10G": ((8, 6), 80, "NVIDIA A10G"),
    "A100-40GB": ((8, 0), 108, "NVIDIA A100-SXM4-40GB"),
    "A100-80GB": ((8, 0), 108, "NVIDIA A100-SXM4-80GB"),
    "L40S": ((8, 9), 142, "NVIDIA L40S"),
    "H100": ((9, 0), 132, "NVIDIA H100 80GB HBM3"),
    "H200": ((9, 0), 132, "NVIDIA H200"),
    "B200": ((10, 0), 148, "NVIDIA B200"),
}
NOMINAL_GB = {
    "T4": 16,
    "L4": 24,
    "A10G": 24,
    "A100-40GB": 40,
    "A100-80GB": 80,
    "L40S": 48,
    "H100": 80,
    "H200": 141,
}
NOMINAL_GB["B200"] = 180


def test_gpu_types_are_the_emulators() -> None:
    assert list(torch_remote.GPU_TYPES) == _C.gpu_types() == list(PUBLISHED)


@pytest.mark.parametrize("gpu_type", PUBLISHED)
def test_properties_of_a_gpu_type(gpu_type: str) -> None:
    device = torch_remote.emulate(gpu_type)
    try:
        properties = torch.remote.get_device_properties(device)
        capability, multiprocessors, name = PUBLISHED[gpu_type]
        assert properties.type == gpu_type
        assert (
            (properties.major, properties.minor)
            == capability
            == torch.remote.get_device_capability(device)
        )
        assert properties.multi_processor_count == multiprocessors
        assert properties.name == name == torch.remote.get_device_name(device)
        # What CUDA reports is near the number on the box: that counts by 10^9 or by 2^30, less what the driver keeps.
        assert (
            0.9 * NOMINAL_GB[gpu_type] * 10**9
            < properties.total_memory
            <= 1.02 * NOMINAL_GB[gpu_type] * 2**30
        )
        assert properties.warp_size == 32
        assert properties.max_threads_per_block == 1024
        assert properties.max_threads_per_multi_processor in (1024, 1536, 2048)
        assert properties.regs_per_multiprocessor == 65536
        assert 0 < properties.shared_memory_per_block <= properties.shared_memory_per_block_optin
        assert (
            properties.shared_memory_per_block_optin <= properties.shared_memory_per_multiprocessor
        )
        assert properties.L2_cache_size >= 4 << 20
        assert torch_remote.machine(device).description["emulates"] == gpu_type
        assert torch.arange(4, device=device).sum().item() == 6
    finally:
        torch_remote.machine(device).stop()


def test_a100_is_the_one_of_40_gb() -> None:
    assert torch_remote.gpu_properties("A100") == torch_remote.gpu_properties("A100-40GB")


def test_case_does_not_matter() -> None:
    assert torch_remote.gpu_properties("a100-80gb") == torch_remote.gpu_properties("A100-80GB")


@pytest.mark.parametrize("wrong", ["A10", "H10O", "a100-80", "B20", "L40", ""])
def test_unknown_gpu_types_are_told_the_nearest(wrong: str) -> None:
    with pytest.raises(ValueError, match="GPU") as caught:
        torch_remote.emulate(wrong)
    text = str(caught.value)
    assert f'"{wrong}"' in text
    near = difflib.get_close_matches(wrong.upper(), torch_remote.GPU_TYPES, n=3, cutoff=0.6)
    assert not near or any(f'"{gpu_type}"' in text for gpu_type in near)


def test_null_device_has_a_name_and_no_memory(null: torch.device) -> None:
    properties = torch.remote.get_device_properties(null)
    assert (properties.name, properties.total_memory) == ("null", 0)
    assert torch.remote.get_device_capability(null) == (0, 0)


def test_counts_and_current_device(emulator: torch.device, null: torch.device) -> None:
    assert torch.remote.is_available()
    assert torch.remote.is_initialized()
    assert torch.remote.device_count() > max(emulator.index, null.index)
    before = torch.remote.current_device()
    torch.remote.set_device(null)
    try:
        assert torch.remote.current_device() == null.index
        assert torch.empty(1, device="remote").device == null
        torch.remote.set_device(emulator.index)
        assert torch.empty(1, device="remote").device == emulator
        torch.remote.set_device(f"remote:{null.index}")
        assert torch.remote.current_device() == null.index
    finally:
        torch.remote.set_device(before)


def test_device_context(emulator: torch.device, null: torch.device) -> None:
    before = torch.remote.current_device()
    with torch.remote.device(null):
        assert torch.remote.current_device() == null.index
        with torch.remote.device(emulator):
            assert torch.empty(1, device="remote").device == emulator
        assert torch.empty(1, device="remote").device == null
    with pytest.raises(ZeroDivisionError), torch.remote.device(null):
        raise ZeroDivisionError
    assert torch.remote.current_device() == before


def test_torch_device_context(emulator: torch.device) -> None:
    with emulator:
        assert torch.zeros(2).device == emulator
        assert torch.nn.Linear(2, 2).weight.device == emulator
    assert torch.zeros(2).device.type == "cpu"


def test_default_device(emulator: torch.device) -> None:
    torch.set_default_device(emulator)
    try:
        assert torch.rand(2).device == emulator
    finally:
        torch.set_default_device(None)


def test_current_device_is_a_threads_own(emulator: torch.device, null: torch.device) -> None:
    seen: list[int] = []

    def look() -> None:
        torch.remote.set_device(null)
        seen.append(torch.remote.current_device())

    with torch.remote.device(emulator):
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
        assert (seen, torch.remote.current_device()) == ([null.index], emulator.index)


@pytest.mark.parametrize("index", [15, 16, 99])
def test_devices_that_are_not_there(emulator: torch.device, index: int) -> None:
    assert torch.remote.device_count() <= 15
    with pytest.raises(
        RuntimeError, match=f"there is no device remote:{index}.*torch_remote.emulate"
    ):
        torch.empty(1, device=f"remote:{index}")
    with pytest.raises(RuntimeError, match=f"there is no device remote:{index}"):
        torch.ones(1).to(f"remote:{index}")
    for ask in (
        torch.remote.set_device,
        torch.remote.synchronize,
        torch_remote.stats,
        torch_remote.machine,
    ):
        with pytest.raises(ValueError, match=f"there is no device remote:{index}; "):
            ask(index)
    with pytest.raises(ValueError, match="there is no device remote:-1"):
        torch.remote.get_device_properties(-1)
    assert torch.ones(1, device=emulator).item() == 1


def test_other_devices_are_none_of_ours() -> None:
    with pytest.raises(ValueError, match="expected a remote device, but got cpu"):
        torch.remote.synchronize("cpu")


def test_more_devices_than_there_are_indices() -> None:
    program = """
        import torch, torch_remote
        made = [torch_remote.null_device() for _ in range(16)]
        assert [device.index for device in made] == list(range(16))
        kept = torch.zeros(1, device=made[3])
        for stopped in (3, 5):
            try:
                torch_remote.null_device()
            except RuntimeError as error:
                print(str(error).splitlines()[0])
            torch_remote.machine(made[stopped]).stop()
        # The tensor that is left has the index of its device.
        assert torch_remote.null_device() == made[5]
    """
    told = "all 16 remote devices are in use; stop one with torch_remote.machine(device).stop()"
    assert output_of(program).splitlines() == [told, told]


def test_machines_lists_what_runs(emulator: torch.device) -> None:
    assert torch_remote.machine(emulator) in set(torch_remote.machines())
    listed = {machine.device: machine for machine in torch_remote.machines()}
    assert listed[emulator].running
    assert listed[emulator] == torch_remote.machine(emulator)
    other = torch_remote.emulate("H100")
    assert other in {machine.device for machine in torch_remote.machines()}
    torch_remote.machine(other).stop()
    torch_remote.machine(other).stop()  # again is nothing
    assert other not in {machine.device for machine in torch_remote.machines()}


@pytest.mark.parametrize("count", [-1, 4097])
def test_thread_counts_out_of_range(count: int) -> None:
    with pytest.raises(ValueError, match=f"num_threads is {count}; it has to be from 1 to 4096"):
        torch_remote.emulate("T4", num_threads=count)


def test_autocast_dtypes() -> None:
    assert torch.remote.get_amp_supported_dtype() == [torch.float16, torch.bfloat16]
