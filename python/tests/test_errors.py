# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a new user runs into: one clear Python exception each, and the session goes on where it can."""

import inspect
import re
from collections.abc import Callable

import pytest
import torch
import torch_remote
from comparing import assert_same
from programs import output_of, run_python

HERE = re.escape(__file__)


def line() -> int:
    """The caller's line."""
    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    return frame.f_back.f_lineno


# ---- arguments that don't fit: at the call, before anything is sent ----

MISFITS: dict[str, tuple[Callable[[torch.device], object], type[Exception], str]] = {
    "matmul": (
        lambda d: torch.ones(2, 3, device=d) @ torch.ones(2, 3, device=d),
        RuntimeError,
        r"mat1 and mat2 shapes cannot be multiplied \(2x3 and 2x3\)",
    ),
    "add": (
        lambda d: torch.ones(2, 3, device=d) + torch.ones(4, device=d),
        RuntimeError,
        r"The size of tensor a \(3\) must match the size of tensor b \(4\)",
    ),
    "cat": (
        lambda d: torch.cat([torch.ones(2, 3, device=d), torch.ones(2, 4, device=d)]),
        RuntimeError,
        "Sizes of tensors must match",
    ),
    "view": (
        lambda d: torch.ones(6, device=d).view(4),
        RuntimeError,
        "shape '\\[4\\]' is invalid for input of size 6",
    ),
    "linear": (
        lambda d: torch.nn.Linear(3, 4, device=d)(torch.ones(2, 5, device=d)),
        RuntimeError,
        "shapes cannot be multiplied",
    ),
    "conv": (
        lambda d: torch.nn.Conv2d(3, 4, 3, device=d)(torch.ones(1, 2, 8, 8, device=d)),
        RuntimeError,
        r"expected input\[1, 2, 8, 8\] to have 3 channels",
    ),
    "dtypes": (
        lambda d: torch.ones(2, 2, device=d) @ torch.ones(2, 2, dtype=torch.float64, device=d),
        RuntimeError,
        r"expected m1 and m2 to have the same dtype, but got: float != double",
    ),
    "dimension": (lambda d: torch.ones(2, device=d).sum(3), IndexError, "Dimension out of range"),
    "index": (lambda d: torch.ones(2, device=d)[5], IndexError, "index 5 is out of bounds"),
    "index_dtype": (
        lambda d: torch.ones(2, device=d)[torch.ones(2, device=d)],
        IndexError,
        "tensors used as indices must be",
    ),
    "softmax_of_integers": (
        lambda d: torch.ones(2, dtype=torch.int64, device=d).mean(),
        RuntimeError,
        "could not infer output dtype|floating point or complex",
    ),
    "reshape_of_stride": (
        lambda d: torch.ones(2, 3, device=d).t().view(6),
        RuntimeError,
        "view size is not compatible",
    ),
    "sparse": (
        lambda d: torch.ones(2, 2, device=d).to_sparse().exp(),
        NotImplementedError,
        "(?i)sparse",
    ),
}


@pytest.mark.parametrize("name", MISFITS)
def test_arguments_that_do_not_fit(device: torch.device, name: str) -> None:
    function, kind, message = MISFITS[name]
    with pytest.raises(kind, match=message):
        function(device)
    assert (torch.ones(2, device=device) + 1).tolist() == [2, 2]


MIXTURES: dict[str, Callable[[torch.Tensor, torch.Tensor], object]] = {
    "add": lambda a, b: a + b,
    "matmul": lambda a, b: a @ b,
    "cat": lambda a, b: torch.cat([a, b]),
    "linear": lambda a, b: torch.nn.functional.linear(a, b),
    "in_place": lambda a, b: a.add_(b),
    "where": lambda a, b: torch.where(a > 0, a, b),
}


@pytest.mark.parametrize("name", MIXTURES)
def test_tensors_on_different_devices(emulator: torch.device, tcp: torch.device, name: str) -> None:
    places = {
        "cpu": torch.ones(2, 2),
        "one": torch.ones(2, 2, device=emulator),
        "other": torch.ones(2, 2, device=tcp),
    }
    for first, a in places.items():
        for second, b in places.items():
            if first == second:
                continue
            with pytest.raises(RuntimeError, match=r"same device") as raised:
                MIXTURES[name](a, b)
            for place in (a.device, b.device):
                assert str(place) in str(raised.value)


