"""Run the checks and write the report.

python -m paper_checks                       all of them, into REPORT.md
python -m paper_checks --only training,radii these; the others stay in REPORT.md as they are
python -m paper_checks --quick               less work for each row, nothing is written
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import sys
import time

from paper_checks import FOLDER, Check
from paper_checks._report import Section, read, report, section
from rsbounds._text import complete_file


def names() -> list[str]:
    """The sections that there are."""
    return [path.stem.removeprefix("check_") for path in sorted(FOLDER.glob("check_*.py"))]


def run(name: str, quick: bool = False) -> tuple[Section, list[Check]]:
    """One section, with a line for each row as it comes."""
    module = importlib.import_module(f"paper_checks.check_{name}")
    checks = []
    for check in module.run(quick):
        print(f"  {check.verdict:11} {check.source}: {check.claim}", flush=True)
        checks.append(check)
    return section(module.__doc__ or name, checks), checks


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="paper_checks", allow_abbrev=False)
    parser.add_argument("--only", metavar="NAMES", help=f"of {','.join(names())}")
    parser.add_argument("--quick", action="store_true", help="less work, and no report")
    parser.add_argument("--json", metavar="FILE", help="write the rows there too")
    given = parser.parse_args(words)
    wanted = names() if given.only is None else given.only.split(",")
    path = FOLDER / "REPORT.md"
    try:
        for name in wanted:
            if name not in names():
                raise ValueError(f"--only has {name!r}; allowed: {', '.join(names())}")
        if given.only is not None and not given.quick and not path.is_file():
            raise ValueError(
                "--only keeps the other rows of REPORT.md; allowed: where there is one"
            )
    except ValueError as error:
        print(f"paper_checks: {error}", file=sys.stderr)
        return 2
    made: dict[str, Section] = {}
    rows = []
    began = time.process_time()
    for number, name in enumerate(wanted, start=1):
        print(f"[{number}/{len(wanted)}] {name}", flush=True)
        start = time.process_time()
        made[name], checks = run(name, given.quick)
        rows += [dataclasses.asdict(c) | {"section": name, "verdict": c.verdict} for c in checks]
        print(f"  {len(checks)} rows, {time.process_time() - start:.1f} s of CPU", flush=True)
    print(f"{len(rows)} rows, {time.process_time() - began:.0f} s of CPU")
    if given.json is not None:
        with complete_file(given.json) as stream:
            json.dump(rows, stream, indent=1)
    if not given.quick:
        kept = read(path.read_text()) if path.is_file() and given.only is not None else {}
        both = kept | made
        with complete_file(path) as stream:
            stream.write(report({name: both[name] for name in names() if name in both}))
        print(f"written: {FOLDER.name}/REPORT.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
