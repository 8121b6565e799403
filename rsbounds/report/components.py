"""A map of certified components."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from rsbounds import _validate
from rsbounds._types import Certificates
from rsbounds.report._drawing import checked_path, new_figure, save


def plot_components(
    certificates: Certificates,
    shape: tuple[int, int],
    *,
    path: str | os.PathLike[str],
    title: str | None = None,
    force: bool = False,
) -> Path:
    """The certified class and the radius of each component of a picture, side by side.

    Parameters
    ----------
    certificates : Certificates
        Of height times width components, row by row (`rsbounds.certify_components`).
    shape : (int, int)
        Height and width.
    path : str or path
        File to write; ``.png``, ``.svg`` or ``.pdf``.
    title : str, optional
        Title of the plot.
    force : bool
        Replace an existing file.

    Returns
    -------
    Path
        The file written. Components that abstain are white.

    Raises
    ------
    ValueError
        Another file type, a file that is there already (without ``force``), or another number of
        components.
    ImportError
        matplotlib is missing: install ``rsbounds[plot]``.

    See Also
    --------
    rsbounds.certify_components : The certificates.

    Examples
    --------
    >>> import rsbounds, tempfile, pathlib
    >>> found = rsbounds.certify_components(
    ...     [[99, 1], [60, 40], [2, 98], [1, 99]], [0, 0, 1, 1], noise=rsbounds.Gaussian(0.5))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = rsbounds.plot_components(found, (2, 2), path=pathlib.Path(folder, "map.png"))
    ...     file.stat().st_size > 1000
    True
    """
    target = checked_path(path, force=force)
    sides = tuple(_validate.integer("shape", side, low=1) for side in shape)
    if len(sides) != 2 or sides[0] * sides[1] != len(certificates):
        raise ValueError(f"shape is {shape!r}; allowed: (height, width) of {len(certificates)}")
    figure = new_figure(9.6, 4.2)
    panels = figure.subplots(1, 2)
    together = "" if certificates.family == "row" else ", together"
    for axes, name, values in zip(
        panels,
        ("certified class", f"{certificates.norm} radius"),
        (certificates.candidate, certificates.radius),
        strict=True,
    ):
        shown = np.where(certificates.certified, values, np.nan).reshape(sides)
        image = axes.imshow(shown, interpolation="nearest", vmin=0.0)
        axes.set_title(name, fontsize=10)
        axes.set_axis_off()
        figure.colorbar(image, ax=axes, shrink=0.8)
    share = int(certificates.certified.sum())
    said = f"{share} of {len(certificates)} certified, alpha {certificates.alpha:g}{together}"
    figure.suptitle(f"{title}: {said}" if title else said, fontsize=10)
    return save(figure, target)
