"""The certified-accuracy plot."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from rsbounds import _text
from rsbounds._types import Certificates
from rsbounds.report.accuracy import certified_accuracy
from rsbounds.report.limit import LimitCurve

_FORMATS = (".png", ".svg", ".pdf")


def plot_certified_accuracy(
    curves: Mapping[str, Certificates | LimitCurve],
    labels: ArrayLike | Mapping[str, ArrayLike] | None = None,
    *,
    path: str | os.PathLike[str],
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
        Another file type, a file that is there already (without ``force``), or nothing to draw.
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
    target = Path(path)
    if target.suffix.lower() not in _FORMATS:
        raise ValueError(f"path is {str(path)!r}; allowed endings: {', '.join(_FORMATS)}")
    if not curves:
        raise ValueError("curves is empty; allowed: at least one set of certificates")
    _text.check_output(target, force=force, name="path")
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("the figure needs matplotlib; install rsbounds[plot]") from None
    # No pyplot: nothing global is touched, and no display is needed.
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    largest = max(float(result.radius.max()) for result in curves.values())
    norms = {result.norm for result in curves.values()}
    style: dict[str, Any]
    styles: list[Any] = ["-", "--", "-.", ":"]
    for i, (name, result) in enumerate(curves.items()):
        known = labels[name] if isinstance(labels, Mapping) else labels
        # A step at every radius: the curve is drawn exactly, not sampled.
        at = np.unique(np.concatenate([[0.0], result.radius]))
        share = certified_accuracy(result, known, at)
        after = np.append(share[1:], 0.0)
        x = np.repeat(at, 2)
        y = np.column_stack([share, after]).reshape(-1)
        style = {"linewidth": 1.3, "linestyle": styles[(i // 10) % 4]}
        if isinstance(result, LimitCurve):
            style = {"linewidth": 1.0, "linestyle": ":", "color": "black"}
        axes.plot(x, y, label=name, **style)
    axes.set_xlim(0.0, largest * 1.05 if largest > 0 else 1.0)
    axes.set_ylim(0.0, 1.0)
    axes.set_xlabel(f"{'/'.join(sorted(norms))} radius")
    axes.set_ylabel("share certified" if labels is None else "certified accuracy")
    axes.grid(True, alpha=0.3)
    axes.legend(fontsize=8)
    if title:
        axes.set_title(title, fontsize=10)
    buffer = io.BytesIO()
    figure.savefig(buffer, format=target.suffix[1:].lower(), dpi=150)
    with _text.complete_file(target, "wb") as stream:
        stream.write(buffer.getvalue())  # type: ignore[arg-type]
    return target
