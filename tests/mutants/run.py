"""Plant known mistakes one at a time in a copy of the repository, and see which test notices.

    make mutants                                          # all of them, into TABLE.md
    python tests/mutants/run.py --only "swapped bars"     # those with these words in their names

Each mistake gets a fresh copy, with the compiled kernels of this tree: a kernel is compiled anew
where its text, or that of a file it imports, has changed (`rsbounds._kernels`), and nowhere else.
The named tests are run until the first failure. Before any mistake, they all pass on an
unchanged copy. The exit code is 1 where a mistake that a test can see was not caught.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mutants import MUTANTS, Mutant

ROOT = Path(__file__).resolve().parents[2]
PARTS = ["rsbounds", "rsbounds_torch", "tests", "paper_checks"]
FILES = ["pyproject.toml", "README.md", "CHANGELOG.md", "Makefile"]
LIMIT = 900.0


def copied(folder: Path) -> Path:
    """A copy of the repository that can be spoilt, with times of change and compiled kernels."""
    for part in PARTS:
        shutil.copytree(ROOT / part, folder / part)
    for file in FILES:
        shutil.copy2(ROOT / file, folder / file)
    return folder


def planted(folder: Path, mutant: Mutant) -> None:
    """Replace the text; RuntimeError where it does not stand there exactly once."""
    path = folder / mutant.file
    text = path.read_text(encoding="utf-8")
    if text.count(mutant.old) != 1 or mutant.old == mutant.new:
        raise RuntimeError(f"{mutant.name!r}: {mutant.file} no longer holds its text exactly once")
    path.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")


def noticed(folder: Path, words: list[str], limit: float = LIMIT) -> tuple[int, str]:
    """Exit code of pytest (124 after the limit), and the first test that failed."""
    data = os.environ.get("RSBOUNDS_DATA", str(ROOT.parent / "shared" / "data"))
    environment = {
        **os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1", "RSBOUNDS_DATA": data, "COLUMNS": "250",
    }  # fmt: skip
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *words]
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=limit,
            check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return 124, ""
    # An error counts where a test was under way, not where a file could not be read in.
    found = re.search(r"^FAILED (\S.*?)(?: - .*)?$", done.stdout, re.MULTILINE)
    if done.returncode == 1 and found is None:
        found = re.search(r"^ERROR (\S*::\S.*?)(?: - .*)?$", done.stdout, re.MULTILINE)
    if done.returncode not in (0, 1) or (done.returncode == 1 and found is None):
        print(done.stdout[-3000:], done.stderr[-1000:], file=sys.stderr)
    return done.returncode, "" if found is None else found[1]


def verdict(mutant: Mutant, code: int, failed: str) -> str:
    """What the table says of a mistake."""
    if code == 1 and failed:
        return f"`{failed}`" + (" (listed as unseen)" if mutant.unseen else "")
    if code == 0 and mutant.unseen:
        return f"no test can: {mutant.unseen}"
    if code == 124:
        return f"SURVIVED: no end in {LIMIT:.0f} s"
    return "SURVIVED" if code == 0 else f"BROKEN: pytest ended with {code}"


#: A row of the table: name, file, what was said, seconds.
_ROW = re.compile(r"^\| (?P<name>.*?) \| `(?P<file>.*?)` \| (?P<said>.*) \| (?P<s>\d+) \|$", re.M)


def table(found: dict[str, tuple[str, int]]) -> str:
    """The summary as markdown, in the order of the list; of those that were run."""
    rows = [(one, *found[one.name]) for one in MUTANTS if one.name in found]
    caught = sum(said.startswith("`") for _, said, _ in rows)
    lines = [
        "# Known mistakes, and the tests that catch them",
        "",
        "Made by `make mutants`. Each mistake is planted alone in a copy of the repository, and",
        "the first test that fails is named (seconds: copying, compiling and testing).",
        f"{len(rows)} mistakes: {caught} caught, {len(rows) - caught} not; "
        f"{sum(row[2] for row in rows)} s.",
        "",
        "| mistake | planted in | caught by | s |",
        "|---|---|---|---|",
        *(f"| {one.name} | `{one.file}` | {said} | {seconds} |" for one, said, seconds in rows),
    ]
    return "\n".join(lines) + "\n"


def known(path: Path | None) -> dict[str, tuple[str, int]]:
    """What a table holds that is there, by name."""
    text = path.read_text(encoding="utf-8") if path is not None and path.exists() else ""
    return {row["name"]: (row["said"], int(row["s"])) for row in _ROW.finditer(text)}


def main() -> int:
    """Run the mistakes that are asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--only", nargs="+", default=[""], metavar="WORDS", help="parts of names")
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="write the table there; rows of others stay"
    )
    parser.add_argument("--no-baseline", action="store_true", help="do not run the tests unspoilt")
    given = parser.parse_args()
    chosen = [one for one in MUTANTS if any(words in one.name for words in given.only)]
    if not chosen:
        parser.error(f"--only is {given.only}, which no mistake has in its name")
    for one in chosen:
        if (ROOT / one.file).read_text(encoding="utf-8").count(one.old) != 1:
            parser.error(f"{one.name!r}: {one.file} no longer holds its text exactly once")
    found = known(given.output)
    if not given.no_baseline:
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            words = sorted({word for one in chosen for word in one.tests.split()})
            code, failed = noticed(copied(Path(folder)), words, 3 * LIMIT)
        seconds = round(time.perf_counter() - start)
        print(f"unspoilt: {'passed' if code == 0 else failed or code} ({seconds} s)", flush=True)
        if code != 0:
            return 1
    for one in chosen:
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            planted(copied(Path(folder)), one)
            said = verdict(one, *noticed(Path(folder), one.tests.split()))
        found[one.name] = said, round(time.perf_counter() - start)
        print(f"{one.name}: {said} ({found[one.name][1]} s)", flush=True)
        if given.output is not None:
            given.output.write_text(table(found), encoding="utf-8")
    if given.output is None:
        print(table({one.name: found[one.name] for one in chosen}))
    return int(any(found[one.name][0].startswith(("SURVIVED", "BROKEN")) for one in chosen))


if __name__ == "__main__":
    sys.exit(main())
