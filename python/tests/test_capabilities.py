# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a real card of a compute capability refuses, an emulated one refuses with CUDA's errors."""

from collections.abc import Callable, Iterator

import pytest
import torch
import torch_remote
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention as attend

NO_FLOAT8 = (
    "torch._scaled_mm is only supported on CUDA devices with compute capability >= 9.0 or 8.9, "
    "or ROCm MI300+"
)
HAVE_FLOAT8 = ("L4", "L40S", "H100", "H200", "B200")


@pytest.fixture(params=torch_remote.GPU_TYPES)
def gpu(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=[False, True], ids=["values", "dry"])
def device(request: pytest.FixtureRequest, gpu: str) -> Iterator[torch.device]:
    made = torch_remote.emulate(gpu, dry_run=request.param, num_threads=1)
    yield made
    torch_remote.machine(made).stop()


@pytest.fixture
def emulated() -> Iterator[Callable[[str], torch.device]]:
    """Makes dry runs on GPUs; they end with the test."""
    made: list[torch.device] = []

    def make(gpu: str) -> torch.device:
        made.append(torch_remote.emulate(gpu, dry_run=True))
        return made[-1]

    yield make
    for one in made:
        torch_remote.machine(one).stop()


Emulated = Callable[[str], torch.device]


def float8(device, rows, columns, dtype=torch.float8_e4m3fn):
    return torch.zeros(rows, columns, device=device).to(dtype)


def scaled(a, b):
    one = torch.ones((), device=a.device)
    return torch._scaled_mm(a, b, scale_a=one, scale_b=one, out_dtype=torch.bfloat16)


def message(caught):
    """CUDA's text, without the operation and the line that are told below it."""
    return str(caught.value).partition("\n")[0]


def test_float8_products(device: torch.device, gpu: str) -> None:
    a, b = float8(device, 32, 16), float8(device, 48, 16).t()
    if gpu in HAVE_FLOAT8:
        assert scaled(a, b).shape == (32, 48)
        return
    with pytest.raises(RuntimeError) as caught:
        scaled(a, b)
    assert type(caught.value) is RuntimeError
    assert message(caught) == NO_FLOAT8
    assert "operation: aten::_scaled_mm on remote:" in str(caught.value)
    assert "test_capabilities.py" in str(caught.value)
    torch.ones(2, device=device).sum()  # the device goes on


def test_limits_of_float8_products(emulated: Emulated) -> None:
    device = emulated("H100")
    with pytest.raises(RuntimeError) as caught:
        scaled(float8(device, 32, 24), float8(device, 32, 24).t())
    assert message(caught) == (
        "Expected trailing dimension of mat1 to be divisible by 16 but got mat1 shape: (32x24)."
    )
    with pytest.raises(RuntimeError) as caught:
        scaled(float8(device, 32, 16), float8(device, 24, 16).t())
    assert message(caught) == "mat2 shape (16x24) must be divisible by 16"
    with pytest.raises(ValueError, match="Multiplication of two Float8_e5m2 matrices is not supp"):
        scaled(*[float8(device, 16, 16, torch.float8_e5m2)] * 2)
    with pytest.raises(RuntimeError) as caught:
        scaled(float8(device, 32, 16), float8(device, 16, 48))
    assert message(caught) == (
        "Only multiplication of row-major and column-major matrices is supported by cuBLASLt"
    )
    device = emulated("B200")
    assert scaled(float8(device, 32, 16), float8(device, 16, 48)).shape == (32, 48)


def test_int8_products(device: torch.device) -> None:
    def product(rows, width, columns):
        a = torch.ones(rows, width, dtype=torch.int8, device=device)
        return torch._int_mm(a, torch.ones(width, columns, dtype=torch.int8, device=device))

    assert product(17, 8, 16).shape == (17, 16)
    for sizes, text in {
        (16, 8, 8): "self.size(0) needs to be greater than 16, but got 16",
        (17, 12, 8): "self.size(1) needs to be greater than 0 and a multiple of 8, but got 12",
        (17, 8, 12): "mat2.size(1) needs to be greater than 0 and a multiple of 8, but got 12",
    }.items():
        with pytest.raises(RuntimeError) as caught:
            product(*sizes)
        assert message(caught) == text


