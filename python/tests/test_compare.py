# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""torch_remote.compare: one run of a program, and a row for each GPU."""

import json

import pytest
import torch
import torch_remote
from torch import nn

GIB = 2**30


def train(device, steps=4, width=256, batch=64):
    model = nn.Sequential(nn.Linear(width, 4 * width), nn.ReLU(), nn.Linear(4 * width, width))
    model.to(device)
    optimizer = torch.optim.AdamW(model.parameters())
    for _ in range(steps):
        inputs = torch.randn(batch, width, device=device)
        loss = (model(inputs) - inputs).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def test_every_gpu_has_a_row():
    comparison = torch_remote.compare(train)
    assert [row.gpu for row in comparison.rows] == list(torch_remote.GPU_TYPES)
    assert comparison.steps == 4
    assert comparison.steps_found == "optimizer.step()"
    assert comparison.batch_size == 64
    assert "Sequential" in comparison.batch_found
    for row in comparison.rows:
        assert row.fits
        assert 0 < row.allocated_bytes_peak <= row.reserved_bytes_peak < GIB
        assert row.step_time_s > 0
        assert row.samples_per_s == pytest.approx(64 / row.step_time_s)
        assert row.price_usd_per_step == pytest.approx(row.price_usd_per_h * row.step_time_s / 3600)
        assert not row.own_run
        assert {use.name for use in row.operators} >= {"aten::addmm", "aten::mm"}
        assert sum(use.calls for use in row.operators) == comparison.operations
        assert [point.time_s for point in row.memory] == sorted(p.time_s for p in row.memory)


def test_rows_are_those_of_runs_alone():
    together = torch_remote.compare(train)
    for gpu in ("T4", "H100"):
        alone = torch_remote.compare(train, gpu).rows[0]
        row = together.row(gpu)
        assert alone.allocated_bytes_peak == row.allocated_bytes_peak
        assert alone.reserved_bytes_peak == row.reserved_bytes_peak
        assert alone.step_time_s == row.step_time_s
        assert alone.operators == row.operators


def test_small_gpus_say_where_they_are_full():
    def hold(device):
        return [torch.empty(9 * GIB, dtype=torch.uint8, device=device) for _ in range(4)]

    comparison = torch_remote.compare(hold, "T4,A100-40GB,H100")
    short, exact, large = comparison.rows
    assert (short.fits, exact.fits, large.fits) == (False, True, True)
    assert short.shortfall.requested_bytes == 9 * GIB
    assert short.shortfall.allocated_bytes == 9 * GIB
    assert "test_compare.py" in short.shortfall.line
    assert short.allocated_bytes_peak == 36 * GIB
    assert short.gpus_needed == 3
    assert "T4 is out of memory" in str(comparison)


