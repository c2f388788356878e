# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""The pytest plugin: `pytest --remote=T4` runs a suite on an emulated GPU.

A package of its own, because pytest imports it in every run of an environment: torch and torch_remote are
imported where they are asked for.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    import torch

_HELP = "run on a remote device: an emulated GPU such as T4 or my_gpu.toml, an executor's tcp://..., or PROVIDER:TYPE"


def pytest_addoption(parser: pytest.Parser) -> None:
    """--remote and --remote-cuda, and the same for the configuration file."""
    group = parser.getgroup("torch-remote")
    group.addoption("--remote", metavar="DEVICE", help=_HELP)
    group.addoption(
        "--remote-cuda",
        action="store_true",
        default=None,
        help='"cuda" in tests and in what they test means the device of --remote',
    )
    parser.addini("remote", f"{_HELP} (as --remote)", default="")
    parser.addini("remote_cuda", "as --remote-cuda", type="bool", default=False)


def pytest_configure(config: pytest.Config) -> None:
    """Registers the marks and, where a device is asked for, the plugin that has one."""
    for mark in (
        "max_host_reads(count): the test fails if it reads values of the remote device more often",
        'max_memory(size): the test fails if tensors on the remote device take more, such as "2GiB"',
    ):
        config.addinivalue_line("markers", mark)
    wanted = config.getoption("--remote") or config.getini("remote")
    is_cuda = config.getoption("--remote-cuda")
    if is_cuda is None:
        is_cuda = config.getini("remote_cuda")
    if wanted:
        config.pluginmanager.register(_Remote(str(wanted), bool(is_cuda)), "torch_remote_device")
    elif is_cuda:
        raise pytest.UsageError('--remote-cuda needs --remote: which device is "cuda" to be?')


@pytest.fixture
def remote_device(request: pytest.FixtureRequest) -> torch.device:
    """The device of --remote; without that option the test is skipped.

    All tests share it. What a test leaves undone counts as that test's: it ends in a synchronize,
    which raises the failures that nothing has read.
    """
    plugin: _Remote | None = request.config.pluginmanager.get_plugin("torch_remote_device")
    if plugin is None:
        pytest.skip("needs a remote device: run pytest with --remote=T4")
    return plugin.device


class _Remote:
    """The session's device, made when it begins: whether there is CUDA is asked while tests are collected."""

    def __init__(self, wanted: str, is_cuda: bool) -> None:
        self._wanted = wanted
        self._is_cuda = is_cuda
        self._made: torch.device | None = None
        self._replaced: Any = None

    @property
    def device(self) -> torch.device:
        assert self._made is not None
        return self._made

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self) -> None:
        try:
            self._made = _make(self._wanted)
        except (ValueError, LookupError, OSError, RuntimeError) as error:
            raise pytest.UsageError(f"--remote={self._wanted}: {error}") from None
        if self._is_cuda:
            import torch_remote

            self._replaced = torch_remote.replace_cuda(self._made)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        if self._replaced is not None:
            self._replaced.undo()
        if self._made is not None:
            import torch_remote

            torch_remote.machine(self._made).stop()
        self._made = self._replaced = None

    def pytest_report_header(self) -> str:
        cuda = ', as "cuda" too' if self._is_cuda else ""
        return f"torch-remote: {self._wanted}{cuda}"

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """The marks' limits, and the test's own failures."""
        from torch_remote import remote

        with contextlib.ExitStack() as limits:
            for limit in self._limits(item):
                limits.enter_context(limit)
            result = yield
        remote.synchronize(self.device)
        return result

    def _limits(self, item: pytest.Item) -> Iterator[Any]:
        from torch_remote.testing import max_host_reads, max_memory

        for name, limit in (("max_memory", max_memory), ("max_host_reads", max_host_reads)):
            mark = item.get_closest_marker(name)
            if mark is None:
                continue
            if len(mark.args) != 1 or mark.kwargs:
                raise pytest.UsageError(f"the mark {name} takes one argument")
            yield limit(mark.args[0], self.device)


def _make(wanted: str) -> torch.device:
    import torch_remote

    if "://" in wanted:
        return torch_remote.connect(wanted)
    provider, colon, gpu_type = wanted.partition(":")
    if colon:
        return torch_remote.create_device(provider, gpu_type)
    return torch_remote.emulate(wanted)
