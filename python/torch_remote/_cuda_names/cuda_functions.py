# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""The functions of torch.cuda.

Each public name of torch.cuda is in one of four ways: torch.remote has it; it is written here, since only CUDA has
it; it is PyTorch's own and works; or it is refused, with one sentence that says what instead. So nothing answers
"Torch not compiled with CUDA enabled".
"""

import functools
import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import Any, NoReturn

import torch

from torch_remote import memory, remote
from torch_remote._cuda_names.arguments import checked_ordinal, named_device
from torch_remote._cuda_names.patches import Patches
from torch_remote._loading import ensure_loaded
from torch_remote._names import is_remote, remote_index
from torch_remote._streams import Event, Stream, StreamContext

#: What PyTorch's wheels for CUDA have machine code for: those of 2.11 to 2.13, with CUDA 13.0.
_ARCHITECTURES = ("sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120")

_GRAPHS = "a remote device has no CUDA graphs; without them the program computes the same"
_SENSORS = "a remote device has no sensors to ask"
_ADDRESSES = "a remote device gives no addresses or handles to this process"
_REFUSED = {
    "CUDAGraph": _GRAPHS,
    "graph": _GRAPHS,
    "make_graphed_callables": _GRAPHS,
    "graph_pool_handle": _GRAPHS,
    "GreenContext": "a remote device's multiprocessors can't be divided",
    "MemPool": "a remote device has one pool of memory",
    "use_mem_pool": "a remote device has one pool of memory",
    "CUDAPluggableAllocator": "the allocator is the executor's",
    "change_current_allocator": "the allocator is the executor's",
    "current_blas_handle": _ADDRESSES,
    "current_solver_handle": _ADDRESSES,
    "cudart": _ADDRESSES,
    "ExternalStream": _ADDRESSES,
    "get_stream_from_external": _ADDRESSES,
    "clock_rate": _SENSORS,
    "power_draw": _SENSORS,
    "temperature": _SENSORS,
    "utilization": _SENSORS,
    "list_gpu_processes": "a remote device's other users can't be seen from here",
}
# PyTorch's own, which work as they are: classes of errors, modules, and what asks only for other functions.
_OWN = frozenset(
    [
        "CudaError",
        "DeferredCudaCallError",
        "cudaStatus",
        "check_error",
        "default_generators",  # replaced below, being no function
        "has_half",
        "has_magma",
    ]
)


def install(patches: Patches, indices: list[int]) -> None:
    """Replaces the functions, in torch.cuda and wherever its parts have the same ones."""
    made = _own_functions(len(indices))
    names = [*torch.cuda.__all__, *(name for name in made if name not in torch.cuda.__all__)]
    for name in names:
        original = getattr(torch.cuda, name, None)
        if name in made:
            replacement = made[name]
        elif name in _OWN or isinstance(original, ModuleType) or _is_old_type(name):
            continue
        elif callable(getattr(remote, name, None)):
            replacement = _on_device(getattr(remote, name))
        else:
            replacement = _refusing(name, _REFUSED.get(name, "a remote device doesn't have it yet"))
        _replace_everywhere(patches, name, original, replacement)
    # Its history and snapshots begin with a line and are used by many.
    for name in vars(torch.cuda.memory):
        function = vars(memory).get(name)
        if name.startswith("_") and inspect.isfunction(function):
            patches.set(torch.cuda.memory, name, _on_device(function))
    patches.set(torch.cuda, "default_generators", _DefaultGenerators(len(indices)))
    patches.set(torch.cuda, "_initialized", True)
    _silence(patches, torch.cuda.nvtx, _NVTX)
    _silence(patches, torch.cuda.profiler, {"start": None, "stop": None})


def _is_old_type(name: str) -> bool:
    """torch.cuda.FloatTensor and the like are tensors.py's; typed storages are PyTorch's and deprecated."""
    return name.endswith(("Tensor", "Storage"))


def _replace_everywhere(patches: Patches, name: str, original: Any, replacement: Any) -> None:
    patches.set(torch.cuda, name, replacement)
    if original is None:
        return
    for part in ("memory", "random", "streams", "graphs", "green_contexts", "_utils"):
        module = sys.modules.get(f"torch.cuda.{part}")
        if module is not None and vars(module).get(name) is original:
            patches.set(module, name, replacement)


def _on_device(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of torch.remote, called with CUDA's numbers of devices."""
    if inspect.isclass(function):
        return function
    parameters = list(inspect.signature(function).parameters)
    if "device" not in parameters:
        return function
    place = parameters.index("device")

    @functools.wraps(function)
    def wrapper(*arguments: Any, **options: Any) -> Any:
        if len(arguments) > place:
            before, after = arguments[:place], arguments[place + 1 :]
            arguments = (*before, _checked(arguments[place]), *after)
        elif "device" in options:
            options["device"] = _checked(options["device"])
        elif parameters[place] == "device":
            default = inspect.signature(function).parameters["device"].default
            if default == "remote":  # as CUDA's default is "cuda", the current device
                options["device"] = None
        return function(*arguments, **options)

    return wrapper


def _checked(device: Any) -> Any:
    """A device argument of torch.cuda's functions as torch.remote takes it: a number of its own, or None."""
    found = named_device(device)
    if not isinstance(found, torch.device):
        return found
    if not is_remote(found):
        raise ValueError(f"Expected a cuda device, but got: {found}")
    return remote_index(checked_ordinal(found))


def _index(device: Any) -> int:
    index = _checked(device)
    return remote.current_device() if index is None else int(index)


