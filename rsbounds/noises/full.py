"""Gaussian noise with a full matrix: an ellipsoid in any direction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsbounds._types import MarginBound
from rsbounds.noises._linear import LinearGaussian
from rsbounds.noises._parameters import encoded, finite_array, input_shape, scale_factor
from rsbounds.regions import Ellipsoid, Region

#: Too many numbers to be spelled on a command line.
Matrix: TypeAlias = NDArray[np.float64]

_EPS = float(np.finfo(np.float64).eps)
#: A matrix may differ from its transpose by rounding in float32.
_ASYMMETRY = 1e-6


@dataclass(frozen=True, eq=False)
class FullGaussian(LinearGaussian):
    """Noise C z, z standard normal, C symmetric positive definite; the region is an ellipsoid.

    In the coordinates C^-1 delta the noise is N(0, I), so that the smoothed classifier's answer
    does not change while ||C^-1 delta||_2 < 1/2 (Phi^-1(p_A) - Phi^-1(p_B)) (RDDRS, with its
    theorem for the covariance C C^T). The axes of the region are the eigenvalues of C, rounded
    down by what their decomposition may be wrong by, so that the region lies inside of what the
    float64 matrix certifies; draws are made with that same matrix, for models of float32 too.
    Not covered, as for every law, is the rounding of C z and of x + C z itself
    (`rsbounds.sampling`).

    Parameters
    ----------
    matrix : (d, d) or (B, d, d) float array_like
        C over the flattened input, in raw units; three dimensions: one for each of B inputs. It is
        not the covariance, which is C C^T. The mean of it and its transpose is taken (and kept),
        where they differ by rounding.
    shape : tuple of int, optional
        The input's shape, of d numbers; (d,) by default.

    Raises
    ------
    ValueError
        A matrix that is not square, finite, symmetric to 1e-6 of its largest number, and
        positive definite with a smallest eigenvalue of at least about 1e3 d eps times its trace
        (below, its axes are rounding errors); a shape of other than d numbers.

    See Also
    --------
    rsbounds.noises.LowRankGaussian : For inputs whose matrix would be too large.
    rsbounds.noises.DiagonalGaussian : Axes along the coordinates.

    Examples
    --------
    >>> import rsbounds
    >>> from rsbounds.noises import FullGaussian
    >>> law = FullGaussian(matrix=[[0.5, 0.3], [0.3, 0.5]])
    >>> certificates = rsbounds.certify([990, 8, 2], 0, noise=law)
    >>> region = law.region(certificates.margin_lower)
    >>> region.semi_axes().round(3), region.inscribed_radius().round(3)
    (array([[0.404, 1.617]]), array([0.404]))
    """

    matrix: Matrix
    shape: tuple[int, ...] | None = None

    _matrices = "matrix"

    name: ClassVar[str] = "full-gaussian"
    variants: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {"matrix": ((0.5, 0.3), (0.3, 0.5))},
        {
            "matrix": (
                ((1.0, 0.1, 0.0, 0.2), (0.1, 0.8, 0.0, 0.0), (0.0, 0.0, 0.3, 0.0),
                 (0.2, 0.0, 0.0, 0.5)),
                ((0.2, 0.0, 0.0, 0.1), (0.0, 0.3, 0.0, 0.0), (0.0, 0.0, 2.0, -0.5),
                 (0.1, 0.0, -0.5, 0.4)),
            ),
            "shape": (2, 2),
        },
    )  # fmt: skip

    def __post_init__(self) -> None:
        given = finite_array("matrix", self.matrix, (2, 3))
        if given.shape[-1] != given.shape[-2]:
            raise ValueError(f"matrix has shape {given.shape}; allowed: (d, d) or (B, d, d)")
        turned = np.swapaxes(given, -1, -2)
        off = float(np.abs(given - turned).max())
        if off > _ASYMMETRY * float(np.abs(given).max()):
            raise ValueError(
                f"matrix differs from its transpose by up to {off:g}; allowed: a symmetric one"
            )
        matrix = np.ascontiguousarray(0.5 * given + 0.5 * turned)
        for i, one in enumerate(matrix.reshape(-1, *matrix.shape[-2:])):
            _check_positive(one, f"matrix[{i}]" if matrix.ndim == 3 else "matrix")
        matrix.flags.writeable = False
        object.__setattr__(self, "matrix", matrix)
        object.__setattr__(self, "shape", input_shape(self.shape, matrix.shape[-1]))

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return self.matrix.shape[:-2]

    @property
    def event_shape(self) -> tuple[int, ...]:
        return self.shape or ()

    def _rows(self, rows: Any) -> FullGaussian:
        part = super()._rows(rows)
        if "_axes" in self.__dict__:
            axes, turns = (values[rows] for values in self._axes)
            one = part.matrix.ndim == 2
            part.__dict__["_axes"] = (axes[None], turns[None]) if one else (axes, turns)
        return part

    def scaled(self, factor: ArrayLike) -> FullGaussian:
        times = scale_factor(factor, self.batch_shape)
        return FullGaussian(times[..., None, None] * self.matrix, self.shape)

    def _plain_values(self) -> dict[str, Any]:
        # Half of the numbers say it all.
        return {**super()._plain_values(), "matrix": encoded(self.matrix, symmetric=True)}

    def _product(self, z: NDArray[Any], **parameters: NDArray[np.float64]) -> NDArray[np.float64]:
        from rsbounds.noises import _products

        return _products.dense(z, parameters["matrix"])

    def _tensor_product(self, z: Any, **parameters: Any) -> Any:
        return z @ parameters["matrix"]

    @cached_property
    def _axes(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(B, d) semi-axes at radius 1, rounded down, and (B, d, d) directions.

        For any V and w, and F = C V - V diag(w), C = M + V^-T F^T with M = V^-T diag(w) V^T, so
        that ||C^-1 delta|| <= ||M^-1 delta|| / (1 - ||M^-1 V^-T F^T||). What V and w lack is taken
        off the axes, and so is what V lacks of a rotation.
        """
        axes, turns = [], []
        for matrix in self.matrix.reshape(-1, *self.matrix.shape[-2:]):
            w, v = np.linalg.eigh(matrix)
            d = len(w)
            rounding = 4.0 * _EPS * (d + 8)
            # Lengths of V are at most 1 + off, those of its inverse too.
            off = float(np.linalg.norm(v.T @ v - np.eye(d))) + rounding * d
            size = float(np.linalg.norm(matrix)) + abs(float(w[-1]))
            rest = float(np.linalg.norm(matrix @ v - v * w)) + rounding * size * np.sqrt(d)
            share = 1.001 * rest * (1.0 + 4.0 * off) / float(w[0])
            if not 0 <= share <= 0.5:
                raise ValueError(
                    f"matrix has the eigenvalue {w[0]:g} beside {w[-1]:g}, which is not told from "
                    "a rounding error; allowed: a smaller ratio"
                )
            axes.append(w * (1.0 - share - 4.0 * off - 8.0 * _EPS))
            turns.append(v)
        return np.array(axes), np.array(turns)

    def region(self, bound: MarginBound | ArrayLike) -> Region:
        radius = self._radii(bound)
        axes, turns = self._axes
        return Ellipsoid(radius, axes=axes, rotation=turns)

    def log_density(self, delta: Any) -> Any:
        scaled = np.linalg.solve(self.matrix, np.asarray(delta, dtype=np.float64)[..., None])
        return -0.5 * (scaled[..., 0] ** 2).sum(axis=-1)


def _check_positive(matrix: NDArray[np.float64], name: str) -> None:
    """Cholesky's factors of what is left after a share of the trace prove a floor."""
    d, trace = len(matrix), float(np.trace(matrix))
    floor = 1e3 * _EPS * (d + 8) * trace
    if trace > 0 and not 1e-130 <= trace <= 1e140:
        raise ValueError(f"{name} has the trace {trace:g}; allowed: 1e-130 to 1e140")
    try:
        np.linalg.cholesky(matrix - floor * np.eye(d))
    except np.linalg.LinAlgError:
        raise ValueError(
            f"{name} (trace {trace:g}) is not positive definite with all eigenvalues above "
            f"{floor:g}; allowed: one that is"
        ) from None
