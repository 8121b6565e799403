"""Flags of the noise laws, from their registry: a law's numbers become its flags."""

from __future__ import annotations

import argparse
import dataclasses
import warnings
from typing import Any

from rsbounds.noises import NOISES, Noise


@dataclasses.dataclass(frozen=True)
class _Law:
    """What the command line needs to know of a law: its fields by kind."""

    name: str
    kind: type[Noise]
    numbers: tuple[str, ...]
    #: Fields that are one of some words.
    texts: tuple[str, ...]
    needed: tuple[str, ...]
    around: str | None
    words: str

    def flags(self) -> str:
        """How the law is asked for."""
        if self.around is not None:
            return " ".join([f"--{self.name}", *(n.upper() for n in self.numbers)])
        return " ".join(_flag(field) for field in self.needed) or f"--noise {self.name}"


def _flag(field: str) -> str:
    return f"--{field.replace('_', '-')}"


def _laws() -> list[_Law]:
    """The laws that a command line can spell: their fields are numbers, and at most one law."""
    found = []
    for name in NOISES:
        try:
            kind = NOISES[name]
            fields = dataclasses.fields(kind)  # type: ignore[arg-type]
        except Exception as error:
            # Somebody else's law that cannot be loaded must not take the others along.
            warnings.warn(f"noise law {name!r} is left out: {error}", RuntimeWarning, stacklevel=2)
            continue
        # Annotations are texts: "float", "float | NDArray[...]", "Noise".
        kinds = {field.name: str(field.type) for field in fields}
        needed = [
            field.name
            for field in fields
            if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        ]
        numbers = tuple(f for f, text in kinds.items() if "float" in text or "int" in text)
        around = [field for field, text in kinds.items() if "Noise" in text]
        if len(around) > 1 or not set(needed) <= {*numbers, *around}:
            continue
        texts = tuple(f for f, text in kinds.items() if text.startswith("Literal["))
        words = (kind.__doc__ or name).strip().split(".")[0].split(";")[0]
        found.append(
            _Law(
                name, kind, numbers, texts, tuple(f for f in needed if f in numbers),
                around[0] if around else None, f"{' '.join(words.split())}, {kind.norm} radius",
            )
        )  # fmt: skip
    return found


def _numbers(text: str) -> Any:
    """A number or fraction, or several with commas (where the law can have one for each input).

    Or "auto", where the law knows what that means. Whole numbers are told from others.
    """
    if text == "auto":
        return text
    try:
        values = [_number(part) for part in text.split(",")]
    except (ValueError, ZeroDivisionError):
        raise argparse.ArgumentTypeError(f"{text!r} is no number") from None
    return values[0] if len(values) == 1 else values


def _number(text: str) -> float:
    if text.isascii() and text.isdigit():
        # A law may want whole numbers.
        return int(text)
    above, slash, below = text.partition("/")
    return float(above) / float(below) if slash else float(text)


def add_law_flags(parser: argparse.ArgumentParser) -> None:
    """One flag for each number of each registered law; ``--noise`` where they are not enough."""
    group = parser.add_argument_group("noise law")
    laws = _laws()
    shared: dict[str, list[str]] = {}
    for law in laws:
        if law.around is None:
            for field in (*law.numbers, *law.texts):
                shared.setdefault(field, []).append(law.name)
    for field, names in shared.items():
        owners = [law for law in laws if law.name in names]
        text = field in owners[0].texts
        group.add_argument(
            _flag(field), dest=f"law_{field}", type=str if text else _numbers,
            metavar=field.upper() if text else "X",
            help=", ".join(f"{law.words}: {field}" for law in owners).replace("%", "%%"),
        )  # fmt: skip
    for law in laws:
        if law.around is not None:
            group.add_argument(
                f"--{law.name}", dest=f"law_{law.name}", type=float, nargs=len(law.numbers),
                metavar=tuple(n.upper() for n in law.numbers), help=law.words.replace("%", "%%"),
            )  # fmt: skip
    group.add_argument("--noise", metavar="LAW", help="name of the law, where its flags do not say")


def law_of(given: argparse.Namespace) -> Noise:
    """The law that was asked for.

    A law around another needs that other law, which the noise was, or will be, drawn from: the
    record of a certificate names both.

    Raises
    ------
    ValueError
        No law, flags of several, or a law around another alone.
    """
    laws = _laws()
    allowed = ", ".join(f"{law.flags()} ({law.name})" for law in laws)
    plain = [law for law in laws if law.around is None]
    values = {
        field: getattr(given, f"law_{field}")
        for field in dict.fromkeys(f for law in plain for f in (*law.numbers, *law.texts))
        if getattr(given, f"law_{field}") is not None
    }
    outer = [
        law
        for law in laws
        if law.around is not None and getattr(given, f"law_{law.name}") is not None
    ]
    if len(outer) > 1:
        raise ValueError(f"{' and '.join(law.flags() for law in outer)} are given; allowed: one")
    if given.noise is not None and given.noise not in [law.name for law in plain]:
        raise ValueError(
            f"--noise is {given.noise!r}; allowed: {', '.join(law.name for law in plain)}"
        )
    base: Noise | None = None
    if values or given.noise is not None:
        fitting = [
            law
            for law in plain
            if set(law.needed) <= set(values) <= {*law.numbers, *law.texts}
            and given.noise in (None, law.name)
        ]
        if not fitting:
            flags = " ".join(_flag(field) for field in values) or "nothing"
            of = "together" if given.noise is None else f"for --noise {given.noise}"
            raise ValueError(f"{flags} is given {of}; allowed: {allowed}")
        base = fitting[0].kind(**values)
    if not outer:
        if base is None:
            raise ValueError(f"no noise law is given; allowed: {allowed}")
        return base
    if base is None:
        raise ValueError(
            f"--{outer[0].name} is given without the law that noise is drawn from; allowed: "
            f"{allowed}"
        )
    numbers = dict(zip(outer[0].numbers, getattr(given, f"law_{outer[0].name}"), strict=True))
    return outer[0].kind(**numbers, **{str(outer[0].around): base})
