"""Tables and figures of stored runs."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsbounds import _tables, _text, _validate
from rsbounds._types import Certificates
from rsbounds.bounds.margin import MARGIN_METHODS, MarginMethod
from rsbounds.noises import noise_from_dict
from rsbounds.report.accuracy import average_certified_radius, certified_accuracy, sizes
from rsbounds.report.answers import answer_lines, answers_table, plot_answers
from rsbounds.report.comparison import accuracy_radii, method_label
from rsbounds.report.figure import plot_certified_accuracy
from rsbounds.report.statements import statements_of, statements_text
from rsbounds.runs import RunStore, rebound
from rsbounds.runs.kinds import kind_of_run
from rsbounds.runs.kinds.decisions import DecideKind
from rsbounds.runs.rebounding import stored_labels

_TABLES = ("report.tsv", "report.json")
#: Inputs whose noise is shown, of a run that found a law for each.
_LAWS_SHOWN = 5


@dataclass(frozen=True, eq=False)
class RunReport:
    """One line per run and method, and the files written.

    Attributes
    ----------
    lines : tuple of dict
        run, method, guarantee, inputs, abstained, invalid, mean_radius, mean_inscribed_radius,
        mean_proxy_radius, acr, accuracy.
    radii : tuple of float
        Radii of the accuracy columns.
    files : tuple of str
        What was written.
    size : {"radius", "inscribed_radius"}
        Which radius ``acr`` and ``accuracy`` are of: where noise has axes of its own, radii in
        its norm have no unit, and those of the inscribed balls are compared.
    found : tuple of dict
        The noise of some inputs of runs that found a law for each, from the smallest to the
        largest: run, method, input, noise, proxy_scale and inscribed_scale, which are the radii
        of the law's region at a margin of one over those of the law that the search began with.
    statements : tuple of dict
        What each run's own certificates say together: run, and as plain values the
        `rsbounds.report.PopulationAccuracy` (population) and `JointAccuracy` (joint) of its inputs.
    answers : tuple of dict
        Of runs of decisions, one line for each radius: run, and what
        `rsbounds.report.answers.answer_lines` says.
    """

    lines: tuple[dict[str, Any], ...]
    radii: tuple[float, ...]
    files: tuple[str, ...]
    size: str = "radius"
    found: tuple[dict[str, Any], ...] = ()
    statements: tuple[dict[str, Any], ...] = ()
    answers: tuple[dict[str, Any], ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "radii": list(self.radii), "size": self.size, "lines": list(self.lines),
            "files": list(self.files), "found": list(self.found),
            "statements": list(self.statements),
            "answers": list(self.answers),
        }  # fmt: skip

    def __str__(self) -> str:
        means = {"mean_radius": "mean radius"}
        if self.size != "radius":
            means |= {"mean_inscribed_radius": "inscribed", "mean_proxy_radius": "proxy"}
        header = ["run", "method", "guarantee", "inputs", "abstained", "invalid", *means.values()]
        header += ["ACR", *(f"r>={r:g}" for r in self.radii)]
        body = [
            [
                line["run"], line["method"], line["guarantee"], str(line["inputs"]),
                str(line["abstained"]), str(line["invalid"]),
                *("-" if line[name] is None else _text.down(line[name], 5)
                  for name in (*means, "acr")),
                *(_text.share(share, line["inputs"]) for share in line["accuracy"]),
            ]
            for line in self.lines
        ]  # fmt: skip
        written = "".join(f"\nwritten: {name}" for name in self.files)
        told = f"\n\n{answers_table(self.answers)}" if self.answers else ""
        said = f"\n\n{statements_text(self.statements)}" if self.statements else ""
        return _text.table(header, body) + told + self._noise() + said + written

    def _noise(self) -> str:
        """What noise was found, where it was."""
        if not self.found:
            return ""
        header = ["run", "noise found by", "input", "proxy x", "inscribed x", "noise"]
        body = [
            [line["run"], line["method"], str(line["input"]), f"{line['proxy_scale']:.3g}",
             f"{line['inscribed_scale']:.3g}", line["noise"]]
            for line in self.found
        ]  # fmt: skip
        return "\n\n" + _text.table(header, body)


@dataclass(frozen=True, eq=False)
class _Run:
    """What a report says about one store, or one file of certificates."""

    own: Certificates
    by_method: dict[str, Certificates]
    labels: NDArray[np.int64] | None
    invalid: int
    found: Sequence[Mapping[str, Any]] = ()
    #: Inputs of its data set.
    inputs: int | None = None
    answers: Sequence[Mapping[str, Any]] = ()


def report_runs(
    stores: Sequence[str | os.PathLike[str]],
    folder: str | os.PathLike[str],
    *,
    methods: Sequence[str] | None = None,
    radii: ArrayLike | None = None,
    beta: float = 0.05,
    inputs: int | None = None,
    force: bool = False,
) -> RunReport:
    """Certified accuracy, ACR and abstentions of stored runs, as tables and figures.

    Writes ``report.tsv``, ``report.json`` and, for each run, ``NAME.png`` and ``NAME.svg`` with
    one curve per method; with several runs also ``runs.png`` and ``runs.svg`` with one curve per
    run by its own method. Where noise has axes of its own, inscribed and proxy radii are drawn
    side by side. A run of decisions is drawn as the certified accuracy at each of its radii, with
    the shares of inputs that are undecided, given up or proven to have a smaller radius.
    Certificates come from the stored counts.

    Parameters
    ----------
    stores : sequence of paths
        Run stores, or files of certificates. These, and runs of other kinds than votes, are shown
        with the method that made them.
    folder : str or path
        Folder for the files, made if it is not there.
    methods : sequence of str, optional
        Registered margin methods; by default all that are usable and take milliseconds per row.
    radii : float array_like, optional
        Radii of the accuracy columns.
    beta : float
        Error probability of each statement about the population that the inputs of a run are a
        random sample of, and about all its certificates at once.
    inputs : int, optional
        Inputs that each run is meant to have, where that is not the whole data set; those that
        are not finished count as not certified in these statements.
    force : bool
        Replace files that are there (a store never).

    Returns
    -------
    RunReport
        The table, and the files written.

    Raises
    ------
    ValueError
        A store that cannot be read or is empty, an unknown method, or a file that is there
        already; nothing is written then.
    """
    figures = report_files(stores, folder, force=force)
    _validate.alpha(beta, "beta")
    fast = [name for name in MARGIN_METHODS.working() if not MARGIN_METHODS[name].seconds_per_row]
    kinds = {name: MARGIN_METHODS[name] for name in (fast if methods is None else methods)}
    runs = {Path(path).stem: _read(path, kinds) for path in stores}
    tables = [table for run in runs.values() for table in run.by_method.values()]
    drawn = sizes_of(tables)
    size = drawn[0]
    answers = tuple({"run": name, **line} for name, run in runs.items() for line in run.answers)
    asked = {line["radius"] for line in answers}
    if radii is None and asked and all(run.answers for run in runs.values()):
        # Between the radii that were asked about nothing is known.
        at = np.array(sorted(asked))
    elif radii is None:
        at = accuracy_radii([sizes(table, size) for table in tables])
    else:
        at = np.atleast_1d(_validate.real_array("radii", radii))
    lines = [
        _line(name, run, method, at, size) for name, run in runs.items() for method in run.by_method
    ]
    found = tuple({"run": name, **line} for name, run in runs.items() for line in run.found)
    said = tuple(
        statements_of(name, run.own, run.labels, at, beta=beta, size=size,
                      inputs=run.inputs if inputs is None else inputs)
        for name, run in runs.items()
    )  # fmt: skip
    Path(folder).mkdir(parents=True, exist_ok=True)
    written = [Path(folder, name) for name in _TABLES]
    more = {"found": found, "statements": said, "answers": answers}
    _write_tables(written, lines, at, more)
    written += _drawn(runs, figures, drawn)
    files = tuple(str(file) for file in written)
    return RunReport(tuple(lines), tuple(at.tolist()), files, size, found, said, answers)


def _drawn(
    runs: Mapping[str, _Run], figures: Mapping[str, list[Path]], size: tuple[str, ...]
) -> list[Path]:
    """The figures of each run and of all together."""
    written: list[Path] = []
    for name, paths in figures.items():
        if name in runs:
            run = runs[name]
            title = f"{name}: {run.own.noise}, alpha {run.own.alpha:g}"
            if run.answers:
                written += [plot_answers(run.answers, path=p, title=title, force=True)
                            for p in paths]  # fmt: skip
                continue
            what: Any = run.by_method, run.labels
        elif all(run.labels is not None for run in runs.values()):
            own = {key: run.own for key, run in runs.items()}
            labels: dict[str, Any] = {key: run.labels for key, run in runs.items()}
            what, title = (own, labels), name
        else:
            continue
        written += [
            plot_certified_accuracy(*what, path=path, size=size, title=title, force=True)
            for path in paths
        ]
    return written


def sizes_of(tables: Sequence[Certificates]) -> tuple[str, ...]:
    """Which radii are drawn: those of balls where any region is none, if they are known."""
    if all(not table.norm.startswith("scaled ") for table in tables):
        return ("radius",)
    known = all(None not in table.mean_radii().values() for table in tables)
    return ("inscribed_radius", "proxy_radius") if known else ("radius",)


def report_files(
    stores: Sequence[str | os.PathLike[str]], folder: str | os.PathLike[str], *, force: bool = False
) -> dict[str, list[Path]]:
    """Figures of each run and of all together, once it is sure that nothing would be lost.

    Raises
    ------
    ValueError
        No store, two of one name, or a file that is there already (without ``force``).
    """
    if not stores:
        raise ValueError("stores is empty; allowed: at least one run store")
    target = Path(folder)
    if target.exists() and not target.is_dir():
        raise ValueError(f"folder is {str(folder)!r}, a file; allowed: a folder")
    figures: dict[str, list[Path]] = {}
    for name in [*(Path(path).stem for path in stores), *(["runs"] if len(stores) > 1 else [])]:
        if name in figures:
            raise ValueError(f"stores holds two files named {name!r}; allowed: distinct names")
        figures[name] = [target / f"{name}.png", target / f"{name}.svg"]
    if target.is_dir():
        tables = [target / name for name in _TABLES]
        for file in itertools.chain(tables, *figures.values()):
            _text.check_output(file, stores, force=force, name="the report's file")
    return figures


def _read(path: str | os.PathLike[str], kinds: Mapping[str, type[MarginMethod]]) -> _Run:
    if _tables.is_certificates(path):
        made = Certificates.read(path)
        return _Run(made, {made.method: made}, None, 0)
    with RunStore(path) as store:
        invalid = sum(row.invalid > 0 for row in store.rows())
        own, labels, found = rebound(store), stored_labels(store), _found(store)
        planned, work = store.config.get("inputs"), kind_of_run(store.config)
        if not work.votes:
            # What stopped the draws, or became of the scores, is part of the run.
            answers = answer_lines(store) if isinstance(work, DecideKind) else ()
            return _Run(own, {own.method: own}, labels, invalid, found, planned, answers)
        if own.guarantee == "deterministic":
            # All cells were counted: there is nothing for another method to bound.
            return _Run(own, {own.method: own}, labels, invalid, found, planned)
        by_method = {
            method_label(name, options): rebound(store, method=name, **options)
            for name, kind in kinds.items()
            if kind.usable()
            for options in kind.variants
        }
        return _Run(own, by_method, labels, invalid, found, planned)


def _found(store: RunStore) -> list[dict[str, Any]]:
    """The noise of some inputs of a run that found a law for each, by size."""
    smoothing = store.config.get("smoothing")
    if smoothing is None:
        return []
    start, lines = noise_from_dict(store.config["noise"]), []
    for row in store.rows():
        if row.error:
            continue
        unit = start.at(row.index).region([1.0])
        law = noise_from_dict(row.law)
        region = law.region([1.0])
        lines.append(
            {
                "method": smoothing["method"],
                "input": row.index,
                "noise": str(law),
                "proxy_scale": float(region.proxy_radius()[0] / unit.proxy_radius()[0]),
                "inscribed_scale": float(region.inscribed_radius()[0] / unit.inscribed_radius()[0]),
            }
        )
    lines.sort(key=lambda line: line["proxy_scale"])
    at = np.unique(np.linspace(0, len(lines) - 1, _LAWS_SHOWN).round().astype(int))
    return [lines[i] for i in at] if lines else []


def _line(name: str, run: _Run, method: str, at: NDArray[np.float64], size: str) -> dict[str, Any]:
    result, known = run.by_method[method], run.labels
    return {
        "run": name,
        "method": method,
        "guarantee": result.guarantee,
        "inputs": len(result),
        "abstained": int(result.abstained.sum()),
        "invalid": run.invalid,
        **{f"mean_{kind}": mean for kind, mean in result.mean_radii().items()},
        "acr": None if known is None else average_certified_radius(result, known, size=size),
        "accuracy": certified_accuracy(result, known, at, size=size).tolist(),
    }


def _write_tables(
    paths: Sequence[Path],
    lines: Sequence[dict[str, Any]],
    at: NDArray[np.float64],
    more: Mapping[str, Sequence[dict[str, Any]]],
) -> None:
    keys = [key for key in lines[0] if key != "accuracy"]
    with _text.complete_file(paths[0]) as stream:
        stream.write("\t".join([*keys, *(f"r>={r:g}" for r in at)]) + "\n")
        for line in lines:
            cells = ["" if line[key] is None else line[key] for key in keys]
            stream.write("\t".join(map(str, [*cells, *line["accuracy"]])) + "\n")
    with _text.complete_file(paths[1]) as stream:
        json.dump({"radii": at.tolist(), "lines": lines, **more}, stream, allow_nan=False)
