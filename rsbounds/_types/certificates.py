"""Certificates: one row per input, with what the rows share."""

from __future__ import annotations

import html
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, get_args, overload

import numpy as np
from numpy.typing import NDArray

from rsbounds import _tables, _text, _validate
from rsbounds._types._common import NO_CLASS, Guarantee, Scale, frozen, pandas_package
from rsbounds._version import __version__

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Certificate:
    """One row of `Certificates`; ``top`` is None where it abstained.

    ``candidate`` is None where there was no class to put to the test, ``inscribed_radius`` and
    ``proxy_radius`` are None where the law gives none. ``class_name`` is the name of ``top`` where
    classes have names, ``id`` what identifies the row where something does.
    """

    index: int
    top: int | None
    radius: float
    inscribed_radius: float | None
    proxy_radius: float | None
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
    k: int = 1

    def __str__(self) -> str:
        who = f"input {self.index if self.id is None else self.id}"
        if self.abstained:
            return f"{who}: abstained"
        called = self.top if self.class_name is None else self.class_name
        others = ""
        if _is_scaled(self.norm) and self.inscribed_radius is not None:
            others = f", inscribed {_ball(self.norm)} radius {_text.down(self.inscribed_radius)}"
        return (
            f"{who}: class {called}{_among(self.k)} within {self.norm} radius "
            f"{_text.down(self.radius)}{others} ({self.method}, error probability {self.alpha:g})"
        )


