"""The picture of a plan: radius against draws."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rsbounds.report._drawing import checked_path, new_figure, save

if TYPE_CHECKING:
    from rsbounds.planning.forecast import Plan


def plot_plan(
    plan: Plan | Sequence[Plan],
    *,
    path: str | os.PathLike[str],
    title: str | None = None,
    force: bool = False,
) -> Path:
    """Radii that a plan expects against draws, with the radii that were asked for, as a file.

    For each alpha the median with a band from the radius that 95 % reach to the one that 5 % do;
    of several inputs also the mean. Targets are dots at their median draws.

    Parameters
    ----------
    plan : Plan or several
        With at least two numbers of draws for a curve (``n=`` of `rsbounds.plan`); several, such
        as plans from pilots at several sigmas, are drawn together.
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
        Another file type, a file that is there already (without ``force``), or no plan.
    ImportError
        matplotlib is missing: install ``rsbounds[plot]``.

    Examples
    --------
    >>> import rsbounds, tempfile, pathlib
    >>> from rsbounds.planning import plot_plan
    >>> made = rsbounds.plan(p=0.9, noise=rsbounds.Gaussian(sigma=0.5), n=[100, 1000, 10_000])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     plot_plan(made, path=pathlib.Path(folder, "plan.png")).stat().st_size > 1000
    True
    """
    target = checked_path(path, force=force)
    plans = list(plan) if isinstance(plan, Sequence) else [plan]
    if not plans:
        raise ValueError("plan is empty; allowed: at least one plan")
    figure = new_figure(6.4, 4.2)
    axes = figure.subplots()
    for one in plans:
        for alpha in dict.fromkeys(row["alpha"] for row in (*one.expected, *one.needed)):
            _draw(axes, one, alpha)
    axes.set_xscale("log")
    axes.set_ylim(bottom=0.0)
    axes.set_xlabel("draws n")
    norms = "/".join(dict.fromkeys(one.norm for one in plans))
    axes.set_ylabel(f"{norms} radius (forecast; band: 90%)")
    axes.grid(True, alpha=0.3)
    axes.legend(fontsize=8)
    if title:
        figure.suptitle(title, fontsize=10)
    return save(figure, target)


def _draw(axes: Any, plan: Plan, alpha: float) -> None:
    """The curves of one plan at one alpha."""
    rows = sorted((r for r in plan.expected if r["alpha"] == alpha), key=lambda row: row["n"])
    at = [row["n"] for row in rows]
    few, half, many = ([row["quantiles"][i] for row in rows] for i in (0, 2, 4))
    name = f"{plan.noise}, alpha {alpha:g}"
    (line,) = axes.plot(at, half, marker=".", linewidth=1.3, label=f"{name}, median")
    color = line.get_color()
    axes.fill_between(at, few, many, color=color, alpha=0.15, lw=0)
    if plan.inputs > 1:
        axes.plot(at, [row["mean"] for row in rows], "--", color=color, label=f"{name}, mean")
    targets = [row for row in plan.needed if row["alpha"] == alpha and row["median"]]
    axes.plot(
        [row["median"] for row in targets], [row["radius"] for row in targets], "o", color=color,
        markersize=5,
    )  # fmt: skip
