"""Run every check and write the report."""

from __future__ import annotations

import importlib
import sys
import time

from paper_checks import FOLDER, Check
from rsbounds._text import complete_file


def main() -> int:
    names = sys.argv[1:] or [path.stem for path in sorted(FOLDER.glob("check_*.py"))]
    lines = [
        "# What the papers claim, and what we get",
        "",
        "Written by `make paper-checks`. Each row is one claim; `does not hold as printed` rows",
        "say what the library does instead.",
    ]
    for name in names:
        module = importlib.import_module(f"paper_checks.{name}")
        start = time.monotonic()
        checks: list[Check] = list(module.run())
        print(f"{name}: {len(checks)} checks, {time.monotonic() - start:.1f} s", flush=True)
        lines += ["", f"## {(module.__doc__ or name).strip().splitlines()[0]}", ""]
        lines += ["| source | claim | expected | got | tolerance | verdict | the library |"]
        lines += ["|---|---|---|---|---|---|---|"]
        for check in checks:
            print(f"  {check.verdict:26} {check.source}: {check.claim}")
            cells = (
                check.source, check.claim, check.expected, check.got, check.tolerance,
                check.verdict, check.remark,
            )  # fmt: skip
            lines.append("| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |")
    if len(sys.argv) == 1:
        with complete_file(FOLDER / "REPORT.md") as stream:
            stream.write("\n".join(lines) + "\n")
        print(f"written: {FOLDER.name}/REPORT.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
