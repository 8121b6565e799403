"""What goes in and what comes out: frozen records of arrays, one entry per input."""

from __future__ import annotations

import hashlib
import html
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from rsbounds import _tables, _text, _validate
from rsbounds._version import __version__

if TYPE_CHECKING:
    import pandas

#: How sure a statement is. ``proven``: its error probability is at most alpha by a theorem.
#: ``enumerated``: no proof is known; complete enumeration of small cases found no violation.
#: ``none``: the conditions of the theorem were not met (the top class was chosen from the
#: estimation counts themselves).
Guarantee = Literal["proven", "enumerated", "none"]
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


def _frozen(values: NDArray[Any]) -> NDArray[Any]:
    view = values.view()
    view.flags.writeable = False
    return view


def _pandas() -> Any:
    """The package pandas, which nothing else here needs."""
    try:
        import pandas
    except ImportError:
        raise ImportError("to_pandas needs pandas; install rsbounds[all]") from None
    return pandas


@dataclass(frozen=True, eq=False)
class Counts:
    """Votes of a classifier under noise, with where they came from.

    Attributes
    ----------
    values : (B, K) int64
        Votes for each of K classes at each of B inputs.
    role : {"select", "estimate"}
        ``select`` counts choose the top class; ``estimate`` counts bound its margin. The two
        come from independent noise streams.
    seed : int
        Seed of the noise streams.
    """

    values: NDArray[np.int64]
    role: Literal["select", "estimate"]
    seed: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", _frozen(self.values))

    @property
    def n(self) -> NDArray[np.int64]:
        """(B,) draws per input."""
        return np.asarray(self.values.sum(axis=1))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if dtype is not None and np.dtype(dtype) != self.values.dtype:
            return self.values.astype(dtype)
        return self.values.copy() if copy else self.values

    def __len__(self) -> int:
        return len(self.values)

    def __repr__(self) -> str:
        inputs, classes = self.values.shape
        return f"Counts({inputs} inputs, {classes} classes, {self.role}, seed {self.seed})"


@dataclass(frozen=True, eq=False)
class BoundedSamples:
    """Scores of a soft classifier under noise at one input.

    Attributes
    ----------
    values : (n, K) float64
        One row per draw.
    support : (float, float)
        Interval that contains every score.
    seed : int
        Seed of the noise streams.
    """

    values: NDArray[np.float64]
    support: tuple[float, float]
    seed: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", _frozen(self.values))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if dtype is not None and np.dtype(dtype) != self.values.dtype:
            return self.values.astype(dtype)
        return self.values.copy() if copy else self.values

    def __len__(self) -> int:
        return len(self.values)

    def __repr__(self) -> str:
        draws, classes = self.values.shape
        low, high = self.support
        return (
            f"BoundedSamples({draws} draws, {classes} classes, support [{low:g}, {high:g}], "
            f"seed {self.seed})"
        )


@dataclass(frozen=True, eq=False)
class Selection:
    """Top classes chosen from selection counts, which it remembers.

    Attributes
    ----------
    top : (B,) int64
        The class with most votes at each input (the lowest index on a tie).
    counts : (B, K) array
        The selection counts. They must not be the estimation counts: a bound computed from
        the counts that chose its class is not covered by any theorem here.
    independent : bool
        True where the caller vouches that the estimation counts are of another sample, even
        if they should be equal.
    """

    top: NDArray[np.int64]
    counts: NDArray[Any]
    independent: bool = False

    def __len__(self) -> int:
        return len(self.top)

    def __repr__(self) -> str:
        vouched = ", said to be independent" if self.independent else ""
        return f"Selection({len(self)} inputs{vouched})"


@dataclass(frozen=True)
class Prediction:
    """One row of `Predictions`; ``top`` is None where it abstained.

    ``candidate`` is None where a draw had no valid answer.
    """

    top: int | None
    candidate: int | None
    abstained: bool
    p_value: float
    alpha: float


