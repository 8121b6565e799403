"""``rsbounds rebound``, ``report`` and ``export``: what stored runs give without sampling."""

from __future__ import annotations

import argparse
import json

import rsbounds
from rsbounds.commands._base import Command
from rsbounds.commands._output import (
    add_certificates,
    add_force,
    add_method,
    checked_output,
    method_options,
    names_of,
    radii_of,
    show_certificates,
    write_certificates,
)

_CERTIFICATES = (".tsv", ".jsonl")


def _rebound_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("store", metavar="STORE", help="SQLite file of a run")
    add_method(parser, None, "margin method")
    parser.add_argument("--alpha", type=float, help="error probability (default: the run's)")
    add_certificates(parser)


def _rebound(given: argparse.Namespace) -> int:
    from rsbounds.runs.rebounding import stored_labels

    path = checked_output(given, given.output, _CERTIFICATES, [given.store])
    with rsbounds.RunStore(given.store) as store:
        result = rsbounds.rebound(
            store, method=given.method, alpha=given.alpha, **method_options(given.option)
        )
        label = stored_labels(store)
    write_certificates(result, path)
    show_certificates(given, result, label, path=path)
    return 0


def _report_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "stores", nargs="+", metavar="STORE", help="SQLite files of runs, or files of certificates"
    )
    parser.add_argument("--methods", help="margin methods, separated by commas (default: all)")
    parser.add_argument("--radii", help="radii of the accuracy columns, separated by commas")
    parser.add_argument(
        "--output", metavar="DIR", help="folder (report; none where there are requirements)"
    )
    parser.add_argument(
        "--require", action="append", default=[], metavar="EXPRESSION",
        help="what every run must meet (or one, 'RUN: ...'), else the exit code is 1: "
        "'accuracy@0.5 >= 0.6', 'acr > 0.35', 'abstained <= 10%%'; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--beta", type=float, default=0.05,
        help="error probability of each statement about the population and about all certificates "
        "at once (0.05)",
    )  # fmt: skip
    parser.add_argument(
        "--inputs", type=int, metavar="N",
        help="inputs that each run is meant to have (default: its whole data set); those without a "
        "certificate yet count as not certified in these statements",
    )  # fmt: skip
    add_force(parser)
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")


def _report(given: argparse.Namespace) -> int:
    from rsbounds.report import check_requirements, report_runs

    shared = {"beta": given.beta, "inputs": given.inputs}
    verdicts = check_requirements(given.stores, given.require, **shared) if given.require else ()
    folder = given.output
    if folder is None and not given.require:
        folder = "report"
    result = None
    if folder is not None:
        result = report_runs(
            given.stores, folder, methods=names_of(given.methods), radii=radii_of(given.radii),
            force=given.force, **shared,
        )  # fmt: skip
    elif given.methods is not None or given.radii is not None or given.force:
        raise ValueError(
            "--methods, --radii or --force is given with --require alone, which writes no report; "
            "allowed: --output DIR with them"
        )
    if given.json:
        checked = {"requirements": [one.as_dict() for one in verdicts]} if given.require else {}
        print(json.dumps({**(result.as_dict() if result else {}), **checked}))
    else:
        print(*(line for line in (result, *verdicts) if line is not None), sep="\n")
    return 0 if all(one.met for one in verdicts) else 1


def _export_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("store", metavar="STORE", help="SQLite file of a run")
    parser.add_argument("output", metavar="FILE", help=".tsv, .jsonl or .parquet")
    add_force(parser)


def _export(given: argparse.Namespace) -> int:
    from rsbounds.runs import export_rows

    checked_output(given, given.output, (".tsv", ".jsonl", ".parquet"), [given.store], "FILE")
    with rsbounds.RunStore(given.store) as store:
        target = export_rows(store, rsbounds.rebound(store), given.output, force=given.force)
        print(f"written: {target} ({len(store)} rows)")
    return 0


REBOUND = Command(
    "new certificates from a stored run, without sampling", _rebound_arguments, _rebound
)
REPORT = Command("tables and figures of one or more stored runs", _report_arguments, _report)
EXPORT = Command("the rows of a stored run as a file", _export_arguments, _export)
