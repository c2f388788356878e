# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""CUDA's names on a remote device: torch_remote.replace_cuda."""

import copy
import io
import pickle
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch_remote
from programs import output_of, run_python
from torch import nn


@pytest.mark.parametrize("name", ["cuda", "cuda:0", 0])
@pytest.mark.parametrize(
    "make",
    [
        lambda device: torch.ones(3, device=device),
        lambda device: torch.tensor([1.0, 1.0, 1.0], device=device),
        lambda device: torch.ones(3).to(device),
        lambda device: torch.ones(3).to(device=device),
        lambda device: torch.ones(3).to(device, torch.float32, non_blocking=True),
        lambda device: torch.ones(3).cuda(0 if device == 0 else device),
        lambda device: torch.ones_like(torch.ones(3), device=device),
        lambda device: torch.zeros(1).new_ones(3, device=device),
        lambda device: nn.Parameter(torch.ones(3)).to(torch.device(device)),
        lambda device: nn.ParameterList([torch.ones(3)]).to(device)[0],
        lambda device: nn.LayerNorm(3, device=device).weight,
        lambda device: nn.LayerNorm(3).cuda().weight,
        lambda device: torch.as_tensor([1.0, 1.0, 1.0], device=device),
        lambda device: torch.full((3,), 1.0, device=torch.device(device)),
        lambda device: torch.asarray([1.0, 1.0, 1.0], device=device),
    ],
)
def test_says_cuda_and_is_remote(
    cuda: torch.device, make: Callable[[Any], torch.Tensor], name: str | int
) -> None:
    made = make(name)
    assert made.device == cuda
    assert (made.device.type, made.device.index, str(made.device)) == ("cuda", 0, "cuda:0")
    assert made.is_cuda
    assert made.is_remote
    assert made.get_device() == 0
    assert made.tolist() == [1, 1, 1]


def test_a_tensor_that_is_there_stays(cuda: torch.device) -> None:
    tensor = torch.ones(3, device="cuda")
    before = torch_remote.stats(cuda).operations
    assert tensor.to("cuda") is tensor
    assert tensor.to("cuda:0") is tensor
    assert tensor.to(0) is tensor
    assert tensor.cuda() is tensor
    assert tensor.cuda(0) is tensor
    assert torch_remote.stats(cuda).operations == before


def test_devices_are_compared_and_written_as_cuda(cuda: torch.device) -> None:
    assert torch.device("cuda:0") == torch.device("cuda", 0) == torch.device(0) == cuda
    assert torch.device("cuda") != cuda  # as with CUDA: it has no index
    assert repr(cuda) == "device(type='cuda', index=0)"
    assert repr(torch.device("cuda")) == "device(type='cuda')"
    assert torch.device(str(cuda)) == cuda
    assert f"{torch.ones(1, device='cuda')}" == "tensor([1.], device='cuda:0')"
    assert hash(torch.device("cuda:0")) == hash(cuda)
    assert isinstance(cuda, torch.device)
    assert str(torch.device("cpu")) == "cpu"
    assert torch.device("cpu").index is None
    assert repr(torch.device("meta")) == "device(type='meta')"
    # A device of another machine keeps its own name.
    assert str(torch.device("remote", 0)) == "remote:0"
    assert torch.device("remote", 0).type == "remote"


@pytest.mark.usefixtures("cuda")
def test_a_device_that_is_not_there() -> None:
    for use in (
        lambda: torch.zeros(1, device="cuda:1"),
        lambda: torch.zeros(1).to("cuda:3"),
        lambda: torch.cuda.set_device(1),
        lambda: torch.cuda.get_device_name("cuda:1"),
    ):
        with pytest.raises(RuntimeError, match="invalid device ordinal: there is no cuda"):
            use()
    with pytest.raises(RuntimeError):
        torch.zeros(1, device=torch.device("cuda:1"))
    assert str(torch.device("cuda:7")) == "cuda:7"


