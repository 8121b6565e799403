"""What enumeration finds, and the bounds that it is about."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rsbounds import _validate
from rsbounds.bounds.mean._samples import Side
from rsbounds.testing._trials import Refuted

#: Offending outcomes that a message shows.
_SHOWN = 6


@dataclass(frozen=True, eq=False)
class Coverage:
    """Exact error probabilities of a bound, and what offends where they are largest.

    Attributes
    ----------
    points : (P,) or (P, K) float64
        Chances, or class probabilities.
    errors : (P,) float64
        Probability at each that the bound is wrong.
    truth : (P,) float64
        What the bound is about, at each point.
    offending : (O,) or (O, K) int64
        Possible counts, or rows of counts, whose bound is wrong at the worst point, the
        likeliest first; for a sequence (O, 2), times and counts of successes at which the
        truth is left first.
    lower, upper : (O,) float64
        Their bounds; -inf and inf on a side that was not asked for.
    probability : (O,) float64
        Their probabilities at the worst point; ``errors`` has their sum.
    columns : tuple of str
        What the columns of ``offending`` are.
    """

    points: NDArray[np.float64]
    errors: NDArray[np.float64]
    truth: NDArray[np.float64]
    offending: NDArray[np.int64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    probability: NDArray[np.float64]
    columns: tuple[str, ...]

    @classmethod
    def build(
        cls,
        points: NDArray[np.float64],
        errors: NDArray[np.float64],
        truth: NDArray[np.float64],
        columns: tuple[str, ...] | None,
        offending: NDArray[np.int64],
        lower: NDArray[np.float64],
        upper: NDArray[np.float64],
        probability: NDArray[np.float64],
    ) -> Coverage:
        """With the possible outcomes in order; without ``columns`` these are classes."""
        order = np.argsort(-probability, kind="stable")[: int((probability > 0.0).sum())]
        names = columns or tuple(f"class {i}" for i in range(offending.shape[1]))
        return cls(
            points, errors, truth, offending[order], lower[order], upper[order],
            probability[order], names,
        )  # fmt: skip

    @property
    def worst(self) -> int:
        """Index of the point with the largest error probability."""
        return int(np.argmax(self.errors))

    @property
    def worst_error(self) -> float:
        """The largest error probability."""
        return float(self.errors[self.worst])

    @property
    def worst_p(self) -> Any:
        """The point at which it is: a number, or (K,) class probabilities."""
        point = self.points[self.worst]
        return point if np.ndim(point) else float(point)

    def __str__(self) -> str:
        true = self.truth[self.worst]
        lines = [
            f"error probability at most {self.worst_error:.6g} over {len(self.errors)} points, "
            f"the worst p = {_shown(self.worst_p)}"
        ]
        if self.probability.size:
            lines.append(f"  the truth there is {true:.13g}; wrong on {len(self.probability)}:")
        for row, low, high, chance in zip(
            self.offending[:_SHOWN].reshape(-1, len(self.columns)).tolist(),
            self.lower.tolist(), self.upper.tolist(), self.probability.tolist(), strict=False,
        ):  # fmt: skip
            ends = [f"lower {low:.13g}"] * (low > -np.inf) + [f"upper {high:.13g}"] * (
                high < np.inf
            )
            what = ", ".join(f"{name} {v}" for name, v in zip(self.columns, row, strict=True))
            lines.append(f"    {what}: {', '.join(ends)} (probability {chance:.4g})")
        if self.probability.size > _SHOWN:
            lines.append(f"    and {self.probability.size - _SHOWN} less likely ones")
        return "\n".join(lines)

    def assert_at_most(self, alpha: float) -> None:
        """Fail where an error probability is above alpha.

        Parameters
        ----------
        alpha : float
            Error probability that is claimed; 1e-9 of it is left to rounding.

        Raises
        ------
        AssertionError
            The bound errs more often. The message has the worst point and the outcomes that
            offend there.
        ValueError
            alpha out of range.
        """
        __tracebackhide__ = True
        level = _validate.alpha(alpha)
        # Written so that NaN fails.
        if not self.worst_error <= level * (1.0 + 1e-9):
            above = int((~(self.errors <= level * (1.0 + 1e-9))).sum())
            raise Refuted(
                f"the bound errs with probability {self.worst_error:.6g} at p = "
                f"{_shown(self.worst_p)}, claimed at most {level:g} (above it at {above} of "
                f"{len(self.errors)} points)\n{self}"
            )


Coverage.__module__ = "rsbounds.testing"


def _shown(p: Any) -> str:
    return f"{p:.13g}" if np.ndim(p) == 0 else "[" + ", ".join(f"{v:.6g}" for v in p) + "]"


def outside(
    lower: NDArray[np.float64], upper: NDArray[np.float64], truth: Any
) -> NDArray[np.bool_]:
    """Whether bounds exclude the truth, beyond the rounding of the truth itself."""
    true = np.asarray(truth, dtype=np.float64)
    finite = np.isfinite(true)
    slack = np.where(finite, 1e-12 * np.maximum(np.abs(np.where(finite, true, 0.0)), 1e-3), 0.0)
    return np.asarray((lower > true + slack) | (upper < true - slack))


def bounds_of(
    bound: Callable[[NDArray[np.int64]], Any], counts: NDArray[np.int64], side: Side
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(C,) lower and upper bounds of every outcome, checked."""
    __tracebackhide__ = True
    try:
        given = bound(counts.copy())
    except Exception as error:
        raise ValueError(
            f"bound raised {type(error).__name__}: {error}; allowed: a function that takes all "
            f"{len(counts)} outcomes at once, an array of shape {counts.shape} (numpy.vectorize "
            "makes one of a function of a single count)"
        ) from error
    pair = split_sides(given, side, "bound")
    for values in pair:
        if values.shape != (len(counts),):
            raise ValueError(
                f"bound gave shape {values.shape} for {len(counts)} outcomes; allowed: "
                f"({len(counts)},), one for each"
            )
        if np.isnan(values).any():
            row = counts[int(np.argmax(np.isnan(values)))]
            raise ValueError(f"bound is NaN at the outcome {row.tolist()}; allowed: numbers")
    return pair


def split_sides(
    given: Any, side: Side, name: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lower and upper bounds from what was given for a side; infinite where there is none."""
    if side == "both":
        if not isinstance(given, (tuple, list)) or len(given) != 2:
            raise ValueError(f"{name} gave {given!r}; allowed with side 'both': (lower, upper)")
        low, high = (_validate.real_array(name, v) for v in given)
        if low.shape != high.shape:
            raise ValueError(
                f"{name} gave shapes {low.shape} and {high.shape}; allowed: one shape for both"
            )
        return low, high
    values = _validate.real_array(name, given)
    if side == "lower":
        return values, np.full(values.shape, np.inf)
    return np.full(values.shape, -np.inf), values
