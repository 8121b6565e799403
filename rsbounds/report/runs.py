"""Tables and figures of stored runs."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from rsbounds import _text
from rsbounds._types import Certificates
from rsbounds.bounds.margin import MARGIN_METHODS
from rsbounds.report.accuracy import average_certified_radius, certified_accuracy
from rsbounds.report.comparison import accuracy_radii, method_label
from rsbounds.report.figure import plot_certified_accuracy
from rsbounds.runs import RunStore, rebound
from rsbounds.runs.rebounding import stored_labels


@dataclass(frozen=True, eq=False)
class RunReport:
    """One line per run and method, and the files written.

    Attributes
    ----------
    lines : tuple of dict
        run, method, guarantee, inputs, abstained, invalid, mean_radius, acr, accuracy.
    radii : tuple of float
        Radii of the accuracy columns.
    files : tuple of str
        What was written.
    """

    lines: tuple[dict[str, Any], ...]
    radii: tuple[float, ...]
    files: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {"radii": list(self.radii), "lines": list(self.lines), "files": list(self.files)}

    def __str__(self) -> str:
        header = ["run", "method", "guarantee", "inputs", "abstained", "invalid", "mean radius"]
        header += ["ACR", *(f"r>={r:g}" for r in self.radii)]
        body = [
            [
                line["run"], line["method"], line["guarantee"], str(line["inputs"]),
                str(line["abstained"]), str(line["invalid"]), _text.down(line["mean_radius"], 5),
                "-" if line["acr"] is None else _text.down(line["acr"], 5),
                *(_text.down(share, 3) for share in line["accuracy"]),
            ]
            for line in self.lines
        ]  # fmt: skip
        written = "".join(f"\nwritten: {name}" for name in self.files)
        return _text.table(header, body) + written


def report_files(
    stores: Sequence[str | os.PathLike[str]], folder: str | os.PathLike[str]
) -> list[Path]:
    """Every file that `report_runs` may write."""
    target = Path(folder)
    runs = [Path(path).stem for path in stores] + (["runs"] if len(stores) > 1 else [])
    figures = [target / f"{run}.{ending}" for run in runs for ending in ("png", "svg")]
    return [target / "report.tsv", target / "report.json", *figures]


def report_runs(
    stores: Sequence[str | os.PathLike[str]],
    folder: str | os.PathLike[str],
    *,
    methods: Sequence[str] | None = None,
    radii: ArrayLike | None = None,
) -> RunReport:
    """Certified accuracy, ACR and abstentions of stored runs, as tables and figures.

    Writes ``report.tsv``, ``report.json`` and, for each run, ``NAME.png`` and ``NAME.svg`` with
    one curve per method; with several runs also ``runs.png`` and ``runs.svg`` with one curve per
    run by its own method. Certificates come from the stored counts.

    Parameters
    ----------
    stores : sequence of paths
        Run stores.
    folder : str or path
        Folder for the files, made if it is not there.
    methods : sequence of str, optional
        Registered margin methods; by default all that are usable and take milliseconds per row.
    radii : float array_like, optional
        Radii of the accuracy columns.

    Returns
    -------
    RunReport
        The table, and the files written.

    Raises
    ------
    ValueError
        A store that cannot be read or is empty, or an unknown method.
    """
    if not stores:
        raise ValueError("stores is empty; allowed: at least one run store")
    fast = [name for name in MARGIN_METHODS if not MARGIN_METHODS[name].seconds_per_row]
    names = fast if methods is None else list(methods)
    kinds = {name: MARGIN_METHODS[name] for name in names}
    curves: dict[str, dict[str, Certificates]] = {}
    labels: dict[str, Any] = {}
    invalid: dict[str, int] = {}
    own: dict[str, Certificates] = {}
    for path in stores:
        run = Path(path).stem
        if run in curves:
            raise ValueError(f"stores holds two files named {run!r}; allowed: distinct names")
        with RunStore(path) as store:
            own[run] = rebound(store)
            labels[run] = stored_labels(store)
            invalid[run] = sum(row.invalid > 0 for row in store.rows())
            curves[run] = {
                method_label(name, options): rebound(store, method=name, **options)
                for name, kind in kinds.items()
                if kind.usable()
                for options in kind.variants
            }
    if radii is None:
        at = accuracy_radii([c for of_run in curves.values() for c in of_run.values()])
    else:
        at = np.atleast_1d(np.asarray(radii, dtype=np.float64))
    lines = []
    for run, of_run in curves.items():
        for method, result in of_run.items():
            known = labels[run]
            truth = result.top if known is None else known
            lines.append(
                {
                    "run": run,
                    "method": method,
                    "guarantee": result.guarantee,
                    "inputs": len(result),
                    "abstained": int(result.abstained.sum()),
                    "invalid": invalid[run],
                    "mean_radius": float(result.radius.mean()),
                    "acr": None if known is None else average_certified_radius(result, known),
                    "accuracy": certified_accuracy(result, truth, at).tolist(),
                }
            )
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    files = [target / "report.tsv", target / "report.json"]
    keys = [key for key in lines[0] if key != "accuracy"]
    with _text.complete_file(files[0]) as stream:
        stream.write("\t".join([*keys, *(f"r>={r:g}" for r in at)]) + "\n")
        for line in lines:
            cells = ["" if line[key] is None else line[key] for key in keys]
            stream.write("\t".join(map(str, [*cells, *line["accuracy"]])) + "\n")
    with _text.complete_file(files[1]) as stream:
        json.dump({"radii": at.tolist(), "lines": lines}, stream, allow_nan=False)
    for ending in ("png", "svg"):
        for run, of_run in curves.items():
            title = f"{run}: {own[run].noise}, alpha {own[run].alpha:g}"
            path = target / f"{run}.{ending}"
            files.append(plot_certified_accuracy(of_run, labels[run], path=path, title=title))
        if len(curves) > 1 and all(known is not None for known in labels.values()):
            files.append(
                plot_certified_accuracy(own, labels, path=target / f"runs.{ending}", title="runs")
            )
    return RunReport(tuple(lines), tuple(at.tolist()), tuple(str(file) for file in files))
