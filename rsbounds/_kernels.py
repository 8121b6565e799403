# mypy: disable-error-code="attr-defined, call-overload, no-untyped-call, untyped-decorator"
# mypy: disable-error-code="import-untyped"
"""How kernels are compiled: on first use, without the interpreter lock, kept on disk.

numba links all that a function calls into its machine code and optimises the whole once more, so
a tail sum that ten others call is compiled eleven times. `kernel` does that: right for what is
small, and for what Python calls. What is not small is compiled `apart`: its callers hold the
address of a cell, with the address of the machine code or nothing yet. The first call that finds
nothing has it compiled, or loaded from disk: what is never called is never compiled.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import re
import traceback
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import config, from_dtype, njit, types
from numba.core.typing import signature
from numba.core.typing.templates import AbstractTemplate, infer_global
from numba.extending import lower_builtin
from numpy.typing import NDArray

F = TypeVar("F", bound=Callable[..., Any])

_ROOT = Path(__file__).parent
_IMPORT = re.compile(r"^\s*from (rsbounds[\w.]*) import (?:\(([^)]*)\)|([^\n(]*))", re.MULTILINE)


@functools.cache
def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8")


@functools.cache
def _imports(text: str) -> set[Path]:
    """Files of this package that a source text imports from."""
    found = set()
    for module, many, few in _IMPORT.findall(text):
        for name in ("", *re.findall(r"\w+", many or few)):
            parts = [*module.split(".")[1:], *([name] if name else [])]
            place = _ROOT.joinpath(*parts)
            found |= {place.with_suffix(".py")} if parts else set()
            found.add(place / "__init__.py")
    return {file for file in found if file.is_file()}


@functools.cache
def _sources(file: Path) -> str:
    """Hash of a file and of all that it imports from this package, directly or not."""
    texts: dict[Path, str] = {}
    waiting = {file}
    while waiting:
        one = waiting.pop()
        texts[one] = _text(one)
        waiting |= _imports(texts[one]) - texts.keys()
    joined = [(one.name, texts[one]) for one in sorted(texts)]
    return hashlib.sha256(repr(joined).encode()).hexdigest()


def _compiled(function: Callable[..., Any], use: str, **options: bool) -> Any:
    """A numba function: no interpreter lock, cached on disk, IEEE division, no fast math.

    numba's cache looks at the file of a function only, while compiled code holds what the
    function called in other files: after an upgrade it would run old arithmetic under new
    names. So the stamp that it compares is made to cover the files that its file imports; and
    its name says what the code is for, as its key does not.
    """
    compiled = njit(nogil=True, cache=True, error_model="numpy", **options)(function)
    cache = getattr(compiled, "_cache", None)
    if cache is not None:
        name = f"{cache._impl.filename_base}.{use}"
        stamp = _sources(Path(function.__code__.co_filename))
        cache._cache_file = type(cache._cache_file)(cache._cache_path, name, stamp)
    return compiled


def kernel(function: F) -> F:
    """Compile a kernel that Python calls; it is linked into kernels that call it."""
    return cast(F, _compiled(function, "python"))


def part(function: F) -> F:
    """Compile a kernel of a few lines, which is linked into each kernel that calls it."""
    if config.DISABLE_JIT:
        return function
    called, compiled = _from_python(function), _inner(function)
    # numba's type of it is a weak reference.
    vars(called)["compiled"] = compiled
    infer_global(called, types.Dispatcher(compiled))
    return cast(F, called)


def apart(function: F) -> F:
    """Compile a kernel by itself, for the types of its annotations, when it is first called.

    Arrays have one axis and are C-contiguous; records are named tuples, or structured dtypes.
    """
    if config.DISABLE_JIT:
        return function
    called = _from_python(function)
    unit = _Apart(function)

    class Template(AbstractTemplate):
        key = called

        def generic(self, arguments: Any, names: Any) -> Any:
            return None if names else unit.signature

    infer_global(called, types.Function(Template))
    lower_builtin(called, types.VarArg(types.Any))(unit.lower_call)
    return cast(F, called)


def records(size: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Records that kernels read and write by name, compiled or not."""
    new = np.empty(size, dtype)
    return new.view(np.recarray) if config.DISABLE_JIT else new


_ALLOCATING = {"empty", "zeros", "ones", "full", "copy", "arange"}


def _inner(function: Callable[..., Any]) -> Any:
    # Without what only Python callers need, nor memory management where nothing is allocated
    # (what allocates and is not in the list does not compile).
    allocates = not _ALLOCATING.isdisjoint(function.__code__.co_names)
    return _compiled(
        function,
        "kernels",
        no_cpython_wrapper=True,
        no_cfunc_wrapper=True,
        no_rewrites=True,
        _nrt=allocates,
    )