def test_all_names_come_back(make_emulator: Callable[..., torch.device]) -> None:
    def names() -> dict[str, Any]:
        owners = [
            torch,
            torch.Tensor,
            torch.cuda,
            torch.cuda.memory,
            torch.backends.cuda,
            torch.nn.Module,
        ]
        owners += [
            torch.version,
            torch._C._nn,
            torch.profiler,
            torch.nn.DataParallel,
            torch.UntypedStorage,
        ]
        owners += [torch.cuda.nvtx, torch.accelerator, torch.autograd.profiler.profile]
        return {f"{owner}.{name}": value for owner in owners for name, value in vars(owner).items()}

    torch.nn.Linear(1, 1)
    before = names()
    device = make_emulator("T4")
    types = [torch.device("cpu"), device, torch.device("cuda")]
    shown = [repr(one) for one in types]
    current = torch.remote.current_device()
    replaced = torch_remote.replace_cuda(device)
    assert torch.cuda.is_available()
    assert replaced.devices == (device,)
    tensor = torch.ones(2, device="cuda")
    replaced.undo()
    replaced.undo()
    after = names()
    assert {name for name in before if before[name] is not after.get(name)} == set()
    assert set(after) == set(before)
    assert [repr(one) for one in types] == shown
    assert tensor.device.type == "remote"
    assert tensor.sum().item() == 2
    assert not tensor.is_cuda
    assert not torch.cuda.is_available()
    assert torch.remote.current_device() == current
    with pytest.raises(AssertionError, match="not compiled with CUDA"):
        torch.zeros(1, device="cuda")


def test_only_once_at_a_time(cuda: torch.device) -> None:
    with pytest.raises(RuntimeError, match="replaced"):
        torch_remote.replace_cuda(cuda)
    assert torch.cuda.is_available()


def test_an_unknown_device_changes_nothing() -> None:
    with pytest.raises(ValueError, match="expected a remote device"):
        torch_remote.replace_cuda("cpu")
    assert not torch.cuda.is_available()


def test_several_devices_of_one_machine(make_emulator: Callable[..., torch.device]) -> None:
    make_emulator("T4")
    first = make_emulator("T4", gpu_count=2)
    second = torch_remote.machine(first).devices[1]
    with torch_remote.replace_cuda(second) as replaced:
        assert torch.cuda.device_count() == 2
        assert replaced.devices == (first, second)
        assert torch.cuda.current_device() == 1
        assert torch.ones(1, device="cuda").device == second
        assert torch.ones(1, device="cuda:0").device == first
        assert torch.ones(1).to(0).device == first
        with torch.cuda.device(0):
            assert torch.ones(1, device="cuda").device == first
            assert torch.cuda.current_device() == 0
            assert torch.accelerator.current_device_index() == 0
        torch.cuda.set_device("cuda:0")
        assert torch.ones(1).cuda().get_device() == 0
        with torch.cuda.device_of(torch.ones(1, device="cuda:1")):
            assert torch.cuda.current_device() == 1
        torch.accelerator.set_device_index(1)
        assert torch.cuda.current_device() == 1
        assert len(torch.cuda.get_rng_state_all()) == 2
        assert torch.cuda.current_stream("cuda:0").device == first
        assert torch.cuda.Stream(0).device == first
        with pytest.raises(NotImplementedError, match="device_ids"):
            nn.DataParallel(nn.Linear(1, 1).cuda())


@pytest.mark.filterwarnings("ignore:torch.set_default_tensor_type")
def test_old_types(cuda: torch.device) -> None:
    made = torch.cuda.FloatTensor(2, 3)
    assert (made.shape, made.dtype, made.device) == ((2, 3), torch.float32, cuda)
    assert made.type() == "torch.cuda.FloatTensor"
    assert isinstance(made, torch.cuda.FloatTensor)
    assert not isinstance(made.cpu(), torch.cuda.FloatTensor)
    assert not isinstance(made, torch.cuda.LongTensor)
    assert torch.cuda.LongTensor([1, 2]).tolist() == [1, 2]
    assert torch.ones(2).type(torch.cuda.HalfTensor).type() == "torch.cuda.HalfTensor"
    assert torch.ones(2).type("torch.cuda.DoubleTensor").dtype == torch.float64
    assert made.type(torch.int32).dtype == torch.int32
    torch.set_default_tensor_type("torch.cuda.FloatTensor")
    assert torch.ones(1).is_cuda
    torch.set_default_tensor_type(torch.FloatTensor)
    assert torch.ones(1).device.type == "cpu"


