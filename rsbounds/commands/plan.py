"""``rsbounds plan``: a forecast of a run, from pilots or from probabilities."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rsbounds import _text
from rsbounds._files import read_counts
from rsbounds.commands._base import Command
from rsbounds.commands._laws import add_law_flags, law_of
from rsbounds.commands._output import add_force, add_method, checked_output, method_options

if TYPE_CHECKING:
    from rsbounds import Plan

#: What a run store begins with.
_SQLITE = b"SQLite format 3\0"
T = TypeVar("T")


# fmt: off
def _arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("pilots", nargs="*", metavar="PILOT",
        help="files of counts, or run stores, which know their law (such as one for each sigma)")
    add("--p", metavar="P,P,...", help="in place of pilots: class probabilities, the largest first")
    add("--num-classes", type=int, metavar="K",
        help="classes, where --p names fewer: what is left is spread over the rest")
    add("--radius", metavar="R,R,...", help="radii to reach")
    add("--n", "--draws", dest="n", metavar="N,N,...",
        help="numbers of draws (default 1000,10000,100000)")
    add("--alpha", default="0.001", metavar="A,A,...", help="error probabilities (0.001)")
    add("--success", type=float, default=0.9, help="chance of reaching a radius (0.9)")
    add("--n0", type=int, default=100, help="selection draws; 0 where the class is known (100)")
    add("--limit", type=int, default=1_000_000, help="the most draws (1000000)")
    add("--fixed", action="store_true", help="no forecast of tests that stop by themselves")
    add("--seed", type=int, default=0, help="seed of the simulation (0)")
    add("--figure", metavar="FILE", help="radius against draws, as .png, .svg or .pdf")
    add("--output", metavar="FILE", help="write the plans to a .json file")
    add_force(parser)
    add("--json", action="store_true", help="print JSON instead of tables")
    add_method(parser, None, "margin method", "the law's: exact, or runner-up")
    add_law_flags(parser)
# fmt: on


def _listed(flag: str, text: str | None, kind: Callable[[str], T]) -> list[T] | None:
    """Numbers separated by commas."""
    if text is None:
        return None
    try:
        return [kind(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"{flag} is {text!r}; allowed: numbers with commas") from None


def _is_store(path: str) -> bool:
    if path == "-" or not Path(path).is_file():
        return False
    with open(path, "rb") as stream:
        return stream.read(len(_SQLITE)) == _SQLITE


def _plans(given: argparse.Namespace) -> list[Plan]:
    from rsbounds import plan

    chances = _listed("--p", given.p, float)
    if (chances is None) == (not given.pilots):
        raise ValueError(
            f"{len(given.pilots)} pilots and --p {given.p} are given; allowed: pilots, or --p"
        )
    settings: dict[str, Any] = {
        "radius": _listed("--radius", given.radius, float),
        "n": _listed("--n", given.n, int),
        "alpha": _listed("--alpha", given.alpha, float),
        "success": given.success, "method": given.method, "sequential": not given.fixed,
        "n0": given.n0 or None, "limit": given.limit, "seed": given.seed, "progress": None,
        **method_options(given.option),
    }  # fmt: skip
    if chances is not None:
        shares = chances[0] if len(chances) == 1 and given.num_classes is None else chances
        return [plan(p=shares, num_classes=given.num_classes, noise=law_of(given), **settings)]
    if given.num_classes is not None:
        raise ValueError("--num-classes is given with pilots; allowed: with --p")
    said = [name for name in vars(given) if name.startswith("law_") or name == "noise"]
    asked = any(getattr(given, name) is not None for name in said)
    stores = [_is_store(path) for path in given.pilots]
    law = law_of(given) if asked or not all(stores) else None
    made = []
    for path, store in zip(given.pilots, stores, strict=True):
        if store:
            made.append(plan(path, noise=law, **settings))
            continue
        table = read_counts(path)
        made.append(plan(table.counts, noise=law, labels=table.label, **settings))
    return made


def _plan(given: argparse.Namespace) -> int:
    output = checked_output(given, given.output, (".json",), given.pilots)
    figure = checked_output(given, given.figure, (".png", ".svg", ".pdf"), given.pilots, "--figure")
    made = _plans(given)
    held = {"plans": [one.as_dict() for one in made]}
    if figure is not None:
        from rsbounds.planning import plot_plan

        plot_plan(made, path=figure, force=True)
    if output is not None:
        with _text.complete_file(output) as stream:
            json.dump(held, stream, allow_nan=False)
    if given.json:
        print(json.dumps(held, allow_nan=False))
        return 0
    print("\n\n".join(map(str, made)))
    for what in (figure, output):
        if what is not None:
            print(f"written: {what}")
    return 0


PLAN = Command("a forecast: draws for a radius, radius for draws", _arguments, _plan)
