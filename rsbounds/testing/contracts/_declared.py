"""What the contracts share: checks by name, and what every member says of itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

Check = TypeVar("Check", bound=Callable[..., None])


@dataclass(frozen=True)
class Case:
    """One check of one setting of a member.

    Attributes
    ----------
    check : str
        Name of the check.
    options : mapping
        Options that the member has in it.
    run : callable
        Runs it; AssertionError, or whatever the member raises, where the contract is broken.
    """

    check: str
    options: Mapping[str, Any]
    run: Callable[[], None]


def member_cases(
    kind: Callable[..., Any],
    variants: Iterable[Mapping[str, Any]],
    checks: Mapping[str, Callable[[Any], None]],
) -> Iterator[Case]:
    """Every check of every setting, each on a member that is built for it alone."""
    for options in variants:
        for name, check in checks.items():

            def run(
                check: Callable[[Any], None] = check, options: Mapping[str, Any] = options
            ) -> None:
                check(kind(**options))

            yield Case(name, options, run)


def by_name(*checks: Check) -> dict[str, Check]:
    """Each check of a contract under its name, with spaces."""
    return {check.__name__.replace("_", " "): check for check in checks}


def check_texts(member: Any, cost: str = "cost") -> None:
    """Name, source, cost (the attribute called so), advice and docstring are there.

    Raises
    ------
    AssertionError
        One is missing, or says nothing.
    """
    kind = type(member)
    for text in ("name", "source", cost, "choose", "__doc__"):
        said = getattr(member, text, None)
        assert isinstance(said, str), f"{kind.__name__}.{text} is {said!r}; it must be a text"
        least = 1 if text == "name" else 11
        assert len(said) >= least, f"{kind.__name__}.{text} is {said!r}; it must say something"


def check_declaration(member: Any, cost: str = "cost") -> None:
    """The texts, and a guarantee that the docstring states."""
    check_texts(member, cost)
    kind = type(member)
    assert member.guarantee in ("proven", "enumerated", "none"), (
        f"{kind.__name__}.guarantee is {member.guarantee!r}"
    )
    assert "probability" in str(kind.__doc__), (
        f"the docstring of {kind.__name__} does not state its guarantee (no 'probability')"
    )
