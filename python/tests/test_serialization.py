# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Saving, loading, copying and pickling; sending to another process is refused in words."""

import copy
import io
import pickle
from multiprocessing.reduction import ForkingPickler
from typing import Any

import pytest
import torch
import torch_remote
from programs import output_of
from torch import nn


def saved(thing: Any) -> io.BytesIO:
    buffer = io.BytesIO()
    torch.save(thing, buffer)
    buffer.seek(0)
    return buffer


def assert_same(actual: torch.Tensor, expected: torch.Tensor) -> None:
    assert (actual.dtype, actual.shape, actual.stride()) == (
        expected.dtype,
        expected.shape,
        expected.stride(),
    )
    assert torch.equal(actual.cpu(), expected.cpu())


DTYPES = (
    torch.float32,
    torch.float64,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.uint8,
    torch.bool,
    torch.complex64,
)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_save_and_load(device: torch.device, dtype: torch.dtype) -> None:
    tensor = torch.arange(6).view(2, 3).to(dtype).to(device)
    loaded = torch.load(saved(tensor))
    assert loaded.device == device
    assert_same(loaded, tensor)


def test_load_to_where_it_is_wanted(device: torch.device) -> None:
    tensor = torch.arange(6.0, device=device)
    here = torch.load(saved(tensor), map_location="cpu")
    assert here.device.type == "cpu"
    assert_same(here, tensor)
    for location in (device, str(device)):
        there = torch.load(saved(here), map_location=location)
        assert there.device == device
        assert_same(there, tensor)
    moved = torch.load(saved(tensor), map_location={str(device): "cpu"})
    assert moved.device.type == "cpu"
    with torch.remote.device(device):
        assert torch.load(saved(here), map_location="remote").device == device


def test_load_from_a_device_that_is_not_there(emulator: torch.device) -> None:
    file = saved(torch.arange(3.0, device=emulator))
    data = file.getvalue().replace(str(emulator).encode(), b"remote:9")
    with pytest.raises(RuntimeError, match=r"remote:9|map_location"):
        torch.load(io.BytesIO(data))
    assert torch.load(io.BytesIO(data), map_location="cpu").tolist() == [0, 1, 2]


def test_a_file_loads_where_the_package_is_not_used(emulator: torch.device, tmp_path: Any) -> None:
    path = tmp_path / "tensor.pt"
    torch.save({"weight": torch.arange(3.0, device=emulator)}, path)
    program = f"""
        import torch
        assert not hasattr(torch, "remote")
        print(torch.load({str(path)!r}, map_location="cpu")["weight"].tolist())
    """
    assert output_of(program, variables={"TORCH_DEVICE_BACKEND_AUTOLOAD": "0"}) == "[0.0, 1.0, 2.0]"


def test_views_share_a_storage_after_loading(device: torch.device) -> None:
    base = torch.arange(12.0, device=device).view(3, 4)
    loaded = torch.load(saved([base, base[1], base.t()]))
    assert_same(loaded[2], base.t())
    loaded[0].zero_()
    assert [part.count_nonzero().item() for part in loaded] == [0, 0, 0]


def test_a_view_is_saved_with_its_strides(device: torch.device) -> None:
    view = torch.arange(24.0, device=device).view(2, 3, 4)[:, 1:, ::2].transpose(0, 2)
    assert_same(torch.load(saved(view)), view)


def test_state_dict_of_a_model_and_its_optimizer(device: torch.device) -> None:
    def make() -> tuple[nn.Module, torch.optim.Optimizer]:
        model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 2)).to(device)
        return model, torch.optim.AdamW(model.parameters())

    def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        model(torch.arange(12.0, device=device).view(3, 4)).square().sum().backward()
        optimizer.step()

    model, optimizer = make()
    step(model, optimizer)
    file = saved({"model": model.state_dict(), "optimizer": optimizer.state_dict()})
    step(model, optimizer)
    for location in (None, "cpu"):
        file.seek(0)
        checkpoint = torch.load(file, map_location=location)
        again, optimizer_again = make()
        again.load_state_dict(checkpoint["model"])
        optimizer_again.load_state_dict(checkpoint["optimizer"])
        step(again, optimizer_again)
        for name, value in model.state_dict().items():
            assert_same(again.state_dict()[name], value)


def test_a_whole_module(device: torch.device) -> None:
    model = nn.Linear(3, 2).to(device)
    loaded = torch.load(saved(model), weights_only=False)
    assert_same(loaded.weight, model.weight)
    assert loaded.weight.requires_grad
    assert isinstance(loaded.weight, nn.Parameter)


def test_pickle(device: torch.device) -> None:
    tensor = torch.arange(6.0, device=device, requires_grad=True)
    loaded = pickle.loads(pickle.dumps(tensor))
    assert loaded.device == device
    assert loaded.requires_grad
    assert_same(loaded, tensor)


def test_deepcopy(device: torch.device) -> None:
    base = torch.arange(6.0, device=device)
    copied = copy.deepcopy(
        {"base": base, "view": base[2:], "parameter": nn.Parameter(base.clone())}
    )
    copied["base"].zero_()
    assert copied["view"].tolist() == [0, 0, 0, 0]
    assert base.tolist() == [0, 1, 2, 3, 4, 5]
    assert copied["parameter"].requires_grad
    assert isinstance(copied["parameter"], nn.Parameter)
    assert copied["parameter"].device == device


