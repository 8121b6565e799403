"""Band ablation: a classifier sees a few columns of a picture, in every place they can have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rsbounds import _validate
from rsbounds.noises._ablation import PatchLaw
from rsbounds.noises._enumerated import MAX_CELLS, EnumeratedLaw
from rsbounds.noises._parameters import like, namespace


@dataclass(frozen=True, eq=False)
class BandAblation(PatchLaw, EnumeratedLaw):
    """Only a band of ``size`` columns is left, in each of ``width`` places; patches.

    A band that leaves the picture comes in again on the other side. A patch that is m columns wide,
    of any height, is seen in part from at most m + size - 1 places, so that no other content of it
    turns more than that many votes: the answer stays while twice as many are fewer than the votes
    by which it leads, ties decided by the class's index (Levine and Feizi 2020, de-randomized
    smoothing, section 3). All places are counted: the error probability is 0. The radius is the
    largest m; where there is none, one abstains.

    Parameters
    ----------
    size : int
        Columns of the band, at most ``width``.
    width : int
        Columns of the inputs, their last dimension: (..., width), with channels first where there
        are three dimensions.
    null : float
        What hides a pixel, in all of its channels. No pixel of an input may have it in all
        (`rsbounds.noises.with_complement`).

    Raises
    ------
    ValueError
        A size that is none; while sampling, inputs of another width or with a pixel that looks
        ablated.

    See Also
    --------
    rsbounds.noises.BlockAblation : Squares in place of columns.

    References
    ----------
    .. [1] A. Levine and S. Feizi, "(De)randomized smoothing for certifiable defense against patch
       attacks", NeurIPS 2020.

    Examples
    --------
    >>> import rsbounds
    >>> from rsbounds.noises import BandAblation
    >>> found = rsbounds.certify([[26, 1, 5]], 0, noise=BandAblation(size=4, width=32))
    >>> found.radius  # 2 (7 + 3) = 20 < 21, and one vote more, for 0 wins ties
    array([7.])
    """

    size: int
    width: int
    null: float = 0.0

    name: ClassVar[str] = "band-ablation"
    variants: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {"size": 2, "width": 9, "null": -1.0},
        {"size": 1, "width": 40, "null": 0.5},
    )

    def __post_init__(self) -> None:
        _validate.integer("width", self.width, low=1, high=MAX_CELLS)
        _validate.integer("size", self.size, low=1, high=self.width)
        self._check_null()

    @property
    def cells(self) -> int:
        return self.width

    @property
    def event_shape(self) -> tuple[int, ...]:
        return (self.width,)

    def _channels(self, x: Any) -> int:
        shape = tuple(x.shape)
        if shape[-1:] != self.event_shape or len(shape) > 3:
            raise ValueError(
                f"inputs have shape {shape}; allowed with noise {self}: the last side "
                f"{self.width}, in one, two or (channels first) three dimensions"
            )
        return 1 if len(shape) < 3 else shape[0]

    def _touched(self, side: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.asarray(np.minimum(side + self.size - 1, self.width))

    def cell(self, x: Any, number: Any) -> Any:
        columns = like(np.arange(self.width), number)
        along = (columns - number) % self.width < self.size
        # Of each row of the picture the same columns.
        rows = int(np.prod(tuple(x.shape))) // (self._channels(x) * self.width)
        return self._shown(x, namespace(along).tile(along, (1, rows)))
