"""Gaussian noise with a diagonal and a few directions: a full matrix for large inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsbounds._types import MarginBound
from rsbounds.noises._linear import LinearGaussian
from rsbounds.noises._parameters import finite_array, positive_array, scale_factor
from rsbounds.regions import LowRankEllipsoid, Region

#: Too many numbers to be spelled on a command line.
Factors: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LowRankGaussian(LinearGaussian):
    """Noise C z with C = diag(diagonal) + factors factors^T; drawn in O(d r), never formed.

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

    Raises
    ------
    ValueError
        Numbers outside their range, or shapes that do not fit.

    See Also
    --------
    rsbounds.noises.FullGaussian : Any symmetric positive definite matrix.

    Examples
    --------
    >>> import rsbounds
    >>> from rsbounds.noises import LowRankGaussian
    >>> law = LowRankGaussian(diagonal=[0.2, 0.2], factors=[[0.6 ** 0.5], [0.0]])
    >>> certificates = rsbounds.certify([990, 8, 2], 0, noise=law)
    >>> region = law.region(certificates.margin_lower)
    >>> region.semi_axes().round(3), region.proxy_radius().round(3)
    (array([[0.404, 1.617]]), array([0.808]))
    """

    diagonal: Factors
    factors: Factors

    _matrices = "factors"

    name: ClassVar[str] = "low-rank-gaussian"
    variants: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {"diagonal": ((0.2, 0.8), (0.5, 0.5)), "factors": ((0.5,), (0.0,), (-0.5,), (1.0,))},
        {
            "diagonal": ((0.2, 0.8), (0.5, 2.0)),
            "factors": (((0.5, 0.0), (0.1, 0.3)), ((0.0, 1.0), (0.2, 0.0))),
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
        object.__setattr__(self, "factors", factors)
        object.__setattr__(self, "diagonal", diagonal)
        # The region's own limits.
        LowRankEllipsoid(np.zeros(self.batch_shape or 1), **self._parameters())

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return self.factors.shape[:-2]

    @property
    def event_shape(self) -> tuple[int, ...]:
        return self.diagonal.shape[self.factors.ndim - 2 :]

    def scaled(self, factor: ArrayLike) -> LowRankGaussian:
        times = scale_factor(factor, self.batch_shape)
        wide = times.reshape(times.shape + (1,) * len(self.event_shape))
        return LowRankGaussian(wide * self.diagonal, np.sqrt(times)[..., None, None] * self.factors)

    def _parameters(self) -> dict[str, NDArray[np.float64]]:
        return {
            "diagonal": self.diagonal.reshape(*self.batch_shape, -1), "factors": self.factors,
        }  # fmt: skip

    def _product(self, z: NDArray[Any], **parameters: NDArray[np.float64]) -> NDArray[np.float64]:
        from rsbounds.noises import _products

        return _products.low_rank(z, parameters["diagonal"].reshape(-1), parameters["factors"])

    def _tensor_product(self, z: Any, **parameters: Any) -> Any:
        factors = parameters["factors"]
        diagonal = parameters["diagonal"].reshape(*factors.shape[:-2], 1, -1)
        return diagonal * z + (z @ factors) @ factors.swapaxes(-1, -2)

    def region(self, bound: MarginBound | ArrayLike) -> Region:
        return LowRankEllipsoid(self._radii(bound), **self._parameters())

    def log_density(self, delta: Any) -> Any:
        points = np.asarray(delta, dtype=np.float64)
        shares = self.factors / self.diagonal.reshape(-1, 1)
        inner = np.eye(self.factors.shape[1]) + self.factors.T @ shares
        base = points / self.diagonal.reshape(-1)
        scaled = base - (points @ shares) @ np.linalg.solve(inner, shares.T)
        return -0.5 * (scaled**2).sum(axis=-1)