def test_grouped_float8_products(device: torch.device, gpu: str) -> None:
    a, b = float8(device, 32, 16), float8(device, 2 * 48, 16).reshape(2, 48, 16).transpose(1, 2)
    scales = torch.ones(32, device=device), torch.ones(2, 48, device=device)
    offsets = torch.tensor([16, 32], dtype=torch.int32).to(device)

    def product():
        return torch._scaled_grouped_mm(a, b, *scales, offs=offsets, out_dtype=torch.bfloat16)

    if gpu not in ("H100", "H200", "B200"):
        with pytest.raises(ValueError, match="_scaled_grouped_mm") as caught:
            product()
        assert message(caught) == (
            "torch._scaled_grouped_mm is only supported on CUDA devices with compute capability = "
            "[9.0, 10.0], or ROCm MI300+"
        )
    elif torch_remote.emulation(device).dry_run:
        assert product().shape == (32, 48)
    else:
        # The CPU has no such kernel, and nothing else is computed in its place.
        with pytest.raises(NotImplementedError, match="_scaled_grouped_mm"):
            product().cpu()


def test_sparse_tensor_cores(gpu: str) -> None:
    device = torch_remote.emulate(gpu, num_threads=1)
    x = torch.ones(64, 64, dtype=torch.float16, device=device)
    kind = RuntimeError if gpu == "T4" else NotImplementedError
    with pytest.raises(kind) as caught:
        torch._cslt_compress(x)
    if gpu == "T4":
        assert message(caught) == (
            "CUDA error: architecture mismatch when calling `cusparseLtInit(&handle)`"
        )
    else:
        assert "_cslt_compress" in str(caught.value)
    torch_remote.machine(device).stop()


def test_sparse_products_of_cutlass(gpu: str) -> None:
    device = torch_remote.emulate(gpu, num_threads=1)
    packed = torch.zeros(64, 32, dtype=torch.float16).to(device)
    places = torch.zeros(64, 4, dtype=torch.int16).to(device)
    dense = torch.zeros(64, 64, dtype=torch.float16).to(device)
    is_sm8x = torch.remote.get_device_capability(device)[0] == 8
    with pytest.raises(NotImplementedError if is_sm8x else RuntimeError) as caught:
        torch._sparse_semi_structured_mm(packed, places, dense).cpu()
    if is_sm8x:
        assert "_sparse_semi_structured_mm" in str(caught.value)
    else:
        assert message(caught) == (
            "sparse_semi_structured_mad_op : Supported only on GPUs with compute capability 8.x"
        )
    torch_remote.machine(device).stop()


def test_semi_structured_tensors_of_scripts_that_say_cuda() -> None:
    device = torch_remote.emulate("T4", num_threads=1)
    replaced = torch_remote.replace_cuda(device)
    try:
        pruned = torch.tensor([0, 0, 1, 1], dtype=torch.float16).tile(128, 32).cuda()
        with pytest.raises(
            RuntimeError, match="architecture mismatch when calling `cusparseLtInit"
        ):
            torch.sparse.to_sparse_semi_structured(pruned)
    finally:
        replaced.undo()
        torch_remote.machine(device).stop()


NO_KERNEL = "No available kernel. Aborting execution."


@pytest.mark.parametrize("backend", [SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION])
def test_attention_kernels_that_need_ampere(
    device: torch.device, gpu: str, backend: SDPBackend
) -> None:
    x = torch.zeros(1, 2, 16, 64, dtype=torch.float16, device=device)
    with sdpa_kernel(backend):
        if gpu != "T4":
            assert attend(x, x, x).shape == x.shape
            return
        with pytest.raises(RuntimeError) as caught:
            attend(x, x, x)
    assert message(caught) == NO_KERNEL


