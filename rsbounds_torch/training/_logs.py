"""What is written down after each epoch: a table in CSV, and TensorBoard where it is asked for."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rsbounds import _text

#: Columns of the table; those of held-out inputs are empty where there are none.
COLUMNS = (
    "epoch", "step", "lr", "loss", "noisy_accuracy", "certified_accuracy", "radius", "acr",
    "mean_factor", "seconds",
)  # fmt: skip

Row = Mapping[str, float]


def write_table(path: Path, rows: Sequence[Row]) -> None:
    """All epochs so far, each time anew: what a stopped training logged twice is there once."""
    with _text.complete_file(path) as stream:
        table = csv.DictWriter(stream, COLUMNS, restval="", lineterminator="\n")
        table.writeheader()
        table.writerows(dict(row) for row in rows)


class Board:
    """Scalars for TensorBoard, from the epoch on that a training goes on from."""

    def __init__(self, folder: Path, epoch: int) -> None:
        writer = board_writer()
        self._writer: Any = writer(str(folder), purge_step=epoch + 1)

    def add(self, row: Row) -> None:
        for name in COLUMNS[2:]:
            if name in row:
                self._writer.add_scalar(name, row[name], int(row["epoch"]))
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


def board_writer() -> Any:
    """What writes for TensorBoard, imported here for the first time.

    Raises
    ------
    ImportError
        TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ImportError(
            "TensorBoard is missing; install rsbounds[tensorboard], or leave tensorboard out"
        ) from None
    return SummaryWriter


def sentence(row: Row, epochs: int) -> str:
    """One epoch in one line."""
    parts = [f"epoch {int(row['epoch'])}/{epochs}", f"loss {row['loss']:.4f}"]
    if "noisy_accuracy" in row:
        parts += [
            f"noisy accuracy {row['noisy_accuracy']:.3f}",
            f"certified at {_text.down(row['radius'], 3)} about {row['certified_accuracy']:.3f}",
            f"ACR about {row['acr']:.3f}",
        ]
    if "mean_factor" in row:
        parts.append(f"noise x {row['mean_factor']:.3f}")
    return ", ".join(parts)