def test_default_device(cuda: torch.device) -> None:
    with torch.device("cuda"):
        assert torch.ones(2).device == cuda
        assert nn.Linear(2, 2).weight.device == cuda
    torch.set_default_device("cuda")
    try:
        assert torch.rand(2).is_cuda
        assert torch.get_default_device() == cuda
    finally:
        torch.set_default_device(None)
    assert torch.rand(2).device.type == "cpu"


@pytest.mark.usefixtures("cuda")
@pytest.mark.parametrize(
    ("map_location", "expected"),
    [
        (None, "cuda:0"),
        ("cpu", "cpu"),
        ("cuda", "cuda:0"),
        ("cuda:0", "cuda:0"),
        (torch.device("cuda"), "cuda:0"),
        ({"cuda:0": "cpu"}, "cpu"),
        (lambda storage, _: storage.cuda(0), "cuda:0"),
        (lambda storage, _: storage, "cpu"),
    ],
)
def test_saved_files_say_cuda(map_location: Any, expected: str) -> None:
    file = io.BytesIO()
    torch.save({"weight": torch.arange(3.0, device="cuda")}, file)
    file.seek(0)
    loaded = torch.load(file, map_location=map_location)["weight"]
    assert str(loaded.device) == expected
    assert loaded.tolist() == [0, 1, 2]
    assert b"cuda:0" in file.getvalue()


def test_copies_and_pickles(cuda: torch.device) -> None:
    tensor = torch.ones(2, device="cuda")
    assert copy.deepcopy(tensor).device == cuda
    assert pickle.loads(pickle.dumps(tensor)).device == cuda
    text = pickle.dumps(cuda)
    assert b"cuda" in text
    assert pickle.loads(text) == cuda
    assert pickle.loads(pickle.dumps(torch.device("cpu"))) == torch.device("cpu")
    assert copy.deepcopy(torch.device("cuda")) == torch.device("cuda")


@pytest.mark.usefixtures("cuda")
def test_addresses_are_refused() -> None:
    tensor = torch.ones(2, device="cuda")
    assert not hasattr(tensor, "__cuda_array_interface__")
    with pytest.raises(BufferError, match="no memory in this process"):
        tensor.__dlpack__()
    with pytest.raises(TypeError, match="cpu"):
        tensor.numpy()


@pytest.mark.usefixtures("cuda")
def test_torchscript_knows_the_factories() -> None:
    @torch.jit.script
    def made(like: torch.Tensor) -> torch.Tensor:
        return torch.zeros(3, device=like.device) + torch.ones(3, device=like.device)

    assert made(torch.ones(1, device="cuda")).tolist() == [1, 1, 1]


def test_other_threads_see_the_names(cuda: torch.device) -> None:
    seen: list[torch.device] = []

    def look() -> None:
        torch.cuda.set_device(0)
        seen.append(torch.ones(1, device="cuda").device)

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [cuda]


def test_compiler() -> None:
    """In a process of its own: the compiler asks once, when it is imported."""
    done = run_python(
        """
        import torch, torch_remote
        with torch_remote.replace_cuda(torch_remote.emulate("T4")):
            def function(x):
                return torch.zeros(3, device="cuda") + x.to("cuda") * 2
            print(torch.compile(function)(torch.ones(3, device="cuda")).tolist())
            print(torch.compile(function, backend="aot_eager", fullgraph=True)(torch.ones(3).cuda()).tolist())
        """
    )
    assert done.stdout.split("\n")[:2] == ["[2.0, 2.0, 2.0]"] * 2, done.stderr


def test_nothing_is_changed_without_it() -> None:
    """`import torch_remote` leaves CUDA's names alone."""
    printed = output_of(
        """
        import torch
        before = (torch.zeros, torch.cuda.is_available, torch.Tensor.to, torch.Tensor.cuda, torch.device("cuda").type)
        import torch_remote, sys
        device = torch_remote.emulate("T4")
        after = (torch.zeros, torch.cuda.is_available, torch.Tensor.to, torch.Tensor.cuda, torch.device("cuda").type)
        print(before == after, "torch_remote._cuda_names.factories" in sys.modules, device)
        """
    )
    assert printed == "True False remote:0"
