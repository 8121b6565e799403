"""Every registered margin method on the same counts."""

from __future__ import annotations

import html
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsbounds import _text, _validate
from rsbounds._parallel import Progress
from rsbounds._types import Certificates, Guarantee, Selection
from rsbounds.bounds.margin import MARGIN_METHODS
from rsbounds.certificates import certify
from rsbounds.certificates.complete import sampled_only
from rsbounds.certificates.exact import law_of_sample
from rsbounds.noises import Noise
from rsbounds.report.accuracy import average_certified_radius, certified_accuracy
from rsbounds.report.limit import LimitCurve, likelihood_limit


@dataclass(frozen=True)
class ComparisonRow:
    """What one method made of the counts.

    Attributes
    ----------
    method : str
        Name, with the options that are not default.
    guarantee : {"deterministic", "proven", "enumerated", "none"}
        See `rsbounds.Guarantee`.
    certified : float
        Share of rows with a radius above 0.
    mean_radius : float
        Mean radius, abstentions as 0.
    acr : float or None
        Average certified radius; None without labels.
    accuracy : tuple of float or None
        Certified accuracy at the comparison's radii (share certified, without labels).
    microseconds_per_row : float
        Wall time per row of one call, after a warm-up call.
    """

    method: str
    guarantee: Guarantee
    certified: float
    mean_radius: float
    acr: float | None
    accuracy: tuple[float, ...]
    microseconds_per_row: float


@dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """Methods side by side; print it, or take ``rows`` and ``certificates``.

    Attributes
    ----------
    rows : tuple of ComparisonRow
        One per method, largest mean radius first.
    radii : (R,) float64
        Radii of the ``accuracy`` columns.
    labelled : bool
        True where labels were given, so that accuracy means certified accuracy.
    certificates : dict
        Method label to `Certificates`.
    noise : str
        The noise law.
    alpha : float
        Error probability of each row's statement.
    limit : ComparisonRow or None
        The likelihood limit (`rsbounds.report.limit.likelihood_limit`): not a bound, but where
        valid bounds end on average as n grows. None where the law is known by its curve: it is a
        limit of margins.
    limit_curve : LimitCurve or None
        Its radii, for the plot.
    """

    rows: tuple[ComparisonRow, ...]
    radii: NDArray[np.float64]
    labelled: bool
    certificates: dict[str, Certificates]
    noise: str
    alpha: float
    limit: ComparisonRow | None
    limit_curve: LimitCurve | None

    def curves(self) -> dict[str, Certificates | LimitCurve]:
        """What the certified-accuracy plot shows: the methods, and the limit."""
        if self.limit is None or self.limit_curve is None:
            return {**self.certificates}
        return {**self.certificates, self.limit.method: self.limit_curve}

    def __repr__(self) -> str:
        best, size = self.rows[0], len(next(iter(self.certificates.values())))
        return (
            f"Comparison({len(self.rows)} methods on {size} inputs, "
            f"{self.noise}, alpha {self.alpha:g}; largest mean radius "
            f"{_text.down(best.mean_radius, 5)}: {best.method})"
        )

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"

    def __str__(self) -> str:
        header = ["method", "guarantee", "certified", "mean radius"]
        header += ["ACR"] if self.labelled else []
        header += [f"r>={r:g}" for r in self.radii] + ["us/row"]
        body = []
        first = next(iter(self.certificates.values()))
        total = len(first)
        for row in (*self.rows, *([] if self.limit is None else [self.limit])):
            certified = Decimal(_text.share(row.certified, total)).scaleb(2)
            cells = [row.method, row.guarantee, f"{certified}%"]
            cells.append(_text.down(row.mean_radius, 5))
            if row.acr is not None:
                cells.append(_text.down(row.acr, 5))
            cells += [_text.share(share, total) for share in row.accuracy]
            timed = row is not self.limit
            cells.append(f"{row.microseconds_per_row:.1f}" if timed else "-")
            body.append(cells)
        what = "certified accuracy" if self.labelled else "share certified"
        return (
            f"{total} rows, {self.noise}, {first.norm} radius, alpha {self.alpha:g}; "
            f"r>= columns: {what}\n" + _text.table(header, body)
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "noise": self.noise,
            "alpha": self.alpha,
            "rows": len(next(iter(self.certificates.values()))),
            "radii": self.radii.tolist(),
            "labelled": self.labelled,
            "methods": [asdict(row) for row in self.rows],
            "limit": None if self.limit is None else asdict(self.limit),
        }


def method_label(name: str, options: Mapping[str, Any]) -> str:
    """Name of a method with the options that are not default."""
    shown = ", ".join(f"{key}={value}" for key, value in options.items())
    return f"{name} ({shown})" if shown else name


