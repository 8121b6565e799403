"""Laws without chance: a few cells, all of which are counted.

The noisy copies of an input are a finite list, the same number for every input, and the smoothed
classifier answers with the class of most of them (the lowest index on a tie). All of them are
evaluated, so that shares of votes are known and not estimated: a certificate's error probability
is 0 (`rsbounds.certificates.complete`). Draw number t is cell t, whatever the seed and the role.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from rsbounds.noises._base import Noise

#: Most cells that a law may have: a number below it, times 32 random bits, stays below 2^63.
MAX_CELLS = 1 << 24


class EnumeratedLaw(Noise):
    """A law of a number of cells that its parameters say."""

    has_rsample: ClassVar[bool] = False

    @property
    @abc.abstractmethod
    def cells(self) -> int:
        """How many cells there are."""

    @abc.abstractmethod
    def check_input(self, x: Any) -> None:
        """Raise ValueError where an input is not one that the law's theorem is about."""

    @abc.abstractmethod
    def cell(self, x: Any, number: Any) -> Any:
        """(m, ...) copies of an input, of the cells with these (m, 1) numbers below `cells`."""

    @property
    def base(self) -> str:
        return "draw"

    def perturb(self, x: Any, base: Any) -> Any:
        self.check_input(x)
        # Who wants more than all of them (a batch that is timed, say) gets them again.
        return self.cell(x, base.reshape(len(base), 1) % self.cells)

    def in_floats(self) -> Drawn:  # type: ignore[override]
        return Drawn(self)


@dataclass(frozen=True, eq=False)
class Drawn(Noise):
    """One cell of an enumerated law for each draw, at random: for training."""

    law: EnumeratedLaw

    name: ClassVar[str] = "drawn"
    norm: ClassVar[str] = "none"
    has_rsample: ClassVar[bool] = False
    variants: ClassVar[tuple[Mapping[str, Any], ...]] = ()

    @property
    def event_shape(self) -> tuple[int, ...] | None:
        return self.law.event_shape

    @property
    def base(self) -> str:
        return "bits"

    def base_size(self, shape: tuple[int, ...]) -> int:
        return 1

    def perturb(self, x: Any, base: Any) -> Any:
        return self.law.cell(x, base.reshape(len(base), 1) * self.law.cells >> 32)
