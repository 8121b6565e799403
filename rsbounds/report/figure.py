"""The certified-accuracy plot."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsbounds import _validate
from rsbounds._types import Certificates
from rsbounds.bounds.proportion import clopper_pearson_interval
from rsbounds.report._drawing import checked_path, new_figure, save
from rsbounds.report.accuracy import SIZES, certified_accuracy, sizes
from rsbounds.report.limit import LimitCurve


def plot_certified_accuracy(
    curves: Mapping[str, Certificates | LimitCurve],
    labels: ArrayLike | Mapping[str, ArrayLike] | None = None,
    *,
    path: str | os.PathLike[str],
    size: str | Sequence[str] = "radius",
    band: float | None = None,
    title: str | None = None,
    force: bool = False,
) -> Path:
    """Certified accuracy against radius, one line per entry, as a picture file.

    Parameters
    ----------
    curves : mapping of str to Certificates
        Legend text to certificates (or the curve of a `LikelihoodLimit`, drawn dotted).
    labels : (B,) integers, or a mapping of them, optional
        True classes, the same for every curve or one entry per legend text; without them the
        share of certified inputs is drawn.
    path : str or path
        File to write; ``.png``, ``.svg`` or ``.pdf``.
    size : {"radius", "inscribed_radius", "proxy_radius"} or several
        Which radius (`certified_accuracy`); several are drawn side by side, which for noise with
        axes of its own is the honest way: a large proxy radius may come with a small inscribed
        one.
    band : float, optional
        Shade, at each radius on its own, the Clopper and Pearson interval of that error
        probability for the share among all inputs, of which those given are a random sample.
    title : str, optional
        Title of the plot.
    force : bool
        Replace an existing file.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    ValueError
        Another file type, a file that is there already (without ``force``), nothing to draw, or
        a size that is not known.
    ImportError
        matplotlib is missing: install ``rsbounds[plot]``.

    See Also
    --------
    rsbounds.certified_accuracy : The numbers of such a curve.
    rsbounds.compare : Curves of every margin method.

    Examples
    --------
    >>> import rsbounds, tempfile, pathlib
    >>> certificates = rsbounds.certify(
    ...     [[990, 8, 2], [20, 970, 10]], [0, 1], noise=rsbounds.Gaussian(sigma=0.5))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = rsbounds.plot_certified_accuracy(
    ...         {"runner-up": certificates}, [0, 1], path=pathlib.Path(folder, "curve.png"))
    ...     file.stat().st_size > 1000
    True
    """
    target = checked_path(path, force=force)
    if not curves:
        raise ValueError("curves is empty; allowed: at least one set of certificates")
    chosen = [size] if isinstance(size, str) else list(size)
    if not chosen:
        raise ValueError(f"size is {size!r}; allowed: {', '.join(SIZES)}, or several of them")
    if band is not None:
        _validate.alpha(band)
    found = [[sizes(result, one) for result in curves.values()] for one in chosen]
    figure = new_figure(0.4 + 6.0 * len(chosen), 4.2)
    panels = figure.subplots(1, len(chosen), squeeze=False)[0]
    for axes, one, values in zip(panels, chosen, found, strict=True):
        largest = max(float(radii.max()) for radii in values)
        for i, (name, result) in enumerate(curves.items()):
            known = labels[name] if isinstance(labels, Mapping) else labels
            _draw_curve(axes, name, i, result, known, one, band)
        norms = sorted({result.norm for result in curves.values()})
        axes.set_xlim(0.0, largest * 1.05 if largest > 0 else 1.0)
        axes.set_ylim(0.0, 1.0)
        axes.set_xlabel(_words(one, norms))
        axes.set_ylabel("share certified" if labels is None else "certified accuracy")
        axes.grid(True, alpha=0.3)
        axes.legend(fontsize=8)
    if title:
        figure.suptitle(title, fontsize=10)
    return save(figure, target)


def _words(size: str, norms: Sequence[str]) -> str:
    if size == "radius":
        return f"{'/'.join(norms)} radius"
    balls = dict.fromkeys(norm.removeprefix("scaled ") for norm in norms)
    return f"{size.removesuffix('_radius')} {'/'.join(balls)} radius"


def _draw_curve(
    axes: Any,
    name: str,
    number: int,
    result: Certificates | LimitCurve,
    labels: ArrayLike | None,
    size: str,
    band: float | None,
) -> None:
    # A step at every radius: the curve is drawn exactly, not sampled.
    at = np.unique(np.concatenate([[0.0], sizes(result, size)]))
    share = np.append(certified_accuracy(result, labels, at, size=size), 0.0)
    x = np.repeat(at, 2)

    def steps(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.column_stack([values[:-1], values[1:]]).reshape(-1)

    styles: list[Any] = ["-", "--", "-.", ":"]
    style: dict[str, Any] = {"linewidth": 1.3, "linestyle": styles[(number // 10) % 4]}
    if isinstance(result, LimitCurve):
        style = {"linewidth": 1.0, "linestyle": ":", "color": "black"}
    (line,) = axes.plot(x, steps(share), label=name, **style)
    if band is not None and not isinstance(result, LimitCurve):
        right = np.rint(share * len(result)).astype(np.int64)
        low, high = clopper_pearson_interval(right, len(result), alpha=band)
        axes.fill_between(x, steps(low), steps(high), color=line.get_color(), alpha=0.15, lw=0)