def test_what_asks_for_its_gpu_is_run_by_itself():
    asked = []

    def program(device):
        total = torch.remote.get_device_properties(device).total_memory
        asked.append(total)
        torch.empty(total // 2, dtype=torch.uint8, device=device)

    comparison = torch_remote.compare(program, ["H100", "T4", "L4"])
    assert len(asked) == 3
    assert not comparison.rows[0].own_run
    for row, total in zip(comparison.rows, asked, strict=True):
        assert row.total_bytes == total
        assert 0 <= row.allocated_bytes_peak - total // 2 < 2**21  # what isn't worth a split
    assert "total memory" in comparison.row("T4").own_run
    assert "* run by itself" in str(comparison)


@pytest.mark.parametrize("module", [torch.remote, torch.accelerator])
def test_what_reads_its_free_memory_is_run_by_itself(module):
    name = "mem_get_info" if module is torch.remote else "get_memory_info"
    if not hasattr(module, name):
        pytest.skip(f"this PyTorch has no {module.__name__}.{name}")
    free_bytes = []

    def program(device):
        free, _ = getattr(module, name)(device)
        free_bytes.append(free)
        torch.empty(free // 2, dtype=torch.uint8, device=device)

    comparison = torch_remote.compare(program, ["H100", "T4"])
    assert [row.own_run for row in comparison.rows] == [
        "",
        "for the program asks for the GPU's free memory",
    ]
    assert len(set(free_bytes)) == 2
    for row, free in zip(comparison.rows, free_bytes, strict=True):
        assert row.fits
        assert 0 <= row.allocated_bytes_peak - free // 2 < 2**21


def test_gpus_that_answer_alike_share_a_run():
    runs = []

    def program(device):
        runs.append(torch.remote.get_device_capability(device))

    comparison = torch_remote.compare(program, "H100,H200,A100")
    assert runs == [(9, 0), (8, 0)]
    assert [bool(row.own_run) for row in comparison.rows] == [False, False, True]
    assert "compute capability" in comparison.row("A100-40GB").own_run


def test_an_error_of_an_own_run_is_its_rows():
    def program(device):
        if torch.remote.get_device_capability(device)[0] < 8:
            raise RuntimeError("needs bfloat16")

    comparison = torch_remote.compare(program, "H100,T4")
    assert comparison.row("H100").fits
    assert comparison.row("T4").error == "RuntimeError: needs bfloat16"
    assert not comparison.row("T4").fits
    with pytest.raises(RuntimeError, match="needs bfloat16"):
        torch_remote.compare(program, "T4")


def test_a_program_may_say_what_its_steps_are():
    def generate(device):
        model = nn.Linear(64, 64, device=device)
        x = torch.rand(8, 64, device=device)
        torch_remote.step()
        with torch.no_grad():
            for _ in range(5):
                x = model(x)
                torch_remote.step()

    comparison = torch_remote.compare(generate, "H100")
    assert comparison.steps == 5
    assert comparison.steps_found == "torch_remote.step()"
    assert comparison.batch_size == 8


def test_gradients_that_are_accumulated_are_one_step():
    def program(device):
        model = nn.Linear(64, 64, device=device)
        optimizer = torch.optim.SGD(model.parameters())
        for _ in range(3):
            for _ in range(4):
                model(torch.rand(8, 64, device=device)).sum().backward()
            optimizer.step()

    comparison = torch_remote.compare(program, "H100")
    assert comparison.steps == 3
    assert comparison.batch_size == 32


def test_the_given_batch_size_is_believed():
    comparison = torch_remote.compare(train, "T4", batch_size=5)
    assert comparison.batch_size == 5
    assert comparison.rows[0].samples_per_s == pytest.approx(5 / comparison.rows[0].step_time_s)


def test_without_steps_there_is_no_step_time():
    comparison = torch_remote.compare(lambda device: torch.ones(3, device=device), "T4")
    row = comparison.rows[0]
    assert (row.step_time_s, row.samples_per_s, row.price_usd_per_step) == (None, None, None)
    assert row.total_time_s > 0
    assert "no step was found" in str(comparison)


def test_programs_without_an_argument_and_with_devices_of_their_own():
    seen = []

    def program():
        seen.append(torch.ones(3).device)
        seen.append(torch.ones(3, device="remote").device)
        seen.append(torch_remote.emulate("H200"))

    torch_remote.compare(program, "T4")
    assert len({str(device) for device in seen}) == 1
    assert seen[0].type == "remote"


def test_values_can_be_computed():
    seen = []
    comparison = torch_remote.compare(
        lambda device: seen.append(torch.ones(3, device=device).sum().item()),
        "T4,H100",
        dry_run=False,
    )
    assert seen == [3.0]
    assert not comparison.dry_run
    assert comparison.reads == 0


def test_nothing_stays_behind():
    before = torch.remote.device_count()
    forward, call = nn.Module.__call__, nn.Module._call_impl
    torch_remote.compare(train, "T4")
    with pytest.raises(ZeroDivisionError):
        torch_remote.compare(lambda: 1 / 0, "T4")
    assert torch.remote.device_count() <= before + 1  # the index is kept, and used again
    assert (nn.Module.__call__, nn.Module._call_impl) == (forward, call)
    device = torch_remote.emulate("T4")
    assert device.type == "remote"
    torch_remote.machine(device).stop()


def test_as_text_html_and_json():
    comparison = torch_remote.compare(train, "T4,H100")
    lines = str(comparison).splitlines()
    assert lines[0].split()[:4] == ["GPU", "fits", "allocated", "reserved"]
    assert lines[1].startswith("T4 ")
    html = comparison._repr_html_()
    assert html.count("<tr") == 3
    assert "<td>H100</td>" in html
    told = json.loads(comparison.to_json())
    assert told["rows"][1]["gpu"] == "H100"
    assert told["rows"][1]["fits"]
    assert told["steps"] == 4


@pytest.mark.parametrize("gpus", ["", []])
def test_no_gpu_at_all_is_refused(gpus):
    with pytest.raises(ValueError, match="no GPU type given"):
        torch_remote.compare(train, gpus)


def test_unknown_gpus_are_refused():
    with pytest.raises(ValueError, match="H100"):
        torch_remote.compare(train, "T4,H10")


def float8_product(device):
    a = torch.zeros(32, 16, device=device).to(torch.float8_e4m3fn)
    b = torch.zeros(32, 16, device=device).to(torch.float8_e4m3fn).t()
    one = torch.ones((), device=device)
    return torch._scaled_mm(a, b, scale_a=one, scale_b=one, out_dtype=torch.bfloat16)


def test_a_gpu_that_refuses_an_operator_says_so_in_its_row():
    comparison = torch_remote.compare(float8_product, "H100,T4,L4")
    assert [row.fits for row in comparison.rows] == [True, False, True]
    assert [bool(row.own_run) for row in comparison.rows] == [False, True, False]
    row = comparison.row("T4")
    assert row.own_run == "for it refuses aten::_scaled_mm"
    assert row.error.startswith("RuntimeError: torch._scaled_mm is only supported on CUDA devices")
    assert "* run by itself, for it refuses aten::_scaled_mm: T4" in str(comparison)


def test_gpus_that_have_what_the_first_refuses_are_run_by_themselves():
    comparison = torch_remote.compare(float8_product, "T4,A100,H100")
    assert [row.fits for row in comparison.rows] == [False, False, True]
    assert [bool(row.own_run) for row in comparison.rows] == [False, False, True]
    assert comparison.row("T4").error == comparison.row("A100-40GB").error
    assert comparison.row("H100").own_run == "for T4 refuses aten::_scaled_mm"
    assert any(use.name == "aten::_scaled_mm" for use in comparison.row("H100").operators)


def test_a_program_that_knows_another_way_is_run_by_itself():
    def program(device):
        try:
            float8_product(device)
        except RuntimeError:
            torch.zeros(512, 512, device=device) @ torch.zeros(512, 512, device=device)

    comparison = torch_remote.compare(program, "H100,T4")
    assert all(row.fits for row in comparison.rows)
    assert comparison.row("T4").own_run
    names = [{use.name for use in row.operators} for row in comparison.rows]
    assert "aten::_scaled_mm" in names[0] - names[1]
    assert "aten::mm" in names[1] - names[0]


def test_what_every_gpu_refuses_raises():
    def program(device):
        eight = torch.zeros(8, 8, dtype=torch.int8, device=device)
        torch._int_mm(eight, eight)

    with pytest.raises(RuntimeError, match="needs to be greater than 16, but got 8"):
        torch_remote.compare(program, "T4,H100")
