"""The report: sections of rows, what they come to, and what is not checked here."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from paper_checks import ERRATA, PAPERS, Check
from paper_checks.not_checked import NOT_CHECKED

COLUMNS = ("source", "claim", "expected", "got", "tolerance", "verdict", "the library", "erratum")
VERDICTS = ("holds", "fails", "misprint", "not decided")


@dataclass(frozen=True)
class Section:
    """A section of the report: a title, sentences, and rows of cells in the order of `COLUMNS`."""

    title: str
    notes: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def section(module_doc: str, checks: Sequence[Check]) -> Section:
    """A section from the docstring of its module and its checks."""
    title, *rest = module_doc.strip().split("\n\n")
    rows = tuple(
        (c.source, c.claim, c.expected, c.got, c.tolerance, c.verdict, c.remark, c.erratum)
        for c in checks
    )
    return Section(" ".join(title.split()), tuple(" ".join(part.split()) for part in rest), rows)


def report(sections: Mapping[str, Section]) -> str:
    """The whole report."""
    lines = [
        "# What the papers claim, and what we get",
        "",
        "Written by `make paper-checks`. Each row is one claim. `holds`: as printed, within the "
        "tolerance. `fails`: it does not, and the row says what the library does instead. "
        "`misprint`: a slip of the text, whose right form stands beside it. `not decided`: the "
        "check cannot tell. Statistical rows state the error of the check.",
        "",
        *_summary(sections),
        "",
        *_errata(sections),
    ]
    for name, one in sections.items():
        lines += ["", f"## {name}: {one.title}"]
        for note in one.notes:
            lines += ["", note]
        if one.rows:
            lines += ["", _row(COLUMNS), "|---" * len(COLUMNS) + "|", *map(_row, one.rows)]
    lines += ["", *_not_checked()]
    return "\n".join(lines) + "\n"


def read(text: str) -> dict[str, Section]:
    """The sections of a report that was written by `report`."""
    found = {}
    for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        heading, *rest = part.strip().splitlines()
        name, separator, title = heading.partition(": ")
        if not separator:
            continue
        rows = [_cells(line) for line in rest if line.startswith("| ")]
        notes = tuple(line for line in rest if line and not line.startswith("|"))
        found[name] = Section(title, notes, tuple(rows[1:]))
    return found


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _cells(line: str) -> tuple[str, ...]:
    return tuple(
        cell.replace("\\|", "|").strip() for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]
    )


def _summary(sections: Mapping[str, Section]) -> list[str]:
    """How many claims of each paper came to what."""
    counts: dict[str, dict[str, int]] = {}
    for one in sections.values():
        for row in one.rows:
            paper = row[0].split(",")[0]
            paper = paper if paper in PAPERS else "others"
            of = counts.setdefault(paper, dict.fromkeys(VERDICTS, 0))
            of[row[5]] += 1
    lines = [_row(("paper", *VERDICTS)), "|---" * (1 + len(VERDICTS)) + "|"]
    for paper in (*PAPERS, "others"):
        if paper in counts:
            name = f"{paper} ({PAPERS[paper]})" if paper in PAPERS else "others that they rest on"
            lines.append(_row((name, *(str(counts[paper][verdict]) for verdict in VERDICTS))))
    return lines


def _errata(sections: Mapping[str, Section]) -> list[str]:
    """Where each erratum is shown."""
    shown: dict[str, list[str]] = {}
    for name, one in sections.items():
        for row in one.rows:
            if row[7]:
                shown.setdefault(row[7], []).append(f"{row[5]} ({name})")
    lines = [
        "Places where a paper must not be typed as printed, and the rows that show it:",
        "",
        _row(("erratum", "printed", "verdicts")),
        "|---|---|---|",
    ]
    lines += [_row((key, text, ", ".join(shown.get(key, [])))) for key, text in ERRATA.items()]
    return lines


def _not_checked() -> list[str]:
    lines = [
        "## Not checked here",
        "",
        "These need CIFAR-10, ImageNet, or hours. Images and weights are not part of the project; "
        "with them at hand, the commands beside each claim would check it. `cifar10.npz` holds "
        "60,000 inputs in [0, 1], the test images last, and their labels.",
        "",
        _row(("source", "claim", "why not here", "what would check it")),
        "|---|---|---|---|",
    ]
    return lines + [_row(one) for one in NOT_CHECKED]
