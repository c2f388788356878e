# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""torch.compile, torch.export and tracing: graphs run on the device and give the bits that eager gives on CPU."""

import copy
import io
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from comparing import Counting, assert_same, to_device
from programs import output_of, run_python
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils.checkpoint import checkpoint

BACKENDS = ("eager", "aot_eager")
Function = Callable[..., Any]


@pytest.fixture(autouse=True)
def _fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def values(*sizes: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(sum(sizes))
    return torch.randn(sizes, generator=generator)


def breaks_the_graph(x: torch.Tensor) -> torch.Tensor:
    y = x.sin()
    if y.sum().item() > 1000:  # a value decides: two graphs with a read between
        return y
    return y * 2 + x


def changes_its_argument(x: torch.Tensor) -> torch.Tensor:
    x.add_(1)
    x[0].mul_(2)
    return x.t() * 3


def makes_tensors(x: torch.Tensor) -> torch.Tensor:
    mask = torch.ones(x.shape[0], x.shape[0], dtype=torch.bool, device=x.device).tril()
    return x.new_zeros(3).sum() + (x @ x.t()).masked_fill(mask, 0.5)


def attends(x: torch.Tensor) -> torch.Tensor:
    q = x.reshape(1, 2, -1, 2)
    return nn.functional.scaled_dot_product_attention(q, q, q, is_causal=True)


def selects(x: torch.Tensor) -> torch.Tensor:
    return x[x > 0].sum() + x[torch.tensor([0, 1], device=x.device)].prod()


FUNCTIONS: dict[str, Function] = {
    "products": lambda x: (x @ x.t()).relu().softmax(-1).sum(0),
    "several results": lambda x: (x.sin(), x.sum(1), x[1:].clone()),
    "a view of the argument": lambda x: x[1:].t(),
    "a read within": breaks_the_graph,
    "an argument changed": changes_its_argument,
    "tensors made within": makes_tensors,
    "attention": attends,
    "values decide shapes": selects,
    "normalization": lambda x: nn.functional.layer_norm(x, x.shape[-1:]) * x.std(),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_forward_and_backward(device: torch.device, name: str, backend: str) -> None:
    function = FUNCTIONS[name]

    def run(where: torch.device | str, call: Function) -> tuple[Any, ...]:
        leaf = values(4, 4).to(where).requires_grad_()
        argument = leaf * 1  # no leaf: it may be changed in place
        results = call(argument)
        outputs = results if isinstance(results, tuple) else (results,)
        sum(output.square().sum() for output in outputs).backward()  # type: ignore[union-attr]
        return tuple(output.detach() for output in outputs), argument.detach(), leaf.grad

    compiled = torch.compile(function, backend=backend)
    assert_same(run(device, compiled), run("cpu", compiled))
    torch.testing.assert_close(run(device, compiled), run(device, function))


class Net(nn.Module):
    """Parameters, buffers that change, and random numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.3), nn.Flatten()
        )
        self.head = nn.Linear(64, 3)
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert isinstance(self.calls, torch.Tensor)
        self.calls += 1
        return self.head(self.layers(x))  # type: ignore[no-any-return]


@pytest.mark.parametrize("backend", BACKENDS)
def test_training_a_module(device: torch.device, backend: str) -> None:
    torch.manual_seed(0)
    model, batch = Net(), values(3, 2, 6, 6)

    def train(where: torch.device | str, compiles: bool) -> dict[str, Any]:
        trained = copy.deepcopy(model).to(where)
        call = torch.compile(trained, backend=backend) if compiles else trained
        optimizer = torch.optim.AdamW(trained.parameters(), lr=0.01)
        torch.manual_seed(1)
        for _ in range(3):
            optimizer.zero_grad()
            call(batch.to(where)).square().mean().backward()
            optimizer.step()
        return trained.state_dict()

    eager = train(device, compiles=False)
    assert_same(train(device, compiles=True), eager)  # random numbers, too
    assert eager["calls"].item() == 3


def test_a_compiled_step_makes_no_round_trip(device: torch.device) -> None:
    layer = nn.Linear(8, 8).to(device)
    step = torch.compile(lambda x: nn.functional.gelu(layer(x)).sum(), backend="aot_eager")
    x = values(4, 8).to(device)
    for _ in range(2):  # from the second on, gradients are added
        step(x).backward()
    with Counting(device) as counting:
        for _ in range(5):
            step(x).backward()
    assert (counting.round_trips, counting.plans) == (0, 0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_sizes_that_change(device: torch.device, backend: str) -> None:
    graphs = 0

    def count(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Any:
        nonlocal graphs
        graphs += 1
        from torch._dynamo.backends.registry import lookup_backend

        return lookup_backend(backend)(graph, inputs)

    def function(x: torch.Tensor) -> torch.Tensor:
        return (x * x.shape[0]).sum(0) / x.numel()

    compiled = torch.compile(function, backend=count, dynamic=True)
    for length in (2, 3, 7, 40):
        x = values(length, 3)
        assert_same(compiled(x.to(device)), function(x))
    assert graphs == 1


def test_random_numbers_are_eagers(device: torch.device) -> None:
    def function(x: torch.Tensor) -> torch.Tensor:
        noise = torch.rand_like(x) + torch.randn(x.shape, device=x.device)
        return nn.functional.dropout(x + noise) + torch.randperm(x.numel(), device=x.device)

    x, seen = torch.ones(50, device=device), []
    for call in (function, *(torch.compile(function, backend=name) for name in BACKENDS)):
        torch.manual_seed(5)
        seen.append(call(x))
    assert_same([seen[1], seen[2]], [seen[0], seen[0]])


def test_recomputed_activations_draw_the_same_numbers(device: torch.device) -> None:
    def block(x: torch.Tensor) -> torch.Tensor:
        return nn.functional.dropout(x.sin(), 0.5)

    def function(x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = checkpoint(block, x, use_reentrant=False)
        return result

    x = torch.ones(64, device=device, requires_grad=True)
    result = torch.compile(function, backend="aot_eager")(x)
    following = torch.rand(3, device=device)
    torch.manual_seed(0)
    result.sum().backward()
    assert x.grad is not None
    dropped = result == 0
    assert 0 < dropped.sum().item() < 64
    assert torch.equal(dropped, x.grad == 0)
    again = torch.rand(3, device=device)
    torch.manual_seed(0)
    assert_same(again, torch.rand(3, device=device))  # the backward has put the state back
    assert not torch.equal(following, again)


@pytest.mark.parametrize("backend", BACKENDS)
def test_functions_of_the_device_within(device: torch.device, backend: str) -> None:
    def function(x: torch.Tensor) -> torch.Tensor:
        y = x + 1
        torch.remote.synchronize(x.device)
        stream = torch.remote.Stream(x.device)
        with torch.remote.stream(stream), torch.autocast("remote", torch.bfloat16):
            z = y @ y
        torch.remote.current_stream(x.device).wait_stream(stream)
        return z + torch.ones(2, 2, device=torch.device("remote", torch.remote.current_device()))

    with torch.remote.device(device), warnings.catch_warnings():
        warnings.simplefilter("error")
        result = torch.compile(function, backend=backend)(torch.ones(2, 2, device=device))
    assert (result.dtype, result.tolist()) == (torch.float32, [[9, 9], [9, 9]])


# ---- inductor ----


@pytest.mark.slow
def test_the_default_backend_beside_cpu(tmp_path: Any) -> None:
    """Programs with both: what is on CPU is inductor's, the rest runs as aot_eager, and one warning says so."""
    program = """
        import sys, warnings, torch, torch_remote
        from torch._inductor import metrics
        device = torch_remote.emulate("T4")

        def function(x):
            return (x.sin() * 2 + x.cos()).sum()

        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            compiled = torch.compile(function)
            x = torch.linspace(0, 1, 64, device=device, requires_grad=True)
            compiled(x).backward()
            y = torch.linspace(0, 1, 64, requires_grad=True)
            before = metrics.generated_kernel_count
            result = compiled(y)
            result.backward()
            assert metrics.generated_kernel_count > before
            assert torch.equal(x.grad.cpu(), torch.autograd.grad(function(y), y)[0])
            torch.testing.assert_close(y.grad, x.grad.cpu())
            other = torch.compile(lambda x: x.to(device) + 1, mode="max-autotune")  # both in one graph
            assert other(y.detach()).device == device
            layer = torch.compile(torch.nn.Linear(64, 2, device=device), backend="inductor")
            assert layer(x.detach()).device == device
            made = torch.compile(lambda: torch.ones(3, device=device) * 2, fullgraph=True)
            assert made().tolist() == [2, 2, 2]
        ours = [one for one in seen if "aot_eager" in str(one.message)]
        print(len(ours), ours[0].category.__name__, ours[0].filename)
    """
    done = run_python(program, variables={"TORCHINDUCTOR_CACHE_DIR": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["1", "UserWarning", "<string>"]


def test_code_ahead_of_time_is_refused(emulator: torch.device, tmp_path: Any) -> None:
    program = torch.export.export(
        nn.Linear(2, 2).to(emulator), (torch.ones(1, 2, device=emulator),)
    )
    with pytest.raises(NotImplementedError, match=r"AOTInductor.*torch\.export works"):
        torch._inductor.aoti_compile_and_package(program, package_path=str(tmp_path / "a.pt2"))


def test_the_compiler_is_told_when_it_is_imported() -> None:
    program = """
        import sys, torch, torch_remote
        assert not any(name.startswith(("torch._dynamo", "torch._inductor")) for name in sys.modules)
        import torch._dynamo.device_interface as interfaces
        device = torch_remote.emulate("T4")
        interface = interfaces.get_interface_for_device("remote")
        assert interface is interfaces.get_interface_for_device(device)
        assert interface is interfaces.get_interface_for_device("remote:3")
        assert interface.is_available() and interface.device_count() == 1
        assert interface.current_device() == interface.Worker.current_device() == 0
        assert interface.exchange_device(1) == 0 and interface.maybe_exchange_device(-1) == 1
        interface.set_device(0)
        assert interface.get_device_properties(0).name == "Tesla T4"
        assert interface.get_compute_capability() == 75
        assert issubclass(interface.Stream, torch.Stream) and interface.get_raw_stream(0) == 0
        stream = interface.Stream()
        interface._set_stream_by_id(stream.stream_id, stream.device_index, stream.device_type)
        assert interface.current_stream() == stream != torch.remote.default_stream()
        interface.synchronize()
        print(interfaces.__spec__.loader.get_source(interfaces.__name__).count("class DeviceInterface"))
    """
    assert output_of(program) == "1"


def test_a_compiler_that_was_imported_before_is_told_as_well() -> None:
    program = """
        import torch._dynamo.device_interface as interfaces, torch._inductor.compile_fx
        import torch_remote
        assert interfaces.get_interface_for_device("remote").device_count() == 0
        print(torch.compile(lambda x: x + 1)(torch.ones(2, device=torch_remote.emulate("T4"))).tolist())
    """
    done = run_python(program, variables={"TORCH_DEVICE_BACKEND_AUTOLOAD": "0"})
    assert (done.returncode, done.stdout.strip()) == (0, "[2.0, 2.0]"), done.stderr


# ---- tracing and export ----


def test_fake_tensors(device: torch.device) -> None:
    real = values(3, 4).to(device)
    mode = FakeTensorMode()
    with Counting(device) as counting, mode:
        x = mode.from_tensor(real)
        y = nn.functional.conv1d(x[None], torch.empty(2, 3, 1, device=device))
        made = torch.ones(2, device=device) + 1
        assert isinstance(y, FakeTensor)
        assert (y.device, y.shape, made.device, y.cpu().device.type) == (
            device,
            (1, 2, 4),
            device,
            "cpu",
        )
    assert counting.operations == 0


@pytest.mark.parametrize("mode", ["real", "fake", "symbolic"])
def test_make_fx(device: torch.device, mode: str) -> None:
    def function(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return nn.functional.layer_norm(x @ weight, [4]).relu().sum(0)

    arguments = values(3, 2), values(2, 4)
    there = to_device(arguments, device)
    graph = make_fx(function, tracing_mode=mode)(*there)
    assert_same(graph(*there), function(*arguments))


@pytest.mark.parametrize("strict", [False, True])
def test_export(device: torch.device, strict: bool) -> None:
    torch.manual_seed(0)
    model = Net().eval()
    there = copy.deepcopy(model).to(device)
    batch = torch.export.Dim("batch", min=2, max=64)
    program = torch.export.export(
        there, (values(3, 2, 6, 6).to(device),), dynamic_shapes=({0: batch},), strict=strict
    )
    saved = io.BytesIO()
    torch.export.save(program, saved)
    saved.seek(0)
    runs = [program.module(), program.run_decompositions({}).module()]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # PyTorch's own, of its reader
        runs.append(torch.export.load(saved).module())
    for size in (3, 5):
        x = values(size, 2, 6, 6)
        expected = model(x)
        for run in runs:
            assert_same(run(x.to(device)), expected)
