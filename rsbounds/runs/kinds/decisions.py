"""Runs of decisions: is the certified radius of each input at least r, for each r of a list?"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rsbounds import _validate
from rsbounds._types import Certificates, Selection
from rsbounds.certificates import voted_top
from rsbounds.certificates.exact import farther
from rsbounds.noises import Gaussian, Noise
from rsbounds.runs.kinds._base import Drawn, Evidence, Settings, StoppingKind
from rsbounds.runs.kinds.votes import VotesKind
from rsbounds.sequential import Decide, Ladder

#: The answers that a row may hold.
ANSWERS = ("yes", "no", "futile", "undecided")

_OPTIONS = ("radius", "competitors", "no", "futility", "prior", "prior_no")
#: Steps of a power of two that distances to a lattice are rounded up to, and the smallest one as
#: a share of the radius. Inputs at nearly the same distance then have the same question, whose
#: tables are made once.
_STEPS, _LEAST = 8, 2.0**-30


class DecideKind(StoppingKind):
    """``options`` are ``radius``, one or several, and those of the rule; n is the most draws.

    For each input on its own, the probability of ever giving a wrong "yes" at any of its radii is
    at most alpha, and so is that of a wrong "no" (`rsbounds.sequential.Ladder`): "yes" at a radius
    is "yes" at all smaller ones. The row's certificate has the largest radius with a "yes".
    Certified accuracy counts "yes" alone, so ``no`` is "futile" where it is not given: an
    input without a likely "yes" takes no more draws. A row keeps all its votes, and those that it
    had when an earlier radius got its answer. A capital exceeds 1/alpha at any such time
    with probability at most alpha whatever stopped the draws, so that the same rows may be asked
    about other radii, or at another alpha or prior.
    """

    name: ClassVar[str] = "decide"
    default: ClassVar[str] = "decide"
    nothing: ClassVar[Evidence] = {"answers": [], "looks": []}

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        if settings.method != self.default:
            raise ValueError(
                f"method is {settings.method!r}; allowed for decisions: 'decide', whose options "
                f"are {', '.join(_OPTIONS)}"
            )
        given = settings.options
        _validate.known_options(self.name, given, _OPTIONS)
        if "radius" not in given:
            raise ValueError("radius is not given; allowed: the radii in question, numbers > 0")
        self._radii = checked_radii("radius", given["radius"])
        # As the rule takes them, whatever the law.
        own = {key: value for key, value in given.items() if key != "radius"}
        rule = Decide(1.0, 0, noise=Gaussian(1.0), **{"no": "futile", **own})
        self._options: dict[str, Any] = {
            "competitors": rule.competitors, "no": rule.no, "futility": rule.futility,
            "prior": list(rule.prior), "prior_no": list(rule.prior_no),
        }  # fmt: skip

    @property
    def options(self) -> Mapping[str, Any]:
        return {"radius": list(self._radii), **self._options}

    def check_law(self, noise: Noise) -> None:
        self.rule(np.zeros(noise.batch_shape or (1,), dtype=np.int64), noise)

    def rule(
        self,
        top: NDArray[np.int64] | Selection,
        noise: Noise,
        offset: NDArray[np.float64] | None = None,
    ) -> Ladder:
        rows = len(top)
        asked = np.tile(np.array(self._radii), (rows, 1))
        if offset is not None:
            away = _rounded_up(offset[:, None], np.array(self._radii) * _LEAST)
            asked = np.asarray(farther(asked, away))
        rule = Ladder(
            asked, top, noise=noise, alpha=self.settings.alpha, limit=self.settings.n,
            **self._options,
        )  # fmt: skip
        rule.offset = offset
        return rule

    def evidence(
        self, rule: Ladder, rounds: Sequence[Sequence[Sequence[int]]], rows: NDArray[np.int64]
    ) -> list[Evidence]:
        told, looks = rule.status[rows].tolist(), rule.looks(rows)
        return [{"answers": a, "looks": held} for a, held in zip(told, looks, strict=True)]

    def certify(self, drawn: Drawn, noise: Noise) -> Certificates:
        rule = self.rule(voted_top(drawn.select), noise, drawn.offset)
        rule.abstain(drawn.invalid > 0)
        looks = [[] if held is None else held["looks"] for held in drawn.evidence]
        rule.replay([[np.array(votes) for votes in held] for held in looks], drawn.estimate)
        # A row that abstained took draws that the rule was not given.
        return dataclasses.replace(rule.certificates(), n=drawn.n)

    def again(self, method: Any, alpha: float | None, options: Mapping[str, Any]) -> DecideKind:
        own = self.settings
        level = own.alpha if alpha is None else _validate.alpha(alpha)
        if method is None and level == own.alpha and not options:
            return self
        # The draws are there: no radius is given up before the last of them.
        kept = {**self.options, "futility": _NEVER, **options}
        chosen = self.default if method is None else method
        return DecideKind(Settings(level, chosen, kept, own.n, own.n0))

    @classmethod
    def fault(cls, row: Any) -> str | None:
        held, names = row.evidence, set(cls.nothing or ())
        right = isinstance(held, Mapping) and set(held) == names
        right = right and _may_be(held["answers"], row) and _may_have(held["looks"], row)
        if not right:
            return (
                f"evidence is {held!r}, with abstained = {row.abstained}; allowed: for each "
                f"radius an answer, {', '.join(ANSWERS)}, 'yes' first and just where a radius is "
                "certified, and earlier votes, fewer than the row's"
            )
        return None


#: A predicted chance of a later "yes" that no row falls below.
_NEVER = 1e-300


def asked(kind: str, decide: Any, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The kind of a run and its options, from those that are given and the radii in question.

    Raises
    ------
    ValueError
        Radii with another kind, no radii with this one, or radii that are none.
    """
    if decide is None:
        if kind == DecideKind.name:
            raise ValueError("kind is 'decide'; allowed: decide=, with the radii in question")
        return kind, dict(options)
    if kind != VotesKind.name:
        raise ValueError(f"decide is {decide!r} with kind = {kind!r}; allowed: one of them")
    if "radius" in options:
        raise ValueError("radius is given besides decide; allowed: decide alone")
    return DecideKind.name, {**options, "radius": list(checked_radii("decide", decide))}