def test_attention_kernels_have_dtypes(emulated: Emulated) -> None:
    def refuses(gpu, backend, dtype):
        x = torch.zeros(1, 2, 16, 64, dtype=dtype, device=emulated(gpu))
        with sdpa_kernel(backend):
            try:
                attend(x, x, x)
            except RuntimeError as error:
                assert str(error).startswith(NO_KERNEL)  # noqa: PT017 (refusing is one answer of two)
                return True
        return False

    efficient, flash = SDPBackend.EFFICIENT_ATTENTION, SDPBackend.FLASH_ATTENTION
    assert refuses("T4", efficient, torch.bfloat16)
    assert not refuses("T4", efficient, torch.float16)
    assert not refuses("T4", efficient, torch.float32)
    assert not refuses("A100", efficient, torch.bfloat16)
    assert refuses("A100", flash, torch.float32)
    # One that does it is among several.
    assert not refuses("T4", [flash, efficient], torch.float16)
    assert not refuses("T4", [flash, SDPBackend.MATH], torch.float16)


def test_settings_count_at_the_call(emulated: Emulated) -> None:
    """A plan that was called before is refused, and taken again, as the settings change."""
    device = emulated("T4")
    x = torch.zeros(1, 2, 16, 64, dtype=torch.float16, device=device)
    attend(x, x, x)
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION), pytest.raises(RuntimeError, match=NO_KERNEL):
        attend(x, x, x)
    attend(x, x, x)


def test_what_is_supported(gpu: str, emulated: Emulated) -> None:
    device = emulated(gpu)
    with torch.remote.device(device):
        assert torch.remote.is_bf16_supported()
        assert torch.remote.is_bf16_supported(including_emulation=False) == (gpu != "T4")
        assert torch.remote.is_tf32_supported() == (gpu != "T4")


def product_us(gpu: str, *, convolution: bool = False) -> float:
    def program(device):
        if convolution:
            torch.conv2d(
                torch.empty(32, 256, 56, 56, device=device),
                torch.empty(256, 256, 3, 3, device=device),
            )
        else:
            torch.empty(4096, 4096, device=device) @ torch.empty(4096, 4096, device=device)

    row = torch_remote.compare(program, gpu).rows[0]
    return max(use.gpu_time_us for use in row.operators)


def test_float32_products_are_faster_with_tf32() -> None:
    exact = {gpu: product_us(gpu) for gpu in ("T4", "A100", "H100")}
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        rounded = {gpu: product_us(gpu) for gpu in exact}
    finally:
        torch.set_float32_matmul_precision(before)
    assert rounded["T4"] == exact["T4"]  # which has no units for it
    assert exact["A100"] > 3 * rounded["A100"]
    assert exact["H100"] > 3 * rounded["H100"]
    assert product_us("H100") == exact["H100"]


def test_float32_convolutions_are_slower_without_tf32() -> None:
    rounded = {gpu: product_us(gpu, convolution=True) for gpu in ("T4", "A100")}
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        exact = {gpu: product_us(gpu, convolution=True) for gpu in rounded}
    assert rounded["T4"] == exact["T4"]
    assert exact["A100"] > 2 * rounded["A100"]


def test_a_plan_of_before_follows_the_settings(emulated: Emulated) -> None:
    """Calls of one plan, before and after a change: each takes its own time."""
    device = emulated("A100")
    x = torch.empty(4096, 4096, device=device)

    def busy_us():
        before = torch_remote.modelled_time(device).gpu_busy_us
        torch.mm(x, x)
        return torch_remote.modelled_time(device).gpu_busy_us - before

    exact = busy_us()
    assert busy_us() == pytest.approx(exact)
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        rounded = busy_us()
    finally:
        torch.backends.cuda.matmul.allow_tf32 = False
    assert exact > 3 * rounded
    assert busy_us() == pytest.approx(exact)
    uses = {use.name: use for use in torch_remote.emulation(device).rows[0].operators}
    assert uses["aten::mm"].calls == 4
    assert uses["aten::mm"].gpu_time_us == pytest.approx(3 * exact + rounded)