def test_unknown_operator_of_a_library(tcp: torch.device) -> None:
    # This process defines it; the executor's does not.
    with torch.library._scoped_library("torch_remote_test", "DEF") as library:
        library.define("twice(Tensor x) -> Tensor")
        library.impl("twice", lambda x: torch.empty_like(x), "Meta")
        x = torch.ones(2, device=tcp)
        y = torch.ops.torch_remote_test.twice(x)
        expected_line = line() - 1
        with pytest.raises(
            NotImplementedError, match=r"no operator torch_remote_test::twice"
        ) as raised:
            y.cpu()
        assert f"{__file__}:{expected_line}" in str(raised.value)
        assert (x + 1).tolist() == [2, 2]


def test_operator_without_a_kernel(device: torch.device) -> None:
    with torch.library._scoped_library("torch_remote_test", "DEF") as library:
        library.define("nothing(Tensor x) -> Tensor")
        x = torch.ones(2, device=device)
        with pytest.raises(NotImplementedError, match="torch_remote_test::nothing"):
            torch.ops.torch_remote_test.nothing(x)
    # Another operator of the same name.
    with torch.library._scoped_library("torch_remote_test", "DEF") as library:
        library.define("nothing(Tensor x, int count) -> Tensor")
        with pytest.raises(NotImplementedError, match="torch_remote_test::nothing"):
            torch.ops.torch_remote_test.nothing(x, 2)


# ---- names and indices ----


@pytest.mark.parametrize(
    ("name", "nearest"), [("A100-80", "A100-80GB"), ("H1000", "H100"), ("L400", "L40S")]
)
def test_gpu_type_did_you_mean(name: str, nearest: str) -> None:
    with pytest.raises(ValueError, match=f"{name}.*mean.*{nearest}"):
        torch_remote.emulate(name)


def test_unknown_gpu_type_names_all() -> None:
    with pytest.raises(ValueError, match="Voodoo2") as raised:
        torch_remote.emulate("Voodoo2")
    assert all(name in str(raised.value) for name in torch_remote.GPU_TYPES)


@pytest.mark.parametrize("count", [-1, 5000])
def test_thread_count_out_of_range(count: int) -> None:
    with pytest.raises(ValueError, match=f"num_threads is {count}"):
        torch_remote.emulate("T4", num_threads=count)


def test_device_index_out_of_range(emulator: torch.device) -> None:
    count = torch.remote.device_count()
    assert count <= 15
    nowhere = torch.device("remote", 15)
    for attempt in (
        lambda: torch.ones(2, device=nowhere),
        lambda: torch.empty(2, device=nowhere),
        lambda: torch.ones(2).to(nowhere),
        lambda: torch.ones(2, device=emulator).to(nowhere),
    ):
        with pytest.raises(RuntimeError, match=r"there is no device remote:15"):
            attempt()
    for attempt in (
        lambda: torch.remote.synchronize(nowhere),
        lambda: torch_remote.stats(nowhere),
        lambda: torch_remote.machine(15),
        lambda: torch.remote.set_device(15),
        lambda: torch_remote.stats("cpu"),
    ):
        with pytest.raises(ValueError, match=r"remote"):
            attempt()


def test_no_device_says_how_to_make_one() -> None:
    program = """
        import torch, torch_remote
        torch.remote.synchronize()  # PyTorch does it before there is any; nothing is to be waited for
        for attempt in (lambda: torch.ones(2, device="remote"), lambda: torch.ones(2).to("remote:0")):
            try:
                attempt()
            except (RuntimeError, ValueError) as error:
                print("torch_remote.emulate" in str(error))
    """
    assert output_of(program).split() == ["True"] * 2


# ---- operations that fail on the executor ----


def failing(device: torch.device) -> tuple[torch.Tensor, int]:
    """A result that no executor can compute, and the line of the call."""
    matrix = -torch.eye(2, device=device)
    return torch.linalg.cholesky_ex(matrix, check_errors=True)[0], line()


