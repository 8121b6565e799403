"""The contract of a certified region.

Contract
--------
A region is a batch of B sets of perturbations, {delta : gauge(delta) < radius}, where the gauge
is a norm that the region describes; d is the number of coordinates of an input. ``contains``
says True only where the strict inequality is proven in floating point, and a set of radius 0 is
empty. Volumes and semi-axes are descriptions, to about 1e-12; radii of what lies inside are
rounded down, of what lies around rounded up.

What a region is made of are arrays with the region first (``_ARRAYS``; (1, ...) where all share
one) and words (``_WORDS``), which the constructor takes by name. ``_unit_support_up`` and
``_shape`` are what proofs of disjointness rest on (`rsbounds.regions.disjoint`): the first is
part of the proof, the second only says where to look for one.
"""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

EPS = float(np.finfo(np.float64).eps)
#: Log of the smallest and largest numbers that `exp_down` returns as such.
_LOG_RANGE = (-700.0, 709.0)

Self = TypeVar("Self", bound="Region")


@dataclass(frozen=True, eq=False)
class Shape:
    """Ellipsoids {delta : delta^T A^-1 delta < 1} around the sets at radius 1.

    A = diag(axes^2) + factors core factors^T. They are the sets themselves where the gauge is a
    scaled l2 norm. Where there are no factors, ``axes`` are the semi-axes of the sets, of any
    norm (those of the ball around an l_inf ball).

    Attributes
    ----------
    axes : (B, d) or (1, d) float64
    factors : (B, d, k) or (1, d, k) float64, or None
    core : (B, k, k) or (1, k, k) float64, or None
    """

    axes: NDArray[np.float64]
    factors: NDArray[np.float64] | None = None
    core: NDArray[np.float64] | None = None

    def one(self, row: int) -> tuple[NDArray[np.float64], ...]:
        """Squared axes, factors and core of a row; no factors are (d, 0)."""
        axes = self.axes[min(row, len(self.axes) - 1)]
        if self.factors is None or self.core is None:
            return axes**2, np.zeros((len(axes), 0)), np.zeros((0, 0))
        return (
            axes**2,
            self.factors[min(row, len(self.factors) - 1)],
            self.core[min(row, len(self.core) - 1)],
        )


