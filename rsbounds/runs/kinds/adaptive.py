"""Runs of looks: radii with as many draws as each input is worth."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rsbounds import _validate
from rsbounds._types import Certificates, Selection
from rsbounds.certificates import voted_top
from rsbounds.noises import Noise
from rsbounds.runs.kinds._base import Drawn, Evidence, Kind, Settings, StoppingKind
from rsbounds.sequential import Adaptive, geometric_looks
from rsbounds.sequential.looks import checked_looks

#: The first look and the factor between looks, where no looks are given.
_FIRST, _RATIO = 1000, 3.0


class AdaptiveKind(StoppingKind):
    """``method`` is a margin method; ``options`` are ``looks``, ``shares``, ``gain`` and its own.

    With probability at least 1 - alpha, for each input on its own, its radius is valid
    (`rsbounds.Adaptive`: a union bound over all looks, taken or not). A row keeps the votes of
    each look, so that another method or alpha can bound all of them again; the looks and their
    shares were fixed before the draws and stay.
    """

    name: ClassVar[str] = "adaptive"
    default: ClassVar[str] = "runner-up"
    nothing: ClassVar[Evidence] = {"looks": []}

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        own = dict(settings.options)
        looks = own.pop("looks", None)
        if looks is None:
            looks = geometric_looks(min(_FIRST, settings.n), settings.n, _RATIO)
        sizes = checked_looks(looks) if isinstance(looks, (list, tuple)) else (0,)
        if sizes[-1] != settings.n:
            raise ValueError(
                f"looks is {looks!r} with n = {settings.n}; allowed: a list of sample sizes, the "
                "last of which is n"
            )
        self._looks = sizes
        self._shares, self._gain = own.pop("shares", None), own.pop("gain", 0.03)
        self._own = own

    @property
    def options(self) -> Mapping[str, Any]:
        return {
            "looks": list(self._looks), "shares": self._shares, "gain": self._gain, **self._own,
        }  # fmt: skip

    def check_law(self, noise: Noise) -> None:
        self.rule(np.zeros(noise.batch_shape or (1,), dtype=np.int64), noise)

    def rule(
        self,
        top: NDArray[np.int64] | Selection,
        noise: Noise,
        offset: NDArray[np.float64] | None = None,
    ) -> Adaptive:
        rule = Adaptive(
            top, noise=noise, alpha=self.settings.alpha, looks=self._looks, shares=self._shares,
            gain=self._gain, method=self.settings.method, **self._own,
        )  # fmt: skip
        rule.offset = offset
        return rule

    def evidence(
        self, rule: Adaptive, rounds: Sequence[Sequence[Sequence[int]]], rows: NDArray[np.int64]
    ) -> list[Evidence]:
        return [{"looks": [list(votes) for votes in rounds[row]]} for row in rows.tolist()]

    def certify(self, drawn: Drawn, noise: Noise) -> Certificates:
        rule = self.rule(voted_top(drawn.select), noise, drawn.offset)
        rule.abstain(drawn.invalid > 0)
        rule.replay([[] if held is None else held["looks"] for held in drawn.evidence])
        # A row that abstained took draws that the rule was not given.
        return dataclasses.replace(rule.certificates(), n=drawn.n)

    def again(self, method: Any, alpha: float | None, options: Mapping[str, Any]) -> Kind:
        own = self.settings
        for name in ("looks", "shares", "gain"):
            if name in options:
                raise ValueError(
                    f"{name} is given for draws that are there already; allowed: those of the run"
                )
        kept = {"looks": self._looks, "shares": self._shares, "gain": self._gain}
        chosen, extra = (own.method, {**self._own, **options}) if method is None else (
            method, options)  # fmt: skip
        level = own.alpha if alpha is None else _validate.alpha(alpha)
        return AdaptiveKind(Settings(level, chosen, {**kept, **extra}, own.n, own.n0))

    @classmethod
    def fault(cls, row: Any) -> str | None:
        held = row.evidence
        looks = held.get("looks") if isinstance(held, Mapping) and len(held) == 1 else None
        try:
            table = np.array(looks, dtype=object)
            table = table.astype(np.int64) if table.size else np.zeros((0, len(row.estimate)), int)
            whole = isinstance(looks, list) and all(type(v) is int for p in looks for v in p)
            right = whole and table.shape[1:] == row.estimate.shape and not (table < 0).any()
        except (TypeError, ValueError, OverflowError):
            right = False
        if right and not row.invalid:
            right = bool((table.sum(axis=0) == row.estimate).all())
        if not right:
            return (
                f"evidence is {held!r}; allowed: the votes of each look, which add to "
                f"{row.estimate.tolist()}"
            )
        return None
