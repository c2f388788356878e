# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Operators of the program's own (torch.library): they run on executors that have them, or raise.

The executor in the process has what the process has, kernels in Python too. A process of its own has what its
libraries have.
"""

import subprocess
import threading
from pathlib import Path

import pytest
import torch
import torch_remote
from comparing import Counting, assert_same
from programs import output_of, run_executor
from torch import Tensor
from torch.utils import cpp_extension

SPACE = "torch_remote_tests"
seen: dict[str, object] = {}


# ---- kernels for CPU, in Python ----


@torch.library.custom_op(f"{SPACE}::scaled", mutates_args=(), device_types="cpu")
def scaled(x: Tensor, factor: float) -> Tensor:
    seen.update(thread=threading.current_thread(), device=x.device)
    return torch.from_numpy(x.numpy() * factor).to(x.dtype)


@scaled.register_fake
def _(x: Tensor, factor: float) -> Tensor:  # noqa: ARG001 (it takes what the operator takes)
    return torch.empty_like(x)


scaled.register_autograd(
    lambda ctx, gradient: (scaled(gradient, ctx.factor), None),
    setup_context=lambda ctx, inputs, output: setattr(ctx, "factor", inputs[1]),
)


@torch.library.custom_op(f"{SPACE}::two", mutates_args=(), device_types="cpu")
def two(x: Tensor) -> tuple[Tensor, Tensor]:
    """Nothing says what its results are."""
    return x + 1, x.sum(0)


@torch.library.custom_op(f"{SPACE}::positions", mutates_args=(), device_types="cpu")
def positions(x: Tensor) -> Tensor:
    return torch.nonzero(x)


@positions.register_fake
def _(x: Tensor) -> Tensor:
    count = torch.library.get_ctx().new_dynamic_size()
    return x.new_empty((count, x.dim()), dtype=torch.int64)


@torch.library.custom_op(f"{SPACE}::increment", mutates_args={"x"}, device_types="cpu")
def increment(x: Tensor) -> None:
    x.numpy()[...] += 1


@torch.library.custom_op(f"{SPACE}::refusing", mutates_args=(), device_types="cpu")
def refusing(x: Tensor) -> Tensor:
    raise ValueError(f"not with this tensor of {x.dim()} dimensions")


@refusing.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x)


@torch.library.custom_op(f"{SPACE}::waiting", mutates_args=(), device_types="cpu")
def waiting(x: Tensor) -> Tensor:
    other = seen["remote"]
    assert isinstance(other, Tensor)
    return x + other.item()


@waiting.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x)


# ---- others ----


@torch.library.custom_op(f"{SPACE}::composed", mutates_args=())
def composed(x: Tensor) -> Tensor:
    seen.update(thread=threading.current_thread(), device=x.device)
    return (x @ x.t()).relu()


@torch.library.custom_op(f"{SPACE}::for_remote", mutates_args=(), device_types="remote")
def for_remote(x: Tensor) -> Tensor:
    return x * 2


@for_remote.register_kernel("cpu")
def _(x: Tensor) -> Tensor:
    return x * 3


library = torch.library.Library(SPACE, "FRAGMENT")
library.define("plain(Tensor x, *, int times=2) -> Tensor")
library.define("by_key(Tensor x) -> Tensor")
library.define("nowhere(Tensor x) -> Tensor")
torch.library.impl(library, "plain", "CPU")(lambda x, times=2: x * times)
torch.library.register_fake(f"{SPACE}::plain", lambda x, times=2: torch.empty_like(x), lib=library)
torch.library.impl(library, "by_key", "PrivateUse1")(lambda x: x + 7)
operators = getattr(torch.ops, SPACE)


@pytest.fixture
def x(emulator: torch.device) -> Tensor:
    return torch.arange(6.0, device=emulator).reshape(2, 3)


def test_a_kernel_in_python_runs_on_the_executor(x: Tensor) -> None:
    assert_same(scaled(x, 2.5), scaled(x.cpu(), 2.5))
    scaled(x[:, ::2].t(), 0.5)
    torch.remote.synchronize(x.device)
    assert seen["device"] == torch.device("cpu")
    assert seen["thread"] is not threading.current_thread()
    assert_same(operators.plain(x, times=5), x.cpu() * 5)


def test_a_known_shape_costs_no_round_trip(x: Tensor) -> None:
    scaled(x, 1.0)
    with Counting(x.device) as counting:
        y = x
        for _ in range(50):
            y = scaled(y, 1.01)  # the interpreter's lock goes back and forth
            sum(range(1000))
    assert (counting.round_trips, counting.plans) == (0, 0)
    expected = x.cpu()
    for _ in range(50):
        expected = scaled(expected, 1.01)
    assert_same(y, expected)


def test_gradients(x: Tensor) -> None:
    for leaf in (x.clone().requires_grad_(), x.cpu().requires_grad_()):
        scaled(leaf.sin(), 3.0).sum().backward()
        assert_same(leaf.grad, scaled(x.cpu().cos(), 3.0))


def test_results_that_the_executor_has_to_tell(x: Tensor) -> None:
    with Counting(x.device) as counting:
        results = [two(x), positions(x)]
    assert counting.round_trips == 2
    assert_same(results, [two(x.cpu()), positions(x.cpu())])


def test_an_argument_is_changed_in_place(x: Tensor) -> None:
    version = x._version
    increment(x)
    increment(x[0])
    assert x._version > version
    assert x.tolist() == [[2, 3, 4], [4, 5, 6]]


def test_errors_of_kernels(x: Tensor) -> None:
    with pytest.raises(
        ValueError,
        match=r"(?s)not with this tensor of 2 dimensions.*refusing.*test_custom_operators\.py",
    ):
        refusing(x).cpu()
    with pytest.raises(
        NotImplementedError, match=r"(?s)no kernel of operator .*nowhere for cpu.*called at"
    ):
        operators.nowhere(x)
    assert x.sum().item() == 15


def test_a_kernel_that_waits_for_its_own_executor_is_refused(x: Tensor) -> None:
    seen["remote"] = x[1, 2]
    with pytest.raises(RuntimeError, match="can't wait for a remote device"):
        waiting(x).cpu()
    assert x.sum().item() == 15


def test_kernels_that_compose_or_are_for_the_device(device: torch.device) -> None:
    """They run here, and what they call runs on the executor, whichever it is."""
    x = torch.arange(6.0, device=device).reshape(2, 3)
    assert_same(composed(x), composed(x.cpu()))
    composed(x)
    assert (seen["device"], seen["thread"]) == (device, threading.current_thread())
    assert for_remote(x).tolist() == [[0, 2, 4], [6, 8, 10]]
    assert operators.by_key(x).tolist() == [[7, 8, 9], [10, 11, 12]]


def test_pytorchs_own_checks(x: Tensor) -> None:
    torch.library.opcheck(scaled, (x, 2.0))
    torch.library.opcheck(increment, (x,))


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compiled(x: Tensor, backend: str) -> None:
    torch._dynamo.reset()

    def function(x: Tensor) -> Tensor:
        return scaled(x.sin(), 2.0) + positions(x).sum()

    assert_same(torch.compile(function, backend=backend)(x), function(x.cpu()))


def test_programs_end_with_kernels_under_way() -> None:
    program = """
        import time, torch, torch_remote
        @torch.library.custom_op("mine::slow", mutates_args=(), device_types="cpu")
        def slow(x: torch.Tensor) -> torch.Tensor:
            time.sleep(0.01)
            return x + 1
        slow.register_fake(torch.empty_like)
        x = torch.zeros(3, device=torch_remote.emulate("T4"))
        for _ in range(20):
            x = slow(x)
        print("sent")
    """
    assert output_of(program) == "sent"


# ---- executors in a process of their own ----


def test_an_executor_without_the_operator_says_so(tcp: torch.device) -> None:
    x = torch.ones(2, device=tcp)
    lacks = rf"(?s)has no operator {SPACE}::scaled: .*--load-library FILE.*called at: .*test_custom_operators\.py"
    with pytest.raises(NotImplementedError, match=lacks):
        scaled(x, 2.0).cpu()
    with pytest.raises(NotImplementedError, match=f"has no operator {SPACE}::two"):
        two(x)
    with pytest.raises(NotImplementedError, match="has no operator quantized::"):
        torch.ops.quantized.embedding_bag_byte_prepack(x[None]).cpu()  # it has it, but for nobody
    assert (x + 1).tolist() == [2, 2]


SOURCE = """
#include <ATen/ops/add.h>
#include <torch/library.h>
TORCH_LIBRARY(torch_remote_compiled, library) {
  library.def("increased(Tensor x, float by) -> Tensor");
}
TORCH_LIBRARY_IMPL(torch_remote_compiled, CPU, library) {
  library.impl("increased", [](const at::Tensor& x, double by) { return at::add(x, by); });
}
"""


@pytest.fixture(scope="module")
def compiled_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("operators")
    source, made = folder / "operators.cpp", folder / "operators.so"
    source.write_text(SOURCE)
    includes = [f"-I{path}" for path in cpp_extension.include_paths()]
    libraries = [f"-L{path}" for path in cpp_extension.library_paths()]
    abi = f"-D_GLIBCXX_USE_CXX11_ABI={int(torch._C._GLIBCXX_USE_CXX11_ABI)}"
    command = ["c++", "-std=c++20", "-O0", "-shared", "-fPIC", abi, *includes, str(source)]
    subprocess.run(
        [*command, *libraries, "-ltorch_cpu", "-lc10", "-o", str(made)], check=True, timeout=300
    )
    return made


@pytest.mark.slow
def test_an_executor_with_a_library(compiled_library: Path) -> None:
    torch.ops.load_library(str(compiled_library))
    increased = torch.ops.torch_remote_compiled.increased
    with torch_remote.LocalExecutor(libraries=[compiled_library]) as executor:
        devices = [torch_remote.connect(executor.endpoint), torch_remote.emulate("T4")]
        for device in devices:
            assert increased(torch.ones(2, device=device), 0.5).tolist() == [1.5, 1.5]
        with pytest.raises(NotImplementedError, match="has no operator"):
            scaled(torch.ones(2, device=devices[0]), 2.0).cpu()
        for device in devices:
            torch_remote.machine(device).stop()


def test_a_library_that_can_not_be_loaded(tmp_path: Path) -> None:
    missing = tmp_path / "missing.so"
    done = run_executor("--load-library", str(missing))
    assert (done.returncode, done.stdout) == (2, "")
    assert f"can't load the operators of {missing}" in done.stderr
    assert "No such file" in done.stderr
    done = run_executor("--load-library", "libm.so.6")
    assert done.returncode == 2
    assert "registers no operator" in done.stderr
    done = run_executor("--device", "null", "--load-library", str(missing))
    assert (done.returncode, "needs --device cpu or cuda" in done.stderr) == (2, True)
    with pytest.raises(RuntimeError, match="can't load the operators of"):
        torch_remote.LocalExecutor(libraries=[missing])
