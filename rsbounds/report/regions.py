"""Pictures of regions: around one point of the plane, and along the pixels of images."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsbounds import _text, _validate
from rsbounds.regions import Region, half_widths, outline
from rsbounds.regions.outline import plane_directions
from rsbounds.report._drawing import checked_path, new_figure, save

#: Lines that can be told apart on a red, green and blue ground, and the ground.
_LINES = ("white", "black", "gold", "magenta", "cyan", "saddlebrown")
_GROUND = ("#d9534f", "#4f7fd9", "#57b757", "#b58ad9", "#d9b44f", "#6fc7c7", "#999999")


def plot_regions(
    regions: Mapping[str, Region],
    centre: ArrayLike,
    *,
    path: str | os.PathLike[str],
    classify: Callable[[NDArray[np.float64]], ArrayLike] | None = None,
    plane: ArrayLike = (0, 1),
    view: Literal["slice", "shadow"] = "slice",
    reach: float | None = None,
    resolution: int = 200,
    title: str | None = None,
    force: bool = False,
) -> Path:
    """Certified regions of several kinds around one point, over the classes of the plane.

    The picture in which data-dependent smoothing is compared in two dimensions (Eiras et al.
    2022, Figure 1; Riemannian smoothing, Figure 1). Of inputs with more coordinates it shows a
    plane through the point.

    Parameters
    ----------
    regions : mapping of str to Region
        Legend text to one region (``region[i]`` of several).
    centre : (d,) float array_like
        The point.
    path : str or path
        File to write; ``.png``, ``.svg`` or ``.pdf``.
    classify : callable, optional
        Class indices of (m, d) points: colours the ground.
    plane : (int, int) or (2, d) float array_like
        Two coordinates, or two orthonormal directions.
    view : {"slice", "shadow"}
        As in `rsbounds.regions.outline`; what is drawn on the ground of a plane is the slice.
    reach : float, optional
        Half the side of the picture; by default 1.3 times what the largest region needs.
    resolution : int
        Points of the ground along each side.
    title : str, optional
        Title of the picture.
    force : bool
        Replace an existing file.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    ValueError
        Another file type, a file that is there already (without ``force``), nothing to draw, a
        batch of several regions, or arguments that do not fit each other.
    ImportError
        matplotlib is missing: install ``rsbounds[plot]``.

    See Also
    --------
    rsbounds.regions.outline : The points of a line.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from rsbounds.regions import Ball, Ellipsoid
    >>> from rsbounds.report import plot_regions
    >>> regions = {"isotropic": Ball([0.5], norm="l2"), "axes": Ellipsoid([1.0], axes=[0.5, 2.0])}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = plot_regions(regions, [1.0, 1.0], path=pathlib.Path(folder, "regions.png"),
    ...                         classify=lambda points: points[:, 0] > 0.4)
    ...     file.stat().st_size > 1000
    True
    """
    target = checked_path(path, force=force)
    point = _validate.real_array("centre", centre)
    if point.ndim != 1 or not np.isfinite(point).all():
        raise ValueError(f"centre is {centre!r}; allowed: a flat list of finite numbers")
    _validate.integer("resolution", resolution, low=2)
    lines = {}
    for name, region in regions.items():
        if len(region) != 1 or region.dimension not in (None, point.size):
            raise ValueError(
                f"regions[{name!r}] holds {len(region)} regions of dimension {region.dimension}; "
                f"allowed: one, of dimension {point.size} (region[i])"
            )
        lines[name] = outline(region, plane=plane, view=view)
    if not lines:
        raise ValueError("regions is empty; allowed: at least one region")
    directions = plane_directions(plane, point.size)
    largest = max(float(np.abs(line).max()) for line in lines.values())
    side = 1.3 * largest if reach is None else _validate.positive("reach", reach)
    side = side if side > 0 else 1.0

    figure = new_figure(5.2, 5.0)
    axes = figure.add_subplot()
    middle = directions @ point
    extent = (middle[0] - side, middle[0] + side, middle[1] - side, middle[1] + side)
    if classify is not None:
        ground = _ground(classify, point, directions, side, resolution)
        axes.imshow(ground, origin="lower", extent=extent, interpolation="nearest")
    for i, (name, line) in enumerate(lines.items()):
        closed = np.vstack([line, line[:1]]) + middle
        colour = _LINES[i % len(_LINES)] if classify is not None else f"C{i}"
        axes.plot(*closed.T, label=name, color=colour, linewidth=1.8)
    mark = "white" if classify is not None else "black"
    axes.plot(*middle, marker="x", color=mark, markersize=8, markeredgewidth=2)
    axes.set(xlim=extent[:2], ylim=extent[2:], aspect="equal")
    if title:
        axes.set_title(title, fontsize=10)
    axes.legend(fontsize=8, facecolor="lightgrey" if classify is not None else "white")
    return save(figure, target)


def _ground(
    classify: Callable[[NDArray[np.float64]], ArrayLike],
    point: NDArray[np.float64],
    directions: NDArray[np.float64],
    side: float,
    resolution: int,
) -> NDArray[np.float64]:
    """Colours of the classes in the middle of each cell, (resolution, resolution, 3)."""
    from matplotlib.colors import to_rgb

    at = side * ((2.0 * np.arange(resolution) + 1.0) / resolution - 1.0)
    x, y = np.meshgrid(at, at)
    steps = np.stack([x.ravel(), y.ravel()], axis=1)
    answer = np.asarray(classify(point + steps @ directions))
    if answer.shape != (len(steps),) or answer.dtype.kind not in "iub" or answer.min() < 0:
        raise ValueError(
            f"classify returned shape {answer.shape}, type {answer.dtype}, for {len(steps)} "
            f"points; allowed: ({len(steps)},) class indices"
        )
    colours = np.array([to_rgb(colour) for colour in _GROUND])
    # Paler than the lines.
    shown = 0.35 + 0.65 * colours[answer.astype(np.int64) % len(colours)]
    return np.asarray(shown.reshape(resolution, resolution, 3))


def plot_axes(
    inputs: ArrayLike,
    region: Region,
    *,
    path: str | os.PathLike[str],
    channels: Literal["first", "last"] | None = None,
    names: Sequence[str] | None = None,
    title: str | None = None,
    force: bool = False,
) -> Path:
    """Images, and below each how far its certified region reaches along every pixel.

    The reach is the half-width of the region along a coordinate (the largest one of a pixel's
    channels), on one scale for all: where it is large, the classifier was found not to mind
    noise. It is no perturbation that all pixels may have together: the radius of the inscribed
    ball, which they may, stands below.

    Parameters
    ----------
    inputs : (B, H, W), (B, C, H, W) or (B, H, W, C) float array_like
        The images, numbers of any range.
    region : Region
        One region for each.
    path : str or path
        File to write; ``.png``, ``.svg`` or ``.pdf``.
    channels : {"first", "last"}, optional
        Where the channels are; None where there are none.
    names : sequence of str, optional
        What stands above each image, such as its class.
    title : str, optional
        Title of the picture.
    force : bool
        Replace an existing file.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    ValueError
        Another file type, a file that is there already (without ``force``), or numbers of
        images, regions, names and pixels that do not fit each other.
    ImportError
        matplotlib is missing: install ``rsbounds[plot]``.

    Examples
    --------
    >>> import numpy as np, tempfile, pathlib
    >>> from rsbounds.regions import Ellipsoid
    >>> from rsbounds.report import plot_axes
    >>> images = np.random.default_rng(0).random((2, 4, 4))
    >>> region = Ellipsoid([1.0, 2.0], axes=0.1 + images.reshape(2, 16))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = plot_axes(images, region, path=pathlib.Path(folder, "axes.png"))
    ...     file.stat().st_size > 1000
    True
    """
    target = checked_path(path, force=force)
    images = _validate.real_array("inputs", inputs)
    if channels not in ("first", "last", None):
        raise ValueError(f"channels is {channels!r}; allowed: 'first', 'last' or None")
    if images.ndim != 3 + (channels is not None) or not np.isfinite(images).all():
        raise ValueError(
            f"inputs have shape {images.shape} with channels {channels!r}; allowed: finite numbers "
            "in (B, H, W), (B, C, H, W) with 'first' or (B, H, W, C) with 'last'"
        )
    widths = half_widths(region)
    if widths.shape != (len(images), images[0].size):
        raise ValueError(
            f"region holds {widths.shape[0]} regions of dimension {widths.shape[1]}; allowed: "
            f"{len(images)} of dimension {images[0].size}, as the inputs"
        )
    if names is not None and len(names) != len(images):
        raise ValueError(f"names has {len(names)} entries; allowed: {len(images)}")
    reach = widths.reshape(images.shape)
    if channels is not None:
        images = np.moveaxis(images, 1 if channels == "first" else 3, 3)
        reach = reach.max(axis=1 if channels == "first" else 3)
    low, high = float(images.min()), float(images.max())
    shown = (images - low) / (high - low if high > low else 1.0)

    figure = new_figure(0.9 + 1.5 * len(images), 3.6)
    panels = figure.subplots(2, len(images), squeeze=False)
    inscribed = region.inscribed_radius()
    for column, (above, below) in enumerate(panels.T):
        one = shown[column]
        grey = one if one.ndim == 2 else one.mean(axis=2)
        above.imshow(
            one if one.ndim == 3 and one.shape[2] == 3 else grey, cmap="gray", vmin=0, vmax=1
        )
        drawn = below.imshow(reach[column], vmin=0.0, vmax=float(reach.max()) or 1.0)
        below.set_xlabel(f"inscribed {_text.down(inscribed[column])}", fontsize=7)
        if names is not None:
            above.set_title(str(names[column]), fontsize=8)
        for axes in (above, below):
            axes.set(xticks=[], yticks=[])
    figure.colorbar(drawn, ax=list(panels[1]), label="half-width")
    if title:
        figure.suptitle(title, fontsize=10)
    return save(figure, target)
