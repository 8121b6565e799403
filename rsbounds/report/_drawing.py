"""What every picture needs: a name that may be written to, a figure, and the file."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

from rsbounds import _text

_FORMATS = (".png", ".svg", ".pdf")


def checked_path(path: str | os.PathLike[str], *, force: bool) -> Path:
    """The path, where a picture may be written to it."""
    target = Path(path)
    if target.suffix.lower() not in _FORMATS:
        raise ValueError(f"path is {str(path)!r}; allowed endings: {', '.join(_FORMATS)}")
    _text.check_output(target, force=force, name="path")
    return target


def new_figure(width: float, height: float) -> Any:
    """A figure of that size in inches."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("the figure needs matplotlib; install rsbounds[plot]") from None
    # No pyplot: nothing global is touched, and no display is needed.
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Any, target: Path) -> Path:
    """Write the figure; the file appears only when complete, the same bytes for the same one."""
    from matplotlib import rc_context

    buffer = io.BytesIO()
    kind = target.suffix[1:].lower()
    undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
    with rc_context({"svg.hashsalt": "rsbounds"}):
        figure.savefig(buffer, format=kind, dpi=150, metadata=undated.get(kind))
    with _text.complete_file(target, "wb") as stream:
        stream.write(buffer.getvalue())  # type: ignore[arg-type]
    return target
