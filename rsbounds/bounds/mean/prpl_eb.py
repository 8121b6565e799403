"""The predictable plug-in empirical Bernstein bound."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rsbounds._kernels import kernel
from rsbounds._numerics import EPS
from rsbounds._types import Guarantee
from rsbounds.bounds.mean._base import MeanMethod
from rsbounds.bounds.mean._moments import took
from rsbounds.bounds.mean._samples import Side, checked_cap
from rsbounds.bounds.mean._sequence import ConfidenceSequence

#: Numbers that a stream has to remember, in the order of the state: samples seen, 1/2 + sum y,
#: 1/4 + sum (y - mu_i)^2, sum lambda, sum lambda y, sum v psi(lambda), running maximum of the
#: bound, bound of all samples so far.
COUNT, TOTAL, SQUARES, SUM_BET, SUM_WON, SUM_PAID, BEST, LAST = range(8)
STATE = 8
_BLOCK = 256


def start_state() -> NDArray[np.float64]:
    """The state before the first sample."""
    return np.array([0.0, 0.5, 0.25, 0.0, 0.0, 0.0, 0.0, 0.0])


@kernel
def advance(
    y: NDArray[np.float64], alpha: float, horizon: int, cap: float, state: NDArray[np.float64]
) -> None:
    """Take samples in [0, 1] into ``state``; horizon 0 stands for the confidence sequence.

    The sums run over the samples one by one in their order, so that the state does not
    depend on how the stream was cut.
    """
    count, total, squares, sum_bet, sum_won, sum_paid, best, last = state
    log_term = math.log(1.0 / alpha) * (1.0 + 4.0 * EPS)
    scale = 2.0 * log_term
    bet = np.empty(_BLOCK)
    paid = np.empty(_BLOCK)
    for start in range(0, y.size, _BLOCK):
        size = min(_BLOCK, y.size - start)
        for i in range(size):
            t = count + 1.0
            x = y[start + i]
            budget = float(horizon) if horizon > 0 else t * math.log1p(t)
            bet[i] = scale * t / (squares * budget)
            # mu_{t-1}, not mu_t: the centre must not have seen y_t.
            gap = x - min(total / t, 1.0)
            paid[i] = gap * gap
            total, squares, _ = took(x, t + 1.0, total, squares, 0.0)
            count = t
        for i in range(size):
            value = min(math.sqrt(bet[i]), cap)
            bet[i] = value
            # -ln(1-v) - v = v^2/(2-v) + 2 (s^3/3 + s^5/5 + ...), s = v/(2-v): positive terms,
            # the last stands for the whole tail, so the sum is never below the logarithm.
            s = value / (2.0 - value)
            s2 = s * s
            series = s2 / (17.0 * (1.0 - s2))
            series = s2 * (1.0 / 15.0 + series)
            series = s2 * (1.0 / 13.0 + series)
            series = s2 * (1.0 / 11.0 + series)
            series = s2 * (1.0 / 9.0 + series)
            series = s2 * (1.0 / 7.0 + series)
            series = s2 * (1.0 / 5.0 + series)
            series = s2 * (1.0 / 3.0 + series)
            # v psi: the factor 4 of v_i and the 1/4 of psi_E cancel.
            paid[i] *= value * value / (2.0 - value) + 2.0 * s * series
        for i in range(size):
            x = y[start + i]
            sum_bet += bet[i]
            sum_won += bet[i] * x
            sum_paid += paid[i]
            # All three sums add positive terms; each is off by less than `error` of itself.
            error = (count - size + i + 32.0) * EPS
            won = sum_won * (1.0 - error) - (log_term + sum_paid) * (1.0 + error)
            divisor = sum_bet * (1.0 + error)
            if won > best * divisor:
                best = min(won / divisor * (1.0 - 4.0 * EPS), 1.0)
        if size > 0:
            last = max(won / divisor * (1.0 - 4.0 * EPS), 0.0)
    state[COUNT], state[TOTAL], state[SQUARES], state[SUM_BET] = count, total, squares, sum_bet
    state[SUM_WON], state[SUM_PAID], state[BEST], state[LAST] = sum_won, sum_paid, best, last


@kernel
def _rows(
    y: NDArray[np.float64],
    alpha: float,
    cap: float,
    running: bool,
    lower: NDArray[np.float64],
) -> None:
    state = np.empty(STATE)
    for i in range(y.shape[0]):
        state[:] = 0.0
        state[TOTAL], state[SQUARES] = 0.5, 0.25
        advance(y[i], alpha, y.shape[1], cap, state)
        lower[i] = state[BEST] if running else state[LAST]


class PrPlEBSequence(ConfidenceSequence):
    """Predictable plug-in empirical Bernstein with its running intersection, O(1) memory.

    With probability at least 1 - alpha the mean is never outside the bounds (Waudby-Smith and
    Ramdas 2023, Theorem 2), with lambda_t = min(sqrt(2 ln(1/alpha)/(V_{t-1} t ln(1+t))), cap)
    for each side.
    """

    name = "prpl-eb"
    guarantee = "proven"
    source = "Waudby-Smith and Ramdas 2023, Theorem 2"
    memory = "eight numbers per side and stream"
    choose = "when memory must not grow with the stream"

    def __init__(
        self, alpha: float, side: Side, support: tuple[float, float], cap: float = 0.5
    ) -> None:
        super().__init__(alpha, side, support)
        self.cap = checked_cap("cap", cap)
        self._states: dict[bool, NDArray[np.float64]] = {}

    def _take(self, y: NDArray[np.float64]) -> None:
        for reflected in (False, True):
            if self.side == ("lower" if reflected else "upper"):
                continue
            if reflected not in self._states:
                self._states[reflected] = np.tile(start_state(), (len(y), 1))
            part = 1.0 - y if reflected else y
            for row, state in zip(part, self._states[reflected], strict=True):
                advance(row, self._share, 0, self.cap, state)

    def _bound(self, reflected: bool) -> NDArray[np.float64]:
        return self._states[reflected][:, BEST].copy()


@dataclass(frozen=True)
class PrPlEB(MeanMethod):
    """Predictable plug-in empirical Bernstein, tuned for a fixed n.

    With probability at least 1 - alpha the mean is at least
    (sum lambda_i X_i - ln(1/alpha) - sum v_i psi_E(lambda_i)) / sum lambda_i, v_i =
    4 (X_i - mu_{i-1})^2, psi_E(l) = (-ln(1-l) - l)/4, at every i up to n at once, so that
    the running maximum is valid too (Waudby-Smith and Ramdas 2023, Theorem 2).
    optimal-certified-radius, Proposition 3, prints it with misprints; this is the theorem.

    Parameters
    ----------
    cap : float
        Largest lambda, in (0, 0.999].
    running : bool
        Take the best bound over all prefixes (the running intersection).
    """

    cap: float = 0.5
    running: bool = True

    name: ClassVar[str] = "prpl-eb"
    sequence: ClassVar[type[ConfidenceSequence]] = PrPlEBSequence
    guarantee: ClassVar[Guarantee] = "proven"
    source: ClassVar[str] = "Waudby-Smith and Ramdas 2023, Theorem 2 and Remark 1"
    cost: ClassVar[str] = "one pass per row, constant memory"
    choose: ClassVar[str] = "when a stream must be bounded in constant memory"
    variants: ClassVar[tuple[Mapping[str, Any], ...]] = ({}, {"running": False})

    def __post_init__(self) -> None:
        object.__setattr__(self, "cap", checked_cap("cap", self.cap))
        if not isinstance(self.running, bool):
            raise ValueError(f"running is {self.running!r}; allowed: True or False")

    def lower(self, y: NDArray[np.float64], alpha: float) -> NDArray[np.float64]:
        lower = np.empty(len(y))
        _rows(y, alpha, self.cap, self.running, lower)
        return lower