def accuracy_radii(tables: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Four round radii up to about the largest of some certificates' radii."""
    largest = max(float(radii.max()) for radii in tables)
    step = max(largest, 1e-9) / 5
    digits = int(-np.floor(np.log10(step)))
    return np.asarray(np.round(step, digits) * np.arange(1, 5))


def _settings(methods: Sequence[str] | None) -> list[tuple[str, dict[str, Any]]]:
    """Methods with their options, as far as they are usable; by default all that are fast."""
    fast = [name for name in MARGIN_METHODS.working() if not MARGIN_METHODS[name].seconds_per_row]
    found = []
    for name in fast if methods is None else methods:
        kind = MARGIN_METHODS[name]
        try:
            usable = kind.usable()
        except Exception as error:
            _left_out(name, error)
            continue
        found += [(name, dict(options)) for options in kind.variants if usable]
    if not found:
        raise ValueError(f"methods is {methods!r}; allowed: {', '.join(MARGIN_METHODS.names())}")
    return found


def _left_out(label: str, error: Exception) -> None:
    warnings.warn(
        f"left out: method {label!r} failed ({type(error).__name__}: {error})",
        RuntimeWarning,
        stacklevel=4,
    )


def _timed(
    table: NDArray[Any],
    top: ArrayLike | Selection,
    noise: Noise,
    alpha: float,
    settings: list[tuple[str, dict[str, Any]]],
    progress: bool | None,
) -> list[tuple[str, Certificates, float]]:
    """Label, certificates and wall time of each setting; those that fail are left out."""
    timed = []
    failed: list[tuple[str, Exception]] = []
    with Progress(len(settings), "methods", progress) as bar:
        for name, options in settings:
            label = method_label(name, options)
            try:
                # Compilation is not what a user pays per row: one small call first.
                certify([2, 1], 0, noise=noise.at([0]), alpha=alpha, method=name, **options)
                start = time.perf_counter()
                result = certify(table, top, noise=noise, alpha=alpha, method=name, **options)
                took = time.perf_counter() - start
            except Exception as error:
                # Of one method, or of all: then it is the counts, or what was asked.
                failed.append((label, error))
            else:
                timed.append((label, result, took))
            bar.advance(1)
    if not timed:
        raise failed[0][1]
    for label, fault in failed:
        _left_out(label, fault)
    return timed


def _row(
    label: str,
    result: Certificates | LimitCurve,
    labels: ArrayLike | None,
    radii: NDArray[np.float64],
    guarantee: Guarantee,
    microseconds: float,
) -> ComparisonRow:
    return ComparisonRow(
        method=label,
        guarantee=guarantee,
        certified=float((result.radius > 0).mean()),
        mean_radius=_text.mean_down(result.radius.tolist()),
        acr=None if labels is None else average_certified_radius(result, labels),
        accuracy=tuple(certified_accuracy(result, labels, radii).tolist()),
        microseconds_per_row=microseconds,
    )


def compare(
    counts: ArrayLike,
    top: ArrayLike | Selection,
    *,
    noise: Noise,
    alpha: float = 0.001,
    labels: ArrayLike | None = None,
    radii: ArrayLike | None = None,
    methods: Sequence[str] | None = None,
    progress: bool | None = False,
) -> Comparison:
    """Certify the same counts with every registered method and its noteworthy options.

    A method that fails where another does not is left out with a warning that names it.

    Each method's radii hold at its own alpha. Picking the best method after looking at the
    result is not covered by any of them: choose one beforehand. The last line is the
    likelihood limit, which is not a bound: it shows how much is left to gain.

    Parameters
    ----------
    counts, top, noise, alpha
        As in `certify`; with noise on a lattice, radii are about the inputs rounded to it.
    labels : (B,) integers, optional
        True classes; without them shares of certified rows are shown for accuracy.
    radii : (R,) float array_like, optional
        Radii of the accuracy columns; four steps up to the largest radius by default.
    methods : sequence of str, optional
        Registered names; by default all that are usable and take milliseconds per row.
    progress : bool, optional
        Show a progress line; None shows it where stderr is a terminal.

    Returns
    -------
    Comparison
        Rows by mean radius, largest first.

    Raises
    ------
    ValueError
        As `certify`, and for unknown method names.

    See Also
    --------
    rsbounds.certify : One method.
    rsbounds.plot_certified_accuracy : The curves of the result.

    Examples
    --------
    >>> import rsbounds
    >>> comparison = rsbounds.compare(
    ...     [[990, 8, 2], [700, 200, 100]], [0, 0], noise=rsbounds.Gaussian(sigma=0.5),
    ...     labels=[0, 0], methods=["complement", "runner-up"])
    >>> [row.method for row in comparison.rows]
    ['runner-up (split=optimal)', 'runner-up', 'complement']
    """
    if isinstance(noise, Noise):
        sampled_only(noise, "a comparison of methods")
        # A sample of another lattice is refused.
        noise, _ = law_of_sample(noise, counts)
    table = _validate.count_table(counts)
    timed = _timed(table, top, noise, alpha, _settings(methods), progress)
    if radii is None:
        at = accuracy_radii([result.radius for _, result, _ in timed])
    else:
        at = np.atleast_1d(_validate.real_array("radii", radii))

    rows = [
        _row(label, result, labels, at, result.guarantee, took / len(result) * 1e6)
        for label, result, took in timed
    ]
    rows.sort(key=lambda r: -r.mean_radius)
    curve = None
    if not noise.curve_only:
        limit = likelihood_limit(table, timed[0][1].candidate, alpha=alpha, scale=noise.scale)
        curve = limit.curve(noise)
    certificates = {label: result for label, result, _ in timed}
    return Comparison(
        tuple(rows),
        at,
        labels is not None,
        {row.method: certificates[row.method] for row in rows},
        str(noise),
        timed[0][1].alpha,
        None if curve is None else _row("limit (not a bound)", curve, labels, at, "none", 0.0),
        curve,
    )