def test_failure_comes_at_the_read_with_the_line(device: torch.device) -> None:
    failed, called_at = failing(device)
    with pytest.raises(torch.linalg.LinAlgError, match="not positive-definite") as raised:
        failed.cpu()
    assert "linalg_cholesky" in str(raised.value)
    assert str(device) in str(raised.value)
    assert f"{__file__}:{called_at} in failing" in str(raised.value)
    # It has been told: no synchronize tells it again, while the result stays what it is.
    torch.remote.synchronize(device)
    with pytest.raises(torch.linalg.LinAlgError, match="not positive-definite"):
        failed.sum().item()
    torch.remote.synchronize(device)


def test_failure_comes_at_synchronize_once(device: torch.device) -> None:
    failed, called_at = failing(device)
    with pytest.raises(torch.linalg.LinAlgError, match=f"{HERE}:{called_at}"):
        torch.remote.synchronize(device)
    torch.remote.synchronize(device)
    del failed


def test_failure_of_an_operation_whose_result_is_dropped(device: torch.device) -> None:
    failing(device)
    with pytest.raises(torch.linalg.LinAlgError, match="not positive-definite"):
        torch.remote.synchronize(device)


def test_what_does_not_depend_on_a_failure_goes_on(device: torch.device) -> None:
    x = torch.ones(2, 2, device=device)
    before = x + 1
    failed, called_at = failing(device)
    after = x + 2
    x.mul_(5)
    assert_same(before, torch.full((2, 2), 2.0))
    assert_same(after, torch.full((2, 2), 3.0))
    assert_same(x, torch.full((2, 2), 5.0))
    # What depends on it fails with the first reason, however far away.
    far = ((failed @ x).relu() + after).sum()
    for dependent in (far, failed.t(), failed + 1):
        with pytest.raises(torch.linalg.LinAlgError, match=f"{HERE}:{called_at}") as raised:
            dependent.tolist()
        assert "linalg_cholesky" in str(raised.value)
    torch.remote.synchronize(device)


def test_a_tensor_that_a_failed_operation_wrote_stays_failed_until_it_is_made_anew(
    device: torch.device,
) -> None:
    target = torch.zeros(3, device=device)
    target[torch.tensor([7], device=device)] = 1.0
    target.zero_()  # it is not known what it would have been
    with pytest.raises(IndexError, match="out of bounds"):
        target.cpu()
    target = torch.zeros(3, device=device)
    assert target.tolist() == [0, 0, 0]
    torch.remote.synchronize(device)


def test_several_failures_are_told_one_after_the_other_or_once(device: torch.device) -> None:
    first, first_line = failing(device)
    second = torch.ones(3, device=device).index_select(0, torch.tensor([9], device=device))
    with pytest.raises(RuntimeError, match=f"{HERE}:{first_line}"):
        torch.remote.synchronize(device)
    torch.remote.synchronize(device)
    with pytest.raises(IndexError, match=r"out of range|out of bounds"):
        second.cpu()
    with pytest.raises(torch.linalg.LinAlgError, match=f"{HERE}:{first_line}"):
        first.cpu()


def test_failure_in_the_backward_pass_and_in_a_loop(device: torch.device) -> None:
    leaf = torch.eye(2, device=device, requires_grad=True)
    for i in range(5):
        torch.linalg.cholesky_ex(leaf * (1.0 if i != 3 else -1.0), check_errors=True)[
            0
        ].sum().backward()
    with pytest.raises(
        torch.linalg.LinAlgError, match=r"test_failure_in_the_backward_pass_and_in_a_loop"
    ):
        torch.remote.synchronize(device)


def test_line_is_the_users_not_the_librarys(device: torch.device) -> None:
    embedding = torch.nn.Embedding(3, 2, device=device)
    failed = embedding(torch.tensor([5], device=device))
    called_at = line() - 1
    with pytest.raises(
        IndexError, match=f"{HERE}:{called_at} in test_line_is_the_users_not_the_librarys"
    ):
        failed.cpu()


