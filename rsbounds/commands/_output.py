"""What several subcommands share: options of a method, and how certificates are shown."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

import rsbounds
from rsbounds import Certificates, _text


def add_method(
    parser: argparse.ArgumentParser, default: str | None, what: str, shown: str | None = None
) -> None:
    """``--method`` and ``--option``; ``shown`` says in words what the default is."""
    text = f"{what} (default {shown or default or 'that of the run'})"
    parser.add_argument("--method", default=default, help=text)
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an option of the method, such as split=0.8; may be repeated",
    )


def method_options(pairs: Sequence[str], flag: str = "--option") -> dict[str, Any]:
    """Options of a method from NAME=VALUE texts; values are JSON, or else text."""
    options: dict[str, Any] = {}
    for pair in pairs:
        name, sign, text = pair.partition("=")
        if not sign or not name:
            raise ValueError(f"{flag} is {pair!r}; allowed: NAME=VALUE")
        if name in options:
            raise ValueError(f"{flag} {name} is given twice; allowed: once")
        try:
            options[name] = json.loads(text)
        except (json.JSONDecodeError, RecursionError):
            options[name] = text
    return options


def add_certificates(parser: argparse.ArgumentParser) -> None:
    """``--output``, ``--force`` and ``--json`` of a command that makes certificates."""
    parser.add_argument("--output", metavar="FILE", help="write every row to .tsv or .jsonl")
    add_force(parser)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def add_force(parser: argparse.ArgumentParser) -> None:
    """``--force``."""
    parser.add_argument(
        "--force", action="store_true", help="replace files that are there (never a run store)"
    )


def checked_output(
    given: argparse.Namespace,
    path: str | None,
    endings: Sequence[str],
    inputs: Iterable[str] = (),
    name: str = "--output",
) -> Path | None:
    """The file to write, refused before the work begins where it must not be written."""
    if path is None:
        return None
    if Path(path).suffix not in endings or path.endswith("/"):
        raise ValueError(f"{name} is {path!r}; allowed endings: {', '.join(endings)}")
    read = [file for file in inputs if file != "-"]
    return _text.check_output(path, read, force=given.force, name=name)


def write_certificates(result: Certificates, path: Path | None) -> None:
    """The rows as a file, in the format of its ending."""
    if path is not None:
        # Whether the file may be replaced was asked before the work (`checked_output`).
        result.write(path, force=True)


def show_certificates(
    given: argparse.Namespace,
    result: Certificates,
    label: NDArray[Any] | None,
    *,
    path: Path | None,
    **more: Any,
) -> None:
    """Print certificates as a table or as JSON; ``more`` joins the JSON summary."""
    acr = None if label is None else rsbounds.average_certified_radius(result, label)
    if given.json:
        summary = {
            "rows": len(result),
            "certified": int(result.certified.sum()),
            **{f"mean_{name}": mean for name, mean in result.mean_radii().items()},
            "acr": acr,
            "alpha": result.alpha,
            "method": result.method,
            "guarantee": result.guarantee,
            "assurance": result.assurance,
            **({"details": dict(result.details)} if result.details else {}),
            "noise": result.noise,
            "norm": result.norm,
            **more,
        }
        print(json.dumps({"summary": summary, "rows": list(result.records())}))
        return
    print(result.table(20))
    if acr is not None:
        print(f"average certified radius against the labels: {_text.down(acr, 5)}")
    if path is not None:
        print(f"all {len(result)} rows: {path}")
    elif len(result) > 20:
        print("all rows: add --output FILE.tsv")


def radii_of(text: str | None) -> list[float] | None:
    """Radii separated by commas."""
    if text is None:
        return None
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"--radii is {text!r}; allowed: numbers with commas") from None


def names_of(text: str | None) -> list[str] | None:
    """Names separated by commas."""
    return None if text is None else [part.strip() for part in text.split(",")]