def test_deepcopy_of_a_module_is_independent(device: torch.device) -> None:
    model = nn.Linear(3, 2).to(device)
    model(torch.ones(1, 3, device=device)).sum().backward()
    copied = copy.deepcopy(model)
    with torch.no_grad():
        copied.weight.zero_()
    assert model.weight.count_nonzero().item() == 6
    assert copied.weight.grad is None  # as on CPU


def test_copy_is_the_same_storage(device: torch.device) -> None:
    tensor = torch.zeros(3, device=device)
    copy.copy(tensor).fill_(1)
    assert tensor.tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    "make",
    [
        lambda tensor: tensor,
        lambda tensor: nn.Parameter(tensor),
        lambda tensor: tensor.untyped_storage(),
        lambda tensor: {"batch": [tensor]},
        lambda tensor: nn.ParameterList([tensor]),
    ],
    ids=["tensor", "parameter", "storage", "container", "module"],
)
def test_sending_to_another_process_is_refused(emulator: torch.device, make: Any) -> None:
    with pytest.raises(
        RuntimeError, match=rf"{emulator} can't be sent to another process.*\.cpu\(\)"
    ):
        ForkingPickler.dumps(make(torch.ones(3, device=emulator)))


def test_sending_cpu_tensors_still_works() -> None:
    for thing in (
        torch.arange(3.0),
        nn.Parameter(torch.arange(3.0)),
        torch.arange(3.0).untyped_storage(),
    ):
        rebuilt = pickle.loads(ForkingPickler.dumps(thing))
        assert type(rebuilt) is type(thing)
        assert rebuilt.tolist() == thing.tolist()


def test_a_device_is_a_name_that_can_be_pickled(emulator: torch.device) -> None:
    assert pickle.loads(pickle.dumps(emulator)) == emulator


@pytest.mark.parametrize("dumps", [pickle.dumps, ForkingPickler.dumps], ids=["pickle", "send"])
def test_a_machine_can_not_be_pickled(emulator: torch.device, dumps: Any) -> None:
    with pytest.raises(TypeError, match="make the device in the other"):
        dumps(torch_remote.machine(emulator))


@pytest.mark.parametrize("weights_only", [True, False])
@pytest.mark.parametrize("mmap", [True, False])
def test_checkpoints_go_where_they_are_wanted(
    emulator: torch.device, tcp: torch.device, tmp_path: Any, weights_only: bool, mmap: bool
) -> None:
    path = tmp_path / "checkpoint.pt"
    base = torch.arange(60_000.0, device=emulator)
    torch.save({"base": base, "view": base[100:], "step": 3}, path)
    for location, where in (
        (None, emulator),
        (tcp, tcp),
        (str(tcp), tcp),
        ({str(emulator): str(tcp)}, tcp),
        ("cpu", torch.device("cpu")),
        (lambda storage, _: storage, torch.device("cpu")),
    ):
        loaded = torch.load(path, map_location=location, weights_only=weights_only, mmap=mmap)
        assert loaded["base"].device == loaded["view"].device == where
        assert loaded["step"] == 3
        assert_same(loaded["view"], base[100:])
        assert loaded["view"].untyped_storage().data_ptr() == (
            loaded["base"].untyped_storage().data_ptr()
        )


def test_the_older_format(device: torch.device, tmp_path: Any) -> None:
    path = tmp_path / "old.pt"
    tensor = torch.arange(6.0, device=device)
    torch.save({"weight": tensor}, path, _use_new_zipfile_serialization=False)
    assert_same(torch.load(path)["weight"], tensor)
    assert torch.load(path)["weight"].device == device
    assert torch.load(path, map_location="cpu")["weight"].device.type == "cpu"


def test_a_checkpoint_where_no_device_was_made(emulator: torch.device, tmp_path: Any) -> None:
    path = tmp_path / "tensor.pt"
    torch.save(torch.arange(3.0, device=emulator), path)
    program = f"""
        import torch, torch_remote
        try:
            torch.load({str(path)!r})
        except RuntimeError as error:
            assert "torch.remote.is_available() is False" in str(error), error
            assert "map_location" in str(error), error
        else:
            raise AssertionError
        print(torch.load({str(path)!r}, map_location="cpu").tolist())
        device = torch_remote.emulate("T4")
        print(torch.load({str(path)!r}, map_location=device).device)
    """
    assert output_of(program).split("\n") == ["[0.0, 1.0, 2.0]", "remote:0"]


@pytest.mark.parametrize(
    "share",
    [
        lambda tensor: tensor.share_memory_(),
        lambda tensor: tensor.untyped_storage().share_memory_(),
        lambda tensor: nn.ParameterList([tensor]).share_memory(),
        lambda tensor: torch.multiprocessing.get_context("spawn").SimpleQueue().put(tensor),
        lambda tensor: torch.multiprocessing.get_context("spawn").Pipe()[0].send([tensor]),
    ],
    ids=["tensor", "storage", "module", "queue", "pipe"],
)
def test_sharing_is_refused(emulator: torch.device, share: Any) -> None:
    tensor = torch.ones(3, device=emulator)
    with pytest.raises(
        RuntimeError, match=rf"{emulator} can't be sent to another process.*\.cpu\(\)"
    ):
        share(tensor)
    assert not tensor.is_shared()
    assert torch.ones(3).share_memory_().is_shared()
