"""``rsbounds mean``: bounds on the means of a file of bounded samples."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import rsbounds
from rsbounds import _text
from rsbounds.commands._base import Command
from rsbounds.commands._output import add_method, method_options


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file",
        metavar="FILE",
        help="one draw per row, one quantity per column: .tsv, .csv or .txt (also .gz), .npy, .npz "
        "with an array 'samples', or - for standard input. Draws are independent and stand in the "
        "order in which they were made: methods that bet go through them in that order, and sorted "
        "draws are not a sample",
    )
    parser.add_argument(
        "--axis",
        type=int,
        choices=(0, 1),
        help="where the draws lie: 0 down (default), 1 across (one quantity per row)",
    )
    parser.add_argument("--alpha", type=float, default=0.001, help="error probability per quantity")
    parser.add_argument("--side", default="lower", help="lower (default), upper or both")
    add_method(parser, "goal", "mean method")
    parser.add_argument(
        "--support",
        type=float,
        nargs=2,
        default=(0.0, 1.0),
        metavar=("A", "B"),
        help="interval that every possible sample lies in (default 0 1)",
    )
    parser.add_argument(
        "--compare",
        action="store_true",
        help="bounds of every method side by side, for comparison only: choose a method before "
        "you look",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def _comparison(given: argparse.Namespace, samples: NDArray[Any], names: Sequence[str]) -> None:
    """Bounds of every method on the same samples; two-point methods where they apply."""
    from rsbounds.bounds.mean import MEAN_METHODS

    ends = tuple(given.support)
    two_point = bool(np.isin(samples, ends).all())
    usable = [
        name
        for name in MEAN_METHODS.working()
        if MEAN_METHODS[name].fixed_n
        and MEAN_METHODS[name].usable()
        and (two_point or not MEAN_METHODS[name].two_point)
    ]
    rows: list[dict[str, Any]] = []
    for method in usable:
        found = rsbounds.mean_bound(
            samples, alpha=given.alpha, side=given.side, method=method, support=ends, axis=1,
            progress=None,
        )  # fmt: skip
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
        return
    rows.sort(key=lambda row: names.index(row["name"]))
    body = [
        [row["name"], row["method"], _text.down(row["lower"], 6), _text.up(row["upper"], 6)]
        for row in rows
    ]
    print(_text.table(["quantity", "method", "lower", "upper"], body))
    print(
        f"side {given.side}, alpha {given.alpha:g} for each line on its own: the best of several "
        "lines is not a bound at that level"
    )


def _run(given: argparse.Namespace) -> int:
    from rsbounds._sample_files import read_samples

    samples, names = read_samples(given.file, axis=given.axis)
    if given.compare:
        if given.option or given.method != "goal":
            raise ValueError("--compare takes every method; allowed: no --method and no --option")
        _comparison(given, samples, names)
        return 0
    found = rsbounds.mean_bound(
        samples, alpha=given.alpha, side=given.side, method=given.method,
        support=tuple(given.support), axis=1, progress=None, **method_options(given.option),
    )  # fmt: skip
    averages = samples.mean(axis=1)
    lines = list(
        zip(names, found.n, averages.tolist(), found.lower.tolist(), found.upper.tolist(),
            strict=True)
    )  # fmt: skip
    if given.json:
        rows = [
            {"name": name, "n": int(n), "mean": mean, "lower": a, "upper": b}
            for name, n, mean, a, b in lines
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
        # In full: fewer digits could show an average on the wrong side of its bound.
        [name, str(n), repr(mean), _text.down(a, 6), _text.up(b, 6)]
        for name, n, mean, a, b in lines
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


MEAN = Command("bounds on the means of a file of bounded samples", _arguments, _run)
