"""``rsbounds quantile``: quantiles of real-valued outputs, certified at given radii."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import rsbounds
from rsbounds.commands._base import Command
from rsbounds.commands._laws import add_law_flags, law_of
from rsbounds.commands._output import add_force, checked_output, radii_of


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file",
        metavar="FILE",
        help="one draw per row, one output per column: .tsv, .csv or .txt (also .gz), .npy, .npz "
        "with an array 'samples', or - for standard input",
    )
    parser.add_argument(
        "--axis",
        type=int,
        choices=(0, 1),
        help="where the draws lie: 0 down (default), 1 across (one output per row)",
    )
    parser.add_argument("--radii", required=True, help="radii, separated by commas")
    parser.add_argument("--q", type=float, default=0.5, help="which quantile (default 0.5)")
    parser.add_argument("--alpha", type=float, default=0.001, help="error probability")
    parser.add_argument("--side", default="both", help="both (default), lower or upper")
    parser.add_argument(
        "--family",
        default="output",
        help="what holds together, at all radii: each output on its own (default), or all",
    )
    parser.add_argument("--figure", metavar="FILE", help="write the values to .png, .svg or .pdf")
    add_force(parser)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    add_law_flags(parser)


def _run(given: argparse.Namespace) -> int:
    from rsbounds._sample_files import read_samples

    endings = (".png", ".svg", ".pdf")
    figure = checked_output(given, given.figure, endings, [given.file], "--figure")
    law = law_of(given)
    samples, names = read_samples(given.file, axis=given.axis)
    found = rsbounds.certify_quantile(
        samples, radii_of(given.radii) or (), noise=law, q=given.q, alpha=given.alpha,
        side=given.side, family=given.family,
    )  # fmt: skip
    if figure is not None:
        rsbounds.plot_quantiles(
            found, path=figure, names=names, force=True,
            title=f"{Path(given.file).name}, {found.noise}, alpha {found.alpha:g}",
        )  # fmt: skip
    if given.json:
        about = {
            name: getattr(found, name)
            for name in ("q", "n", "alpha", "side", "family", "noise", "norm", "guarantee")
        }
        about |= {"assurance": found.assurance}
        rows = [{**row, "name": names[row["index"]]} for row in found.records()]
        print(json.dumps({"summary": about, "rows": rows}))
        return 0
    print(found.table(None, names))
    if figure is not None:
        print(f"written: {figure}")
    return 0


QUANTILE = Command("quantiles of real-valued outputs, certified at given radii", _arguments, _run)
