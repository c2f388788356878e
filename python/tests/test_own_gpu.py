# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""A user's own GPU from a file, wherever a GPU's name is taken."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch_remote
from torch_remote._gpus import find_gpu

EXAMPLE = Path(__file__).parents[2] / "docs" / "my_gpu.toml"
GIB = 2**30

WHOLE = """
name = "NVIDIA RTX 9999"
compute_capability = "12.0"
multiprocessor_count = 170
boost_clock_mhz = 2407
tdp_w = 575
total_memory_bytes = "31.8 GiB"
l2_cache_bytes = "96 MiB"
dram_bandwidth_gb_per_s = 1792
host_link.pcie_generation = 5
peak.fp32 = 104.8
peak.fp16 = 419
"""


@pytest.fixture
def write(tmp_path):
    """Writes a GPU's file and gives its path."""

    def write(text, name="my_gpu.toml"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def stopping(device):
    torch_remote.machine(device).stop()


def test_the_documented_example():
    device = torch_remote.emulate(str(EXAMPLE))
    properties = torch.remote.get_device_properties(device)
    assert properties.type == "H100-PCIe"
    assert properties.name == "NVIDIA H100 PCIe" == torch.remote.get_device_name(device)
    assert torch.remote.get_device_capability(device) == (9, 0)
    assert properties.multi_processor_count == 114
    assert properties.total_memory == 81_079 * 2**20
    assert properties.L2_cache_size == 50 * 2**20
    assert torch.remote.mem_get_info(device) == (81_079 * 2**20 - 620 * 2**20, 81_079 * 2**20)
    assert properties == torch_remote.gpu_properties(EXAMPLE)
    stopping(device)


def test_the_documentation_shows_the_example():
    text = (EXAMPLE.parent / "EMULATOR.md").read_text()
    assert EXAMPLE.read_text() in text


def test_every_value_of_the_models_is_in_the_example():
    text = EXAMPLE.read_text()
    for name, _, _ in torch_remote._C.gpu_value_rules():
        assert f"{name.rpartition('.')[2]} = " in text, name


def test_a_changed_value_alone(write):
    path = write('like = "T4"\ntotal_memory_bytes = 15_843_721_216\n', "older_driver.toml")
    device = torch_remote.emulate(path)
    properties, built_in = torch.remote.get_device_properties(device), find_gpu("T4").properties
    assert properties.total_memory == 15_843_721_216
    assert properties.type == "older_driver"
    assert properties.name == built_in.name == "Tesla T4"
    assert properties.multi_processor_count == built_in.multi_processor_count
    stopping(device)


def test_a_whole_card_is_of_the_nearest_architecture(write):
    device = torch_remote.emulate(write(WHOLE))
    properties = torch.remote.get_device_properties(device)
    assert (properties.major, properties.minor) == (12, 0)
    # By the table of compute capabilities.
    assert properties.max_threads_per_multi_processor == 1536
    assert properties.shared_memory_per_multiprocessor == 100 * 1024
    x = torch.rand(64, 64, device=device)
    assert torch.equal((x @ x).cpu(), x.cpu() @ x.cpu())
    stopping(device)


def test_memory_runs_out_where_the_file_says(write):
    device = torch_remote.emulate(write('like = "T4"\ntotal_memory_bytes = "2 GiB"\n'))
    with pytest.raises(torch.OutOfMemoryError, match=r"total capacity of 2\.00 GiB"):
        torch.empty(3 * GIB, dtype=torch.uint8, device=device)
    stopping(device)


def test_kernels_take_as_long_as_the_changed_values_say(write):
    def busy_us(gpu):
        row = torch_remote.compare(program, gpu).rows[0]
        return {use.name: use.gpu_time_us for use in row.operators}

    def program(device):
        x = torch.empty(8192, 8192, device=device)
        x @ x
        x + x

    plain = busy_us("H100")
    slow_memory = busy_us(write('like = "H100"\ndram_bandwidth_gb_per_s = 1675', "slow.toml"))
    half = busy_us(write('like = "H100"\nmultiprocessor_count = 66', "half.toml"))
    assert slow_memory["aten::add.Tensor"] == pytest.approx(2 * plain["aten::add.Tensor"], rel=0.1)
    assert slow_memory["aten::mm"] == pytest.approx(plain["aten::mm"], rel=0.1)
    assert half["aten::mm"] == pytest.approx(2 * plain["aten::mm"], rel=0.1)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('like = "H100"\nmultiprocessor_count = 0', "line 2: multiprocessor_count has to be a whole number from 1 to 1024, not"),
        ('like = "H100"\n\nmultiprocessors = 10', 'line 3: there is no value "multiprocessors"; did you mean "multiprocessor_count"'),
        ('like = "H100"\nmultiprocessor_count = "132"', "line 2: multiprocessor_count has to be a whole number from 1 to 1024, not '132'"),
        ('like = "H100"\nmultiprocessor_count = true', "line 2: multiprocessor_count has to be a whole number"),
        ('like = "H100"\ntotal_memory_bytes = 80', "line 2: total_memory_bytes has to be a whole number of bytes"),
        ('like = "H100"\ntotal_memory_bytes = "80 Gigs"', "line 2: total_memory_bytes has to be a whole number of bytes, or a text such as"),
        ('like = "H100"\ntotal_memory_bytes = "1 GiB"', "context_memory_bytes is more than half of total_memory_bytes"),
        ('like = "H100"\ncompute_capability = 9', "line 2: compute_capability has to be a known compute capability x.y"),
        ('like = "H100"\ncompute_capability = "9.7"', "line 2: compute_capability has to be a known compute capability x.y"),
        ('like = "H1OO"', "line 1: like has to be the name of a built-in GPU type"),
        ('like = "H100"\ntype = "H200"', "line 2: type has to be another name than"),
        ('like = "H100"\ntype = "a, b"', "line 2: type has to be a text of 1 to 100 characters without a comma"),
        ('like = "H100"\npeak = 3', "line 2: peak has to be a table, [peak]"),
        ('like = "H100"\n[peak]\nfp16 = -1', "line 3: peak.fp16 has to be TFLOP/s"),
        ('like = "H100"\npeak.fp16 = nan', "line 2: peak.fp16 has to be TFLOP/s"),
        ('like = "H100"\npeak = {fp8 = "none"}', "line 2: peak.fp8 contradicts the capability"),
        ('like = "T4"\n[peak]\nfp8 = 100', "line 3: peak.fp8 contradicts the capability"),
        ('like = "H100"\n[host_link]\npcie_lane_count = 12', "line 3: host_link.pcie_lane_count has to be 4, 8 or 16"),
        ('like = "H100"\nprice_usd_per_h = "2"', "line 2: price_usd_per_h has to be US dollars an hour"),
        ("multiprocessor_count = 10", "name is missing; give it, or a built-in GPU"),
        ('like = "H100', "is not TOML: "),
    ],
)  # fmt: skip
def test_what_cannot_be_right_is_told_with_its_line(write, text, told):
    path = write(text)
    with pytest.raises(ValueError, match=r"my_gpu\.toml") as caught:
        torch_remote.emulate(path)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value).partition(" There are ")[0]


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file .*none\.toml"):
        torch_remote.emulate(tmp_path / "none.toml")
    with pytest.raises(TypeError, match="has to be a text such as 'H100', or the path of a file"):
        torch_remote.emulate(3)


