"""The command line ``rsbounds``: certify, compare, mean, methods, demo."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

import rsbounds
from rsbounds import _text
from rsbounds._files import CountFile, read_counts, read_samples
from rsbounds._types import Certificates, Selection
from rsbounds.noises import Gaussian, Lipschitz, Noise, Uniform
from rsbounds.runs import RunStore, export_rows
from rsbounds.runs.rebounding import stored_labels

_TOP_HELP = (
    "where each row's class comes from: 'selection' (argmax of the selection columns), 'label' "
    "(the label column), a class index for all rows, or 'argmax' (of the counts themselves; not "
    "covered by any theorem, and the result says so). Default: selection where the file has it, "
    "else label"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code (2 for bad input, 1 for a missing extra)."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["certify-model"]:
        return _certify_model(words[1:])
    given = _parser().parse_args(words)
    try:
        return int(given.run(given))
    except ValueError as error:
        print(f"rsbounds {given.command}: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            # The reader of our output has left; nothing more to say to it.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        print(f"rsbounds {given.command}: {error}", file=sys.stderr)
        return 2
    except ImportError as error:
        print(f"rsbounds {given.command}: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rsbounds",
        description="Votes of a classifier under noise, turned into certified radii.",
    )
    parser.add_argument("--version", action="version", version=f"rsbounds {rsbounds.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    certify = _command(commands, "certify", _certify, "certified radii for a file of counts")
    _add_table_arguments(certify)
    certify.add_argument("--method", default="exact", help="margin method (default exact)")
    certify.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an option of the method, such as split=0.8; may be repeated",
    )
    certify.add_argument("--output", metavar="FILE", help="write every row to .tsv or .jsonl")
    certify.add_argument("--json", action="store_true", help="print JSON instead of a table")

    compare = _command(commands, "compare", _compare, "every margin method on the same counts")
    _add_table_arguments(compare)
    compare.add_argument("--methods", help="names, separated by commas (default: all)")
    compare.add_argument("--radii", help="radii of the accuracy columns, separated by commas")
    compare.add_argument("--figure", metavar="FILE", help="write the curves to .png, .svg or .pdf")
    compare.add_argument("--output", metavar="FILE", help="write the comparison to a .json file")
    compare.add_argument("--json", action="store_true", help="print JSON instead of a table")

    mean = _command(commands, "mean", _mean, "bounds on the means of a file of bounded samples")
    mean.add_argument(
        "file",
        metavar="FILE",
        help=".npy or .npz with one quantity per row; .tsv or .csv with one draw per line and one "
        "quantity per column",
    )
    mean.add_argument("--alpha", type=float, default=0.001, help="error probability per quantity")
    mean.add_argument("--side", default="lower", help="lower (default), upper or both")
    mean.add_argument("--method", default="goal", help="mean method (default goal)")
    mean.add_argument(
        "--support",
        type=float,
        nargs=2,
        default=(0.0, 1.0),
        metavar=("A", "B"),
        help="interval that every possible sample lies in (default 0 1)",
    )
    mean.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an option of the method, such as cap=0.9; may be repeated",
    )
    mean.add_argument(
        "--compare",
        action="store_true",
        help="bounds of every method side by side, for comparison only: choose a method before "
        "you look",
    )
    mean.add_argument("--json", action="store_true", help="print JSON instead of a table")

    commands.add_parser(
        "certify-model", help="certify a PyTorch model on a data set, resumably (rsbounds[torch])"
    )

    methods = _command(commands, "methods", _methods, "what is registered, and when to choose it")
    methods.add_argument("--json", action="store_true", help="print JSON instead of a table")

    rebound = _command(
        commands, "rebound", _rebound, "new certificates from a stored run, without sampling"
    )
    rebound.add_argument("store", metavar="STORE", help="SQLite file of a run")
    rebound.add_argument("--method", help="margin method (default: the run's)")
    rebound.add_argument("--option", action="append", default=[], metavar="NAME=VALUE")
    rebound.add_argument("--alpha", type=float, help="error probability (default: the run's)")
    rebound.add_argument("--output", metavar="FILE", help="write every row to .tsv or .jsonl")
    rebound.add_argument("--json", action="store_true", help="print JSON instead of a table")

    report = _command(commands, "report", _report, "tables and figures of one or more stored runs")
    report.add_argument("stores", nargs="+", metavar="STORE", help="SQLite files of runs")
    report.add_argument("--methods", help="margin methods, separated by commas (default: all)")
    report.add_argument("--radii", help="radii of the accuracy columns, separated by commas")
    report.add_argument("--output", default="report", metavar="DIR", help="folder (report)")
    report.add_argument("--json", action="store_true", help="print JSON instead of tables")

    export = _command(commands, "export", _export, "the rows of a stored run as a file")
    export.add_argument("store", metavar="STORE", help="SQLite file of a run")
    export.add_argument("output", metavar="FILE", help=".tsv, .jsonl or .parquet")

    demo = _command(commands, "demo", _demo, "train, sample, certify and compare on the digits")
    demo.add_argument("--output", default="demo", metavar="DIR", help="folder for the results")
    demo.add_argument("--inputs", type=int, default=200, help="test images (default 200)")
    demo.add_argument("--n", type=int, default=10_000, help="draws per image (default 10000)")
    demo.add_argument("--alpha", type=float, default=0.001, help="error probability per image")
    demo.add_argument("--seed", type=int, default=0, help="seed of training and noise")
    return parser


def _certify_model(words: Sequence[str]) -> int:
    # The adapter is a package above this one: it is found by name, never imported from here.
    try:
        adapter = importlib.import_module("rsbounds_torch.cli")
    except ImportError:
        print("rsbounds: certify-model needs PyTorch; install rsbounds[torch]", file=sys.stderr)
        return 1
    return int(adapter.main(["certify", *words], program="rsbounds"))


def _command(
    commands: Any, name: str, run: Callable[[argparse.Namespace], int], text: str
) -> argparse.ArgumentParser:
    parser = cast(argparse.ArgumentParser, commands.add_parser(name, help=text, description=text))
    parser.set_defaults(run=run)
    return parser


def _add_table_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help=".tsv, .csv, .npy or .npz of counts")
    law = parser.add_mutually_exclusive_group(required=True)
    law.add_argument("--sigma", type=float, help="Gaussian noise, l2 radius: standard deviation")
    law.add_argument("--half-width", type=float, help="uniform noise, l1 radius: half-width")
    law.add_argument(
        "--lipschitz",
        type=float,
        metavar="L",
        help="any noise, l2 radius margin/(sqrt(2) L): constant of the smoothed probabilities",
    )
    parser.add_argument("--alpha", type=float, default=0.001, help="error probability per row")
    parser.add_argument("--top", help=_TOP_HELP)
    parser.add_argument("--counts", default="class_", help="prefix of the count columns (class_)")
    parser.add_argument("--select", default="select_", help="prefix of the selection columns")
    parser.add_argument("--label", default="label", help="name of the label column (label)")


def _noise(given: argparse.Namespace) -> Noise:
    if given.sigma is not None:
        return Gaussian(given.sigma)
    if given.half_width is not None:
        return Uniform(given.half_width)
    # What the samples were drawn from does not enter this radius.
    return Lipschitz(given.lipschitz, Gaussian(1.0))


def _table(given: argparse.Namespace) -> CountFile:
    return read_counts(given.file, counts=given.counts, label=given.label, select=given.select)


def _top(given: argparse.Namespace, table: CountFile) -> tuple[ArrayLike | Selection, bool]:
    """The classes to certify, and whether a theorem covers them."""
    rule = given.top
    if rule is None:
        rule = "selection" if table.select is not None else "label"
        if table.select is None and table.label is None:
            raise ValueError(
                f"--top is not given, and {given.file} has neither selection columns nor a label "
                "column; allowed: selection, label, a class index, argmax"
            )
    if rule == "selection":
        if table.select is None:
            raise ValueError(f"--top is 'selection' but no column starts with {given.select!r}")
        # Read from a file, the same sample twice no longer shares memory.
        if np.array_equal(table.select, table.counts):
            raise ValueError(
                f"the selection counts of {given.file} are its estimation counts; allowed: an "
                "independent selection sample (--select and --counts name different columns)"
            )
        return rsbounds.select_top(table.select), True
    if rule == "label":
        if table.label is None:
            raise ValueError(f"--top is 'label' but there is no column {given.label!r}")
        return table.label, True
    if rule == "argmax":
        print(
            "rsbounds: the top class is taken from the estimation counts themselves, which no "
            "theorem covers; use selection counts or labels for a guarantee",
            file=sys.stderr,
        )
        return np.asarray(rsbounds.select_top(table.counts).top), False
    if rule.isdigit():
        return int(rule), True
    raise ValueError(f"--top is {rule!r}; allowed: selection, label, a class index, argmax")


def method_options(pairs: Sequence[str]) -> dict[str, Any]:
    """Options of a method from NAME=VALUE texts; values are JSON, or else text."""
    options: dict[str, Any] = {}
    for pair in pairs:
        name, sign, text = pair.partition("=")
        if not sign or not name:
            raise ValueError(f"--option is {pair!r}; allowed: NAME=VALUE")
        try:
            options[name] = json.loads(text)
        except json.JSONDecodeError:
            options[name] = text
    return options


def _certify(given: argparse.Namespace) -> int:
    table = _table(given)
    top, covered = _top(given, table)
    if given.output is not None and Path(given.output).suffix not in (".tsv", ".jsonl"):
        raise ValueError(f"--output is {given.output!r}; allowed endings: .tsv, .jsonl")
    result = rsbounds.certify(
        table.counts,
        top,
        noise=_noise(given),
        alpha=given.alpha,
        method=given.method,
        progress=None,
        **method_options(given.option),
    )
    if not covered:
        result = dataclasses.replace(result, guarantee="none")
    if given.output is not None:
        (result.to_tsv if given.output.endswith(".tsv") else result.to_jsonl)(given.output)
    if given.json:
        print(
            json.dumps({"summary": _summary(result, table.label), "rows": list(result.records())})
        )
        return 0
    print(result.table(20))
    if table.label is not None:
        acr = rsbounds.average_certified_radius(result, table.label)
        print(f"average certified radius against the labels: {_text.down(acr, 5)}")
    if given.output is not None:
        print(f"all {len(result)} rows: {given.output}")
    elif len(result) > 20:
        print("all rows: add --output FILE.tsv")
    return 0


def _summary(result: Certificates, label: NDArray[Any] | None) -> dict[str, Any]:
    return {
        "rows": len(result),
        "certified": int((~result.abstained).sum()),
        "mean_radius": float(result.radius.mean()),
        "acr": None if label is None else rsbounds.average_certified_radius(result, label),
        "alpha": result.alpha,
        "method": result.method,
        "guarantee": result.guarantee,
        "noise": result.noise,
        "norm": result.norm,
    }


def _compare(given: argparse.Namespace) -> int:
    table = _table(given)
    top, covered = _top(given, table)
    if given.output is not None and not given.output.endswith(".json"):
        raise ValueError(f"--output is {given.output!r}; allowed ending: .json")
    radii = _radii(given.radii)
    result = rsbounds.compare(
        table.counts,
        top,
        noise=_noise(given),
        alpha=given.alpha,
        labels=table.label,
        radii=radii,
        methods=None if given.methods is None else given.methods.split(","),
        progress=None,
    )
    if not covered:
        rows = tuple(dataclasses.replace(row, guarantee="none") for row in result.rows)
        result = dataclasses.replace(result, rows=rows)
    if given.figure is not None:
        rsbounds.plot_certified_accuracy(
            result.curves(),
            table.label,
            path=given.figure,
            title=f"{Path(given.file).name}, {result.noise}, alpha {result.alpha:g}",
        )
    if given.output is not None:
        with _text.complete_file(given.output) as stream:
            json.dump(result.as_dict(), stream)
    if given.json:
        print(json.dumps(result.as_dict()))
        return 0
    print(result)
    for what in (given.figure, given.output):
        if what is not None:
            print(f"written: {what}")
    return 0


def _up(value: float, digits: int) -> str:
    """Rounded up: the negative of what `_text.down` makes of the negative."""
    text = _text.down(-value, digits)
    return text.removeprefix("-") if text.startswith("-") else f"-{text}"


def _mean_comparison(given: argparse.Namespace, samples: NDArray[Any], names: Sequence[str]) -> int:
    """Bounds of every method on the same samples; two-point methods where they apply."""
    from rsbounds.bounds.mean import MEAN_METHODS

    ends = tuple(given.support)
    two_point = bool(np.isin(samples, ends).all())
    usable = [
        name
        for name in MEAN_METHODS
        if MEAN_METHODS[name].usable() and (two_point or not MEAN_METHODS[name].two_point)
    ]
    rows: list[dict[str, Any]] = []
    for method in usable:
        found = rsbounds.mean_bound(
            samples,
            alpha=given.alpha,
            side=given.side,
            method=method,
            support=ends,
            axis=1,
            progress=None,
        )
        for i, name in enumerate(names):
            rows.append(
                {
                    "name": name,
                    "method": method,
                    "guarantee": found.guarantee,
                    "lower": float(found.lower[i]),
                    "upper": float(found.upper[i]),
                }
            )
    if given.json:
        print(json.dumps({"alpha": given.alpha, "side": given.side, "rows": rows}))
        return 0
    rows.sort(key=lambda row: names.index(row["name"]))
    body = [
        [row["name"], row["method"], _text.down(row["lower"], 6), _up(row["upper"], 6)]
        for row in rows
    ]
    print(_text.table(["quantity", "method", "lower", "upper"], body))
    print(
        f"side {given.side}, alpha {given.alpha:g} for each line on its own: the best of several "
        "lines is not a bound at that level"
    )
    return 0


def _mean(given: argparse.Namespace) -> int:
    samples, names = read_samples(given.file)
    if given.compare:
        return _mean_comparison(given, samples, names)
    found = rsbounds.mean_bound(
        samples,
        alpha=given.alpha,
        side=given.side,
        method=given.method,
        support=tuple(given.support),
        axis=1,
        progress=None,
        **method_options(given.option),
    )
    averages = samples.mean(axis=1)
    if given.json:
        rows = [
            {"name": name, "n": int(n), "mean": float(mean), "lower": float(a), "upper": float(b)}
            for name, n, mean, a, b in zip(
                names, found.n, averages, found.lower, found.upper, strict=True
            )
        ]
        about = {
            "alpha": found.alpha,
            "side": found.side,
            "method": found.method,
            "guarantee": found.guarantee,
            "support": list(found.support),
        }
        print(json.dumps({"summary": about, "rows": rows}))
        return 0
    body = [
        [name, str(n), f"{mean:.6f}", _text.down(a, 6), _up(b, 6)]
        for name, n, mean, a, b in zip(
            names,
            found.n,
            averages.tolist(),
            found.lower.tolist(),
            found.upper.tolist(),
            strict=True,
        )
    ]
    print(_text.table(["quantity", "n", "mean", "lower", "upper"], body))
    print(
        f"{found.method}, side {found.side}, alpha {found.alpha:g} per quantity, guarantee: "
        f"{found.guarantee}"
    )
    if found.details["two_point"].all() and found.method != "clopper-pearson":
        print(
            "every sample is an end of the support: if they can be nothing else (votes), "
            "--method clopper-pearson is exact"
        )
    return 0


def _methods(given: argparse.Namespace) -> int:
    from rsbounds.bounds.margin import MARGIN_METHODS
    from rsbounds.bounds.mean import MEAN_METHODS
    from rsbounds.sequential import SEQUENCES

    rows = []
    listed: list[tuple[str, str, Any]] = [
        ("margin", name, MARGIN_METHODS[name]) for name in MARGIN_METHODS
    ]
    listed += [("mean", name, MEAN_METHODS[name]) for name in MEAN_METHODS]
    for role, name, kind in listed:
        rows.append(
            {
                "name": name,
                "role": role,
                "guarantee": kind().guarantee,
                "options": {f.name: f.default for f in dataclasses.fields(kind)},
                "cost": kind.cost,
                "choose": kind.choose,
                "source": kind.source,
                "installed": kind.usable(),
            }
        )
    for name in SEQUENCES:
        sequence = SEQUENCES[name]
        rows.append(
            {
                "name": name,
                "role": "any-time mean",
                "guarantee": "proven",
                "options": sequence.options(),
                "cost": sequence.memory,
                "choose": sequence.choose,
                "source": sequence.source,
                "installed": True,
            }
        )
    if given.json:
        print(json.dumps(rows))
        return 0
    for row in rows:
        options = ", ".join(
            f"{key}={value}" for key, value in cast(dict[str, Any], row["options"]).items()
        )
        print(f"{row['name']}  ({row['role']} bound, guarantee: {row['guarantee']})")
        print(f"    choose   {row['choose']}")
        print(f"    cost     {row['cost']}")
        print(f"    source   {row['source']}")
        print(f"    options  {options or 'none'}")
    return 0


def _rebound(given: argparse.Namespace) -> int:
    if given.output is not None and Path(given.output).suffix not in (".tsv", ".jsonl"):
        raise ValueError(f"--output is {given.output!r}; allowed endings: .tsv, .jsonl")
    with RunStore(given.store) as store:
        result = rsbounds.rebound(
            store, method=given.method, alpha=given.alpha, **method_options(given.option)
        )
        label = stored_labels(store)
    if given.output is not None:
        (result.to_tsv if given.output.endswith(".tsv") else result.to_jsonl)(given.output)
    if given.json:
        print(json.dumps({"summary": _summary(result, label), "rows": list(result.records())}))
        return 0
    print(result.table(20))
    if label is not None:
        acr = rsbounds.average_certified_radius(result, label)
        print(f"average certified radius against the labels: {_text.down(acr, 5)}")
    if given.output is not None:
        print(f"all {len(result)} rows: {given.output}")
    return 0


def _radii(text: str | None) -> list[float] | None:
    if text is None:
        return None
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"--radii is {text!r}; allowed: numbers with commas") from None


def _report(given: argparse.Namespace) -> int:
    from rsbounds.report.runs import report_runs

    methods = None if given.methods is None else given.methods.split(",")
    result = report_runs(
        given.stores, Path(given.output), methods=methods, radii=_radii(given.radii)
    )
    if given.json:
        print(json.dumps(result.as_dict()))
        return 0
    print(result)
    return 0


def _export(given: argparse.Namespace) -> int:
    with RunStore(given.store) as store:
        target = export_rows(store, rsbounds.rebound(store), given.output)
        print(f"written: {target} ({len(store)} rows)")
    return 0


def _demo(given: argparse.Namespace) -> int:
    from rsbounds._demo import run_demo

    run_demo(Path(given.output), inputs=given.inputs, n=given.n, alpha=given.alpha, seed=given.seed)
    return 0