def test_unread_failure_is_told_at_the_stop(make_emulator: Callable[..., torch.device]) -> None:
    device = make_emulator()
    failing(device)
    torch.ones(1, device=device).item()
    with pytest.warns(
        UserWarning,
        match="nothing read its result: aten::linalg_cholesky_ex.*|not positive-definite",
    ):
        torch_remote.machine(device).stop()


def test_synchronous_mode_raises_at_the_line() -> None:
    program = """
        import torch, torch_remote
        device = torch_remote.emulate("T4")
        matrix = -torch.eye(2, device=device)
        try:
            torch.linalg.cholesky_ex(matrix, check_errors=True)
            print("no error")
        except torch.linalg.LinAlgError as error:
            print("at the line" if "<string>:6" in str(error) else error)
        torch.remote.synchronize(device)
        print(torch.ones(2, device=device).sum().item())
    """
    assert output_of(program, variables={"TORCH_REMOTE_SYNC": "1"}).split("\n") == [
        "at the line",
        "2.0",
    ]


def test_executor_that_disagrees_about_a_result() -> None:
    """A shape function that is wrong is an error of that operation, not of the session."""
    program = """
        import torch, torch_remote
        library = torch.library.Library("aten", "IMPL")
        library.impl("_cdist_forward", lambda a, b, p, mode: torch.empty(7, device="meta"), "Meta")
        device = torch_remote.emulate("T4")
        a = torch.randn(3, 2, device=device)
        wrong = torch.cdist(a, a)
        try:
            wrong.cpu()
        except RuntimeError as error:
            print(str(error).split("\\n")[0])
        print((a - a).sum().item())
    """
    done = run_python(program)
    assert done.stdout.split("\n")[:2] == [
        "aten::_cdist_forward: the plan says that it returns Float of sizes [7], the executor's kernel returned "
        "Float of sizes [3, 3]",
        "0.0",
    ]


# ---- memory ----


def test_storage_limit_of_an_executor() -> None:
    with torch_remote.LocalExecutor(arguments=("--storage-limit", "1MiB")) as executor:
        device = torch_remote.connect(executor.endpoint, num_threads=1)
        x = torch.ones(1 << 17, device=device)
        for attempt in (
            lambda: torch.empty(1 << 20, device=device),
            lambda: torch.zeros(1 << 20).to(device),
            lambda: torch.cat([x, x, x]),
            lambda: x[:, None] + x,
            lambda: torch.ones(4, device=device).resize_(1 << 20),
        ):
            with pytest.raises(ValueError, match="--storage-limit"):
                attempt()
        assert x.sum().item() == 1 << 17
        assert torch_remote.stats(device).storages == 1
        torch_remote.machine(device).stop()


@pytest.mark.parametrize("where", ["in_process", "tcp"])
def test_out_of_memory_of_an_emulated_gpu(
    where: str, make_emulator: Callable[..., torch.device]
) -> None:
    executor = torch_remote.LocalExecutor(emulate="T4") if where == "tcp" else None
    device = make_emulator("T4") if executor is None else torch_remote.connect(executor.endpoint)
    kept = torch.ones(10, device=device)
    before = torch_remote.stats(device)
    with pytest.raises(torch.OutOfMemoryError, match=r"remote:\d+|CUDA out of memory"):
        torch.empty(20 << 30, dtype=torch.uint8, device=device)
    # Nothing is computed for the operation's result either.
    column, row = torch.empty(200_000, 1, device=device), torch.empty(1, 200_000, device=device)
    with pytest.raises(torch.OutOfMemoryError):
        column + row
    del column, row
    assert torch_remote.stats(device).allocated_bytes == before.allocated_bytes
    assert (kept + 1).sum().item() == 20
    torch_remote.machine(device).stop()
    if executor is not None:
        executor.stop()


def test_freed_memory_can_be_used_again(make_emulator: Callable[..., torch.device]) -> None:
    device = make_emulator("T4")
    for _ in range(3):
        x = torch.empty(10 << 30, dtype=torch.uint8, device=device)
        with pytest.raises(torch.OutOfMemoryError):
            torch.empty(10 << 30, dtype=torch.uint8, device=device)
        del x