def test_a_file_that_was_changed_is_read_again(write):
    first = torch_remote.emulate(write('like = "T4"\nmultiprocessor_count = 20'))
    second = torch_remote.emulate(write('like = "T4"\nmultiprocessor_count = 30'))
    counts = [torch.remote.get_device_properties(one).multi_processor_count for one in (first, second)]  # fmt: skip
    assert counts == [20, 30]
    stopping(first)
    stopping(second)


def test_random_numbers_are_those_of_its_multiprocessors(write):
    def drawn(gpu):
        device = torch_remote.emulate(gpu)
        torch.manual_seed(0)
        values = torch.rand(2**20, device=device).cpu()
        stopping(device)
        return values

    # As an L40S: 142 multiprocessors of 1536 threads.
    own = write('like = "L4"\nmultiprocessor_count = 142')
    assert torch.equal(drawn(own), drawn("L40S"))
    assert not torch.equal(drawn(own), drawn("L4"))


def test_a_comparison_has_its_row(write):
    def program(device):
        torch.empty(9 * GIB, dtype=torch.uint8, device=device)

    path = write('like = "T4"\ntotal_memory_bytes = "8 GiB"\nprice_usd_per_h = 0.25', "small.toml")
    comparison = torch_remote.compare(program, gpus=[path, "T4"])
    assert [row.gpu for row in comparison.rows] == ["small", "T4"]
    assert [row.fits for row in comparison.rows] == [False, True]
    assert comparison.row("small").price_usd_per_h == pytest.approx(0.25)
    assert torch_remote.compare(program, f"T4,{path}").row("small").shortfall is not None


