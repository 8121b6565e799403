"""Laws that show a classifier a part of the input: what it cannot see cannot mislead it.

Everything outside of the part has the value ``null``. Two inputs that differ in some pixels give
the same copies wherever the part misses these pixels, bit for bit, so that no share of votes moves
by more than the probability that it does not. Radii are whole numbers, of pixels or sides of a
patch, and hold for changes up to and including them; where not a single pixel may change, one
abstains.

A pixel of the input that looks like an ablated one would tell a classifier something else than it
is: it is refused. `with_complement` makes inputs that have none, and laws take another ``null``.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsbounds import _validate
from rsbounds._types import MarginBound, Scale
from rsbounds.noises._base import Noise
from rsbounds.noises._parameters import like, namespace


class AblationLaw(Noise):
    """A law of parts: its curve is b + the probability that a part has a changed pixel in it."""

    null: float

    scale: ClassVar[Scale] = "linear"
    curve_only: ClassVar[bool] = True
    has_rsample: ClassVar[bool] = False

    @property
    def default_method(self) -> str:
        # What can move a share does not depend on it: a margin says all.
        return "exact"

    @property
    def _shares(self) -> NDArray[np.float64]:
        """Of the radii 0, 1, 2, ..., the share of votes that can move, rounded up."""
        raise NotImplementedError

    def _check_null(self) -> None:
        null = _validate.number("null", self.null, "a finite number", lambda v: abs(v) < np.inf)
        object.__setattr__(self, "null", null)

    def roc(self, r: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
        whole = np.minimum(np.floor(np.asarray(r, dtype=np.float64)), len(self._shares) - 1)
        moved = self._shares[whole.astype(np.int64)]
        return np.asarray(np.minimum(np.asarray(b, dtype=np.float64) + moved, 1.0))

    def _radius_of_pair(
        self, p_a: NDArray[np.float64], p_b: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        return largest(2.0 * self._shares, np.nextafter(p_a - p_b, -2.0))

    # -- inputs --------------------------------------------------------------------------

    def _channels(self, x: Any) -> int:
        """Numbers of a pixel, in the first dimension; 1 where there is none of channels.

        Raises ValueError for inputs of another shape.
        """
        raise NotImplementedError

    def check_input(self, x: Any) -> None:
        """Raise ValueError where an input has another shape, or a pixel that looks ablated."""
        pixels = x.reshape(self._channels(x), -1)
        looks = (pixels == like(self.null, x)).all(0)
        if bool(looks.any()):
            where = int(np.argmax(np.asarray(looks.tolist())))
            raise ValueError(
                f"inputs hold {self.null:g} in all {len(pixels)} channels of pixel {where}, as an "
                f"ablated pixel does with noise {self}; allowed: another null, or "
                "rsbounds.noises.with_complement of inputs from 0 to 1"
            )

    def _shown(self, x: Any, keep: Any) -> Any:
        """(m, ...) copies of an input, in which (m, pixels) are as they were and others null."""
        pixels = x.reshape(1, self._channels(x), -1)
        made = namespace(x).where(keep[:, None, :], pixels, like(self.null, x))
        return made.reshape(len(keep), *x.shape)


class PatchLaw(AblationLaw):
    """Parts that are counted; the radius is the side of a square patch, wherever it is.

    Patches are as they are in a picture whose opposite edges touch.
    """

    norm: ClassVar[str] = "patch"

    size: int

    @property
    def cells(self) -> int:
        raise NotImplementedError

    def _touched(self, side: NDArray[np.int64]) -> NDArray[np.int64]:
        """Cells that see something of a patch, for sides 1, 2, ..."""
        raise NotImplementedError

    @cached_property
    def _cells_touched(self) -> NDArray[np.int64]:
        sides = np.arange(1, max(self.event_shape or (1,)) + 1)
        return np.concatenate([[0], self._touched(sides)])

    @cached_property
    def _shares(self) -> NDArray[np.float64]:
        touched = self._cells_touched
        return np.where(touched > 0, np.minimum(np.nextafter(touched / self.cells, 2.0), 1.0), 0.0)

    def certified_radius(self, bound: MarginBound) -> NDArray[np.float64]:
        found = super().certified_radius(bound)
        # Votes that were all counted are compared as whole numbers, ties with them.
        lead = bound.details.get("lead")
        return found if lead is None else largest(2 * self._cells_touched, lead)


def largest(needed: NDArray[Any], have: NDArray[Any]) -> NDArray[np.float64]:
    """The largest i with needed[i] < have, of numbers that grow from 0; 0 where there is none."""
    found = np.searchsorted(needed, have, side="left") - 1
    return np.asarray(np.maximum(found, 0), dtype=np.float64)


def with_complement(inputs: Any) -> Any:
    """Inputs from 0 to 1 with 1 - x as further channels: no pixel of them is 0 in all.

    What is changed in a pixel is changed in all of its channels, so that a certificate for the
    result is one for the inputs (the encoding of Levine and Feizi 2020).

    Parameters
    ----------
    inputs : (B, C, H, W), (B, H, W) or (B, d) array or tensor of floats
        A batch. Of the latter two, x and 1 - x become channels of a new dimension 1.

    Returns
    -------
    (B, 2 C, H, W), (B, 2, H, W) or (B, 2, d) array or tensor

    Raises
    ------
    ValueError
        Numbers outside [0, 1], or another number of dimensions.

    Examples
    --------
    >>> import numpy as np
    >>> from rsbounds.noises import with_complement
    >>> with_complement(np.array([[0.25, 1.0]])).tolist()
    [[[0.25, 1.0], [0.75, 0.0]]]
    """
    shape = tuple(getattr(inputs, "shape", ()))
    if len(shape) not in (2, 3, 4) or not hasattr(inputs, "dtype"):
        raise ValueError(
            f"inputs have shape {shape}; allowed: arrays or tensors (B, C, H, W), (B, H, W), (B, d)"
        )
    if not bool(((inputs >= 0) & (inputs <= 1)).all()):
        raise ValueError("inputs hold numbers outside [0, 1]; allowed: pixels from 0 to 1")
    library = namespace(inputs)
    if len(shape) == 4:
        return library.concatenate([inputs, 1 - inputs], 1)
    return library.stack([inputs, 1 - inputs], 1)
