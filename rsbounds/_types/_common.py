"""Words and helpers that the records share."""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields, is_dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

#: How sure a statement is. ``deterministic``: it holds by a theorem, without any chance of error.
#: ``proven``: its error probability is at most alpha by a theorem.
#: ``enumerated``: no proof is known; complete enumeration of small cases found no violation.
#: ``none``: the conditions of the theorem were not met (the top class was chosen from the
#: estimation counts themselves).
Guarantee = Literal["deterministic", "proven", "enumerated", "none"]
Scale = Literal["linear", "probit"]

#: What stands in an array of classes where a row abstained: the label of nothing. It is not -1,
#: which is a label in some data sets and a place in every array; as an index, or cast to a
#: smaller signed type, this stays out of the range of classes (each of its bytes is 0x80).
NO_CLASS = -0x7F7F7F7F7F7F7F80


def content_hash(values: NDArray[Any], kind: Literal["<i8", "<f8"] = "<i8") -> str:
    """SHA-256 of a table: its shape, and its entries as int64 (counts) or float64 (scores)."""
    total = hashlib.sha256(f"{kind} {values.shape}".encode())
    for start in range(0, len(values), 16384):
        total.update(np.ascontiguousarray(values[start : start + 16384], dtype=kind).tobytes())
    return total.hexdigest()


def plain_options(method: Any) -> dict[str, Any]:
    """The options of a method, which are its fields, as plain values that JSON can carry."""
    values = (
        {f.name: getattr(method, f.name) for f in fields(method)} if is_dataclass(method) else {}
    )
    plain: dict[str, Any] = json.loads(json.dumps(values, default=str))
    return plain


def frozen(values: NDArray[Any]) -> NDArray[Any]:
    view = values.view()
    view.flags.writeable = False
    return view


def pandas_package() -> Any:
    """The package pandas, which nothing else here needs."""
    try:
        import pandas
    except ImportError:
        raise ImportError("to_pandas needs pandas; install rsbounds[all]") from None
    return pandas
