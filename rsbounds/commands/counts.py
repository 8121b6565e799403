"""``rsbounds certify``, ``top-k``, ``components`` and ``compare``: radii from files of counts."""

from __future__ import annotations

import argparse
import dataclasses
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np

import rsbounds
from rsbounds import Selection, _tables, _text
from rsbounds._files import CountFile, read_counts
from rsbounds.commands._base import Command
from rsbounds.commands._laws import add_law_flags, law_of
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
from rsbounds.noises import Noise

#: Default of an option, to tell "not given" from any value that can be given.
_DEFAULTS = {"alpha": 0.001, "counts": "class_"}

_TOP_HELP = (
    "where each row's class comes from: 'selection' (argmax of the selection columns), 'label' "
    "(the label column), a class index or name for all rows, or 'argmax' (of the counts "
    "themselves; not covered by any theorem, and the result says so, but where a law is enumerated "
    "and they are all votes). Default: selection where the file has it, else label; argmax where a "
    "law is enumerated"
)


def _add_table_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file",
        metavar="FILE",
        help=".tsv, .csv or .txt (also .gz), .npy or .npz of counts, or - for standard input",
    )
    parser.add_argument("--alpha", type=float, default=0.001, help="error probability per row")
    parser.add_argument("--top", help=_TOP_HELP)
    parser.add_argument("--counts", default="class_", help="prefix of the count columns (class_)")
    parser.add_argument("--select", help="prefix of the selection columns (select_)")
    parser.add_argument(
        "--independent",
        action="store_true",
        help="the selection columns are another sample than the counts, even where they are equal",
    )
    parser.add_argument("--label", help="name of the label column (label)")
    parser.add_argument("--id", help="name of a column that identifies the rows")
    parser.add_argument(
        "--classes",
        help="names of the classes in order, separated by commas, where the columns are numbered; "
        "or the names of the count columns",
    )


def _table(given: argparse.Namespace) -> CountFile:
    return read_counts(
        given.file, counts=given.counts, label=given.label, select=given.select, id=given.id,
        classes=names_of(given.classes),
    )  # fmt: skip


def _top(given: argparse.Namespace, table: CountFile, law: Noise) -> tuple[Any | Selection, bool]:
    """The classes to certify, and whether a theorem covers them."""
    rule = given.top
    if law.cells is not None and rule in (None, "argmax"):
        # All cells are in the counts: it is the smoothed classifier's answer.
        return rsbounds.select_top(table.counts), True
    if rule is None:
        rule = "selection" if table.select is not None else "label"
        if table.select is None and table.label is None:
            raise ValueError(
                f"--top is not given, and {given.file} has neither selection columns nor a label "
                "column; allowed: selection, label, a class, argmax"
            )
    if rule == "selection":
        if table.select is None:
            raise ValueError(
                f"--top is 'selection' but no column starts with {given.select or 'select_'!r}"
            )
        return rsbounds.select_top(table.select, independent=given.independent), True
    if rule == "label":
        if table.label is None:
            raise ValueError(f"--top is 'label' but there is no column {given.label or 'label'!r}")
        return table.label, True
    if rule == "argmax":
        warnings.warn(
            "the top class is taken from the estimation counts themselves, which no theorem "
            "covers; use selection counts or labels for a guarantee",
            RuntimeWarning,
            stacklevel=2,
        )
        return np.asarray(rsbounds.select_top(table.counts).top), False
    if table.classes is not None and rule in table.classes:
        return table.classes.index(rule), True
    if rule.isascii() and rule.isdigit():
        return int(rule), True
    raise ValueError(f"--top is {rule!r}; allowed: selection, label, a class, argmax")


def _certify_arguments(parser: argparse.ArgumentParser) -> None:
    _add_table_arguments(parser)
    add_method(parser, None, "margin method", "the law's: exact, or runner-up")
    add_certificates(parser)
    add_law_flags(parser)


def _certify(given: argparse.Namespace) -> int:
    path = checked_output(given, given.output, (".tsv", ".jsonl"), [given.file])
    if _tables.is_certificates(given.file):
        return _show_again(given, path)
    law = law_of(given)
    table = _table(given)
    top, covered = _top(given, table, law)
    result = rsbounds.certify(
        table.counts, top, noise=law, alpha=given.alpha, method=given.method, progress=None,
        **method_options(given.option),
    )  # fmt: skip
    _finish(given, path, table, result, covered)
    return 0


def _finish(
    given: argparse.Namespace,
    path: Path | None,
    table: CountFile,
    result: rsbounds.Certificates,
    covered: bool,
) -> None:
    """Name the rows, write them and show them."""
    result = dataclasses.replace(
        result,
        guarantee=result.guarantee if covered else "none",
        classes=table.classes,
        ids=None if table.id is None else tuple(table.id),
    )
    write_certificates(result, path)
    about: dict[str, Any] = {"k": result.k} if result.k > 1 else {}
    about |= {} if result.family == "row" else {"family": result.family}
    show_certificates(given, result, table.label, path=path, **about)


