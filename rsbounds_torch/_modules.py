"""The modules behind a callable, and their modes while they are evaluated.

A function around a module keeps it in a closure, a global, an argument of a partial, the object
of a bound method. `find_modules` looks there; `notice_modules` sees those that are called from
somewhere else. `evaluating` puts all of them in eval mode and, after the last of the threads
that evaluate them, back.
"""

from __future__ import annotations

import dis
import functools
import sys
import threading
import types
import weakref
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch.nn import Module

#: Objects looked at, and entries of one container: a closure may hold a whole data set.
_OBJECTS, _ENTRIES = 10_000, 1000
#: Attributes that every module has and that need no look: they hold no modules, or those that
#: `modules()` lists anyway.
_BOOKKEEPING = frozenset(vars(Module())) - {"_forward_hooks", "_forward_pre_hooks"}
_LEAVES = (
    type(None), bool, int, float, complex, str, bytes, torch.Tensor, torch.dtype, torch.device,
    np.ndarray, np.generic,
)  # fmt: skip
#: Instructions that read a global variable.
_GLOBAL_NAMES = ("LOAD_GLOBAL", "LOAD_NAME")
#: Packages whose functions call nothing of the user's by its global name.
_LIBRARIES = frozenset({"builtins", "functools", "numpy", "scipy", "torch", "torchvision"}) | (
    sys.stdlib_module_names
)


def find_modules(*objects: Any) -> list[Module]:
    """The outermost modules that the objects are, hold or name, in the order they are met.

    Looked at are closures, defaults, globals that a function names, decorated functions,
    partials, bound methods, attributes and containers (so also modules in a plain list, which
    `Module.modules` leaves out).
    """
    search = _Search()
    for given in objects:
        search.run(given)
    inner = {id(part) for root in search.found for part in islice(root.modules(), 1, None)}
    return [root for root in search.found if id(root) not in inner]


class _Search:
    """Breadth first, so that what is closest to the callable comes first."""

    def __init__(self) -> None:
        self.found: list[Module] = []
        self._seen: set[int] = set()
        # Pairs of an object and the names used by the code through which it was reached.
        self._queue: deque[tuple[Any, frozenset[str]]] = deque()

    def run(self, given: Any) -> None:
        self._push(given)
        while self._queue and len(self._seen) < _OBJECTS:
            self._look(*self._queue.popleft())

    def _push(self, value: Any, names: frozenset[str] = frozenset()) -> None:
        if not isinstance(value, _LEAVES) and id(value) not in self._seen:
            self._seen.add(id(value))
            self._queue.append((value, names))

    def _look(self, value: Any, names: frozenset[str]) -> None:
        if isinstance(value, Module):
            self.found.append(value)
            for part in value.modules():
                self._seen.add(id(part))
                self._attributes(part, names)
        elif isinstance(value, types.FunctionType):
            self._function(value)
        elif isinstance(value, types.MethodType):
            self._push(value.__self__, frozenset({value.__name__}))
            self._push(value.__func__)
        elif isinstance(value, functools.partial):
            for part in (value.func, *value.args, *value.keywords.values()):
                self._push(part)
        elif isinstance(value, (types.ModuleType, type)):
            if value.__name__.split(".")[0] not in _LIBRARIES:
                self._named(vars(value), names)
        elif isinstance(value, Mapping):
            for part in islice(value.values(), _ENTRIES):
                self._push(part, names)
        elif isinstance(value, (list, tuple, set, frozenset, deque)):
            for part in islice(value, _ENTRIES):
                self._push(part, names)
        elif isinstance(value, (staticmethod, classmethod)):
            self._push(value.__func__)
        elif isinstance(value, weakref.ref):
            self._push(value(), names)
        else:
            self._attributes(value, names)

    def _function(self, function: types.FunctionType) -> None:
        names = _names(function.__code__)
        for cell in function.__closure__ or ():
            try:
                self._push(cell.cell_contents, names)
            except ValueError:  # not filled yet
                continue
        for part in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
            self._push(part, names)
        self._push(getattr(function, "__wrapped__", None))
        if str(function.__globals__.get("__name__")).split(".")[0] not in _LIBRARIES:
            # Attributes may be called like a global that has nothing to do with them.
            named = _names(function.__code__, global_only=True)
            self._named(function.__globals__, names, named)

    def _named(
        self, space: Mapping[str, Any], names: frozenset[str], among: frozenset[str] | None = None
    ) -> None:
        for name in names if among is None else among:
            if name in space:
                self._push(space[name], names)

    def _attributes(self, value: Any, names: frozenset[str]) -> None:
        """What an object holds, and what its methods that are used name."""
        if isinstance(value, torch.jit.ScriptModule):
            return
        skipped = _BOOKKEEPING if isinstance(value, Module) else ()
        for name, part in getattr(value, "__dict__", {}).items():
            if name not in skipped:
                self._push(part, names)
        self._push(getattr(value, "__wrapped__", None))
        used = names | {"__call__", "forward"}
        for kind in type(value).__mro__:
            if kind.__module__.split(".")[0] in _LIBRARIES:
                continue
            self._named(vars(kind), used)
            for name in getattr(kind, "__slots__", ()):
                self._push(getattr(value, name, None), names)
            # Methods that these call; their functions are looked at with the rest.
            for name in used & vars(kind).keys():
                if isinstance(vars(kind)[name], types.FunctionType):
                    self._named(vars(kind), _names(vars(kind)[name].__code__))


