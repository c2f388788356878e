# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""emulate(..., dry_run=True): shapes, memory and time alone, for programs of any size."""

import pytest
import torch
import torch_remote
from torch import nn

GIB = 2**30


@pytest.fixture
def dry():
    device = torch_remote.emulate("T4", dry_run=True)
    yield device
    torch_remote.machine(device).stop()


@pytest.fixture
def zeros():
    device = torch_remote.emulate("T4", dry_run=True, oom="record", on_read="zero")
    yield device
    torch_remote.machine(device).stop()


def test_results_have_the_shapes_strides_and_dtypes_of_a_real_run(dry):
    def program(device):
        x = torch.rand(4, 6, device=device)
        return [
            x @ x.T,
            x.sum(0),
            x.t().contiguous(),
            x.to(torch.float16),
            torch.cat([x, x], 1),
            *x.max(1),
            torch.linalg.qr(x)[0],
        ]

    for dry_result, result in zip(program(dry), program("cpu"), strict=True):
        assert dry_result.shape == result.shape
        assert dry_result.stride() == result.stride()
        assert dry_result.dtype == result.dtype


@pytest.mark.parametrize(
    "read",
    [
        lambda x: x.sum().item(),
        lambda x: x.cpu(),
        lambda x: x.tolist(),
        lambda x: bool(x[0] > 0),
        lambda x: str(x),
        lambda x: x.numpy(force=True),
    ],
)
def test_reading_a_value_raises_and_names_the_line(dry, read):
    x = torch.rand(3, device=dry)
    with pytest.raises(RuntimeError, match="a dry run has none") as raised:
        read(x)
    text = str(raised.value)
    assert 'on_read="zero"' in text
    assert "test_dry_run.py" in text
    assert x.add(1).shape == (3,)  # and the program may go on


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("aten::nonzero", lambda x: x.nonzero()),
        ("aten::masked_select", lambda x: x.masked_select(x > 0)),
        ("aten::index.Tensor", lambda x: x[x > 0]),
        ("aten::_unique2", lambda x: x.unique()),
        ("aten::bincount", lambda x: x.long().bincount()),
    ],
)
@pytest.mark.parametrize("on_read", ["raise", "zero"])
def test_operators_that_need_values_are_named(name, call, on_read):
    device = torch_remote.emulate("T4", dry_run=True, on_read=on_read)
    with pytest.raises(NotImplementedError, match="depends on them") as raised:
        call(torch.rand(3, device=device))
    text = str(raised.value)
    assert f"operation: {name}" in text
    assert "test_dry_run.py" in text
    torch_remote.machine(device).stop()


def test_reads_are_zeros_where_that_is_wanted(zeros):
    x = torch.ones(100_000, device=zeros)
    assert x.sum().item() == 0
    assert torch.equal(x.cpu(), torch.zeros(100_000))
    told = torch_remote.emulation(zeros)
    assert told.dry_run
    assert told.reads == 2
    assert "test_dry_run.py" in told.first_read


def test_memory_runs_out_as_on_the_gpu(dry):
    held = torch.empty(10 * GIB, dtype=torch.uint8, device=dry)
    with pytest.raises(torch.OutOfMemoryError, match=r"Tried to allocate 10\.00 GiB"):
        torch.empty(10 * GIB, dtype=torch.uint8, device=dry)
    assert torch.remote.memory_allocated(dry) == held.numel()


def test_what_does_not_fit_is_recorded_with_operator_line_and_bytes(zeros):
    x = torch.empty(6 * GIB, dtype=torch.uint8, device=zeros)
    kept = [x, x + 1]
    kept.append(x + 2)
    kept.append(x + 3)
    row = torch_remote.emulation(zeros).rows[0]
    assert not row.fits
    assert row.shortfall.operation == "aten::add"
    assert "test_what_does_not_fit" in row.shortfall.line
    assert row.shortfall.requested_bytes == 6 * GIB
    assert row.shortfall.allocated_bytes == 12 * GIB
    assert row.allocated_bytes_peak == 24 * GIB
    assert row.gpus_needed == 2
    assert torch.remote.max_memory_allocated(zeros) == 24 * GIB


def test_a_real_run_can_record_too():
    device = torch_remote.emulate("T4", oom="record")
    x = torch.ones(5, device=device)
    views = [x.new_empty(8 * GIB, dtype=torch.uint8) for _ in range(2)]
    assert x.sum().item() == 5
    row = torch_remote.emulation(device).rows[0]
    assert row.shortfall.requested_bytes == 8 * GIB
    assert row.allocated_bytes_peak >= 16 * GIB
    del views
    torch_remote.machine(device).stop()


def test_a_training_with_scaled_gradients_goes_on(zeros):
    with torch.device(zeros):
        model = nn.Sequential(nn.Linear(64, 256), nn.GELU(), nn.Dropout(0.1), nn.Linear(256, 10))
        inputs, labels = torch.randn(32, 64), torch.randint(10, (32,))
    optimizer = torch.optim.AdamW(model.parameters())
    scaler = torch.amp.GradScaler("remote")
    for _ in range(3):
        with torch.autocast("remote", dtype=torch.float16):
            loss = nn.functional.cross_entropy(model(inputs), labels)
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        assert loss.item() == 0
    assert len(optimizer.state) == 4


def test_models_far_larger_than_this_machine(zeros):
    with torch.device(zeros):
        model = nn.Sequential(*(nn.Linear(65536, 65536, bias=False) for _ in range(20)))
    for parameter in model.parameters():
        assert parameter.device == zeros
        nn.init.xavier_uniform_(parameter)
    assert torch.remote.memory_allocated(zeros) == 20 * 65536**2 * 4


def test_generators_keep_their_seeds(dry):
    with torch.remote.device(dry):
        torch.remote.manual_seed(5)
        state = torch.remote.get_rng_state(dry)
        torch.rand(10, device=dry)
        torch.remote.set_rng_state(state, dry)
        assert torch.equal(torch.remote.get_rng_state(dry), state)
        assert torch.remote.initial_seed() == 5


def test_statistics_and_streams_answer(dry):
    stream = torch.remote.Stream(dry)
    with torch.remote.stream(stream):
        x = torch.rand(100, 100, device=dry) @ torch.rand(100, 100, device=dry)
    torch.remote.synchronize(dry)
    assert stream.query()
    del x
    assert torch.remote.memory_allocated(dry) < GIB
    assert torch_remote.stats(dry).storages == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"oom": "ignore"}, "oom is 'ignore'; it has to be 'raise' or 'record'"),
        ({"on_read": "one", "dry_run": True}, "on_read is 'one'; it has to be 'raise' or 'zero'"),
    ],
)
def test_other_words_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        torch_remote.emulate("T4", **options)
