"""Parameters of laws: checked numbers, their words and plain values, and both libraries' arrays."""

from __future__ import annotations

import base64
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rsbounds import _validate


def like(values: Any, base: Any) -> Any:
    """Numbers of a law as an array or tensor of ``base``'s library, type and device."""
    if hasattr(base, "new_tensor"):
        return base.new_tensor(np.asarray(values).tolist())
    return np.asarray(values, dtype=base.dtype)


def namespace(base: Any) -> Any:
    """The library of a base draw: numpy or torch, for the functions that they share."""
    return sys.modules[type(base).__module__.partition(".")[0]]


def parameter(name: str, value: Any) -> float | NDArray[np.float64]:
    """A number above zero, or a (B,) read-only array of them: one for each input."""
    if np.ndim(value) == 0:
        return _validate.positive(name, value)
    return positive_array(name, value, 1)


def one_number(name: str, value: float | NDArray[np.float64]) -> float:
    """The number of a law that has one set of parameters."""
    if isinstance(value, np.ndarray):
        raise ValueError(f"{name} is for {len(value)} inputs; allowed: the law of one (noise[i])")
    return value


def positive_array(name: str, value: Any, ndim: int | None = None) -> NDArray[np.float64]:
    """A read-only array of finite numbers above zero."""
    allowed = "finite numbers > 0"
    if ndim == 1:
        allowed = "a finite number > 0, or one for each input in a flat list"
    numbers = _numbers(name, value, None if ndim is None else (ndim,), allowed)
    return _fixed(name, numbers, (numbers > 0) & np.isfinite(numbers), allowed)


def finite_array(name: str, value: Any, ndim: tuple[int, ...]) -> NDArray[np.float64]:
    """A read-only array of finite numbers, of one of some numbers of dimensions."""
    allowed = f"finite numbers in {' or '.join(map(str, ndim))} dimensions"
    numbers = _numbers(name, value, ndim, allowed)
    return _fixed(name, numbers, np.isfinite(numbers), allowed)


def _numbers(
    name: str, value: Any, ndim: tuple[int, ...] | None, allowed: str
) -> NDArray[np.float64]:
    _validate.unmasked(name, value)
    array = np.asarray(value)
    wrong = ndim is not None and array.ndim not in ndim
    if array.dtype.kind not in "iuf" or array.size == 0 or wrong:
        shown = f"{value!r}" if array.size < 20 else f"of shape {array.shape}, type {array.dtype}"
        raise ValueError(f"{name} is {shown}; allowed: {allowed}")
    return np.array(array, dtype=np.float64)


def _fixed(
    name: str, numbers: NDArray[np.float64], good: NDArray[np.bool_], allowed: str
) -> NDArray[np.float64]:
    if not good.all():
        where = [int(i) for i in np.argwhere(~good)[0]]
        raise ValueError(f"{name}{where} is {numbers[tuple(where)]}; allowed: {allowed}")
    numbers.flags.writeable = False
    return numbers


def scale_factor(factor: Any, batch_shape: tuple[int, ...]) -> NDArray[np.float64]:
    """A number above zero, or (B,) of them; as many as a law has inputs, where it has several."""
    times = positive_array("factor", factor)
    if times.ndim > 1 or (times.ndim and batch_shape and times.shape != batch_shape):
        many = f"each of {batch_shape[0]} inputs" if batch_shape else "each input"
        raise ValueError(
            f"factor has shape {times.shape}; allowed: a number, or one for {many} in a flat list"
        )
    return times


def input_shape(shape: Any, numbers: int) -> tuple[int, ...]:
    """A shape of so many numbers, as a tuple; None is one dimension."""
    if shape is None:
        return (numbers,)
    try:
        sides = tuple(_validate.integer("shape", side, low=1) for side in shape)
    except TypeError:
        sides = ()
    if not sides or int(np.prod(sides)) != numbers:
        raise ValueError(f"shape is {shape!r}; allowed: the input's, of {numbers} numbers")
    return sides


def words(value: Any) -> str:
    """A parameter in a law's text."""
    if isinstance(value, np.ndarray):
        low, high = float(value.min()), float(value.max())
        return f"{low:g}..{high:g} of shape {value.shape}"
    # All digits: the text names the law in certificates and files.
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)


def spacing_words(spacing: float) -> str:
    """A lattice's spacing in a text: 1/2040 where it is the float of that."""
    below = round(1.0 / spacing) if spacing <= 0.5 else 1
    return f"1/{below}" if below > 1 and 1.0 / below == spacing else words(spacing)


def encoded(values: NDArray[np.float64], *, symmetric: bool = False) -> dict[str, Any]:
    """An array as plain values, without loss: base64 of its little-endian float64 bytes.

    Of symmetric matrices the rows up to the diagonal are written.
    """
    kept = values
    if symmetric:
        kept = values[..., *np.tril_indices(values.shape[-1])]
    raw = np.ascontiguousarray(kept, dtype="<f8").tobytes()
    plain = {"float64": base64.b64encode(raw).decode("ascii"), "shape": list(values.shape)}
    return {**plain, "symmetric": True} if symmetric else plain


def decoded(values: Mapping[str, Any]) -> NDArray[np.float64]:
    """The array that `encoded` wrote down; LookupError, TypeError or ValueError if it did not."""
    raw = np.frombuffer(base64.b64decode(values["float64"], validate=True), dtype="<f8")
    shape = values["shape"]
    if values.get("symmetric") is not True:
        return raw.reshape(shape).astype(np.float64)
    d = shape[-1]
    if shape[-2] != d or len(raw) * 2 != np.prod(shape[:-2], dtype=object) * d * (d + 1):
        raise ValueError(f"{len(raw)} numbers for symmetric matrices of shape {shape}")
    rows, columns = np.tril_indices(d)
    numbers = raw.reshape(*shape[:-2], len(rows))
    found = np.empty(shape)
    found[..., rows, columns] = numbers
    found[..., columns, rows] = numbers
    return found