def _names(code: types.CodeType, global_only: bool = False) -> frozenset[str]:
    """Globals and attributes that code uses, with the functions inside it."""
    names = set(code.co_names)
    if global_only:
        names = {i.argval for i in dis.get_instructions(code) if i.opname in _GLOBAL_NAMES}
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= _names(constant, global_only)
    return frozenset(names)


# -- modes -----------------------------------------------------------------------------------


@dataclass
class _Held:
    module: Module
    training: bool
    users: int = 0


_LOCK = threading.RLock()
#: Modules in evaluation, of all threads: the first saves the mode, the last puts it back.
_HELD: dict[int, _Held] = {}


@contextmanager
def evaluating(roots: list[Module]) -> Iterator[list[Module]]:
    """Eval mode for modules, whoever else evaluates them; gives those whose mode it holds."""
    # A frozen TorchScript module has no mode.
    modules = {id(m): m for root in roots for m in root.modules() if hasattr(m, "training")}
    with _LOCK:
        for key, module in modules.items():
            _HELD.setdefault(key, _Held(module, module.training)).users += 1
        try:
            for root in roots:
                _switch(root)
        except BaseException:
            _release(list(modules))
            raise
    try:
        yield [module for module in modules.values() if not module.training]
    finally:
        with _LOCK:
            _release(list(modules))


def _switch(root: Module) -> None:
    if not any(getattr(module, "training", False) for module in root.modules()):
        return
    try:
        root.eval()
    except NotImplementedError:
        # An exported program has one fixed mode; modules around it still have to be switched.
        for module in root.modules():
            if not isinstance(module, torch.fx.GraphModule):
                module.training = False


def _release(keys: list[int]) -> None:
    """One user less; the last puts the modes back."""
    finished = []
    for key in keys:
        held = _HELD[key]
        held.users -= 1
        if held.users == 0:
            finished.append(_HELD.pop(key))
    for held in finished:
        # A `train` of its own may do more than set the mode.
        own = type(held.module).train is not Module.train
        script = isinstance(held.module, torch.jit.ScriptModule)
        if own and not script and held.training and not held.module.training:
            held.module.train(True)
    for held in finished:
        if held.module.training != held.training:
            held.module.training = held.training


@contextmanager
def notice_modules(known: list[Module]) -> Iterator[list[Module]]:
    """Modules that this thread calls and that are not part of the known ones, as they are met.

    Each is put in eval mode before it computes, and back at the end.
    """
    ids = {id(module) for root in known for module in root.modules()}
    thread = threading.get_ident()
    met: list[Module] = []
    with ExitStack() as stack:

        def before(module: Module, _: Any) -> None:
            if threading.get_ident() == thread and id(module) not in ids:
                met.append(module)
                ids.update(id(part) for part in module.modules())
                stack.enter_context(evaluating([module]))

        handle = torch.nn.modules.module.register_module_forward_pre_hook(before)
        try:
            yield met
        finally:
            handle.remove()
