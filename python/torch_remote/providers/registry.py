# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Finding providers by name: those that come with torch-remote, and entry points of other packages."""

import difflib
import importlib
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points

from torch_remote.providers.interface import InProcessProvider, Provider, ProviderError

#: Of the entry points by which other packages add providers.
GROUP = "torch_remote.providers"

_Factory = Callable[[], Provider | InProcessProvider]

# Loaded when they are asked for: what a provider imports may be slow, or not installed.
_BUILT_IN = {
    "emulator": ("torch_remote.providers.emulator", "EmulatorProvider"),
    "local": ("torch_remote.providers.local", "LocalProvider"),
    "modal": ("torch_remote_modal", "ModalProvider"),
}
_added: dict[str, _Factory] = {}


def names() -> list[str]:
    """Of all providers that can be asked for; one of another package may turn out to be broken."""
    return sorted({*_BUILT_IN, *_added, *(point.name for point in _points())})


def add(name: str, factory: _Factory) -> None:
    """Adds a provider to this process alone; packages use an entry point instead.

    Raises:
        ValueError: one of that name comes with torch-remote.
    """
    if name in _BUILT_IN:
        raise ValueError(f"the provider {name!r} comes with torch-remote")
    _added[name] = factory


def find(name: str) -> Provider | InProcessProvider:
    """The provider of a name.

    Raises:
        ValueError: there is none; the message names the nearest.
        ProviderError: it is there and can't be loaded; the message is its own.
    """
    factory = _added.get(name) or _built_in(name) or _third_party(name)
    if factory is None:
        raise ValueError(_unknown(name))
    try:
        made = factory()
    except ProviderError:
        raise
    except Exception as error:
        raise ProviderError(
            f"the provider {name!r} can't be loaded: {type(error).__name__}: {error}",
            nothing_started=True,
        ) from error
    if not isinstance(made, Provider | InProcessProvider):
        raise ProviderError(
            f"the provider {name!r} is no torch_remote.providers.Provider, but {type(made).__name__}",
            nothing_started=True,
        )
    return made


def find_remote(name: str) -> Provider:
    """The same, for what only machines have. Raises ValueError for an in-process provider too."""
    found = find(name)
    if isinstance(found, InProcessProvider):
        raise ValueError(f"the provider {name!r} works in the process: it has no machines")
    return found


def _built_in(name: str) -> _Factory | None:
    if name not in _BUILT_IN:
        return None
    module, attribute = _BUILT_IN[name]

    def load() -> Provider | InProcessProvider:
        made: Provider | InProcessProvider = getattr(importlib.import_module(module), attribute)()
        return made

    return load


def _third_party(name: str) -> _Factory | None:
    for point in _points():
        if point.name == name:
            return _loading(point)
    return None


def _loading(point: EntryPoint) -> _Factory:
    def load() -> Provider | InProcessProvider:
        made: Provider | InProcessProvider = point.load()()
        return made

    return load


def _points() -> list[EntryPoint]:
    return list(entry_points(group=GROUP))


def _unknown(name: str) -> str:
    nearest = difflib.get_close_matches(name, names(), n=1)
    meant = f"did you mean {nearest[0]!r}? " if nearest else ""
    return f"there is no provider {name!r}; {meant}there are {', '.join(names())}"