class Region(abc.ABC):
    """Base of the regions; see the module's text for the contract.

    Attributes
    ----------
    radius : (B,) float64
        Radii in the region's own gauge.
    dimension : int or None
        d; None where the region does not know it.
    """

    #: Norm whose balls are inscribed ("l1", "l2", "linf").
    norm: str
    radius: NDArray[np.float64]
    dimension: int | None
    #: Names of the arrays and of the words that a region is made of.
    _ARRAYS: ClassVar[tuple[str, ...]]
    _WORDS: ClassVar[tuple[str, ...]] = ()

    def __len__(self) -> int:
        return len(self.radius)

    def __getitem__(self: Self, rows: Any) -> Self:
        """Some of the regions: an index, a slice, indices or a mask."""
        if isinstance(rows, (int, np.integer)):
            rows = slice(rows, rows + 1) if rows != -1 else slice(rows, None)
        return self.of_arrays(
            {
                name: value[rows] if name == "radius" or len(value) > 1 else value
                for name, value in self.arrays().items()
            }
        )

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """What the regions are made of: (B, ...) arrays, (1, ...) where all share one."""
        found = {name: getattr(self, name) for name in self._ARRAYS}
        return {name: value for name, value in found.items() if value is not None}

    def of_arrays(self: Self, arrays: dict[str, NDArray[np.float64]]) -> Self:
        """Regions of this kind made of other arrays, which are those of regions already."""
        made = object.__new__(type(self))
        for name in (*self._ARRAYS, *self._WORDS, "dimension"):
            if name not in arrays:
                setattr(made, name, getattr(self, name))
        for name, value in arrays.items():
            view = value.view()
            view.flags.writeable = False
            setattr(made, name, view)
        return made

    def with_radius(self: Self, radius: ArrayLike) -> Self:
        """The same sets at other radii, (B,) finite numbers >= 0."""
        values = checked_radius(radius)
        if len(values) != len(self):
            raise ValueError(
                f"radius has {len(values)} numbers; allowed: {len(self)}, one for each"
            )
        return self.of_arrays({**self.arrays(), "radius": values})

    @abc.abstractmethod
    def _gauge_up(self, delta: NDArray[np.float64]) -> NDArray[np.float64]:
        """Gauges of (B, d) finite perturbations, rounded up."""

    @abc.abstractmethod
    def _log_semi_axes(self) -> NDArray[np.float64]:
        """(B, d) logarithms of the semi-axes at radius 1; (1, d) where all are the same."""

    @abc.abstractmethod
    def _log_unit_volume(self, dimension: int) -> float:
        """Log volume of the gauge's unit ball with semi-axes 1."""

    @abc.abstractmethod
    def _unit_support_up(self, w: NDArray[np.float64]) -> NDArray[np.float64]:
        """Largest w . delta over the sets at radius 1, rounded up, for (B, d) directions.

        The largest number of a direction is 1 in size, so that nothing vanishes.
        """

    @abc.abstractmethod
    def _shape(self, dimension: int) -> Shape:
        """Ellipsoids around the sets at radius 1."""

    @abc.abstractmethod
    def _unit_circumscribed_up(self, dimension: int) -> NDArray[np.float64]:
        """(B,) or (1,) l2 radii of balls around the sets at radius 1, rounded up."""

    def _turned(self, dimension: int) -> bool:
        """Whether the axes are not those of the coordinates."""
        return self[:1]._shape(dimension).factors is not None

    def circumscribed_radius(self, dimension: int | None = None) -> NDArray[np.float64]:
        """(B,) l2 radii of balls that the regions lie in, rounded up; inf beyond floats.

        Parameters
        ----------
        dimension : int, optional
            d, where the region does not know it.
        """
        d = self._known() if dimension is None else dimension
        with np.errstate(over="ignore"):
            found = self.radius * self._unit_circumscribed_up(d) * (1.0 + 4.0 * EPS)
        # A product below the normal numbers has lost digits.
        return np.where((self.radius > 0) & (found < 1e-290), 1e-290, found)

    def contains(self, delta: ArrayLike) -> NDArray[np.bool_]:
        """Whether perturbations lie inside, one for each region.

        Parameters
        ----------
        delta : (B, ...) float array_like
            Perturbations; (...) serves every region where the batch has more than one.

        Returns
        -------
        (B,) bool ndarray
            True only where it is proven.

        Raises
        ------
        ValueError
            A NaN, or another number of perturbations or coordinates.

        Examples
        --------
        >>> from rsbounds.regions import Ball
        >>> Ball([1.0, 0.0], norm="l2").contains([[0.6, 0.7], [0.0, 0.0]])
        array([ True, False])
        """
        given = np.asarray(delta, dtype=np.float64)
        if np.isnan(given).any():
            raise ValueError("delta holds a NaN; allowed: numbers")
        if given.ndim < 2 or given.shape[0] != len(self):
            raise ValueError(
                f"delta has shape {given.shape}; allowed: ({len(self)}, ...), one for each region"
            )
        flat = given.reshape(len(self), -1)
        if self.dimension is not None and flat.shape[1] != self.dimension:
            raise ValueError(f"delta has {flat.shape[1]} coordinates; allowed: {self.dimension}")
        finite = np.asarray(np.isfinite(flat).all(axis=1))
        with np.errstate(over="ignore"):
            gauge = self._gauge_up(np.where(finite[:, None], flat, 0.0))
        return np.asarray(finite & (gauge < self.radius))

    def semi_axes(self) -> NDArray[np.float64]:
        """(B, d) half-lengths of the principal axes (at the vertices of a cross-polytope)."""
        self._known()
        return np.asarray(np.exp(self._log_semi_axes()) * self.radius[:, None])

    def log_volume(self) -> NDArray[np.float64]:
        """(B,) natural logarithms of the volumes; -inf where the radius is 0."""
        d = self._known()
        with np.errstate(divide="ignore"):
            size = d * np.log(self.radius)
        return np.asarray(self._log_unit_volume(d) + self._log_semi_axes().sum(axis=1) + size)

    def proxy_radius(self) -> NDArray[np.float64]:
        """(B,) radius times the geometric mean of the axes, rounded down (Eiras et al. 2022).

        The ball of that radius in ``norm`` has the region's volume; it is not inside it.
        """
        d = self._known()
        log_axes = self._log_semi_axes()
        error = 4.0 * EPS * (8.0 + np.abs(log_axes).max(axis=1) * max(1, d).bit_length())
        return self._times_down(log_axes.mean(axis=1) - error)

    def inscribed_radius(self) -> NDArray[np.float64]:
        """(B,) radius of the largest ball in ``norm`` inside the region, rounded down."""
        self._known()
        log_axes = self._log_semi_axes()
        error = 4.0 * EPS * (8.0 + np.abs(log_axes).max(axis=1))
        return self._times_down(log_axes.min(axis=1) - error)

    def _times_down(self, log_factor: NDArray[np.float64]) -> NDArray[np.float64]:
        with np.errstate(over="ignore", under="ignore"):
            found = self.radius * np.exp(np.clip(log_factor, *_LOG_RANGE)) * (1.0 - 4.0 * EPS)
        largest = float(np.finfo(np.float64).max)
        kept = (log_factor > _LOG_RANGE[0]) & (found >= 1e-290)
        return np.where(kept, np.minimum(found, largest), 0.0)

    def _known(self) -> int:
        if self.dimension is None:
            raise ValueError("dimension is None; allowed: the number of coordinates of an input")
        return self.dimension


