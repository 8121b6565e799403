"""Splitting noise: the l1 certificate of uniform noise without any chance."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rsbounds import _validate
from rsbounds._types import Scale
from rsbounds.noises._enumerated import MAX_CELLS, EnumeratedLaw
from rsbounds.noises._parameters import like, namespace
from rsbounds.streams import base_draws

#: Inputs are taken for the level that they are within this part of a step of.
_SLACK = 1 / 64
_MAX_LEVELS = 1 << 16


@dataclass(frozen=True, eq=False)
class SplitUniform(EnumeratedLaw):
    """Each number becomes the middle between two of the thresholds around it; l1, exact.

    Inputs have the levels 0, h, 2 h, ..., ``largest``, h = largest / (levels - 1). Cell t of the
    N = 2 half_width / h splits coordinate i at the thresholds ((t + v_i) mod N + 1/2) h + j N h, j
    any integer, and replaces x_i by the middle of the interval that it lies in, cut to [0,
    largest]. Over all t the place of a threshold is uniform on its N places in every coordinate,
    so that inputs that are k levels apart in it get different copies in min(k, N) cells; all
    shares of votes therefore move by at most ||delta||_1 / (2 half_width), and the answer stays
    while ||delta||_1 < half_width (p_A - p_B) (Levine and Feizi 2021, Theorem 2 for quantised
    inputs). The shares are counted, not estimated: the error probability is 0. The radius is
    about distances between levels, and perturbed inputs have the same levels.

    Parameters
    ----------
    half_width : float
        Half of the distance between thresholds, in units of the raw input: a multiple of h/2.
    levels : int
        Levels of a number, 2 to 65,536: 256 for 8-bit pictures.
    largest : float
        The largest level: 1 for pictures from 0 to 1, 255 for pixels as they are.
    offsets : int, optional
        Seed of the places v_i, one for each coordinate, fixed for all inputs; None makes all of
        them 0, so that all coordinates share their thresholds.

    Raises
    ------
    ValueError
        A half width that is no multiple of h/2, or more than 2^24 cells; while sampling, inputs
        with numbers that are no level.

    See Also
    --------
    rsbounds.Uniform : The same radius from samples, for inputs of any kind.

    References
    ----------
    .. [1] A. Levine and S. Feizi, "Improved, deterministic smoothing for l1 certified robustness",
       ICML 2021.

    Examples
    --------
    >>> import numpy as np, rsbounds
    >>> from rsbounds.noises import SplitUniform
    >>> law = SplitUniform(half_width=0.5)
    >>> law.cells
    255
    >>> x = np.array([[204, 51], [26, 0]]) / 255
    >>> counts = rsbounds.sample_counts(
    ...     lambda batch: (batch[:, 0] > 0.5).astype(int), x, noise=law, num_classes=2)
    >>> certificates = rsbounds.certify(counts, rsbounds.select_top(counts), noise=law)
    >>> certificates.top, certificates.radius.round(3), certificates.assurance
    (array([1, 0]), array([0.3  , 0.398]), 'deterministic, all cells counted')
    """

    half_width: float
    levels: int = 256
    largest: float = 1.0
    offsets: int | None = 0

    name: ClassVar[str] = "split-uniform"
    norm: ClassVar[str] = "l1"
    scale: ClassVar[Scale] = "linear"
    variants: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {"half_width": 0.5},
        {"half_width": 0.75, "levels": 5, "largest": 2.0, "offsets": None},
    )

    def __post_init__(self) -> None:
        width = _validate.positive("half_width", self.half_width)
        levels = _validate.integer("levels", self.levels, low=2, high=_MAX_LEVELS)
        largest = _validate.positive("largest", self.largest)
        if self.offsets is not None:
            _validate.integer("offsets", self.offsets, low=0)
        wide = 2.0 * width * (levels - 1) / largest
        cells = round(wide) if wide < 2.0 * MAX_CELLS else 0
        if not 1 <= cells <= MAX_CELLS or abs(wide - cells) > 1e-9 * wide:
            step = 0.5 * largest / (levels - 1)
            near = max(1, math.floor(min(wide, MAX_CELLS)))
            raise ValueError(
                f"half_width is {self.half_width!r}; allowed: multiples of half a step, "
                f"{step:.6g}, up to {MAX_CELLS} of them, such as {near} * {step:.6g} = "
                f"{near * step:.6g}"
            )
        object.__setattr__(self, "half_width", width)
        object.__setattr__(self, "largest", largest)

    @functools.cached_property
    def _cells(self) -> int:
        return round(2.0 * self.half_width * (self.levels - 1) / self.largest)

    @property
    def cells(self) -> int:
        return self._cells

    @property
    def radius_per_margin(self) -> float:
        # Of the whole number of cells, whatever digits of it the half width kept.
        return 0.5 * self._cells * self.largest / (self.levels - 1) * (1.0 - 2.0**-51)

    def _steps(self, x: Any) -> Any:
        """An input in steps, not rounded."""
        return x * ((self.levels - 1) / self.largest)

    def check_input(self, x: Any) -> None:
        steps = self._steps(x)
        level = namespace(x).round(steps)
        bad = ~((abs(steps - level) <= _SLACK) & (level >= 0) & (level <= self.levels - 1))
        if bool(bad.any()):
            where = tuple(int(i) for i in np.argwhere(np.asarray(bad.tolist()))[0])
            raise ValueError(
                f"inputs hold {float(x[where]):.6g} at {list(where)} with noise {self}; allowed: "
                f"its {self.levels} levels, multiples of {self.largest:g}/{self.levels - 1} from 0 "
                f"to {self.largest:g} (largest=255 where pixels go up to 255)"
            )

    def cell(self, x: Any, number: Any) -> Any:
        many, top = self._cells, self.levels - 1
        # Inputs off their levels come here in training alone.
        level = _whole(namespace(x).round(self._steps(x)).clip(0, top).reshape(-1))
        places = like(_places(self.offsets, level.shape[0], many), level)
        # From a level down to the threshold below, less the half: (level - 1 - place - t) mod N.
        down = (level - 1 - places) % many - _whole(number)
        down += (down < 0) * like(many, level)
        # Twice the thresholds below and above, in steps: with the halves they are whole numbers.
        low = (2 * level - 1) - 2 * down
        total = low.clip(0) + (low + 2 * many).clip(None, 2 * top)
        # The same float for the same whole number, whatever was in the input.
        floats = total.to(x.dtype) if hasattr(total, "to") else total.astype(x.dtype)
        found = floats * like(self.largest / (4 * top), x)
        return found.reshape(len(number), *x.shape)


def _whole(values: Any) -> Any:
    """Whole numbers as such, of 32 bits."""
    return values.int() if hasattr(values, "int") else values.astype(np.int32)


@functools.lru_cache(maxsize=32)
def _places(seed: int | None, size: int, cells: int) -> NDArray[np.int64]:
    """The places v_i of ``size`` coordinates."""
    if seed is None:
        return np.zeros(size, dtype=np.int64)
    words = base_draws("bits", 1, size, seed=seed, role="select")[0]
    return np.asarray(words * cells >> 32)
