"""Figures of the report: the same numbers make the same bytes."""

from __future__ import annotations

from typing import Any

from paper_checks import FOLDER
from rsbounds._text import complete_file


def figure(name: str, panels: int = 1, height: float = 3.6) -> tuple[Any, list[Any]] | None:
    """A figure and its axes; None where matplotlib is not there."""
    try:
        from matplotlib import rcParams
        from matplotlib.figure import Figure
    except ImportError:
        return None
    rcParams["svg.hashsalt"] = name
    made = Figure(figsize=(3.8 * panels, height), layout="constrained")
    axes = made.subplots(1, panels, squeeze=False)[0]
    return made, list(axes)


def save(made: Any, name: str) -> None:
    with complete_file(FOLDER / f"{name}.svg", "wb") as stream:
        made.savefig(stream, format="svg", metadata={"Date": None})