def checked_radii(name: str, given: Any) -> tuple[float, ...]:
    """The radii in question: one number, or several that increase.

    Raises
    ------
    ValueError
        None, a number that is not finite and above 0, or numbers that do not increase.
    """
    allowed = "a number > 0, or several that increase"
    try:
        values = _validate.real_array(name, given)
    except ValueError as error:
        raise ValueError(f"{name} is {given!r} ({error}); allowed: {allowed}") from None
    if values.ndim > 1 or values.size == 0 or np.asarray(given).dtype.kind == "b":
        raise ValueError(f"{name} is {given!r}; allowed: {allowed}")
    radii = tuple(np.atleast_1d(values).tolist())
    if not all(0 < radius < math.inf for radius in radii):
        raise ValueError(f"{name} is {given!r}; allowed: finite numbers > 0")
    if any(a >= b for a, b in itertools.pairwise(radii)):
        raise ValueError(f"{name} is {given!r}; allowed: {allowed}, each once")
    return radii


def _rounded_up(offset: NDArray[np.float64], least: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distances rounded up to few different ones."""
    mantissa, power = np.frexp(np.maximum(offset, least))
    steps = np.ceil(mantissa * (2 * _STEPS)) / (2 * _STEPS)
    return np.where(offset > 0, np.ldexp(steps, power), 0.0)


def _may_be(answers: Any, row: Any) -> bool:
    """Whether a row can have these answers: yes, then what is not known, then no."""
    if not isinstance(answers, list) or any(word not in ANSWERS for word in answers):
        return False
    if not answers:
        # What failed was asked nothing.
        return bool(row.error)
    asked = row.options.get("radius")
    if not isinstance(asked, list) or len(asked) != len(answers):
        return False
    order = [0 if word == "yes" else 2 if word == "no" else 1 for word in answers]
    return order == sorted(order) and (answers[0] == "yes") != row.abstained


def _may_have(looks: Any, row: Any) -> bool:
    """Whether these can be votes that a row had before all of its votes, fewest first."""
    if not isinstance(looks, list):
        return False
    before = [0] * len(row.estimate)
    for votes in [*looks, row.estimate.tolist()]:
        if not isinstance(votes, list) or len(votes) != len(before):
            return False
        if any(type(v) is not int or v < old for v, old in zip(votes, before, strict=True)):
            return False
        before = votes
    return all(sum(votes) < sum(before) for votes in looks)