def checked_radius(radius: ArrayLike) -> NDArray[np.float64]:
    """(B,) read-only finite numbers >= 0."""
    values = np.array(np.atleast_1d(np.asarray(radius, dtype=np.float64)))
    if values.ndim != 1 or not ((values >= 0) & np.isfinite(values)).all():
        raise ValueError(f"radius is {radius!r}; allowed: finite numbers >= 0, one per region")
    values.flags.writeable = False
    return values


def checked_axes(axes: ArrayLike, regions: int) -> NDArray[np.float64]:
    """(B, d) or (1, d) read-only finite numbers > 0."""
    values = np.array(np.asarray(axes, dtype=np.float64))
    if values.ndim == 1:
        values = values[None]
    if values.ndim != 2 or values.shape[0] not in (1, regions) or values.shape[1] == 0:
        raise ValueError(
            f"axes have shape {np.shape(axes)}; allowed: (d,), or ({regions}, d) for each region"
        )
    if not ((values >= 1e-150) & (values <= 1e150)).all():
        raise ValueError("axes hold a number outside [1e-150, 1e150]; allowed: numbers in it")
    values.flags.writeable = False
    return values


def norm_up(values: NDArray[np.float64], norm: str) -> NDArray[np.float64]:
    """(B,) norms of (B, d) numbers, rounded up."""
    size = np.abs(values)
    largest = size.max(axis=1)
    slack = 1.0 + EPS * (values.shape[1] + 16)
    if norm == "linf":
        return np.asarray(largest)
    if norm == "l1":
        return np.asarray(size.sum(axis=1) * slack)
    # Divided by the largest, so that squares neither vanish nor overflow.
    unit = np.where((largest > 0) & np.isfinite(largest), largest, 1.0)
    # What is left out below the smallest normal number is under EPS of the largest.
    total = np.sqrt(((size / unit[:, None]) ** 2).sum(axis=1))
    return np.where(largest > 0, np.maximum(total * unit * slack, np.nextafter(largest, np.inf)), 0)


def norm_down(values: NDArray[np.float64], norm: str) -> NDArray[np.float64]:
    """(B,) norms of (B, d) numbers, rounded down; 0 below 1e-290."""
    found = norm_up(values, norm) * (1.0 - EPS * (4 * values.shape[1] + 64))
    return np.where(np.isfinite(found) & (found > 1e-290), np.maximum(found, 0.0), 0.0)
