"""Ablation of pixels: a classifier sees a few of them, chosen at random; l0."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rsbounds import _validate
from rsbounds.noises._ablation import AblationLaw

#: Words of a pixel's place in the order in which pixels are kept: 32 bits and 31.
_WORDS = 2


@dataclass(frozen=True, eq=False)
class Ablation(AblationLaw):
    """``keep`` of the pixels are left, all sets of so many alike; l0, in pixels.

    A set has none of r changed pixels with probability C(d - r, keep) / C(d, keep), d the number of
    pixels, and copies are the same then: no share of votes moves by more than Delta, the rest of
    it, so that the answer stays while 2 Delta < p_A - p_B (Levine and Feizi 2020, randomized
    ablation, Theorem 1). The radius is the largest such r: no change of so many pixels, in all of
    their channels, matters; where there is none, one abstains. Delta is rounded up.

    A draw gives each pixel 63 random bits and keeps the smallest. It is one of the exact law but
    for a chance of d 2^-63 (that the two at the border are equal).

    Parameters
    ----------
    keep : int
        Pixels that are left, 1 to ``pixels``.
    pixels : int
        Pixels d of an input: all of its numbers, or where it has ``pixels`` times as many as its
        first dimension, those without that dimension of channels.
    null : float
        What hides a pixel, in all of its channels. No pixel of an input may have it in all
        (`rsbounds.noises.with_complement`).

    Raises
    ------
    ValueError
        Numbers out of range; while sampling, inputs of another size or with a pixel that looks
        ablated.

    See Also
    --------
    rsbounds.noises.BlockAblation : Changes in one place, without an error probability.

    References
    ----------
    .. [1] A. Levine and S. Feizi, "Robustness certificates for sparse adversarial attacks by
       randomized ablation", AAAI 2020.

    Examples
    --------
    >>> import rsbounds
    >>> from rsbounds.noises import Ablation
    >>> law = Ablation(keep=45, pixels=784)
    >>> law.radius([0.5, 0.9]), law.norm
    (array([ 4., 10.]), 'l0')
    >>> float(law.roc(1, 0.2)) >= 0.2 + 45 / 784
    True
    """

    keep: int
    pixels: int
    null: float = 0.0

    name: ClassVar[str] = "ablation"
    norm: ClassVar[str] = "l0"
    variants: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {"keep": 3, "pixels": 40, "null": -1.0},
        {"keep": 1, "pixels": 9, "null": 0.5},
    )

    def __post_init__(self) -> None:
        _validate.integer("pixels", self.pixels, low=1, high=1 << 30)
        _validate.integer("keep", self.keep, low=1, high=self.pixels)
        self._check_null()

    @property
    def event_shape(self) -> tuple[int, ...]:
        return (self.pixels,)

    @property
    def base(self) -> str:
        return "bits"

    def base_size(self, shape: tuple[int, ...]) -> int:
        return _WORDS * self.pixels

    @cached_property
    def _shares(self) -> NDArray[np.float64]:
        d, k = self.pixels, self.keep
        missed = np.arange(d - k, dtype=np.float64)
        none = np.concatenate([[1.0], np.cumprod((d - k - missed) / (d - missed)), [0.0]])
        # Two roundings for each factor, of 2^-53 at most.
        slack = (np.arange(len(none)) + 1.0) * 2.0**-51
        shares = np.nextafter(1.0 - none * np.maximum(1.0 - slack, 0.0), 2.0)
        shares[0] = 0.0
        return np.minimum(np.maximum.accumulate(shares), 1.0)

    def _channels(self, x: Any) -> int:
        shape = tuple(x.shape)
        if math.prod(shape) == self.pixels:
            return 1
        if math.prod(shape[1:]) != self.pixels:
            raise ValueError(
                f"inputs have shape {shape}; allowed with noise {self}: {self.pixels} pixels, or "
                "so many behind a first dimension of channels"
            )
        return int(shape[0])

    def perturb(self, x: Any, base: Any) -> Any:
        self.check_input(x)
        words = base.reshape(len(base), _WORDS * self.pixels)
        order = (words[:, : self.pixels] << 31) ^ (words[:, self.pixels :] >> 1)
        return self._shown(x, _smallest(order, self.keep))


def _smallest(order: Any, keep: int) -> Any:
    """(m, d) True where one of the ``keep`` smallest of (m, d) numbers is."""
    if hasattr(order, "topk"):
        chosen = order.topk(keep, dim=1, largest=False).indices
        return (order < 0).scatter(1, chosen, True)
    kept = np.zeros(order.shape, dtype=bool)
    np.put_along_axis(kept, np.argpartition(order, keep - 1, axis=1)[:, :keep], True, axis=1)
    return kept