@dataclass(frozen=True, eq=False, repr=False)
class Certificates:
    """Certified radii: with probability at least 1 - alpha, per row, no perturbation
    smaller than ``radius`` changes the smoothed classifier's answer ``top``; where ``k`` is above
    1, none takes ``top`` from its k most probable classes.

    The arrays cannot be changed. ``(certificates.top == labels).mean()`` is the share of inputs
    certified with the right class: an abstention equals no label.

    Attributes
    ----------
    candidate : (B,) int64
        Class that was put to the test, whether or not it was certified; `rsbounds.NO_CLASS`
        where there was none.
    radius : (B,) float64
        Radius in the norm ``norm``, in units of the raw input (without a unit where that norm is
        scaled: each coordinate, or axis, has one of its own); 0 where abstained.
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
    inscribed_radius, proxy_radius : (B,) float64
        In units of the raw input: the radius of the largest l1 or l2 ball inside of the certified
        region (what a perturbation of any direction may have), and of the ball that has the
        region's volume, which lies partly outside. Both are the radius where ``norm`` is not
        scaled; NaN where nothing says the shape of the region.
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
    details : mapping
        What was drawn on a lattice, exactly (`rsbounds.Gaussian`): its spacing ``lattice``; the
        part of alpha that this took, ``alpha_of_noise``; and ``offset``, the largest distance of
        an input from the lattice, which radii were reduced by (None: the inputs were not known,
        and radii are about their lattice points). Empty where noise was floats: the statement is
        then proven in real arithmetic.
    about : {"fixed noise", "memory"}
        Which classifier the rows are about: the one smoothed with the noise of the row, or the
        one that a memory of disjoint regions makes of many (`rsbounds.MemoryClassifier`).
    k : int
        Among how many of the most probable classes ``top`` stays (`rsbounds.certify_top_k`).
    family : {"row", "bonferroni", "holm"}
        What alpha is about: each row on its own, or all rows together
        (`rsbounds.certify_components`).
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
    about: Literal["fixed noise", "memory"] = "fixed noise"
    details: Mapping[str, Any] = field(default_factory=dict)
    k: int = 1
    family: Literal["row", "bonferroni", "holm"] = "row"
    # Filled in where they are not given.
    inscribed_radius: NDArray[np.float64] = None  # type: ignore[assignment]
    proxy_radius: NDArray[np.float64] = None  # type: ignore[assignment]

    _SIZES = ("inscribed_radius", "proxy_radius")
    _ROWS = ("index", "candidate", "radius", *_SIZES, "margin_lower", "n", "solved")
    _DERIVED = ("top", "certified", "abstained")
    _SHARED = ("alpha", "method", "guarantee", "noise", "norm")

    def __post_init__(self) -> None:
        for name in self._SIZES:
            if not _is_scaled(self.norm):
                object.__setattr__(self, name, self.radius)
            elif getattr(self, name) is None:
                object.__setattr__(self, name, np.full(len(self.radius), np.nan))
        for name in self._ROWS:
            object.__setattr__(self, name, frozen(np.asarray(getattr(self, name))))
        for name in ("radius", *self._SIZES):
            values = getattr(self, name)
            if values.shape != self.radius.shape:
                raise ValueError(f"{name} has {len(values)} entries; allowed: {len(self)}")
            # A row that abstains has no region of any size.
            bad = ~(np.isfinite(values) & (values >= 0)) | ((values > 0) & (self.radius == 0))
            if name != "radius":
                bad &= ~np.isnan(values)
            if bad.any():
                raise ValueError(
                    f"{name} is {values[bad][0]} at radius {self.radius[bad][0]}; allowed: finite "
                    "numbers >= 0, and 0 where the radius is"
                )

        if self.details and set(self.details) != {"lattice", "alpha_of_noise", "offset"}:
            raise ValueError(
                f"details holds {sorted(self.details)}; allowed: lattice, alpha_of_noise and offset"
            )

    @cached_property
    def certified(self) -> NDArray[np.bool_]:
        """(B,) True exactly where a class is certified at a radius above 0."""
        return frozen(self.radius > 0)

    @cached_property
    def abstained(self) -> NDArray[np.bool_]:
        """(B,) True where nothing is certified."""
        return frozen(~self.certified)

    @cached_property
    def top(self) -> NDArray[np.int64]:
        """(B,) the certified class; `rsbounds.NO_CLASS`, which equals no label, where abstained."""
        return frozen(np.where(self.certified, self.candidate, NO_CLASS))

    def __len__(self) -> int:
        return len(self.radius)

    @overload
    def __getitem__(self, key: int) -> Certificate: ...

    @overload
    def __getitem__(self, key: slice | NDArray[Any]) -> Certificates: ...

    def __getitem__(self, key: Any) -> Certificate | Certificates:
        if isinstance(key, (int, np.integer)):
            rows = (*self._ROWS, *self._DERIVED)
            values: dict[str, Any] = {
                f.name: getattr(self, f.name)[key].item() if f.name in rows else None
                for f in fields(Certificate)
            }
            for name in ("top", "candidate"):
                values[name] = None if values[name] == NO_CLASS else values[name]
            for name in self._SIZES:
                values[name] = None if math.isnan(values[name]) else values[name]
            shared = {name: getattr(self, name) for name in self._SHARED}
            top = values["top"]
            named = {
                "class_name": self.classes[top] if self.classes and top is not None else None,
                "id": None if self.ids is None else self.ids[key],
            }
            return Certificate(**{**values, **shared, **named, "k": self.k})
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

        The inscribed and the proxy radius have columns where the norm is scaled.

        Parameters
        ----------
        rows : int, optional
            Show no more than the first ``rows``.
        """
        shown = self if rows is None else self[:rows]
        sizes = self._SIZES if _is_scaled(self.norm) else ()
        body = []
        for row, c in enumerate(shown):
            lengths = [None if c.abstained else getattr(c, name) for name in sizes]
            body.append([
                str(c.index) if shown.ids is None else shown.ids[row],
                "-" if c.top is None else self.class_name(c.top),
                "abstained" if c.abstained else _text.down(c.radius),
                *("-" if length is None else _text.down(length) for length in lengths),
                _text.down(c.margin_lower),
                str(c.n),
            ])  # fmt: skip
        names = [name.removesuffix("_radius") for name in sizes]
        text = _text.table(["input", "class", "radius", *names, "margin", "n"], body)
        if len(shown) < len(self):
            text += f"\n... {len(self) - len(shown)} more rows"
        means = self.mean_radii()
        said = [f"mean {self.norm} radius {_text.down(means['radius'] or 0.0, 5)}"]
        for name in sizes:
            if (mean := means[name]) is not None:
                called = name.removesuffix("_radius")
                said.append(f"{called} {_ball(self.norm)} radius {_text.down(mean, 5)}")
        return (
            f"{text}\n{int(self.certified.sum())} of {len(self)} certified, {', '.join(said)}\n"
            f"{self.noise}, {self.method}, alpha {self.alpha:g}, guarantee: {self.assurance}"
            f"{'' if self.about == 'fixed noise' else f', about the {self.about} classifier'}"
            f"{f', class{_among(self.k)}' if self.k > 1 else ''}"
            f"{'' if self.family == 'row' else f', all rows together ({self.family})'}"
        )

    @property
    def assurance(self) -> str:
        """The guarantee in words: without chance, in real arithmetic, or with exact noise."""
        if self.guarantee == "none":
            return "none"
        if self.guarantee == "deterministic":
            return "deterministic, all cells counted"
        if not self.details:
            return f"{self.guarantee} in real arithmetic"
        offset, spent = self.details["offset"], self.details["alpha_of_noise"]
        where = "radii are about inputs rounded to its lattice"
        if offset is not None:
            where = f"inputs within {_text.size_up(offset)} of its lattice"
        return f"{self.guarantee}, exact noise, alpha spent on it {_text.size_up(spent)}, {where}"

    def mean_radii(self) -> dict[str, float | None]:
        """Means of the radii, exact and rounded down; None of those that are not known."""
        columns = {name: getattr(self, name) for name in ("radius", *self._SIZES)}
        return {
            name: None if np.isnan(values).any() else _text.mean_down(values.tolist())
            for name, values in columns.items()
        }

    def class_name(self, index: int) -> str:
        """What a class is called: its name where classes have names, else its index."""
        return str(index) if self.classes is None else self.classes[index]

    def records(self) -> Iterator[dict[str, Any]]:
        """One dictionary per row, every field a plain value that JSON can carry.

        ``top`` is None where the row abstained, a margin of -inf is None, and so are radii of
        balls that are not known. Where classes have names, ``class`` is that of ``top``; where
        rows have identifiers, ``id`` is the row's.
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
        del columns["class_name"], columns["id"], columns["k"]
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
            **({} if self.about == "fixed noise" else {"about": self.about}),
            **({} if self.k == 1 else {"k": self.k}),
            **({} if self.family == "row" else {"family": self.family}),
            **({"details": dict(self.details)} if self.details else {}),
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
        _validate.choice("guarantee", shared["guarantee"], get_args(Guarantee))
        if shared["guarantee"] != "deterministic" or shared["alpha"] != 0.0:
            _validate.alpha(shared["alpha"])
        _validate.choice("scale", shared["scale"], ("linear", "probit"))
        if "classes" in shared:
            shared["classes"] = tuple(shared["classes"])
        if "about" in shared:
            _validate.choice("about", shared["about"], ("fixed noise", "memory"))
        _validate.integer("k", shared.get("k", 1), low=1)
        _validate.choice("family", shared.get("family", "row"), ("row", "bonferroni", "holm"))
        if "id" in columns:
            shared["ids"] = tuple(columns["id"])
        columns["candidate"] = [NO_CLASS if c is None else c for c in columns["candidate"]]
        # Files of earlier versions have no sizes.
        arrays: dict[str, Any] = {
            name: np.array(columns[name]) for name in cls._ROWS if name in columns
        }
        return cls(**arrays, **shared)

    def to_pandas(self) -> pandas.DataFrame:
        """The rows as a data frame; ``top`` and ``class`` are missing where the row abstained.

        NaN equals no label. A column of nullable integers would leave abstentions out of
        ``(frame["top"] == labels).mean()``. Needs pandas: install ``rsbounds[all]``.
        """
        pandas = pandas_package()
        rows = (*self._ROWS, *self._DERIVED, *self._SHARED)
        columns = {column: getattr(self, column) for column in self._columns() if column in rows}
        columns["top"] = np.where(self.certified, self.candidate, np.nan)
        if self.classes is not None:
            columns["class"] = [certificate.class_name for certificate in self]
        if self.ids is not None:
            columns["id"] = list(self.ids)
        return pandas.DataFrame(columns, index=self.index)


def _is_scaled(norm: str) -> bool:
    """Whether a law's radius has no unit, its region being no ball."""
    return norm.startswith("scaled ")


def _among(k: int) -> str:
    """Among which classes a class stays, where it need not be the first."""
    return "" if k == 1 else f" among the top {k}"


def _ball(norm: str) -> str:
    """The norm of the balls inside of a region."""
    return norm.removeprefix("scaled ")
