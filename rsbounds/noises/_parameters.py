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


def positive_array(name: str, value: Any, ndim: int | None = None) -> NDArray[np.float64]:
    """A read-only array of finite numbers above zero."""
    allowed = "finite numbers > 0"
    if ndim == 1:
        allowed = "a finite number > 0, or one for each input in a flat list"
    _validate.unmasked(name, value)
    array = np.asarray(value)
    if array.dtype.kind not in "iuf" or array.size == 0 or ndim not in (None, array.ndim):
        raise ValueError(f"{name} is {value!r}; allowed: {allowed}")
    numbers = np.array(array, dtype=np.float64)
    bad = ~((numbers > 0) & np.isfinite(numbers))
    if bad.any():
        where = [int(i) for i in np.argwhere(bad)[0]]
        raise ValueError(f"{name}{where} is {numbers[tuple(where)]}; allowed: {allowed}")
    numbers.flags.writeable = False
    return numbers


def words(value: Any) -> str:
    """A parameter in a law's text."""
    if isinstance(value, np.ndarray):
        low, high = float(value.min()), float(value.max())
        return f"{low:g}..{high:g} of shape {value.shape}"
    # All digits: the text names the law in certificates and files.
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)


def encoded(values: NDArray[np.float64]) -> dict[str, Any]:
    """An array as plain values, without loss: base64 of its little-endian float64 bytes."""
    raw = np.ascontiguousarray(values, dtype="<f8").tobytes()
    return {"float64": base64.b64encode(raw).decode("ascii"), "shape": list(values.shape)}


def decoded(values: Mapping[str, Any]) -> NDArray[np.float64]:
    """The array that `encoded` wrote down; KeyError, TypeError or ValueError if it did not."""
    raw = base64.b64decode(values["float64"], validate=True)
    return np.frombuffer(raw, dtype="<f8").reshape(values["shape"]).astype(np.float64)
