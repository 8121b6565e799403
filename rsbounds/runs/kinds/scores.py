"""Runs of scores: n draws of a soft classifier, bounded by a method for means."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from rsbounds import _validate
from rsbounds._types import Certificates
from rsbounds.bounds.mean import mean_method
from rsbounds.certificates.complete import sampled_only
from rsbounds.certificates.scores import (
    ScoreRow,
    Scores,
    certify_score_rows,
    contents_hash,
    score_rows,
)
from rsbounds.noises import Noise
from rsbounds.runs.kinds._base import Drawn, Evidence, FixedKind, Kind, Settings, offset_from
from rsbounds.runs.subject import Subject

Map = Literal["softmax", "sparsemax", "hardmax"]
_MAPS = get_args(Map)


@dataclass(frozen=True)
class Scoring:
    """How logits become scores in [0, 1]; ``map`` None: the classifier returns scores."""

    map: Map | None
    temperature: float


class ScoresKind(FixedKind):
    """``method`` bounds means; ``options`` are ``map``, ``temperature``, ``pair``, ``share``, its.

    With probability at least 1 - alpha, for each input on its own, the class has the largest mean
    score under noise at every point closer than its radius (`rsbounds.certify_soft`). The scores
    themselves are not kept, n times K numbers for each input: a row holds their means, the margin
    and a hash of them, and cannot be bounded again.
    """

    name: ClassVar[str] = "scores"
    default: ClassVar[str] = "goal"
    nothing: ClassVar[Evidence] = {
        "top": None, "runner_up": None, "margin": None, "means": [], "content": ""
    }  # fmt: skip

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        given = dict(settings.options)
        kind, temperature = given.pop("map", "softmax"), given.pop("temperature", 1.0)
        if kind is not None and kind not in _MAPS:
            raise ValueError(
                f"map is {kind!r}; allowed in a run: {', '.join(_MAPS)}, or None for a classifier "
                "that returns scores in [0, 1]"
            )
        self._scoring = Scoring(kind, _validate.positive("temperature", temperature))
        self._pair = given.pop("pair", "split")
        _validate.choice("pair", self._pair, ("split", "difference"))
        self._share = _validate.number(
            "share", given.pop("share", 0.5), "a number in (0, 1)", lambda v: 0 < v < 1
        )
        self._own = given
        self._method = mean_method(settings.method, given)
        _validate.integer("n", settings.n, low=2)

    @property
    def options(self) -> Mapping[str, Any]:
        return {
            **dataclasses.asdict(self._scoring), "pair": self._pair, "share": self._share,
            **self._own,
        }  # fmt: skip

    def check_law(self, noise: Noise) -> None:
        sampled_only(noise, "scores")
        if self._pair == "difference" and noise.scale != "linear":
            raise ValueError(
                f"pair is 'difference' with {noise}, whose scale is {noise.scale}; allowed: 'split'"
            )

    def ask(self, subject: Subject, x: NDArray[Any], index: int) -> None:
        subject.scores(x[None], [index], "select", 1, self._scoring)

    def take(
        self, subject: Subject, inputs: NDArray[Any], indices: Sequence[int], noise: Noise
    ) -> tuple[Drawn, Certificates]:
        own, invalid = self.settings, np.zeros(len(indices), dtype=np.int64)
        classes = 0

        def samples() -> Iterator[Scores]:
            # One after the other: n times K numbers each.
            nonlocal classes
            for i, index in enumerate(indices):
                one = inputs[i : i + 1], [index]
                select, none0 = subject.scores(*one, "select", own.n0, self._scoring)
                estimate, none = subject.scores(*one, "estimate", own.n, self._scoring)
                invalid[i] = none0[0] + none[0]
                classes = select.shape[2]
                yield Scores(select[0], estimate[0], int(invalid[i]))

        rows = score_rows(
            samples(), noise=noise, alpha=own.alpha, method=self._method, pair=self._pair,
            share=self._share,
        )  # fmt: skip
        nothing = np.zeros((len(indices), classes), dtype=np.int64)
        n = np.full(len(indices), own.n)
        evidence = [{**dataclasses.asdict(row), "means": list(row.means)} for row in rows]
        drawn = Drawn(nothing, nothing, invalid, n, evidence, offset_from(noise, inputs))
        return drawn, self.certify(drawn, noise)

    def certify(self, drawn: Drawn, noise: Noise) -> Certificates:
        rows = [
            ScoreRow(**{**given, "means": tuple(given["means"])})
            for given in drawn.evidence
            if given is not None
        ]
        return certify_score_rows(
            rows, drawn.n, noise=noise, alpha=self.settings.alpha, method=self._method,
            pair=self._pair, share=self._share, offset=drawn.offset,
        )  # fmt: skip

    def again(self, method: Any, alpha: float | None, options: Mapping[str, Any]) -> Kind:
        if method is not None or options or alpha not in (None, self.settings.alpha):
            raise ValueError(
                "the run is one of scores, which are not kept: it holds its bounds at alpha "
                f"{self.settings.alpha:g} by {self.settings.method!r} only; allowed: another run "
                "with the same seed, which draws the same scores"
            )
        return self

    @classmethod
    def fault(cls, row: Any) -> str | None:
        held = row.evidence
        names = {field.name for field in dataclasses.fields(ScoreRow)}
        if not isinstance(held, Mapping) or set(held) != names:
            return f"evidence is {held!r}; allowed: {', '.join(sorted(names))}"
        if row.select.any() or row.estimate.any():
            return "its counts are not zero; allowed: none in a run of scores"
        known = row.top if row.top >= 0 else None
        if held["top"] != known or (row.invalid > 0) != (known is None):
            return (
                f"the class is {held['top']!r} and {row.top} with {row.invalid} invalid draws; "
                "allowed: the same class, and none where draws are invalid"
            )
        if row.radius > 0 and not (isinstance(held["margin"], float) and held["margin"] > 0):
            return f"margin is {held['margin']!r} with radius {row.radius}; allowed: one above 0"
        return None

    def input_hash(self, drawn: Drawn) -> str:
        return contents_hash(held["content"] for held in drawn.evidence if held is not None)