def _top_k_arguments(parser: argparse.ArgumentParser) -> None:
    _add_table_arguments(parser)
    parser.add_argument(
        "--k", type=int, required=True, help="the class stays among the k most probable, 1 to K - 1"
    )
    add_method(parser, None, "margin method", "runner-up; exact of k = 1")
    add_certificates(parser)
    add_law_flags(parser)


def _top_k(given: argparse.Namespace) -> int:
    path = checked_output(given, given.output, (".tsv", ".jsonl"), [given.file])
    law = law_of(given)
    table = _table(given)
    top, covered = _top(given, table, law)
    result = rsbounds.certify_top_k(
        table.counts, top, given.k, noise=law, alpha=given.alpha, method=given.method,
        progress=None, **method_options(given.option),
    )  # fmt: skip
    _finish(given, path, table, result, covered)
    return 0


def _components_arguments(parser: argparse.ArgumentParser) -> None:
    _add_table_arguments(parser)
    parser.add_argument(
        "--family",
        default="bonferroni",
        help="bonferroni (default: a radius for each component) or holm (one, fixed in advance)",
    )
    parser.add_argument("--radius", type=float, help="the radius that holm certifies")
    parser.add_argument("--tau", type=float, help="in place of it: the radius of p_A > tau")
    add_method(parser, "runner-up", "margin method")
    add_certificates(parser)
    add_law_flags(parser)


def _components(given: argparse.Namespace) -> int:
    path = checked_output(given, given.output, (".tsv", ".jsonl"), [given.file])
    law = law_of(given)
    table = _table(given)
    top, covered = _top(given, table, law)
    result = rsbounds.certify_components(
        table.counts, top, noise=law, alpha=given.alpha, family=given.family, radius=given.radius,
        tau=given.tau, method=given.method, **method_options(given.option),
    )  # fmt: skip
    _finish(given, path, table, result, covered)
    return 0


def _show_again(given: argparse.Namespace, path: Path | None) -> int:
    """Certificates that were made before: shown, or written in the other format, as they are."""
    said = [
        f"--{name.removeprefix('law_').replace('_', '-')}"
        for name, value in vars(given).items()
        if name not in ("file", "output", "json", "force")
        and value not in (None, [], False)
        and value != _DEFAULTS.get(name)
    ]
    if said:
        raise ValueError(
            f"{', '.join(sorted(said))} is given, but {given.file} holds certificates, which are "
            "shown as they are; allowed: --output, --json, --force"
        )
    result = rsbounds.Certificates.read(given.file)
    write_certificates(result, path)
    show_certificates(given, result, None, path=path)
    return 0


def _compare_arguments(parser: argparse.ArgumentParser) -> None:
    _add_table_arguments(parser)
    parser.add_argument("--methods", help="names, separated by commas (default: all)")
    parser.add_argument("--radii", help="radii of the accuracy columns, separated by commas")
    parser.add_argument("--figure", metavar="FILE", help="write the curves to .png, .svg or .pdf")
    parser.add_argument("--output", metavar="FILE", help="write the comparison to a .json file")
    add_force(parser)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    add_law_flags(parser)


def _compare(given: argparse.Namespace) -> int:
    output = checked_output(given, given.output, (".json",), [given.file])
    endings = (".png", ".svg", ".pdf")
    figure = checked_output(given, given.figure, endings, [given.file], "--figure")
    law = law_of(given)
    radii = radii_of(given.radii)
    table = _table(given)
    top, covered = _top(given, table, law)
    result = rsbounds.compare(
        table.counts, top, noise=law, alpha=given.alpha, labels=table.label, radii=radii,
        methods=names_of(given.methods), progress=None,
    )  # fmt: skip
    if not covered:
        rows = tuple(dataclasses.replace(row, guarantee="none") for row in result.rows)
        result = dataclasses.replace(result, rows=rows)
    if figure is not None:
        rsbounds.plot_certified_accuracy(
            result.curves(),
            table.label,
            path=figure,
            title=f"{Path(given.file).name}, {result.noise}, alpha {result.alpha:g}",
            force=True,
        )
    if output is not None:
        with _text.complete_file(output) as stream:
            json.dump(result.as_dict(), stream)
    if given.json:
        print(json.dumps(result.as_dict()))
        return 0
    print(result)
    for what in (figure, output):
        if what is not None:
            print(f"written: {what}")
    return 0


CERTIFY = Command("certified radii for a file of counts", _certify_arguments, _certify)
TOP_K = Command("radii in which a class stays among the k most probable", _top_k_arguments, _top_k)
COMPONENTS = Command(
    "radii of many components of one output (pixels), which hold together",
    _components_arguments, _components,
)  # fmt: skip
COMPARE = Command("every margin method on the same counts", _compare_arguments, _compare)
