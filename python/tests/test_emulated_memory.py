# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Memory of an emulated GPU: PyTorch's caching allocator, its statistics, snapshots and settings."""

import base64
import inspect
import pickle
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch_remote
from torch.cuda import _memory_viz
from torch_remote import _C

MIB = 1 << 20
GIB = 1 << 30


@pytest.fixture
def t4() -> Iterator[torch.device]:
    device = torch_remote.emulate("T4")
    yield device
    torch_remote.machine(device).stop()


def empty(size_bytes: int, device: torch.device) -> torch.Tensor:
    return torch.empty(size_bytes, dtype=torch.uint8, device=device)


def this_line() -> int:
    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    return frame.f_back.f_lineno


def test_segments_are_those_of_cuda(t4: torch.device) -> None:
    kept = []
    for size, reserved in ((4, 2), (MIB + 1, 22), (11 * MIB, 22), (2 * MIB, 22)):
        kept.append(empty(size, t4))
        assert torch.remote.memory_reserved(t4) == reserved * MIB
    stats = torch.remote.memory_stats(t4)
    assert stats["segment.all.current"] == 2
    assert stats["segment.small_pool.current"] == 1
    assert stats["requested_bytes.all.current"] == 4 + MIB + 1 + 13 * MIB
    assert stats["max_split_size"] == -1
    del kept
    assert torch.remote.memory_allocated(t4) == 0
    assert torch.remote.memory_reserved(t4) == 22 * MIB
    torch.remote.empty_cache()
    assert torch.remote.memory_reserved(t4) == 0


def test_statistics_have_pytorchs_names(t4: torch.device) -> None:
    stats = torch.remote.memory_stats(t4)
    groups = {name.split(".")[0] for name in stats}
    assert groups >= {
        "active",
        "active_bytes",
        "allocated_bytes",
        "allocation",
        "inactive_split",
        "inactive_split_bytes",
        "num_alloc_retries",
        "num_device_alloc",
        "num_device_free",
        "num_ooms",
        "num_sync_all_streams",
        "oversize_allocations",
        "oversize_segments",
        "requested_bytes",
        "reserved_bytes",
        "segment",
    }
    nested = torch.remote.memory_stats_as_nested_dict(t4)
    assert nested["active"]["large_pool"]["peak"] == stats["active.large_pool.peak"]
    assert nested["num_ooms"] == 0
    accelerator = torch.accelerator.memory.memory_stats(t4)
    shared = accelerator.keys() & stats.keys()
    assert len(shared) > 100
    assert {name: accelerator[name] for name in shared} == {name: stats[name] for name in shared}


def test_peaks_and_sums_are_reset(t4: torch.device) -> None:
    del (one := [empty(30 * MIB, t4)])[:]
    assert not one
    assert torch.remote.max_memory_allocated(t4) == 30 * MIB
    torch.remote.reset_peak_memory_stats(t4)
    assert torch.remote.max_memory_allocated(t4) == 0
    assert torch.remote.max_memory_reserved(t4) == 30 * MIB
    torch.remote.reset_accumulated_memory_stats(t4)
    stats = torch.remote.memory_stats(t4)
    assert stats["allocated_bytes.all.allocated"] == stats["num_device_alloc"] == 0


def test_free_memory_is_the_devices(t4: torch.device) -> None:
    free, total = torch.remote.mem_get_info(t4)
    kept = empty(30 * MIB, t4)
    assert torch.remote.mem_get_info(t4) == (free - 30 * MIB, total)
    del kept
    assert torch.remote.mem_get_info(t4) == (free - 30 * MIB, total)
    assert torch.accelerator.memory.get_memory_info(t4) == (free - 30 * MIB, total)


