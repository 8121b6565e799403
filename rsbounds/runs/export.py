"""Rows of a run in the formats of the field: TSV, JSON lines, Parquet."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from rsbounds import _text
from rsbounds._types import Certificates
from rsbounds.noises import noise_from_dict
from rsbounds.runs.rebounding import content_hash_of
from rsbounds.runs.store import RunStore

# Column and type in Parquet. The columns of the published CERTIFY logs come first.
_COLUMNS = {
    "idx": "int64", "label": "int64", "predict": "int64", "radius": "float64", "correct": "int64",
    "time": "float64", "index": "int64", "top": "int64", "inscribed_radius": "float64",
    "proxy_radius": "float64", "n0": "int64", "n": "int64",
    "alpha": "float64", "method": "string", "options": "string", "guarantee": "string",
    "noise": "string", "law": "string", "seed": "string", "invalid": "int64", "error": "string",
    "digest": "string", "version": "string", "select_counts": "list", "estimate_counts": "list",
    "kind": "string", "evidence": "string",
}  # fmt: skip


def _records(store: RunStore, certificates: Certificates) -> Iterator[dict[str, Any]]:
    noises: dict[str, str] = {}
    for row, certificate in zip(store.rows(), certificates, strict=True):
        law = json.dumps(row.law)
        if law not in noises:
            noises[law] = str(noise_from_dict(row.law))
        # An abstention has no class; the published logs have a number for it.
        top = certificate.top
        values = (
            row.index, row.label, -1 if top is None else top, certificate.radius,
            None if row.label is None else int(top == row.label), row.seconds, row.index, top,
            certificate.inscribed_radius, certificate.proxy_radius, row.n0, row.n,
            certificate.alpha, certificate.method, dict(certificates.options),
            certificate.guarantee, noises[law], dict(row.law), row.seed, row.invalid,
            row.error, row.digest, certificates.version, row.select.tolist(), row.estimate.tolist(),
            row.kind, None if row.evidence is None else dict(row.evidence),
        )  # fmt: skip
        yield dict(zip(_COLUMNS, values, strict=True))


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return json.dumps(value) if isinstance(value, (dict, list)) else str(value)


def export_rows(
    store: RunStore,
    certificates: Certificates,
    path: str | os.PathLike[str],
    *,
    force: bool = False,
) -> Path:
    """Write one line per input: certificate, parameters and counts.

    The first columns are those of the published CERTIFY logs (idx, label, predict, radius,
    correct, time), with predict = -1 for an abstention as there. ``index`` and ``top`` are
    those of the certificates: an abstention has no ``top`` (empty, null), and a law whose region
    nobody describes no ``inscribed_radius`` and ``proxy_radius``. Numbers are in full precision;
    ``law`` holds every digit of the input's noise law, ``evidence`` what a certificate rests on
    besides counts, by ``kind`` (`rsbounds.runs.RunRow`).

    Parameters
    ----------
    store : RunStore
        The run.
    certificates : Certificates
        Of its inputs, from `rebound`.
    path : str or path
        File to write: ``.tsv``, ``.jsonl`` or ``.parquet``.
    force : bool
        Replace an existing file (the store never).

    Returns
    -------
    Path
        The file written; it appears only when complete.

    Raises
    ------
    ValueError
        Another file type, a file that is there already, or certificates of other inputs.
    ImportError
        Parquet without pyarrow.
    """
    target = Path(path)
    if target.suffix not in (".tsv", ".jsonl", ".parquet"):
        raise ValueError(f"path is {str(path)!r}; allowed endings: .tsv, .jsonl, .parquet")
    _text.check_output(target, [store.path], force=force, name="path")
    same = np.array_equal(certificates.index, sorted(store.done()))
    if same and certificates.input_hash is not None:
        same = certificates.input_hash == content_hash_of(store)
    if not same:
        raise ValueError(
            f"certificates are of {len(certificates)} inputs that are not the {len(store)} of "
            f"store {str(store.path)!r}; allowed: what rebound(store) returns"
        )
    if target.suffix == ".parquet":
        _to_parquet(store, certificates, target)
        return target
    with _text.complete_file(target) as stream:
        if target.suffix == ".tsv":
            stream.write("\t".join(_COLUMNS) + "\n")
        for record in _records(store, certificates):
            if target.suffix == ".tsv":
                stream.write("\t".join(map(_cell, record.values())) + "\n")
            else:
                stream.write(json.dumps(record, allow_nan=False) + "\n")
    return target


def _to_parquet(store: RunStore, certificates: Certificates, target: Path) -> None:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise ImportError("Parquet needs pyarrow; install rsbounds[all]") from None
    counts = pyarrow.list_(pyarrow.int64())
    schema = pyarrow.schema(
        (name, counts if kind == "list" else getattr(pyarrow, kind)())
        for name, kind in _COLUMNS.items()
    )
    records = [
        {name: _cell(r[name]) if kind == "string" else r[name] for name, kind in _COLUMNS.items()}
        for r in _records(store, certificates)
    ]
    with _text.complete_file(target, "wb") as stream:
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(records, schema=schema), stream)
