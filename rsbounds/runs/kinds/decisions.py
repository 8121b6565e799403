"""Runs of decisions: is the certified radius of each input at least r?"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rsbounds import _validate
from rsbounds._types import Certificates, Selection
from rsbounds.certificates import voted_top
from rsbounds.certificates.exact import farther
from rsbounds.noises import Gaussian, Noise
from rsbounds.runs.kinds._base import (
    Drawn,
    Evidence,
    Kind,
    Rounds,
    Settings,
    offset_from,
    selected,
)
from rsbounds.runs.subject import Subject
from rsbounds.sequential import Decide
from rsbounds.sequential._feed import feed

#: The answers that a row may hold.
ANSWERS = ("yes", "no", "futile", "undecided")

_OPTIONS = ("radius", "competitors", "no", "futility", "prior", "prior_no")


class DecideKind(Kind):
    """``options`` are ``radius`` and those of the rule; n is the most draws of an input.

    For each input on its own, the probability of ever giving a wrong answer is at most alpha
    (`rsbounds.Decide`). "Yes" certifies the radius; the other answers abstain, and the row says
    which. Certified accuracy counts "yes" alone, so ``no`` is "futile" where it is not given: an
    input without a likely "yes" takes no more draws. A row keeps all votes up to its answer. The
    capital at a stopping time exceeds 1/alpha with probability at most alpha whatever stopped the
    draws, so that the same rows may be asked about another radius, or at another alpha or prior.
    """

    name: ClassVar[str] = "decide"
    default: ClassVar[str] = "decide"
    nothing: ClassVar[Evidence] = {"answer": "undecided"}

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
            raise ValueError("radius is not given; allowed: the radius in question, a number > 0")
        self._radius = _validate.positive("radius", given["radius"])
        # As the rule takes them, whatever the law.
        rule = Decide(1.0, 0, noise=Gaussian(1.0), **self._given())
        self._options: dict[str, Any] = {
            "competitors": rule.competitors, "no": rule.no, "futility": rule.futility,
            "prior": list(rule.prior), "prior_no": list(rule.prior_no),
        }  # fmt: skip

    def _given(self) -> dict[str, Any]:
        given = {key: v for key, v in self.settings.options.items() if key != "radius"}
        return {"no": "futile", **given}

    @property
    def options(self) -> Mapping[str, Any]:
        return {"radius": self._radius, **self._options}

    def check_law(self, noise: Noise) -> None:
        self._rule(np.zeros(noise.batch_shape or (1,), dtype=np.int64), noise)

    def _rule(
        self,
        top: NDArray[np.int64] | Selection,
        noise: Noise,
        offset: NDArray[np.float64] | None = None,
    ) -> Decide:
        rule = Decide(
            farther(self._radius, offset), top, noise=noise, alpha=self.settings.alpha,
            limit=self.settings.n, **self._options,
        )  # fmt: skip
        rule.offset = offset
        return rule

    def take(
        self, subject: Subject, inputs: NDArray[Any], indices: Sequence[int], noise: Noise
    ) -> tuple[Drawn, Certificates]:
        top, invalid = selected(subject, inputs, indices, self.settings.n0)
        test = self._rule(top, noise, offset_from(noise, inputs))
        rounds = Rounds(subject, inputs, indices, top.counts, invalid)
        test.abstain(invalid > 0)
        feed(test, rounds.draw)
        evidence = [{"answer": answer} for answer in test.status.tolist()]
        drawn = Drawn(top.counts, rounds.votes, rounds.invalid, test.n, evidence, test.offset)
        return drawn, test.certificates()

    def certify(self, drawn: Drawn, noise: Noise) -> Certificates:
        result = self._answered(drawn, noise).certificates()
        # A row that abstained took draws that the rule was not given.
        return dataclasses.replace(result, n=drawn.n)

    def answers(self, drawn: Drawn, noise: Noise) -> NDArray[np.str_]:
        """(b,) "yes", "no", "futile" or "undecided"."""
        return self._answered(drawn, noise).status

    def _answered(self, drawn: Drawn, noise: Noise) -> Decide:
        test = self._rule(voted_top(drawn.select), noise, drawn.offset)
        test.abstain(drawn.invalid > 0)
        if test.active.any():
            test.update(drawn.estimate)
        test.abstain(test.active)
        return test

    def again(self, method: Any, alpha: float | None, options: Mapping[str, Any]) -> DecideKind:
        own = self.settings
        level = own.alpha if alpha is None else _validate.alpha(alpha)
        chosen = self.default if method is None else method
        return DecideKind(Settings(level, chosen, {**self.options, **options}, own.n, own.n0))

    @classmethod
    def fault(cls, row: Any) -> str | None:
        held = row.evidence
        answer = held.get("answer") if isinstance(held, Mapping) and len(held) == 1 else None
        if answer not in ANSWERS or (answer == "yes") == row.abstained:
            return (
                f"evidence is {held!r}, with abstained = {row.abstained}; allowed: an answer, "
                f"{', '.join(ANSWERS)}, and 'yes' just where a radius is certified"
            )
        return None
