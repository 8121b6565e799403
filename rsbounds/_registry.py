"""What is registered under which name, here and in other people's packages.

A registry maps a name to ``"module:attribute"``. The module is imported only when the
name is asked for, so that `import rsbounds` stays fast. Other packages add their own
through an entry point of the registry's group, in the same form.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from importlib.metadata import entry_points
from typing import Generic, TypeVar

T = TypeVar("T")


class Registry(Generic[T]):
    """Names and where what they stand for is to be found.

    Parameters
    ----------
    kind : str
        What the entries are, for error messages ("margin method").
    group : str
        Entry-point group that other packages use ("rsbounds.margin_bounds").
    """

    def __init__(self, kind: str, group: str) -> None:
        self.kind = kind
        self.group = group
        self._targets: dict[str, str] = {}
        self._loaded: dict[str, T] = {}
        self._found = False

    def register(self, name: str, target: str | T) -> None:
        """Add ``name``: an object, or ``"module:attribute"`` to be imported on first use."""
        if name in self._targets or name in self._loaded:
            raise ValueError(f"{self.kind} {name!r} is registered already; allowed: a new name")
        if isinstance(target, str):
            if target.count(":") != 1:
                raise ValueError(f"target is {target!r}; allowed: 'module:attribute'")
            self._targets[name] = target
        else:
            self._loaded[name] = target

    def _discover(self) -> None:
        if not self._found:
            self._found = True
            for point in entry_points(group=self.group):
                if point.name not in self._targets and point.name not in self._loaded:
                    self._targets[point.name] = point.value

    def names(self) -> list[str]:
        """Every name, in the order of registration."""
        self._discover()
        return [*self._targets, *(name for name in self._loaded if name not in self._targets)]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __contains__(self, name: object) -> bool:
        return name in self.names()

    def __getitem__(self, name: str) -> T:
        if not isinstance(name, str) or name not in self.names():
            raise ValueError(f"{self.kind} is {name!r}; known: {', '.join(self.names())}")
        if name not in self._loaded:
            module, attribute = self._targets[name].split(":")
            self._loaded[name] = getattr(importlib.import_module(module), attribute)
        return self._loaded[name]
