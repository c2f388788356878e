# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""What torch.cuda and its neighbours do while CUDA's names are a remote device's: torch_remote.replace_cuda."""

import contextlib
from typing import Any

import pytest
import torch
from torch import nn


@pytest.mark.usefixtures("cuda")
def test_all_of_torch_cuda_has_an_answer() -> None:
    """No public name is left that would say that PyTorch wasn't compiled with CUDA."""
    import inspect

    asked, refused = 0, {}
    for name in torch.cuda.__all__:
        function = getattr(torch.cuda, name)
        if (
            not callable(function)
            or inspect.ismodule(function)
            or name.endswith(("Tensor", "Storage"))
        ):
            continue
        with contextlib.suppress(TypeError):  # it wants arguments
            try:
                function()
            except NotImplementedError as error:
                refused[name] = str(error)
        asked += 1
    assert {
        name: text for name, text in refused.items() if not text.startswith("torch.cuda.")
    }.keys() <= {"memory_usage"}  # which says so under both names
    assert asked > 60


@pytest.mark.usefixtures("cuda")
def test_properties() -> None:
    assert torch.cuda.is_available()
    assert torch.cuda.is_initialized()
    assert (torch.cuda.device_count(), torch.cuda.current_device()) == (1, 0)
    assert (
        torch.cuda.get_device_name()
        == torch.cuda.get_device_name("cuda:0")
        == "NVIDIA A100-SXM4-80GB"
    )
    assert torch.cuda.get_device_capability(0) == (8, 0)
    properties = torch.cuda.get_device_properties("cuda")
    assert properties.multi_processor_count == 108
    assert torch.cuda.mem_get_info()[1] == properties.total_memory
    assert torch.cuda.is_bf16_supported()
    assert torch.cuda.is_bf16_supported(including_emulation=False)
    assert torch.cuda.is_tf32_supported()
    assert "sm_80" in torch.cuda.get_arch_list()
    assert "compute_80" in torch.cuda.get_gencode_flags()


@pytest.mark.usefixtures("cuda")
def test_memory() -> None:
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    tensor = torch.empty(1024, device="cuda")
    assert torch.cuda.memory_allocated(0) - before == 4096
    assert torch.cuda.max_memory_allocated("cuda:0") >= 4096
    assert torch.cuda.memory_reserved() >= torch.cuda.memory_allocated()
    assert torch.cuda.memory.memory_allocated() == torch.cuda.memory_allocated()
    assert torch.cuda.memory_cached("cuda:0") == torch.cuda.memory_reserved()
    assert torch.cuda.max_memory_cached(0) == torch.cuda.max_memory_reserved()
    assert torch.cuda.get_allocator_backend() == "native"
    torch.cuda.caching_allocator_delete(torch.cuda.caching_allocator_alloc(512))
    assert "Allocated memory" in torch.cuda.memory_summary()
    torch.cuda.memory._record_memory_history()
    again = torch.empty(512, device="cuda")
    assert torch.cuda.memory._snapshot()["device_traces"]
    torch.cuda.memory._record_memory_history(enabled=None)
    del tensor, again
    with pytest.raises(torch.cuda.OutOfMemoryError, match="CUDA out of memory"):
        torch.empty(2**40, device="cuda")


def test_random_numbers(cuda: torch.device) -> None:
    torch.cuda.manual_seed(5)
    state = torch.cuda.get_rng_state()
    first = torch.rand(4, device="cuda")
    torch.cuda.set_rng_state(state)
    assert torch.equal(torch.rand(4, device="cuda"), first)
    torch.cuda.manual_seed_all(5)
    assert torch.equal(torch.rand(4, device="cuda"), first)
    generator = torch.Generator(device="cuda").manual_seed(5)
    assert generator.device == cuda
    assert torch.equal(torch.rand(4, generator=generator, device="cuda"), first)
    assert torch.cuda.initial_seed() == 5
    with torch.random.fork_rng(devices=["cuda:0"], device_type="cuda"):
        torch.rand(1, device="cuda")
    torch.cuda.default_generators[0].manual_seed(5)
    assert torch.equal(torch.rand(4, device="cuda"), first)
    torch.manual_seed(5)
    assert torch.equal(torch.rand(4, device="cuda"), first)


@pytest.mark.usefixtures("cuda")
def test_streams_and_events() -> None:
    stream = torch.cuda.Stream()
    assert isinstance(stream, torch.cuda.Stream)
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    with torch.cuda.stream(stream):
        assert torch.cuda.current_stream() == stream
        start.record()
        result = torch.ones(3, device="cuda") + 1
        end.record()
    torch.cuda.current_stream().wait_stream(stream)
    torch.cuda.synchronize()
    assert start.elapsed_time(end) >= 0
    assert isinstance(end, torch.cuda.Event)
    assert result.tolist() == [2, 2, 2]
    assert torch.cuda.default_stream() == torch.cuda.current_stream()


@pytest.mark.usefixtures("cuda")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_and_gradient_scaler(dtype: torch.dtype) -> None:
    model = nn.Linear(4, 4).cuda()
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    scaler = torch.amp.GradScaler("cuda", init_scale=8.0)
    with torch.autocast("cuda", dtype=dtype):
        assert torch.is_autocast_enabled()
        assert torch.is_autocast_enabled("cuda")
        assert torch.get_autocast_gpu_dtype() == torch.get_autocast_dtype("cuda") == dtype
        loss = model(torch.ones(2, 4, device="cuda"))
        assert loss.dtype == dtype
        with torch.autocast(device_type=loss.device.type, enabled=False):
            assert model(torch.ones(2, 4, device="cuda")).dtype == torch.float32
    assert not torch.is_autocast_enabled()
    before = model.weight.detach().clone()
    scaler.scale(loss.float().sum()).backward()
    scaler.unscale_(optimizer)
    scaler.step(optimizer)
    scaler.update()
    assert scaler.get_scale() == 8
    assert not torch.equal(before, model.weight)

    @torch.amp.custom_fwd(device_type="cuda", cast_inputs=torch.float32)
    def in_float(_: Any, tensor: torch.Tensor) -> torch.dtype:
        return tensor.dtype

    with torch.autocast("cuda", dtype=dtype):
        assert in_float(type("Context", (), {})(), loss.detach()) == torch.float32