def _from_python(function: Callable[..., Any]) -> Callable[..., Any]:
    # For Python it is compiled once more, when Python first calls it.
    @functools.wraps(function)
    def called(*arguments: Any) -> Any:
        return entry()(*arguments)

    @functools.cache
    def entry() -> Any:
        return _compiled(function, "python")

    return called


#: What has a cell, by the cell's address. Never emptied: machine code holds these addresses.
_UNITS: dict[int, _Apart] = {}
_BYTES = ir.IntType(8).as_pointer()


class _Apart:
    """One function that is compiled apart, and the cell that its callers look into."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.compiled = _inner(function)
        self.cell = ctypes.c_void_p(None)
        address = ctypes.addressof(self.cell)
        _UNITS[address] = self
        self.symbol = f"{function.__module__}.{function.__qualname__}"
        llvm.add_symbol(self.symbol, address)

    @functools.cached_property
    def signature(self) -> Any:
        hints = typing.get_type_hints(self.function, include_extras=True)
        back = _type_of(hints.pop("return"))
        return signature(back, *(_type_of(hint) for hint in hints.values()))

    def load(self) -> None:
        """Compile, or read from disk, and fill the cell."""
        self.compiled.compile(self.signature.args)
        found = self.compiled.overloads[self.signature.args]
        if found.signature.return_type != self.signature.return_type:
            raise TypeError(f"{self.symbol} returns {found.signature}, not {self.signature}")
        name = found.fndesc.llvm_func_name
        self.cell.value = found.library.get_pointer_to_function(name)

    def lower_call(self, context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        """Write a call in a caller's code: by a function of its own that looks into the cell."""
        convention = context.call_conv
        kind = convention.get_function_type(sig.return_type, sig.args)
        jump = builder.module.globals.get(f"jump.{self.symbol}")
        if jump is None:
            jump = self._jump(convention, builder.module, kind)
        status, result = convention.call_function(
            builder, jump, sig.return_type, sig.args, arguments
        )
        with builder.if_then(status.is_error, likely=False):
            convention.return_status_propagate(builder, status)
        return result

    def _jump(self, convention: Any, module: Any, kind: Any) -> Any:
        jump = ir.Function(module, kind, f"jump.{self.symbol}")
        jump.linkage = "internal"
        cell = ir.GlobalVariable(module, _BYTES, self.symbol)
        builder = ir.IRBuilder(jump.append_basic_block())
        absent = builder.icmp_unsigned("==", builder.load(cell), ir.Constant(_BYTES, None))
        with builder.if_then(absent, likely=False):
            fill = module.globals.get(_FILL)
            if fill is None:
                fill = ir.Function(module, ir.FunctionType(ir.IntType(32), [_BYTES]), _FILL)
            failed = builder.call(fill, [builder.bitcast(cell, _BYTES)])
            for code, error, arguments in (
                (_STOPPED, KeyboardInterrupt, ()),
                (_FAILED, RuntimeError, (f"{self.symbol} could not be compiled",)),
            ):
                with builder.if_then(builder.icmp_signed("==", failed, failed.type(code))):
                    convention.return_user_exc(builder, error, arguments)
        target = builder.bitcast(builder.load(cell), kind.as_pointer())
        builder.ret(builder.call(target, jump.args, tail=True))
        return jump


_FILL = "rsbounds.fill"
_FILLED, _FAILED, _STOPPED = 0, 1, 2


@ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p)
def _fill(address: int) -> int:
    # Called from machine code, through which no exception passes.
    try:
        _UNITS[address].load()
        return _FILLED
    except KeyboardInterrupt:
        return _STOPPED
    except BaseException:  # Nothing else may get past: the cell is empty.
        traceback.print_exc()
        return _FAILED


llvm.add_symbol(_FILL, ctypes.cast(_fill, ctypes.c_void_p).value)

_SCALARS = {
    float: types.float64,
    int: types.int64,
    bool: types.boolean,
    np.float64: types.float64,
    np.int64: types.int64,
    type(None): types.none,
}


def _type_of(hint: Any) -> Any:
    """Numba's type of an annotation."""
    if hint in _SCALARS:
        return _SCALARS[hint]
    inside = typing.get_args(hint)
    if typing.get_origin(hint) is typing.Annotated:
        record = from_dtype(inside[1])
        is_array = typing.get_origin(inside[0]) is np.ndarray
        return types.Array(record, 1, "C") if is_array else record
    if typing.get_origin(hint) is np.ndarray:
        return types.Array(_type_of(typing.get_args(inside[1])[0]), 1, "C")
    if typing.get_origin(hint) is tuple:
        return types.Tuple([_type_of(part) for part in inside])
    fields = typing.get_type_hints(hint, include_extras=True)
    parts = [_type_of(fields[name]) for name in hint._fields]
    return types.BaseTuple.from_types(parts, hint)