def _refusing(name: str, why: str) -> Any:
    class Refused:
        """Raises, whether it is called as a function or made as an object."""

        def __new__(cls, *_: Any, **__: Any) -> NoReturn:
            raise NotImplementedError(f"torch.cuda.{name}: {why}")

    Refused.__name__ = Refused.__qualname__ = name
    Refused.__module__ = "torch.cuda"
    return Refused


def _silence(patches: Patches, module: ModuleType, answers: dict[str, Any]) -> None:
    """Functions that only mark a place for other tools."""
    for name, answer in answers.items():
        patches.wrap(module, name, functools.partial(_answering, answer))


def _answering(answer: Any, _: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *_, **__: answer


#: The depth that range_push and range_pop give is of no use without a tool that looks.
_NVTX = {"mark": None, "range_push": 0, "range_pop": 0, "range_start": 0, "range_end": None}


# ---- what only CUDA has ----


def _own_functions(count: int) -> dict[str, Any]:
    """By their names in torch.cuda, for so many devices."""
    return {
        "Event": Event,
        "Stream": _CudaStream,
        "StreamContext": StreamContext,
        "can_device_access_peer": lambda device, peer_device: _index(device) == _index(peer_device),
        "caching_allocator_enable": lambda value=True: _only(
            value, True, "caching_allocator_enable"
        ),
        "current_device": lambda: _shown(remote.current_device()),
        "device": _CudaDevice,
        "device_count": lambda: count,
        "device_memory_used": _device_memory_used,
        "device_of": _CudaDeviceOf,
        "get_arch_list": lambda: list(_ARCHITECTURES),
        "get_gencode_flags": lambda: " ".join(
            f"-gencode compute={one.replace('sm', 'compute')},code={one}" for one in _ARCHITECTURES
        ),
        "get_rng_state_all": lambda: [torch.cuda.get_rng_state(index) for index in range(count)],
        "get_sync_debug_mode": lambda: 0,
        "init": remote.init,
        "initial_seed": remote.initial_seed,
        "ipc_collect": lambda: None,
        "is_available": lambda: True,
        "is_bf16_supported": remote.is_bf16_supported,
        "is_current_stream_capturing": lambda: False,
        "is_initialized": lambda: True,
        "is_tf32_supported": remote.is_tf32_supported,
        "set_device": _set_device,
        "set_rng_state_all": _set_rng_state_all,
        "set_sync_debug_mode": lambda debug_mode: _only(
            {"default": 0}.get(debug_mode, debug_mode), 0, "set_sync_debug_mode"
        ),
        "_get_generator": lambda device: ensure_loaded().default_generator(_index(device)),
        "_exchange_device": lambda device: _shown(ensure_loaded().exchange_device(_index(device))),
        "_is_in_bad_fork": remote._is_in_bad_fork,
        "_lazy_call": lambda function, **_: function(),
        "_lazy_init": remote._lazy_init,
        "_maybe_exchange_device": lambda device: (
            torch.cuda.current_device() if device < 0 else torch.cuda._exchange_device(device)
        ),
        "_sleep": _refusing("_sleep", "a remote device isn't made to wait"),
    }


def _shown(index: int) -> int:
    """CUDA's number of a device of torch.remote."""
    return int(torch.device("remote", index).index)


def _set_device(device: Any) -> None:
    index = device if isinstance(device, int) else None
    if index is None or index >= 0:  # as CUDA: a negative one changes nothing
        remote.set_device(_index(device))


def _device_memory_used(device: Any = None) -> int:
    free, total = remote.mem_get_info(_checked(device))
    return total - free


def _set_rng_state_all(new_states: Sequence[torch.Tensor]) -> None:
    for index, state in enumerate(new_states):
        torch.cuda.set_rng_state(state, index)


def _only(value: Any, known: Any, name: str) -> None:
    if value != known:
        raise NotImplementedError(
            f"torch.cuda.{name}({value!r}): a remote device has only {known!r}"
        )


class _CudaStreamType(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, Stream)


class _CudaStream(Stream, metaclass=_CudaStreamType):
    """torch.cuda.Stream: torch.remote's, made with CUDA's numbers of devices."""

    def __new__(cls, device: Any = None, priority: int = 0, **numbers: Any) -> Stream:  # type: ignore[misc]
        if "stream_ptr" in numbers:
            raise NotImplementedError(f"torch.cuda.Stream(stream_ptr=...): {_ADDRESSES}")
        if numbers:
            return Stream(**numbers)
        return Stream(_checked(device), priority)

    @staticmethod
    def priority_range() -> tuple[int, int]:
        """The lowest and the highest priority, as CUDA's GPUs have them."""
        return 0, -5


class _CudaDevice(remote.device):
    """torch.cuda.device: None and negative numbers change nothing."""

    def __init__(self, device: Any) -> None:
        unchanged = device is None or (isinstance(device, int) and device < 0)
        super().__init__(remote.current_device() if unchanged else _index(device))


class _CudaDeviceOf(_CudaDevice):
    """torch.cuda.device_of: the device of a tensor or a storage."""

    def __init__(self, obj: Any) -> None:
        super().__init__(obj.device if is_remote(obj.device) else -1)


class _DefaultGenerators(Sequence[torch.Generator]):
    """torch.cuda.default_generators."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return tuple(self)[index]
        if not -self._count <= index < self._count:
            raise IndexError(index)
        return torch.cuda._get_generator(torch.device("cuda", index % self._count))

    def __iter__(self) -> Iterator[torch.Generator]:
        return (self[index] for index in range(self._count))
