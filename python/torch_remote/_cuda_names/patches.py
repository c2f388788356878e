# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Changes of modules and classes that can be taken back."""

from collections.abc import Callable, MutableMapping
from typing import Any


class Patches:
    """What was changed, in order."""

    def __init__(self) -> None:
        self._undoing: list[Callable[[], None]] = []
        self._ended = False

    @property
    def ended(self) -> bool:
        """Whether all was taken back, so that nothing more may be changed."""
        return self._ended

    def set(self, owner: Any, name: str, value: Any) -> None:
        """Sets an attribute of a module or class; inherited ones come back by themselves."""
        own = vars(owner)
        if name in own:
            before = own[name]
            self._undoing.append(lambda: setattr(owner, name, before))
        elif isinstance(owner, type):
            self._undoing.append(lambda: delattr(owner, name))
        else:  # a module-like object whose class computes its attributes
            before = getattr(owner, name)
            self._undoing.append(lambda: setattr(owner, name, before))
        setattr(owner, name, value)

    def add(self, owner: Any, name: str, value: Any) -> None:
        """Sets an attribute that wasn't there."""
        self._undoing.append(lambda: delattr(owner, name))
        setattr(owner, name, value)

    def wrap(self, owner: Any, name: str, wrapper: Callable[[Any], Any]) -> None:
        """Sets an attribute to what wrapper makes of it; does nothing where this torch has none."""
        if hasattr(owner, name):
            self.set(owner, name, wrapper(getattr(owner, name)))

    def item(self, mapping: MutableMapping[Any, Any], key: Any, value: Any) -> None:
        """Sets an item of a dictionary."""
        if key in mapping:
            before = mapping[key]
            self._undoing.append(lambda: mapping.__setitem__(key, before))
        else:
            self._undoing.append(lambda: mapping.pop(key, None))
        mapping[key] = value

    def element(self, sequence: list[Any], index: int, value: Any) -> None:
        """Sets an element of a list."""
        before = sequence[index]
        self._undoing.append(lambda: sequence.__setitem__(index, before))
        sequence[index] = value

    def undo(self) -> None:
        """Takes everything back, the last change first."""
        self._ended = True
        while self._undoing:
            self._undoing.pop()()