@pytest.mark.usefixtures("cuda")
@pytest.mark.filterwarnings("ignore:.*torch.cuda.amp:FutureWarning")
def test_old_names_of_autocast() -> None:
    scaler = torch.cuda.amp.GradScaler()
    with torch.cuda.amp.autocast():
        assert torch.mm(*torch.ones(2, 3, 3, device="cuda")).dtype == torch.float16
    assert scaler.is_enabled()


@pytest.mark.usefixtures("cuda")
def test_backends_say_what_a_build_for_cuda_says() -> None:
    assert torch.version.cuda == "13.0"
    assert torch.backends.cuda.is_built()
    assert torch.backends.cudnn.is_available()
    assert torch.backends.cudnn.version() > 90000
    assert torch.backends.cudnn.is_acceptable(torch.ones(1, device="cuda"))
    assert not torch.backends.cudnn.is_acceptable(torch.ones(1))
    # Importing torch.testing, as other tests do, forbids to set them otherwise.
    with torch.backends.__allow_nonbracketed_mutation():
        before = torch.backends.cudnn.benchmark, torch.backends.cuda.matmul.allow_tf32
        torch.backends.cudnn.benchmark = True
        torch.backends.cuda.matmul.allow_tf32 = True
        assert torch.backends.cudnn.benchmark
        assert torch.backends.cuda.matmul.allow_tf32
        torch.backends.cudnn.benchmark, torch.backends.cuda.matmul.allow_tf32 = before
    with torch.backends.cudnn.flags(enabled=False):
        assert not torch.backends.cudnn.is_acceptable(torch.ones(1, device="cuda"))
    torch.backends.cuda.cufft_plan_cache.max_size = 10
    assert torch.backends.cuda.cufft_plan_cache[0].size == 0
    torch.backends.cuda.cufft_plan_cache.clear()


@pytest.mark.usefixtures("cuda")
def test_what_cuda_alone_has_is_refused_with_a_reason() -> None:
    for use, text in (
        (lambda: torch.cuda.CUDAGraph(), "no CUDA graphs"),
        (lambda: torch.cuda.graph(None), "no CUDA graphs"),
        (lambda: torch.cuda.utilization(), "sensors"),
        (lambda: torch.cuda.ExternalStream(1), "addresses"),
        (lambda: torch.distributed.init_process_group("nccl"), "no backend for remote devices"),
        (lambda: torch.cuda.set_sync_debug_mode("warn"), "only 0"),
    ):
        with pytest.raises(NotImplementedError, match=text):
            use()
    assert not torch.cuda.is_current_stream_capturing()
    torch.cuda.set_sync_debug_mode("default")


@pytest.mark.usefixtures("cuda")
def test_marks_for_other_tools_do_nothing() -> None:
    torch.cuda.nvtx.range_push("step")
    torch.cuda.nvtx.range_pop()
    with torch.cuda.nvtx.range("step"):
        torch.cuda.nvtx.mark("here")
    torch.cuda.profiler.start()
    torch.cuda.profiler.stop()
    torch.cuda.ipc_collect()


@pytest.mark.usefixtures("cuda")
def test_profiler_takes_cuda_activities() -> None:
    activity = torch.profiler.ProfilerActivity
    assert activity.CUDA in torch.profiler.supported_activities()
    with torch.profiler.profile(activities=[activity.CPU, activity.CUDA]) as profile:
        torch.mm(*torch.ones(2, 64, 64, device="cuda"))
    table = profile.key_averages().table(sort_by="self_cuda_time_total")
    assert "aten::mm" in table
    assert any(event.device_time_total > 0 for event in profile.key_averages())


@pytest.mark.usefixtures("cuda")
def test_data_parallel_on_one_device() -> None:
    model = nn.DataParallel(nn.Linear(3, 2)).cuda()
    output = model(torch.ones(4, 3))
    assert output.is_cuda
    output.sum().backward()
    assert model.module.weight.grad is not None
    assert list(model.state_dict()) == ["module.weight", "module.bias"]


@pytest.mark.usefixtures("cuda")
def test_pinned_memory() -> None:
    assert torch.ones(3).pin_memory("cuda").is_pinned("cuda")
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(torch.arange(4.0)),
        batch_size=2,
        pin_memory=True,
        pin_memory_device="",
    )
    for (batch,) in loader:
        assert batch.is_pinned()
        assert batch.cuda(non_blocking=True).is_cuda


@pytest.mark.usefixtures("cuda")
def test_lazy_modules_and_checkpointing() -> None:
    model = nn.LazyLinear(3).to("cuda")
    assert model(torch.ones(2, 4, device="cuda")).is_cuda
    assert nn.LazyLinear(3).cuda()(torch.ones(2, 4, device="cuda")).is_cuda
    inputs = torch.ones(2, 4, device="cuda", requires_grad=True)
    for reentrant in (False, True):
        output = torch.utils.checkpoint.checkpoint(
            lambda tensor: nn.functional.dropout(model(tensor)), inputs, use_reentrant=reentrant
        )
        output.sum().backward()