@dataclass(frozen=True, eq=False)
class Predictions:
    """Answers of PREDICT: the class with most votes, or an abstention.

    ``predictions[3]`` is one `Prediction`; a slice, a mask or a list of rows gives `Predictions`.

    Attributes
    ----------
    candidate : (B,) int64
        Class with most votes; `rsbounds.NO_CLASS` where a draw had no valid answer.
    abstained : (B,) bool
        True where the two leading classes could not be told apart at level alpha.
    p_value : (B,) float64
        Two-sided p-value of the two leading counts, rounded up.
    alpha : float
        Probability of returning a class other than the smoothed classifier's answer.
    """

    candidate: NDArray[np.int64]
    abstained: NDArray[np.bool_]
    p_value: NDArray[np.float64]
    alpha: float

    @cached_property
    def top(self) -> NDArray[np.int64]:
        """(B,) the class returned; `rsbounds.NO_CLASS`, which equals no label, where abstained."""
        return _frozen(np.where(self.abstained, NO_CLASS, self.candidate))

    def __len__(self) -> int:
        return len(self.candidate)

    @overload
    def __getitem__(self, key: int) -> Prediction: ...

    @overload
    def __getitem__(self, key: slice | Sequence[int] | NDArray[Any]) -> Predictions: ...

    def __getitem__(self, key: Any) -> Prediction | Predictions:
        if not isinstance(key, (int, np.integer)):
            rows = (self.candidate[key], self.abstained[key], self.p_value[key])
            return Predictions(*rows, self.alpha)
        top, candidate = (
            None if c == NO_CLASS else int(c) for c in (self.top[key], self.candidate[key])
        )
        return Prediction(
            top, candidate, bool(self.abstained[key]), float(self.p_value[key]), self.alpha
        )

    def __iter__(self) -> Iterator[Prediction]:
        return (self[i] for i in range(len(self)))

    def to_pandas(self) -> pandas.DataFrame:
        """The rows as a data frame; ``top`` is missing (NaN equals no label) where one abstained.

        Needs pandas: install ``rsbounds[all]``.
        """
        columns = {
            "top": np.where(self.abstained, np.nan, self.candidate),
            "abstained": self.abstained,
            "p_value": self.p_value,
            "alpha": self.alpha,
        }
        return _pandas().DataFrame(columns)

    def __repr__(self) -> str:
        answered = int((~self.abstained).sum())
        return f"Predictions({len(self)} inputs, {answered} answered, alpha {self.alpha:g})"


@dataclass(frozen=True, eq=False)
class MarginBound:
    """Lower bounds on the margin between a top class and every other class.

    Attributes
    ----------
    lower : (B,) float64
        The bounds, on ``scale``; -1 (linear) or -inf (probit) where nothing is known.
    top, n : (B,) int64
        Class the bound is about, and draws it rests on.
    alpha : float
        Error probability of each row's statement.
    scale : {"linear", "probit"}
        p_A - p_c, or Phi^-1(p_A) - Phi^-1(p_c).
    method : str
        Registered name of the method.
    guarantee : {"proven", "enumerated", "none"}
        See `rsbounds.Guarantee`.
    solved : (B,) bool
        False where an inner solver could not prove its answer; the bound is then only as
        good as the solver.
    details : mapping of str to (B,) arrays
        What the method has to say besides, such as ``p_a_lower`` and ``p_b_upper``.
    options : mapping of str to plain values
        Options of the method.
    """

    lower: NDArray[np.float64]
    top: NDArray[np.int64]
    n: NDArray[np.int64]
    alpha: float
    scale: Scale
    method: str
    guarantee: Guarantee
    solved: NDArray[np.bool_]
    details: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.lower)

    def __repr__(self) -> str:
        return (
            f"MarginBound({len(self)} rows, {self.scale}, {self.method}, alpha {self.alpha:g}, "
            f"{self.guarantee})"
        )


@dataclass(frozen=True, eq=False)
class MeanBound:
    """Bounds on the mean of bounded samples; ``low, high = bound`` gives both ends.

    Attributes
    ----------
    lower, upper : (B,) float64
        The bounds; the end of the support on a side that was not asked for.
    side : {"lower", "upper", "both"}
        Which sides hold together at level alpha.
    n : (B,) int64
        Samples each bound rests on.
    alpha : float
        Error probability of the statement.
    support : (float, float)
        Interval that contains every sample.
    method : str
        Registered name of the method.
    guarantee : {"proven", "enumerated", "none"}
        See `rsbounds.Guarantee`.
    details : mapping of str to (B,) arrays
        ``two_point``: True where every sample is one of the two ends of the support.
    """

    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    side: Literal["lower", "upper", "both"]
    n: NDArray[np.int64]
    alpha: float
    support: tuple[float, float]
    method: str
    guarantee: Guarantee
    details: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def __iter__(self) -> Iterator[NDArray[np.float64]]:
        # A pair, and so without a length: that of the pair is not that of the columns.
        return iter((self.lower, self.upper))

    def __repr__(self) -> str:
        what = f"{self.n.size} means"
        if self.n.size == 1:
            what = f"[{_text.down(self.lower[0])}, {_text.up(self.upper[0])}]"
        return (
            f"MeanBound({what}, side {self.side}, {self.method}, alpha {self.alpha:g}, "
            f"{self.guarantee})"
        )


