"""Gaussian noise with a diagonal and a few directions: a full matrix for large inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsbounds._types import MarginBound
from rsbounds.noises._linear import LinearGaussian
from rsbounds.noises._parameters import finite_array, positive_array, scale_factor
from rsbounds.regions import LowRankEllipsoid, Region
from rsbounds.regions.low_rank import solver

#: Too many numbers to be spelled on a command line.
Factors: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LowRankGaussian(LinearGaussian):
    """Noise C z, C = diag(diagonal) + factors diag(weights) factors^T; O(d r), never formed.

    In the coordinates C^-1 delta the noise is N(0, I), so that the smoothed classifier's answer
    does not change while ||C^-1 delta||_2 < 1/2 (Phi^-1(p_A) - Phi^-1(p_B)), as with
    `FullGaussian`. Draws are made with the float64 parameters that the region is made of, for
    models of float32 too. Not covered, as for every law, is the rounding of C z and of x + C z
    itself (`rsbounds.sampling`).

    Parameters
    ----------
    diagonal : (...) or (B, ...) float array_like
        Numbers in [1e-70, 1e70], in the input's shape of d coordinates and raw units.
    factors : (d, r) or (B, d, r) float array_like
        Numbers in [-1e70, 1e70] over the flattened input; three dimensions: one set of
        parameters for each of B inputs.
    weights : (r,) or (B, r) float array_like, optional
        Numbers of either sign in [-1e70, 1e70]: above 0, C grows along a factor, below, it
        shrinks. 1 by default. For orthonormal V and an axis t for all other directions,
        diagonal t, factors V and weights s - t give the columns of V the axes s.

    Raises
    ------
    ValueError
        Numbers outside their range, shapes that do not fit, or weights below 0 with which C is
        not proven, in floating point, to be at least 1e-8 diag(diagonal).

    See Also
    --------
    rsbounds.noises.FullGaussian : Any symmetric positive definite matrix.

    Examples
    --------
    >>> import rsbounds
    >>> from rsbounds.noises import LowRankGaussian
    >>> law = LowRankGaussian(diagonal=[0.8, 0.8], factors=[[0.0], [1.0]], weights=[-0.6])
    >>> certificates = rsbounds.certify([990, 8, 2], 0, noise=law)
    >>> region = law.region(certificates.margin_lower)
    >>> region.semi_axes().round(3), region.proxy_radius().round(3)
    (array([[0.404, 1.617]]), array([0.808]))
    """

    diagonal: Factors
    factors: Factors
    weights: Factors = None  # type: ignore[assignment]

    _matrices = "factors"

    name: ClassVar[str] = "low-rank-gaussian"
    variants: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {"diagonal": ((0.2, 0.8), (0.5, 0.5)), "factors": ((0.5,), (0.0,), (-0.5,), (1.0,))},
        {
            "diagonal": ((0.2, 0.8), (0.5, 2.0)),
            "factors": (((0.5, 0.0), (0.1, 0.3)), ((0.0, 1.0), (0.2, 0.0))),
            "weights": ((1.0, -0.5), (-1.0, 2.0)),
        },
    )

    def __post_init__(self) -> None:
        factors = finite_array("factors", self.factors, (2, 3))
        diagonal = positive_array("diagonal", self.diagonal)
        batched = factors.ndim - 2
        d = int(np.prod(diagonal.shape[batched:]))
        if diagonal.ndim < 1 + batched or factors.shape[:-1] != (*diagonal.shape[:batched], d):
            raise ValueError(
                f"factors have shape {factors.shape} beside a diagonal of shape {diagonal.shape}; "
                "allowed: (d, r) for d numbers, or (B, d, r) for B times d"
            )
        weights = np.ones(factors.shape[-1])
        if self.weights is not None:
            weights = finite_array("weights", self.weights, (1, 2)[: 1 + batched])
        one = factors.shape[:-2] + factors.shape[-1:]
        if weights.shape not in (one, one[-1:]):
            raise ValueError(
                f"weights have shape {weights.shape} beside factors of shape {factors.shape}; "
                f"allowed: {one[-1:]}, one for each column{', or ' + str(one) if batched else ''}"
            )
        weights = np.array(np.broadcast_to(weights, one))
        weights.flags.writeable = False
        object.__setattr__(self, "factors", factors)
        object.__setattr__(self, "diagonal", diagonal)
        object.__setattr__(self, "weights", weights)
        # The region's own limits, and the proof that the matrix is positive definite.
        _ = self._unit

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return self.factors.shape[:-2]

    @property
    def event_shape(self) -> tuple[int, ...]:
        return self.diagonal.shape[self.factors.ndim - 2 :]

    def _rows(self, rows: Any) -> LowRankGaussian:
        part = super()._rows(rows)
        if "_unit" in self.__dict__:
            part.__dict__["_unit"] = self._unit[rows]
        return part

    def scaled(self, factor: ArrayLike) -> LowRankGaussian:
        times = scale_factor(factor, self.batch_shape)
        wide = times.reshape(times.shape + (1,) * len(self.event_shape))
        many = np.broadcast_to(self.factors, times.shape + self.factors.shape[-2:])
        return LowRankGaussian(
            wide * self.diagonal,
            self.factors if self.batch_shape else many,
            times[..., None] * self.weights,
        )

    def _plain_values(self) -> dict[str, Any]:
        # Weights of 1 are left out, as runs have kept the law that had none.
        values = super()._plain_values()
        return {k: v for k, v in values.items() if k != "weights" or (self.weights != 1).any()}

    def _parameters(self) -> dict[str, NDArray[np.float64]]:
        return {
            "diagonal": self.diagonal.reshape(*self.batch_shape, -1), "factors": self.factors,
            "weights": self.weights,
        }  # fmt: skip

    def _product(self, z: NDArray[Any], **parameters: NDArray[np.float64]) -> NDArray[np.float64]:
        from rsbounds.noises import _products

        diagonal = parameters["diagonal"].reshape(-1)
        return _products.low_rank(z, diagonal, parameters["factors"], parameters["weights"])

    def _tensor_product(self, z: Any, **parameters: Any) -> Any:
        factors, diagonal = parameters["factors"], parameters["diagonal"]
        lead = diagonal.shape[: diagonal.ndim - len(self.event_shape)]
        inner = (z @ factors) * parameters["weights"][..., None, :]
        return diagonal.reshape(*lead, 1, -1) * z + inner @ factors.swapaxes(-1, -2)

    @cached_property
    def _unit(self) -> LowRankEllipsoid:
        """The regions at radius 0."""
        return LowRankEllipsoid(np.zeros(self.batch_shape or 1), **self._parameters())

    def region(self, bound: MarginBound | ArrayLike) -> Region:
        return self._unit.of_arrays({**self._unit.arrays(), "radius": self._radii(bound)})

    def log_density(self, delta: Any) -> Any:
        points = np.asarray(delta, dtype=np.float64)
        solved = solver(self.diagonal.reshape(-1), self.factors, self.weights)
        return -0.5 * (solved(points) ** 2).sum(axis=-1)
