"""Runs of votes in which a class need only stay among the k most probable."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from numpy.typing import NDArray

from rsbounds import _validate
from rsbounds._types import Certificates
from rsbounds.certificates import certify_votes
from rsbounds.certificates.complete import sampled_only
from rsbounds.certificates.top_k import check_top_k
from rsbounds.claims import checked_k
from rsbounds.noises import Noise
from rsbounds.runs.kinds._base import Drawn, Kind, Settings
from rsbounds.runs.kinds.votes import VotesKind
from rsbounds.runs.subject import Subject


class TopKKind(VotesKind):
    """``options`` are ``k`` and those of the margin method ``method``.

    With probability at least 1 - alpha, for each input on its own, no perturbation smaller than
    its radius takes the class from the k most probable (`rsbounds.certify_top_k`). Rows are those
    of a run of votes, and may be bounded again with another k, method or alpha.
    """

    name: ClassVar[str] = "top-k"
    default: ClassVar[str | None] = "runner-up"
    votes: ClassVar[bool] = False

    def __init__(self, settings: Settings) -> None:
        own = dict(settings.options)
        self._k = _validate.integer("k", own.pop("k", None), low=2)
        super().__init__(dataclasses.replace(settings, options=own))
        check_top_k(self._method, self._k)

    @property
    def options(self) -> Mapping[str, Any]:
        return {"k": self._k, **self.settings.options}

    def check_law(self, noise: Noise) -> None:
        sampled_only(noise, "top-k")

    def ask(self, subject: Subject, x: NDArray[Any], index: int) -> None:
        votes, _ = subject.votes(x[None], [index], "select", [(0, 1)])
        checked_k(self._k, votes.shape[1])

    def certify(self, drawn: Drawn, noise: Noise) -> Certificates:
        return certify_votes(
            drawn.select, drawn.estimate, drawn.invalid, noise=noise, alpha=self.settings.alpha,
            method=self._method, offset=drawn.offset, k=self._k,
        )  # fmt: skip

    def again(self, method: Any, alpha: float | None, options: Mapping[str, Any]) -> Kind:
        own = self.settings
        kept = {"k": self._k} if method is not None else self.options
        return TopKKind(
            Settings(
                own.alpha if alpha is None else _validate.alpha(alpha),
                own.method if method is None else method, {**kept, **options}, own.n, own.n0,
            )
        )  # fmt: skip
