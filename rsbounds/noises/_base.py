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
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsbounds._registry import Registry
from rsbounds._types import Scale

NOISES: Registry[type[Noise]] = Registry("noise", "rsbounds.noises")

_EPS = float(np.finfo(np.float64).eps)
_LARGEST = float(np.finfo(np.float64).max)
_SMALL = 1e-300


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

    def to_dict(self) -> dict[str, Any]:
        """The law as plain values, lossless; `noise_from_dict` builds it again.

        A law is a frozen dataclass; its fields are its parameters. A law with parameters that
        JSON cannot carry overrides this and takes their plain form as arguments.

        Examples
        --------
        >>> import rsbounds
        >>> rsbounds.Gaussian(sigma=0.1).to_dict()
        {'name': 'gaussian', 'sigma': 0.1}
        """
        values: dict[str, Any] = {"name": self.name}
        for field in fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            values[field.name] = value.to_dict() if isinstance(value, Noise) else value
        return values

    def radius(self, margin: ArrayLike) -> NDArray[np.float64]:
        """Certified radius for lower bounds on the margin; 0 where the margin is not above 0.

        Parameters
        ----------
        margin : (B,) float array_like
            Lower bounds on the margin, on ``scale``.

        Returns
        -------
        (B,) ndarray
            Finite radii in units of the raw input, rounded down (to 0 below 1e-300).

        Raises
        ------
        ValueError
            A margin is NaN.
        """
        values = np.asarray(margin, dtype=np.float64)
        if np.isnan(values).any():
            raise ValueError("margin is NaN; allowed: numbers")
        positive = np.clip(values, 0.0, _LARGEST)
        # Never infinite; and below _SMALL, where roundings are no longer relative, nothing.
        each = min(self.radius_per_margin, _LARGEST)
        with np.errstate(over="ignore", under="ignore"):
            product = positive * (each * (1.0 - 4.0 * _EPS) if each >= _SMALL else 0.0)
        return np.asarray(np.where(product < _SMALL, 0.0, np.minimum(product, _LARGEST)))


def noise_from_dict(values: Mapping[str, Any]) -> Noise:
    """The law that `Noise.to_dict` wrote down.

    Parameters
    ----------
    values : mapping
        The registered ``name`` of a law and its parameters.

    Raises
    ------
    ValueError
        No name, an unknown law, or parameters that are missing, unknown or bad.

    Examples
    --------
    >>> from rsbounds.noises import noise_from_dict
    >>> noise_from_dict({"name": "gaussian", "sigma": 0.1})
    Gaussian(sigma=0.1)
    """
    if not isinstance(values, Mapping) or "name" not in values:
        raise ValueError(f"noise is {values!r}; allowed: a mapping with the name of a law")
    given = {
        key: noise_from_dict(value) if isinstance(value, Mapping) and "name" in value else value
        for key, value in values.items()
        if key != "name"
    }
    try:
        return NOISES[values["name"]](**given)
    except TypeError as error:
        raise ValueError(
            f"noise is {dict(values)!r}; allowed: the parameters of that law ({error})"
        ) from None
