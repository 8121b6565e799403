"""Block ablation: a classifier sees a small square of a picture, in every place it can have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rsbounds import _validate
from rsbounds.noises._ablation import PatchLaw
from rsbounds.noises._enumerated import MAX_CELLS, EnumeratedLaw
from rsbounds.noises._parameters import like


@dataclass(frozen=True, eq=False)
class BlockAblation(PatchLaw, EnumeratedLaw):
    """Only a block of size x size pixels is left, in each of height x width places; patches.

    A block that leaves the picture comes in again on the other side. A square patch of side m is
    seen in part from at most (m + size - 1)^2 places, wherever it is, so that no other content of
    it turns more than that many votes: the answer stays while twice as many are fewer than the
    votes by which it leads, ties decided by the class's index (Levine and Feizi 2020, de-randomized
    smoothing, section 3). All places are counted: the error probability is 0. The radius is the
    largest m; where there is none, one abstains.

    Parameters
    ----------
    size : int
        Side of the block, at most that of the picture.
    height, width : int
        Of the inputs, (height, width) or (channels, height, width).
    null : float
        What hides a pixel, in all of its channels. No pixel of an input may have it in all
        (`rsbounds.noises.with_complement`).

    Raises
    ------
    ValueError
        A size that is none; while sampling, inputs of another shape or with a pixel that looks
        ablated.

    References
    ----------
    .. [1] A. Levine and S. Feizi, "(De)randomized smoothing for certifiable defense against patch
       attacks", NeurIPS 2020.

    Examples
    --------
    >>> import rsbounds
    >>> from rsbounds.noises import BlockAblation
    >>> law = BlockAblation(size=4, height=28, width=28)
    >>> law.cells
    784
    >>> found = rsbounds.certify([[700, 50, 34]], 0, noise=law)
    >>> found.radius, found.norm  # 2 (15 + 3)^2 = 648 < 650
    (array([15.]), 'patch')
    """

    size: int
    height: int
    width: int
    null: float = 0.0

    name: ClassVar[str] = "block-ablation"
    variants: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {"size": 2, "height": 7, "width": 9, "null": -1.0},
        {"size": 1, "height": 4, "width": 4, "null": 0.5},
    )

    def __post_init__(self) -> None:
        for name in ("height", "width"):
            _validate.integer(name, getattr(self, name), low=1, high=MAX_CELLS)
        _validate.integer("size", self.size, low=1, high=min(self.height, self.width))
        if self.cells > MAX_CELLS:
            raise ValueError(
                f"height and width are {self.height} and {self.width}; allowed: up to {MAX_CELLS} "
                "pixels"
            )
        self._check_null()

    @property
    def cells(self) -> int:
        return self.height * self.width

    @property
    def event_shape(self) -> tuple[int, ...]:
        return self.height, self.width

    def _channels(self, x: Any) -> int:
        shape = tuple(x.shape)
        if shape[-2:] != self.event_shape or len(shape) not in (2, 3):
            raise ValueError(
                f"inputs have shape {shape}; allowed with noise {self}: {self.event_shape}, or "
                "channels first"
            )
        return 1 if len(shape) == 2 else shape[0]

    def _touched(self, side: NDArray[np.int64]) -> NDArray[np.int64]:
        reach = side + self.size - 1
        return np.asarray(np.minimum(reach, self.height) * np.minimum(reach, self.width))

    def cell(self, x: Any, number: Any) -> Any:
        rows, columns = (like(np.arange(n), number) for n in self.event_shape)
        down = (rows - number // self.width) % self.height < self.size
        along = (columns - number % self.width) % self.width < self.size
        keep = down[:, :, None] & along[:, None, :]
        return self._shown(x, keep.reshape(len(number), -1))
