"""The contract of a noise law: the only seam between statistics and geometry.

Contract
--------
A law adds independent noise to an input in its raw units. ``scale`` names the scale on which
a lower bound L > 0 on the margin of a fixed class turns into a radius: for every input whose
margin on that scale is at least L, the smoothed classifier answers that class at every point
closer than ``radius(L)`` in the norm ``norm``. ``radius`` is rounded down.
"""

from __future__ import annotations

import abc
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsbounds._registry import Registry
from rsbounds._types import Scale

NOISES: Registry[type[Noise]] = Registry("noise", "rsbounds.noises")

_EPS = float(np.finfo(np.float64).eps)


class Noise(abc.ABC):
    """Base of the noise laws; see the module's text for the contract."""

    #: Registered name.
    name: ClassVar[str]
    #: Scale of the margin.
    scale: ClassVar[Scale]
    #: Norm of the radius ("l1", "l2").
    norm: ClassVar[str]

    @property
    @abc.abstractmethod
    def radius_per_margin(self) -> float:
        """Radius for a margin of one."""

    @abc.abstractmethod
    def sample(self, rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        """Independent noise of that shape and floating-point type."""

    def radius(self, margin: ArrayLike) -> NDArray[np.float64]:
        """Certified radius for lower bounds on the margin; 0 where the margin is not above 0.

        Parameters
        ----------
        margin : (B,) float array_like
            Lower bounds on the margin, on ``scale``.

        Returns
        -------
        (B,) ndarray
            Radii in units of the raw input, rounded down.

        Raises
        ------
        ValueError
            A margin is NaN.
        """
        values = np.asarray(margin, dtype=np.float64)
        if np.isnan(values).any():
            raise ValueError("margin is NaN; allowed: numbers")
        positive = np.maximum(values, 0.0)
        return np.asarray(positive * (self.radius_per_margin * (1.0 - 4.0 * _EPS)))