@dataclass(frozen=True)
class Certificate:
    """One row of `Certificates`; ``top`` is None where it abstained.

    ``candidate`` is None where there was no class to put to the test. ``class_name`` is the name
    of ``top`` where classes have names, ``id`` what identifies the row where something does.
    """

    index: int
    top: int | None
    radius: float
    certified: bool
    abstained: bool
    candidate: int | None
    margin_lower: float
    n: int
    alpha: float
    method: str
    guarantee: Guarantee
    solved: bool
    noise: str
    norm: str
    class_name: str | None = None
    id: str | None = None

    def __str__(self) -> str:
        who = f"input {self.index if self.id is None else self.id}"
        if self.abstained:
            return f"{who}: abstained"
        called = self.top if self.class_name is None else self.class_name
        return (
            f"{who}: class {called} within {self.norm} radius "
            f"{_text.down(self.radius)} ({self.method}, error probability {self.alpha:g})"
        )


@dataclass(frozen=True, eq=False, repr=False)
class Certificates:
    """Certified radii: with probability at least 1 - alpha, per row, no perturbation
    smaller than ``radius`` changes the smoothed classifier's answer ``top``.

    The arrays cannot be changed. ``(certificates.top == labels).mean()`` is the share of inputs
    certified with the right class: an abstention equals no label.

    Attributes
    ----------
    candidate : (B,) int64
        Class that was put to the test, whether or not it was certified; `rsbounds.NO_CLASS`
        where there was none.
    radius : (B,) float64
        Radius in units of the raw input, in the norm ``norm``; 0 where abstained.
    margin_lower : (B,) float64
        The bound that the radius comes from, on ``scale``.
    n : (B,) int64
        Draws per input.
    alpha, method, guarantee, solved, scale, options
        As in `MarginBound`.
    noise : str
        The noise law with its parameters, for reading.
    norm : str
        Norm of the radius.
    index : (B,) int64
        Which input each row is about: its place among the rows that were certified together,
        or in its data set. A slice keeps it.
    law : mapping or None
        The noise law of the call that made them as plain values, lossless
        (`rsbounds.noises.noise_from_dict`); None where they cannot be given: a law that is not
        registered, or a table of several laws.
    input_hash : str or None
        SHA-256 of the table that was bounded, the same for the same numbers in any type.
    version : str
        Version of rsbounds that made them.
    classes : tuple of str or None
        Names of the classes, where they have names.
    ids : tuple of str or None
        (B,) what identifies each row, where something does.
    """

    candidate: NDArray[np.int64]
    radius: NDArray[np.float64]
    margin_lower: NDArray[np.float64]
    n: NDArray[np.int64]
    alpha: float
    method: str
    guarantee: Guarantee
    solved: NDArray[np.bool_]
    noise: str
    norm: str
    scale: Scale
    index: NDArray[np.int64]
    law: Mapping[str, Any] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    input_hash: str | None = None
    version: str = __version__
    classes: tuple[str, ...] | None = None
    ids: tuple[str, ...] | None = None

    _ROWS = ("index", "candidate", "radius", "margin_lower", "n", "solved")
    _DERIVED = ("top", "certified", "abstained")
    _SHARED = ("alpha", "method", "guarantee", "noise", "norm")

    def __post_init__(self) -> None:
        for name in self._ROWS:
            object.__setattr__(self, name, _frozen(np.asarray(getattr(self, name))))
        bad = ~(np.isfinite(self.radius) & (self.radius >= 0))
        if bad.any():
            raise ValueError(f"radius is {self.radius[bad][0]}; allowed: finite numbers >= 0")

    @cached_property
    def certified(self) -> NDArray[np.bool_]:
        """(B,) True exactly where a class is certified at a radius above 0."""
        return _frozen(self.radius > 0)

    @cached_property
    def abstained(self) -> NDArray[np.bool_]:
        """(B,) True where nothing is certified."""
        return _frozen(~self.certified)

    @cached_property
    def top(self) -> NDArray[np.int64]:
        """(B,) the certified class; `rsbounds.NO_CLASS`, which equals no label, where abstained."""
        return _frozen(np.where(self.certified, self.candidate, NO_CLASS))

    def __len__(self) -> int:
        return len(self.radius)

    @overload
    def __getitem__(self, key: int) -> Certificate: ...

    @overload
    def __getitem__(self, key: slice | NDArray[Any]) -> Certificates: ...

    def __getitem__(self, key: Any) -> Certificate | Certificates:
        if isinstance(key, (int, np.integer)):
            rows = (*self._ROWS, *self._DERIVED)
            values = {
                f.name: getattr(self, f.name)[key].item() if f.name in rows else None
                for f in fields(Certificate)
            }
            for name in ("top", "candidate"):
                values[name] = None if values[name] == NO_CLASS else values[name]
            shared = {name: getattr(self, name) for name in self._SHARED}
            top = values["top"]
            named = {
                "class_name": self.classes[top] if self.classes and top is not None else None,
                "id": None if self.ids is None else self.ids[key],
            }
            return Certificate(**{**values, **shared, **named})
        chosen = {f.name: getattr(self, f.name) for f in fields(self)}
        chosen.update({name: getattr(self, name)[key] for name in self._ROWS})
        if self.ids is not None:
            chosen["ids"] = tuple(np.array(self.ids, dtype=object)[key])
        return Certificates(**chosen)

    def __iter__(self) -> Iterator[Certificate]:
        return (self[i] for i in range(len(self)))

    def __str__(self) -> str:
        return self.table(20)

    def __repr__(self) -> str:
        return (
            f"Certificates({len(self)} inputs, {int(self.certified.sum())} certified, "
            f"{self.noise}, {self.norm}, {self.method}, alpha {self.alpha:g}, {self.guarantee})"
        )

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"

    def table(self, rows: int | None = None) -> str:
        """A table for a terminal; radii and margins rounded down.

        Parameters
        ----------
        rows : int, optional
            Show no more than the first ``rows``.
        """
        shown = self if rows is None else self[:rows]
        body = [
            [
                str(c.index) if shown.ids is None else shown.ids[row],
                "-" if c.top is None else self.class_name(c.top),
                "abstained" if c.abstained else _text.down(c.radius),
                _text.down(c.margin_lower),
                str(c.n),
            ]
            for row, c in enumerate(shown)
        ]
        text = _text.table(["input", "class", "radius", "margin", "n"], body)
        if len(shown) < len(self):
            text += f"\n... {len(self) - len(shown)} more rows"
        mean = _text.mean_down(self.radius.tolist())
        text += (
            f"\n{int(self.certified.sum())} of {len(self)} certified, mean {self.norm} radius "
            f"{_text.down(mean, 5)}\n{self.noise}, {self.method}, alpha {self.alpha:g}, "
            f"guarantee: {self.guarantee}"
        )
        return text

    def class_name(self, index: int) -> str:
        """What a class is called: its name where classes have names, else its index."""
        return str(index) if self.classes is None else self.classes[index]

    def records(self) -> Iterator[dict[str, Any]]:
        """One dictionary per row, every field a plain value that JSON can carry.

        ``top`` is None where the row abstained, and a margin of -inf is None. Where classes have
        names, ``class`` is that of ``top``; where rows have identifiers, ``id`` is the row's.
        """
        columns = self._columns()
        for certificate in self:
            row = {column: getattr(certificate, name) for column, name in columns.items()}
            if math.isinf(row["margin_lower"]):
                row["margin_lower"] = None
            yield row

    def _columns(self) -> dict[str, str]:
        """Columns of the exported forms, and which field of a row each holds."""
        columns = {f.name: f.name for f in fields(Certificate)}
        del columns["class_name"], columns["id"]
        if self.classes is not None:
            columns["class"] = "class_name"
        if self.ids is not None:
            columns["id"] = "id"
        return columns

    def header(self) -> dict[str, Any]:
        """What all rows share, as plain values that JSON can carry: the head of every file."""
        return {
            "version": self.version,
            "law": None if self.law is None else dict(self.law),
            "noise": self.noise,
            "norm": self.norm,
            "scale": self.scale,
            "alpha": self.alpha,
            "method": self.method,
            "options": dict(self.options),
            "guarantee": self.guarantee,
            "input_hash": self.input_hash,
            **({} if self.classes is None else {"classes": list(self.classes)}),
        }

    def to_tsv(self, path: str | os.PathLike[str], *, force: bool = False) -> None:
        """Write a TSV file; see `write`."""
        _tables.write(
            path, self.header(), list(self._columns()), self.records(), tsv=True, force=force
        )

    def to_jsonl(self, path: str | os.PathLike[str], *, force: bool = False) -> None:
        """Write a file of JSON lines; see `write`."""
        _tables.write(
            path, self.header(), list(self._columns()), self.records(), tsv=False, force=force
        )

    def write(self, path: str | os.PathLike[str], *, force: bool = False) -> None:
        r"""Write every row and what they share to a file that `read` reads back, lossless.

        ``.tsv`` has lines ``# key: value`` (values in JSON), then a header line and one line
        per row: ``pandas.read_csv(path, sep="\t", comment="#")`` reads it. ``.jsonl`` has one
        object with what the rows share, then one object per row. Numbers are in full
        precision; the class of a row that abstained is empty (TSV) or null. Where classes have
        names or rows have identifiers, they stand in columns ``class`` and ``id``.

        Parameters
        ----------
        path : str or path
            A name that ends in ``.tsv`` or ``.jsonl``.
        force : bool
            Replace an existing file.

        Raises
        ------
        ValueError
            Another ending, a folder that is not there, an existing file without ``force``, or, in
            TSV, a name with a tab or a line break.
        """
        forms = {".tsv": self.to_tsv, ".jsonl": self.to_jsonl}
        ending = os.path.splitext(path)[1]
        if ending not in forms:
            raise ValueError(f"path is {str(path)!r}; allowed endings: {', '.join(forms)}")
        forms[ending](path, force=force)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Certificates:
        """The certificates that `write` wrote, every field as it was.

        Files of earlier versions, which have no lines about what the rows share, are read as
        well; their ``law``, ``options`` and ``input_hash`` are unknown.

        Parameters
        ----------
        path : str or path
            A file of certificates, TSV or JSON lines.

        Raises
        ------
        ValueError
            A file that is missing, is not one of certificates, or was changed after it was
            written.

        Examples
        --------
        >>> import rsbounds, tempfile, pathlib
        >>> certificates = rsbounds.certify([990, 8, 2], 0, noise=rsbounds.Gaussian(sigma=0.5))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = pathlib.Path(folder, "certificates.tsv")
        ...     certificates.write(file)
        ...     rsbounds.Certificates.read(file)
        Certificates(1 inputs, 1 certified, gaussian(sigma=0.5), l2, exact, alpha 0.001, proven)
        """
        shared, columns = _tables.read(path)
        _validate.alpha(shared["alpha"])
        _validate.choice("guarantee", shared["guarantee"], ("proven", "enumerated", "none"))
        _validate.choice("scale", shared["scale"], ("linear", "probit"))
        if "classes" in shared:
            shared["classes"] = tuple(shared["classes"])
        if "id" in columns:
            shared["ids"] = tuple(columns["id"])
        columns["candidate"] = [NO_CLASS if c is None else c for c in columns["candidate"]]
        arrays: dict[str, Any] = {name: np.array(columns[name]) for name in cls._ROWS}
        return cls(**arrays, **shared)

    def to_pandas(self) -> pandas.DataFrame:
        """The rows as a data frame; ``top`` and ``class`` are missing where the row abstained.

        NaN equals no label. A column of nullable integers would leave abstentions out of
        ``(frame["top"] == labels).mean()``. Needs pandas: install ``rsbounds[all]``.
        """
        pandas = _pandas()
        rows = (*self._ROWS, *self._DERIVED, *self._SHARED)
        columns = {column: getattr(self, column) for column in self._columns() if column in rows}
        columns["top"] = np.where(self.certified, self.candidate, np.nan)
        if self.classes is not None:
            columns["class"] = [certificate.class_name for certificate in self]
        if self.ids is not None:
            columns["id"] = list(self.ids)
        return pandas.DataFrame(columns, index=self.index)