def test_a_program_that_asks_is_run_by_itself_on_it(write):
    def program(device):
        asked.append(torch.remote.get_device_properties(device).multi_processor_count)

    asked = []
    path = write('like = "H100"\nmultiprocessor_count = 100')
    comparison = torch_remote.compare(program, ["H100", path])
    assert asked == [132, 100]
    assert "multi processor count" in comparison.row("my_gpu").own_run


def test_two_files_of_one_name(write, tmp_path):
    (tmp_path / "other").mkdir()
    paths = [write('like = "H100"'), write('like = "T4"', "other/my_gpu.toml")]
    with pytest.raises(ValueError, match="two GPUs of the name my_gpu; give one another type"):
        torch_remote.compare(lambda: None, paths)


def test_an_executor_emulates_it(write):
    path = write('like = "H100"\nname = "My card"\nmultiprocessor_count = 100')
    with torch_remote.LocalExecutor(emulate=path) as executor:
        device = torch_remote.connect(executor.endpoint)
        properties = torch.remote.get_device_properties(device)
        assert (properties.name, properties.multi_processor_count) == ("My card", 100)
        assert torch.remote.mem_get_info(device)[1] == find_gpu("H100").properties.total_memory
        stopping(device)


def command(*words):
    return subprocess.run(
        [sys.executable, "-m", "torch_remote.cli", *map(str, words)],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def test_commands_take_it(write, tmp_path):
    path = write('like = "H100"\nname = "My card"\nmultiprocessor_count = 100')
    script = tmp_path / "script.py"
    script.write_text("import torch\nprint(torch.cuda.get_device_name())\n")
    ended = command("run", "--gpu", path, script)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == "My card\n"
    # The program asks for the name, so it is run by itself in another process.
    ended = command("emulate", "--gpu", f"H100,{path}", script)
    assert ended.returncode == 0, ended.stderr
    assert "my_gpu*" in ended.stdout
    ended = command("emulate", "--gpu", write("multiprocessor_count = 0", "bad.toml"), script)
    assert ended.returncode == 2
    assert "bad.toml, line 1: multiprocessor_count has to be" in ended.stderr
    ended = command("executor", "--emulate", tmp_path / "bad.toml")
    assert ended.returncode != 0
    assert "bad.toml, line 1: multiprocessor_count has to be" in ended.stderr


def test_the_pytest_plugin_takes_it(write, tmp_path):
    path = write('like = "H100"\nname = "My card"')
    test = tmp_path / "test_it.py"
    test.write_text(
        "import torch\n\ndef test_name(remote_device):\n"
        "    assert torch.remote.get_device_name(remote_device) == 'My card'\n"
    )
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", f"--remote={path}", str(test)],
        capture_output=True, text=True, check=False, timeout=120, cwd=tmp_path,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout
