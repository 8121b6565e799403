"""Rows of a run in the formats of the field: TSV, JSON lines, Parquet."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rsbounds import _text
from rsbounds._types import Certificates
from rsbounds.runs.store import RunStore

# The columns of the published CERTIFY logs come first.
_COLUMNS = (
    "idx", "label", "predict", "radius", "correct", "time", "n0", "n", "alpha", "method", "noise",
    "seed", "invalid", "top", "select_counts", "estimate_counts",
)  # fmt: skip


def _records(store: RunStore, certificates: Certificates) -> Iterator[dict[str, Any]]:
    for row, certificate in zip(store.rows(), certificates, strict=True):
        predict = -1 if certificate.abstained else certificate.top
        correct = None if row.label is None else int(predict == row.label)
        yield dict(
            zip(
                _COLUMNS,
                (
                    row.index, row.label, predict, certificate.radius, correct, row.seconds, row.n0,
                    row.n, certificate.alpha, certificate.method, json.dumps(row.law), row.seed,
                    row.invalid, certificate.top, row.select.tolist(), row.estimate.tolist(),
                ),
                strict=True,
            )
        )  # fmt: skip


def export_rows(store: RunStore, certificates: Certificates, path: str | os.PathLike[str]) -> Path:
    """Write one line per input: certificate, parameters and counts.

    The first columns are those of the published CERTIFY logs (idx, label, predict, radius,
    correct, time), with predict = -1 for an abstention as there. Numbers are in full
    precision.

    Parameters
    ----------
    store : RunStore
        The run.
    certificates : Certificates
        Of its inputs, from `rebound`.
    path : str or path
        File to write: ``.tsv``, ``.jsonl`` or ``.parquet``.

    Returns
    -------
    Path
        The file written; it appears only when complete.

    Raises
    ------
    ValueError
        Another file type.
    ImportError
        Parquet without pyarrow.
    """
    target = Path(path)
    if target.suffix == ".tsv":
        with _text.complete_file(target) as stream:
            stream.write("\t".join(_COLUMNS) + "\n")
            for record in _records(store, certificates):
                cells = ("" if record[c] is None else str(record[c]) for c in _COLUMNS)
                stream.write("\t".join(cells) + "\n")
    elif target.suffix == ".jsonl":
        with _text.complete_file(target) as stream:
            for record in _records(store, certificates):
                stream.write(json.dumps(record, allow_nan=False) + "\n")
    elif target.suffix == ".parquet":
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError:
            raise ImportError("Parquet needs pyarrow; install rsbounds[all]") from None
        records = [{**r, "seed": str(r["seed"])} for r in _records(store, certificates)]
        with _text.complete_file(target, "wb") as stream:
            pyarrow.parquet.write_table(pyarrow.Table.from_pylist(records), stream)
    else:
        raise ValueError(f"path is {str(path)!r}; allowed endings: .tsv, .jsonl, .parquet")
    return target
