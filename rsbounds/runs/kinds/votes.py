"""Runs of votes: n draws of each input, bounded by a margin method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from numpy.typing import NDArray

from rsbounds import _validate
from rsbounds._types import Certificates
from rsbounds.bounds.margin import margin_method
from rsbounds.certificates import certify_votes
from rsbounds.noises import Noise
from rsbounds.runs.kinds._base import Drawn, FixedKind, Kind, Settings, offset_from
from rsbounds.runs.subject import Subject


class VotesKind(FixedKind):
    """``method`` is a margin method with ``options``, or a method object.

    With probability at least 1 - alpha, for each input on its own, no perturbation smaller than
    its radius changes the smoothed classifier's answer (`rsbounds.certify`).
    """

    name: ClassVar[str] = "votes"
    default: ClassVar[str | None] = None
    votes: ClassVar[bool] = True

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        # One object for the whole run: it may remember what it has bounded.
        self._method = margin_method(settings.method, settings.options)

    def check_law(self, noise: Noise) -> None:
        """Every law has a radius for votes."""

    def take(
        self, subject: Subject, inputs: NDArray[Any], indices: Sequence[int], noise: Noise
    ) -> tuple[Drawn, Certificates]:
        n0, n, b = self.settings.n0, self.settings.n, len(indices)
        if noise.cells is None:
            select, none0 = subject.votes(inputs, indices, "select", [(0, n0)] * b)
        estimate, none = subject.votes(inputs, indices, "estimate", [(0, n)] * b)
        if noise.cells is not None:
            # All cells of an enumerated law say which class it is, too.
            select, none0 = estimate, none
        drawn = Drawn(
            select, estimate, none0 + none, estimate.sum(axis=1) + none, [None] * b,
            offset_from(noise, inputs),
        )  # fmt: skip
        return drawn, self.certify(drawn, noise)

    def certify(self, drawn: Drawn, noise: Noise) -> Certificates:
        return certify_votes(
            drawn.select, drawn.estimate, drawn.invalid, noise=noise, alpha=self.settings.alpha,
            method=self._method, offset=drawn.offset,
        )  # fmt: skip

    def again(self, method: Any, alpha: float | None, options: Mapping[str, Any]) -> Kind:
        own = self.settings
        if method is None:
            method, options = own.method, {**own.options, **options}
        level = own.alpha if alpha is None else _validate.alpha(alpha)
        return VotesKind(Settings(level, method, options, own.n, own.n0))