def test_out_of_memory_has_cudas_text(t4: torch.device) -> None:
    kept = empty(12 * GIB, t4)
    with pytest.raises(torch.OutOfMemoryError) as failure:
        empty(4 * GIB, t4)
    text = str(failure.value)
    assert text.startswith(
        f"CUDA out of memory. Tried to allocate 4.00 GiB. GPU {t4.index} has a total capacity of 14.57 GiB of which "
    )
    assert (
        "Of the allocated memory 12.00 GiB is allocated by PyTorch, and 0 bytes is reserved" in text
    )
    stats = torch.remote.memory_stats(t4)
    assert (stats["num_ooms"], stats["num_alloc_retries"]) == (1, 1)
    del kept
    empty(14 * GIB, t4)
    assert torch.remote.memory_stats(t4)["num_alloc_retries"] == 2


def test_a_memory_fraction_limits(t4: torch.device) -> None:
    total = torch.remote.mem_get_info(t4)[1]
    assert torch.remote.get_per_process_memory_fraction(t4) == 1
    torch.remote.set_per_process_memory_fraction(0.25, t4)
    assert torch.remote.memory.get_per_process_memory_fraction(t4) == pytest.approx(0.25)
    kept = empty(total // 5, t4)
    with pytest.raises(torch.OutOfMemoryError, match=r"3\.64 GiB allowed; "):
        empty(total // 10, t4)
    del kept
    for fraction, error in ((2.0, ValueError), (1, TypeError)):
        with pytest.raises(error):
            torch.remote.set_per_process_memory_fraction(fraction, t4)


def test_a_block_of_two_streams_waits(t4: torch.device) -> None:
    stream = torch.remote.Stream(t4)
    tensor = empty(30 * MIB, t4)
    tensor.record_stream(stream)
    del tensor
    stats = torch.remote.memory_stats(t4)
    assert (stats["allocation.all.current"], stats["active.all.current"]) == (0, 1)
    torch.remote.synchronize(t4)
    kept = empty(30 * MIB, t4)
    assert torch.remote.memory_reserved(t4) == 30 * MIB
    del kept
    with torch.remote.stream(stream):
        empty(30 * MIB, t4)  # another stream's memory is another one
    assert torch.remote.memory_reserved(t4) == 60 * MIB


def test_a_block_is_free_when_its_other_stream_is_done() -> None:
    device = torch_remote.emulate("T4", dry_run=True)
    stream = torch.remote.Stream(device)
    tensor = empty(30 * MIB, device)
    with torch.remote.stream(stream):
        matrix = torch.empty(8192, 8192, device=device)
        matrix @ matrix  # more than a tenth of a second
    before = torch.remote.memory_reserved(device)
    tensor.record_stream(stream)
    del tensor
    kept = [empty(30 * MIB, device)]
    assert torch.remote.memory_reserved(device) == before + 30 * MIB
    stream.synchronize()
    kept.append(empty(30 * MIB, device))
    assert torch.remote.memory_reserved(device) == before + 30 * MIB
    torch_remote.machine(device).stop()


def test_history_has_the_modelled_time() -> None:
    device = torch_remote.emulate("T4", dry_run=True)
    torch.remote.memory._record_memory_history()
    matrix = torch.empty(8192, 8192, device=device)
    for _ in range(3):
        matrix @ matrix
    torch.remote.synchronize(device)
    now_us = torch_remote.modelled_time(device).host_us
    kept = empty(MIB, device)
    times_us = [
        event["time_us"] for event in torch.remote.memory._snapshot()["device_traces"][device.index]
    ]
    torch.remote.memory._record_memory_history(None)
    del kept
    assert times_us == sorted(times_us)
    assert times_us[0] < 1000
    assert now_us > 100_000
    assert times_us[-1] == pytest.approx(now_us, abs=1000)
    torch_remote.machine(device).stop()


def test_history_has_the_programs_lines(t4: torch.device, tmp_path: Path) -> None:
    torch.remote.memory._record_memory_history(max_entries=1000)
    kept = torch.zeros(3 * MIB, dtype=torch.uint8, device=t4)
    line = this_line() - 1
    dropped = kept + 1
    del dropped
    torch.remote.memory._dump_snapshot(tmp_path / "snapshot.pickle")
    torch.remote.memory._record_memory_history(None)
    snapshot = pickle.loads((tmp_path / "snapshot.pickle").read_bytes())
    [segment] = [one for one in snapshot["segments"] if one["device"] == t4.index]
    assert segment["segment_type"] == "large"
    assert segment["total_size"] == 20 * MIB
    frame = {"filename": __file__, "line": line, "name": "test_history_has_the_programs_lines"}
    assert segment["blocks"][0]["frames"] == [frame]
    assert [block["state"] for block in segment["blocks"]] == ["active_allocated", "inactive"]
    trace = snapshot["device_traces"][t4.index]
    assert [event["action"] for event in trace] == [
        "segment_alloc",
        "alloc",
        "alloc",
        "free_requested",
        "free_completed",
    ]
    assert trace[1]["frames"] == [frame]
    assert trace[2]["frames"][0]["line"] == line + 2


def test_plots_of_memory_are_pytorchs(
    t4: torch.device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PyTorch's own functions take the snapshots; the last one of theirs downloads a script, so it is left out."""
    for drawing in (_memory_viz.segments, _memory_viz.memory):
        monkeypatch.setattr(drawing, "__defaults__", (str,))
    torch.remote.memory._record_memory_history(max_entries=1000)
    kept = torch.zeros(3 * MIB, dtype=torch.uint8, device=t4)
    torch.remote.memory._save_segment_usage(tmp_path / "segments.svg")
    torch.remote.memory._save_memory_usage(tmp_path / "memory.svg", torch.remote.memory._snapshot())
    torch.remote.memory._record_memory_history(None)
    del kept
    for name in ("segments.svg", "memory.svg"):
        text = (tmp_path / name).read_text()
        assert f"{Path(__file__).name}:" in text
        assert str(3 * MIB) in text


def test_the_memory_viewer_reads_snapshots(t4: torch.device) -> None:
    torch.remote.memory._record_memory_history()
    kept = [torch.zeros(size, device=t4) for size in (10, 1000, 10**6)]
    kept.pop(1)
    snapshot = torch.remote.memory._snapshot()
    torch.remote.memory._record_memory_history(None)
    assert "20.0MiB" in _memory_viz.segsum(snapshot)
    assert "alloc" in _memory_viz.trace(snapshot)
    for plot in (_memory_viz.trace_plot, _memory_viz.segment_plot):
        assert "test_emulated_memory.py" in _decoded(plot(snapshot))
    del kept


def _decoded(html: str) -> str:
    """The snapshot within a page of the viewer."""
    return "".join(
        base64.b64decode(part).decode("latin-1")
        for part in re.findall(r'"base64":\s*"([^"]+)"', html)
    )


def test_faults_do_not_hide_the_allocator() -> None:
    device = torch_remote.emulate("T4", faults=[torch_remote.faults.OutOfMemory(10**6)])
    kept = empty(5 * MIB, device)
    assert torch.remote.get_per_process_memory_fraction(device) == 1
    assert [one for one in torch.remote.memory_snapshot() if one["device"] == device.index]
    del kept
    torch_remote.machine(device).stop()


def test_segments_without_history(t4: torch.device) -> None:
    kept = empty(5 * MIB, t4)
    [segment] = [one for one in torch.remote.memory_snapshot() if one["device"] == t4.index]
    assert (segment["allocated_size"], segment["stream"], segment["frames"]) == (5 * MIB, 0, [])
    assert sum(block["size"] for block in segment["blocks"]) == segment["total_size"]
    del kept


def test_the_summary_is_pytorchs(t4: torch.device) -> None:
    kept = empty(5 * MIB, t4)
    text = torch.remote.memory_summary(t4)
    assert f"PyTorch CUDA memory summary, device ID {t4.index}" in text
    assert "| Allocated memory      |   5120 KiB |   5120 KiB |   5120 KiB |      0 B   |" in text
    assert "|       from large pool |   5120 KiB |" in text
    assert "from large pool" not in torch.remote.memory_summary(t4, abbreviated=True)
    del kept


def test_settings_change_what_comes_next(t4: torch.device) -> None:
    torch.remote.memory._set_allocator_settings("expandable_segments:True")
    kept = empty(30 * MIB, t4)
    [segment] = [one for one in torch.remote.memory_snapshot() if one["device"] == t4.index]
    assert segment["is_expandable"]
    assert torch.remote.memory_reserved(t4) == 40 * MIB
    assert torch.remote.memory_stats(t4)["segment.all.current"] == 0
    with pytest.raises(ValueError, match="garbage_collect_threshold is invalid"):
        torch.remote.memory._set_allocator_settings("garbage_collection_threshold:2")
    del kept


REFUSED = (
    "max_split_size_mb:1",
    "max_split_size_mb:x",
    "max_split_size_mb:",
    "max_split_size_mb",
    "max_split_size_mb:99999999999999999999999",
    "max_non_split_rounding_mb:1",
    "garbage_collection_threshold:2",
    "garbage_collection_threshold:0",
    "garbage_collection_threshold:a",
    "roundup_power2_divisions:3",
    "roundup_power2_divisions:0",
    "roundup_power2_divisions:[3:1]",
    "roundup_power2_divisions:[4:3]",
    "roundup_power2_divisions:[4:2",
    "roundup_power2_divisions:[4:2 8:2]",
    "roundup_power2_divisions:[4]",
    "expandable_segments:true",
    "expandable_segments:",
    "large_segment_size_mb:1",
)


@pytest.mark.parametrize("text", REFUSED)
def test_bad_settings_are_refused_in_pytorchs_words(text: str) -> None:
    if not hasattr(torch._C, "_accelerator_setAllocatorSettings"):
        pytest.skip("this PyTorch reads settings with CUDA alone")
    try:
        with pytest.raises((ValueError, RuntimeError, IndexError)) as expected:
            torch._C._accelerator_setAllocatorSettings(text)
    finally:
        torch._C._accelerator_setAllocatorSettings("")
    with pytest.raises(expected.type) as actual:
        _C.check_allocator_settings(text)
    # Of failed assertions PyTorch says the place in its source as well.
    assert str(expected.value).endswith(str(actual.value))


def test_good_settings_are_accepted() -> None:
    for text in (
        "",
        "max_split_size_mb:64",
        "max_split_size_mb:-5",
        "roundup_power2_divisions:[256:1,512:2,>:4]",
        "roundup_power2_divisions:[]",
        " expandable_segments : False ",
        "large_segment_size_mb:64,max_split_size_mb:64",
    ):
        _C.check_allocator_settings(text)


def test_raw_allocations(t4: torch.device) -> None:
    pointer = torch.remote.caching_allocator_alloc(1000, t4)
    assert pointer
    assert torch.remote.memory_allocated(t4) == 1024
    torch.remote.caching_allocator_delete(pointer)
    assert torch.remote.memory_allocated(t4) == 0
    with pytest.raises(RuntimeError, match="invalid device pointer"):
        torch.remote.caching_allocator_delete(pointer)


def test_names_are_those_of_cuda() -> None:
    import torch.remote.memory as memory

    missing = set(torch.cuda.memory.__all__) - set(memory.__all__)
    assert missing == {
        "CUDAPluggableAllocator",
        "MemPool",
        "caching_allocator_disabled",
        "caching_allocator_enable",
        "change_current_allocator",
        "list_gpu_processes",
        "use_mem_pool",
    } & set(torch.cuda.memory.__all__)
    for name in memory.__all__:
        assert getattr(torch.remote, name) is getattr(memory, name)


def test_what_only_a_model_knows_is_refused_elsewhere() -> None:
    with torch_remote.LocalExecutor() as executor:
        plain = torch_remote.connect(executor.endpoint)
        with pytest.raises(RuntimeError, match="emulates no GPU"):
            torch.remote.set_per_process_memory_fraction(0.5, plain)
        assert [one for one in torch.remote.memory_snapshot() if one["device"] == plain.index] == []
        assert "Allocated memory" in torch.remote.memory_summary(plain)
        torch_remote.machine(plain).stop()
