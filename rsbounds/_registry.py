"""What is registered under which name, here and in other people's packages.

A registry maps a name to ``"module:attribute"``. The module is imported only when the
name is asked for, so that `import rsbounds` stays fast. Other packages add their own
through an entry point of the registry's group, in the same form. A name that is taken stays
with whoever has it: the library first, then the package that is found first.
"""

from __future__ import annotations

import importlib
import inspect
import warnings
from collections.abc import Iterator
from dataclasses import is_dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

T = TypeVar("T")

#: Packages whose members are the library's own.
_OWN = ("rsbounds", "rsbounds_torch")


def attribute(target: str) -> Any:
    """What ``"module:attribute"`` names; the module is imported."""
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)


class Registry(Generic[T]):
    """A table of names, each with its entry or with the place to import the entry from.

    Parameters
    ----------
    kind : str
        What the entries are, for error messages ("margin method").
    group : str
        Entry-point group that other packages use ("rsbounds.margin_bounds").
    checks : str, optional
        ``"module:attribute"`` of the contract: a function that gives the checks of an entry, as
        those of `rsbounds.testing.contracts` do.
    """

    def __init__(self, kind: str, group: str, checks: str | None = None) -> None:
        self.kind = kind
        self.group = group
        self.checks = checks
        self._points: dict[str, EntryPoint] = {}
        self._targets: dict[str, str] = {}
        self._loaded: dict[str, T] = {}
        self._found = False
        self._base: type[Any] | None = None
        self._needed: tuple[str, ...] = ()
        self._instances = False

    def require(self, base: type[Any], *needed: str, instances: bool = False) -> None:
        """Entries must be dataclasses below ``base`` that declare ``needed`` themselves.

        ``instances`` asks for objects of that class instead.
        """
        self._base, self._needed, self._instances = base, needed, instances

    def _check(self, name: str, entry: Any) -> None:
        if self._base is None:
            return
        if self._instances:
            if not isinstance(entry, self._base):
                raise ValueError(
                    f"{self.kind} {name!r} is {entry!r}; allowed: a {self._base.__name__}"
                )
            return
        if not (inspect.isclass(entry) and issubclass(entry, self._base)):
            raise ValueError(
                f"{self.kind} {name!r} is {entry!r}; allowed: a class below {self._base.__name__}"
            )
        missing = [
            needed
            for needed in self._needed
            if getattr(entry, needed, None) is getattr(self._base, needed, None)
        ]
        if missing or inspect.isabstract(entry):
            missing += sorted(getattr(entry, "__abstractmethods__", ()))
            raise ValueError(
                f"{self.kind} {name!r} ({entry.__name__}) does not declare {', '.join(missing)}; "
                f"allowed: a class with {', '.join(self._needed)}"
            )
        if not is_dataclass(entry):
            raise ValueError(
                f"{self.kind} {name!r} ({entry.__name__}) is no dataclass; allowed: a frozen "
                "dataclass, whose fields are the options"
            )
        own = getattr(entry, "name", None)
        if "name" in self._needed and own != name:
            raise ValueError(f"{self.kind} {name!r} has the name {own!r}; allowed: one name")

    def register(self, name: str, target: str | T) -> None:
        """Add ``name``: an object, or ``"module:attribute"`` to be imported on first use."""
        if name in self._targets or name in self._loaded:
            raise ValueError(f"{self.kind} {name!r} is registered already; allowed: a new name")
        if isinstance(target, str):
            if target.count(":") != 1:
                raise ValueError(f"target is {target!r}; allowed: 'module:attribute'")
            self._targets[name] = target
        else:
            self._check(name, target)
            self._loaded[name] = target

    def _discover(self) -> None:
        if not self._found:
            self._found = True
            for point in entry_points(group=self.group):
                if point.name not in self._targets and point.name not in self._loaded:
                    self._targets[point.name] = point.value
                    self._points[point.name] = point
                    continue
                known = self._targets.get(point.name, f"{self._loaded.get(point.name)!r}")
                # One package may be found twice, by two entries of the path.
                if known != point.value:
                    warnings.warn(
                        f"{self.kind} {point.name!r} is {known} ({self.origin(point.name)}) and, "
                        f"in another package ({_package(point)}), {point.value}; the first is used",
                        RuntimeWarning,
                        stacklevel=3,
                    )

    def origin(self, name: str) -> str:
        """Where an entry comes from: "built in", "package 1.0", or the module that registered it.

        Parameters
        ----------
        name : str
            A registered name; its module is not imported.

        Returns
        -------
        str

        Raises
        ------
        ValueError
            No entry has this name.
        """
        if name in self._targets:
            module = self._targets[name].partition(":")[0]
        elif name in self._loaded:
            entry = self._loaded[name]
            module = getattr(entry, "__module__", None) or type(entry).__module__
        else:
            raise ValueError(f"{self.kind} is {name!r}; known: {', '.join(self.names())}")
        # By the code it runs, not by who announces it: our own packages announce by entry points.
        if module.partition(".")[0] in _OWN:
            return "built in"
        point = self._points.get(name)
        return f"registered by {module}" if point is None else _package(point)

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
            target = self._targets[name]
            try:
                entry = attribute(target)
            except (Exception, SystemExit) as error:
                # SystemExit: a script that somebody announced must not end the program around it.
                said = " ".join(str(error).split())
                whose = f" of {_package(self._points[name])}" if name in self._points else ""
                raise ValueError(
                    f"{self.kind} {name!r} cannot be loaded from {target}{whose} "
                    f"({type(error).__name__}: {said})"
                ) from error
            self._check(name, entry)
            self._loaded[name] = entry
        return self._loaded[name]

    def refuse_impostor(self, member: Any) -> None:
        """Raise ValueError where an object has the name of an entry but is not one.

        Results say by which method they were made, in that name, and are made again by it.
        """
        name = getattr(member, "name", None)
        if not isinstance(name, str) or not name:
            raise ValueError(
                f"{self.kind} is {type(member).__name__}, whose name is {name!r}; allowed: a text"
            )
        if name in self and self[name] is not type(member):
            raise ValueError(
                f"{self.kind} is {type(member).__name__}, with the name {name!r} of another "
                f"({self.origin(name)}); allowed: a name of its own"
            )

    def working(self) -> list[str]:
        """The names whose entries load; each of the others is left out with a warning."""
        good = []
        for name in self.names():
            try:
                self[name]
            except ValueError as error:
                warnings.warn(f"left out: {error}", RuntimeWarning, stacklevel=2)
            else:
                good.append(name)
        return good


def _package(point: EntryPoint) -> str:
    """Name and version of the package that announces an entry point."""
    found = point.dist
    if found is None or not found.name:
        return f"module {point.module}"
    return f"{found.name} {found.version}"
