"""Numbers as text, tables for terminals, and files that appear only when complete."""

from __future__ import annotations

import contextlib
import math
import os
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from fractions import Fraction
from pathlib import Path
from typing import IO, Any


def down(value: float, digits: int = 4) -> str:
    """``value`` with ``digits`` decimals, rounded towards minus infinity.

    Examples
    --------
    >>> down(0.45449999, 3)
    '0.454'
    >>> down(-0.1234, 2)
    '-0.13'
    """
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return str(Decimal(value).quantize(Decimal(1).scaleb(-digits), rounding=ROUND_FLOOR))


def up(value: float, digits: int = 4) -> str:
    """``value`` with ``digits`` decimals, rounded towards plus infinity.

    Examples
    --------
    >>> up(0.4541, 3), up(-0.1239, 2), up(0.5, 1)
    ('0.455', '-0.12', '0.5')
    """
    text = down(-value, digits)
    return text.removeprefix("-") if text.startswith("-") else f"-{text}"


def size_up(value: float) -> str:
    """The order of magnitude of a number >= 0, to two digits, rounded up.

    Examples
    --------
    >>> size_up(5.61e-24), size_up(0.0)
    ('5.7e-24', '0')
    """
    if value == 0.0:
        return "0"
    return f"{Context(prec=2, rounding=ROUND_CEILING).create_decimal_from_float(value):.1e}"


def mean_down(values: Iterable[float]) -> float:
    """The mean of some numbers, exact and then rounded down to a float; 0 of none.

    A mean in floating point can lie above the mean of the numbers.

    Examples
    --------
    >>> mean_down([0.1] * 3) == 0.1, sum([0.1] * 3) / 3 > 0.1
    (True, True)
    """
    # Sums of whole numbers, one for each binary exponent, are exact.
    sums: dict[int, int] = {}
    count = 0
    for value in values:
        mantissa, exponent = math.frexp(value)
        sums[exponent] = sums.get(exponent, 0) + int(mantissa * 2.0**53)
        count += 1
    if not count:
        return 0.0
    total = sum((whole * Fraction(2) ** (e - 53) for e, whole in sums.items()), Fraction(0))
    return float_down(total / count)


def float_down(value: Fraction) -> float:
    """The largest float that is at most ``value``.

    Examples
    --------
    >>> float_down(Fraction(1, 10)) < Fraction(1, 10) < Fraction(0.1)
    True
    """
    near = float(value)
    return near if Fraction(near) <= value else math.nextafter(near, -math.inf)


def share(value: float, total: int, digits: int = 3) -> str:
    """A share of ``total`` things, rounded down from the whole number of them.

    The float 0.86 is less than 43/50, so its digits are not to be cut.

    Examples
    --------
    >>> share(43 / 50, 50), down(43 / 50, 3)
    ('0.860', '0.859')
    >>> share(2 / 3, 3)
    '0.666'
    """
    part = round(value * total)
    return str(Decimal(part * 10**digits // total).scaleb(-digits))


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns padded to their widest cell; the first column to the left, others right."""
    cells = [list(header), *[list(row) for row in rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = []
    for row in cells:
        padded = [row[0].ljust(widths[0])]
        padded += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join(padded).rstrip())
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def check_output(
    path: str | os.PathLike[str],
    inputs: Iterable[str | os.PathLike[str]] = (),
    *,
    force: bool = False,
    name: str = "output",
) -> Path:
    """Refuse to write where something would be lost; call it before the work begins.

    Parameters
    ----------
    path : str or path
        File that is to be written.
    inputs : iterable of paths
        Files that are read: none of them may be ``path``, whatever ``force`` says.
    force : bool
        Replace an existing file.
    name : str
        What the error calls ``path``.

    Returns
    -------
    Path
        ``path``.

    Raises
    ------
    ValueError
        A folder, a folder that is not there, something that is not an ordinary file, an input,
        or an existing file without ``force``.
    """
    target = Path(path)
    if target.is_dir():
        raise ValueError(f"{name} is {str(path)!r}, a folder; allowed: a file name")
    if not target.parent.is_dir():
        raise ValueError(f"{name} is {str(path)!r}; allowed: a file in a folder that exists")
    there = os.path.lexists(target)
    for given in inputs:
        # By identity where both are there (links and spellings of one file), else by name.
        same = target.resolve() == Path(given).resolve()
        if same or (target.exists() and Path(given).exists() and target.samefile(given)):
            raise ValueError(f"{name} is {str(path)!r}, which is read; allowed: another file")
    if target.exists() and not target.is_file():
        raise ValueError(f"{name} is {str(path)!r}, not an ordinary file; allowed: a file name")
    if there and not force:
        raise ValueError(
            f"{name} is {str(path)!r}, which is there already; allowed: a new name, or replacing "
            "it (force=True, --force)"
        )
    return target


@contextlib.contextmanager
def complete_file(path: str | os.PathLike[str], mode: str = "w") -> Iterator[IO[str]]:
    """Open a file that takes its name only when the block ends without an error."""
    target = Path(path)
    if target.is_dir():
        raise ValueError(f"path is {str(path)!r}, a folder; allowed: a file name")
    if not target.parent.is_dir():
        raise ValueError(f"path is {str(path)!r}; allowed: a file in a folder that exists")
    encoding = None if "b" in mode else "utf-8"
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, mode, encoding=encoding) as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        # mkstemp makes private files; give it what an ordinary open would have given.
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def warn_invalid(who: str, bad: Iterable[Any], stacklevel: int = 3) -> None:
    """Warn of the inputs, true in ``bad``, on which a model answered NaN."""
    flags = [bool(flag) for flag in bad]
    rows = [row for row, flag in enumerate(flags) if flag]
    if rows:
        shown = ", ".join(map(str, rows[:5])) + (", ..." if len(rows) > 5 else "")
        warnings.warn(
            f"{who} answered NaN on {len(rows)} of {len(flags)} inputs ({shown}); they abstain",
            RuntimeWarning,
            stacklevel=stacklevel,
        )
