"""Certified values of a quantile against the radius."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rsbounds._types import CertifiedQuantiles
from rsbounds.report._drawing import checked_path, new_figure, save

#: Panels that a figure has at most.
_MOST = 16


def plot_quantiles(
    result: CertifiedQuantiles,
    *,
    path: str | os.PathLike[str],
    names: Sequence[str] | None = None,
    title: str | None = None,
    force: bool = False,
) -> Path:
    """Certified values of each quantile against the radius, one panel per output.

    A value at a radius holds for every smaller one, so the band is drawn in steps, each up to the
    next radius; it ends where nothing is certified.

    Parameters
    ----------
    result : CertifiedQuantiles
        Of up to 16 outputs.
    path : str or path
        File to write; ``.png``, ``.svg`` or ``.pdf``.
    names : sequence of str, optional
        What the outputs are called.
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
        Another file type, a file that is there already (without ``force``), more than 16 outputs,
        or another number of names.
    ImportError
        matplotlib is missing: install ``rsbounds[plot]``.

    See Also
    --------
    rsbounds.certify_quantile : The values.

    Examples
    --------
    >>> import numpy as np, rsbounds, tempfile, pathlib
    >>> outputs = np.random.default_rng(0).normal(3, 0.5, size=1000)
    >>> found = rsbounds.certify_quantile(
    ...     outputs, np.linspace(0, 1, 11), noise=rsbounds.Gaussian(0.5))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     rsbounds.plot_quantiles(found, path=pathlib.Path(folder, "q.png")).stat().st_size > 1000
    True
    """
    target = checked_path(path, force=force)
    estimates = result.estimate.reshape(-1)
    if len(estimates) > _MOST:
        raise ValueError(f"result has {len(estimates)} outputs; allowed: up to {_MOST}")
    called = [str(i) for i in range(len(estimates))] if names is None else list(names)
    if len(called) != len(estimates):
        raise ValueError(f"names has {len(called)} entries; allowed: {len(estimates)}")
    columns = min(len(estimates), 4)
    rows = -(-len(estimates) // columns)
    figure = new_figure(0.4 + 3.6 * columns, 0.4 + 3.2 * rows)
    panels = figure.subplots(rows, columns, squeeze=False).reshape(-1)
    for i, axes in enumerate(panels):
        if i < len(estimates):
            _draw_band(axes, result, i)
            axes.set_title(f"{called[i]}, q {result.q:g}", fontsize=9)
        else:
            axes.remove()
    if title:
        figure.suptitle(title, fontsize=10)
    return save(figure, target)


def _draw_band(axes: Any, result: CertifiedQuantiles, output: int) -> None:
    order = np.argsort(result.radii, kind="stable")
    # A statement at a radius is about all up to it: the first one from zero.
    edges = np.concatenate([[0.0], result.radii[order]])
    estimate = float(result.estimate.reshape(-1)[output])
    seen = [estimate]
    axes.axhline(estimate, color="black", lw=1.0, ls=":", label="of the samples")
    for name in ("lower", "upper"):
        values = getattr(result, name).reshape(-1, len(order))[output, order]
        known = np.where(np.isfinite(values), values, np.nan)
        axes.stairs(known, edges, baseline=None, label=name)
        seen += values[np.isfinite(values)].tolist()
    room = 0.08 * (max(seen) - min(seen)) or 1.0
    axes.set_ylim(min(seen) - room, max(seen) + room)
    axes.set_xlim(0.0, float(edges[-1]) or 1.0)
    axes.set_xlabel(f"{result.norm} radius")
    axes.grid(True, alpha=0.3)
    axes.legend(fontsize=7)
