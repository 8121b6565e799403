"""Noise that flips bits, certified against additions and deletions of ones."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsbounds import _validate
from rsbounds.noises._base import Noise
from rsbounds.noises._curve import probabilities
from rsbounds.noises._parameters import namespace

#: Radii end here, in flips.
MAX_FLIPS = 1024
#: Probabilities are multiples of 2^-32: a flip is decided by one word of random bits.
_WORDS = 1 << 32
_EPS = float(np.finfo(np.float64).eps)
#: Left of 1 where sums of two probabilities are held against it.
_ERROR = 1e-14


@dataclass(frozen=True, eq=False)
class BitFlips(Noise):
    """Every 0 becomes 1 with probability p_add, every 1 becomes 0 with p_delete; radius in flips.

    For inputs of zeros and ones: edges of a graph, words of a text. Between an input and one that
    has a ones more and d fewer, outcomes of equal likelihood ratio are those with equally many of
    these a + d bits as in the other input: a sum of two binomial counts on both sides, so that the
    curve of Neyman and Pearson has a + d + 1 pieces (Bojchevski et al. 2020, regions of constant
    likelihood ratio). The radius is the largest whole number r so that the answer stays under any
    r flips or fewer, each an addition or a deletion; `deletions` and `maximal_pairs` tell the two
    apart, which noise with p_add far from p_delete is for. An input whose class is certified for
    itself alone abstains. No larger numbers hold for every classifier.

    The draws are exact: p_add and p_delete are taken for the nearest multiples of 2^-32, which
    is what is drawn and what the curve is made of.

    Parameters
    ----------
    p_add, p_delete : float
        Probabilities, 0 or at least 2^-32, not both 0 and below 1 together.

    Raises
    ------
    ValueError
        Probabilities out of range; while sampling, inputs that hold other numbers than 0 and 1.

    See Also
    --------
    rsbounds.Uniform : The l1 norm, for inputs of any numbers.

    References
    ----------
    .. [1] A. Bojchevski, J. Klicpera and S. Guennemann, "Efficient robustness certificates for
       discrete data: sparsity-aware randomized smoothing for graphs, images and more", ICML 2020.

    Examples
    --------
    >>> import rsbounds
    >>> from rsbounds.noises import BitFlips
    >>> law = BitFlips(p_add=0.01, p_delete=0.6)
    >>> found = rsbounds.certify([9990, 10], 0, noise=law)
    >>> found.radius, found.norm
    (array([3.]), 'l0')
    >>> bound = rsbounds.margin_lower_bound(
    ...     [9990, 10], 0, alpha=0.001, scale="linear", method="runner-up")
    >>> p_a, p_b = bound.details["p_a_lower"][0], bound.details["p_b_upper"][0]
    >>> law.maximal_pairs(p_a, p_b)
    [(0, 10), (1, 9), (3, 3)]
    """

    p_add: float
    p_delete: float

    name: ClassVar[str] = "bit-flips"
    norm: ClassVar[str] = "l0"
    curve_only: ClassVar[bool] = True
    concave: ClassVar[bool] = False
    has_rsample: ClassVar[bool] = False
    variants: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {"p_add": 0.25, "p_delete": 0.25},
        {"p_add": 0.2, "p_delete": 0.4},
    )

    def __post_init__(self) -> None:
        for name in ("p_add", "p_delete"):
            value = _validate.number(
                name, getattr(self, name), "0, or a number from 2^-32 to 1 (1 excluded)",
                lambda v: v == 0 or 2.0**-32 <= v < 1,
            )  # fmt: skip
            object.__setattr__(self, name, value)
        if not 0 < sum(self._limits) < _WORDS:
            raise ValueError(
                f"p_add is {self.p_add!r} and p_delete is {self.p_delete!r}; allowed: not both 0, "
                "and below 1 together"
            )

    @property
    def _limits(self) -> tuple[int, int]:
        """Words below these add a one, or delete one."""
        return round(self.p_add * _WORDS), round(self.p_delete * _WORDS)

    @property
    def base(self) -> str:
        return "bits"

    def perturb(self, x: Any, base: Any) -> Any:
        bad = (x != 0) & (x != 1)
        if bool(bad.any()):
            value = float(x[bad][0])
            raise ValueError(
                f"inputs hold {value!r} with noise {self}; allowed: zeros and ones, which it flips"
            )
        library = namespace(base)
        add, delete = self._limits
        return library.where(base < library.where(x > 0, delete, add), 1 - x, x)

    def curve(self, additions: int, deletions: int, b: ArrayLike) -> NDArray[np.float64]:
        """Largest probability, at an input with so many ones more and fewer, of a set.

        Parameters
        ----------
        additions, deletions : int
            Bits that are 0 at x and 1 there, and bits that are 1 at x and 0 there.
        b : float array_like
            Probabilities of the set at x.

        Returns
        -------
        ndarray
            Probabilities, rounded up by less than 1e-11 of them; 1 beyond 1,024 flips together.
        """
        added = _validate.integer("additions", additions, low=0)
        deleted = _validate.integer("deletions", deletions, low=0)
        p = np.asarray(b, dtype=np.float64)
        if added + deleted == 0:
            return p.copy()
        if added + deleted > MAX_FLIPS:
            return np.ones_like(p)
        here, there = _vertices(*self._limits, added, deleted)
        # Each vertex is within a part of this of the exact one, relatively.
        up = 1.0 + (32 + 16 * (added + deleted)) * _EPS
        return np.asarray(np.minimum(np.interp(np.minimum(p * up, 1.0), here, there) * up, 1.0))

    def roc(self, r: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
        """As in `Noise.roc`: the largest of the curves with r flips, r rounded up.

        It is not concave where p_add is not p_delete, and a radius takes less than it: every
        curve on its own has to keep the class.
        """
        flips, p = np.broadcast_arrays(np.ceil(r), np.asarray(b, dtype=np.float64))
        found = np.empty(p.shape)
        for count in np.unique(flips):
            at = flips == count
            found[at] = 1.0
            if count <= MAX_FLIPS:
                found[at] = np.max(
                    [self.curve(*pair, p[at]) for pair in self._pairs(int(count))], 0
                )
        return found

    def _pairs(self, flips: int) -> list[tuple[int, int]]:
        """Additions and deletions that so many flips may be, those with a curve of their own."""
        add, delete = self._limits
        return [(flips - d, d) for d in range(1 if add == delete else flips + 1)]

    def _keeps(
        self, pair: tuple[int, int], p_a: NDArray[np.float64], p_b: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        """Whether a class keeps its lead under so many additions and deletions."""
        total = self.curve(*pair, 1.0 - p_a) + self.curve(*pair, p_b)
        return np.asarray(total < 1.0 - _ERROR)

    def _radius_of_pair(
        self, p_a: NDArray[np.float64], p_b: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        low, high = np.ravel(p_a), np.ravel(p_b)
        near, far = np.zeros(low.size, dtype=np.int64), np.ones(low.size, dtype=np.int64)
        grows = np.ones(low.size, dtype=bool)
        # More flips are told from x more easily: what is kept at r flips is kept at fewer.
        while (wanted := grows | (near + 1 < far)).any():
            tried = np.where(grows, far, (near + far) // 2)
            kept = wanted.copy()
            for flips in np.unique(tried[wanted]).tolist():
                for pair in self._pairs(flips):
                    rows = np.flatnonzero(kept & (tried == flips))
                    kept[rows] = self._keeps(pair, low[rows], high[rows])
            near, grows = np.where(kept, tried, near), grows & kept & (tried < MAX_FLIPS)
            far = np.where(wanted & ~kept, tried, np.maximum(far, near + 1))
            far = np.where(grows, np.minimum(2 * near, MAX_FLIPS), far)
        return near.astype(np.float64).reshape(np.shape(p_a))

    def deletions(self, p_a: ArrayLike, p_b: ArrayLike, *, additions: int = 0) -> NDArray[np.int64]:
        """Most deletions that leave the answer, beside so many additions.

        Parameters
        ----------
        p_a, p_b : (B,) float array_like
            Lower bounds on p_A, and upper bounds on every other class.
        additions : int
            Ones that are added besides.

        Returns
        -------
        (B,) int64
            The answer stays under up to so many additions and so many deletions together; -1
            where not even the additions alone leave it.
        """
        low, high = probabilities(p_a, p_b)
        _validate.integer("additions", additions, low=0)
        found = np.full(low.shape, -1, dtype=np.int64)
        kept = np.ones(low.shape, dtype=bool)
        for count in range(MAX_FLIPS + 1 - additions):
            kept[kept] = self._keeps((additions, count), low[kept], high[kept])
            if not kept.any():
                break
            found[kept] = count
        return found

    def maximal_pairs(self, p_a: float, p_b: float) -> list[tuple[int, int]]:
        """Additions and deletions that together leave the answer, and no larger ones do.

        Parameters
        ----------
        p_a, p_b : float
            A lower bound on p_A, and an upper bound on every other class.

        Returns
        -------
        list of (int, int)
            In the order of additions. The answer stays under up to so many additions and
            deletions together, for every pair of the list.
        """
        found: list[tuple[int, int]] = []
        for additions in range(MAX_FLIPS + 1):
            most = int(self.deletions(p_a, p_b, additions=additions))
            if most < 0:
                break
            if found and found[-1][1] == most:
                found.pop()
            found.append((additions, most))
        return found


@functools.lru_cache(maxsize=64)
def _binomials(limit: int, largest: int) -> tuple[NDArray[np.float64], ...]:
    """Probabilities of 0 .. n ones among n bits, n = 0 .. largest, each a one by limit / 2^32.

    Sums of products of numbers above 0: the relative error is below n units of 2^-52.
    """
    p = limit / _WORDS
    rows = [np.ones(1)]
    for _ in range(largest):
        rows.append(np.append(rows[-1] * (1.0 - p), 0.0) + np.append(0.0, rows[-1] * p))
    return tuple(rows)


@functools.lru_cache(maxsize=4096)
def _vertices(
    add: int, delete: int, additions: int, deletions: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of one curve: probabilities at x, ascending from 0 to 1, and at the other input.

    Bits that are as in the other input are there for additions with p_add at x, 1 - p_delete
    there, and for deletions with p_delete and 1 - p_add. The likelihood ratio grows with how many
    they are, for p_add + p_delete < 1.
    """
    size = 1 << (max(additions, deletions) - 1).bit_length()

    def law(first: int, second: int) -> NDArray[np.float64]:
        one, two = _binomials(first, size)[additions], _binomials(second, size)[deletions]
        return np.asarray(np.convolve(one, two))

    here = np.append(0.0, np.cumsum(law(add, delete)[::-1]))
    there = np.append(0.0, np.cumsum(law(_WORDS - delete, _WORDS - add)[::-1]))
    # Of vertices above each other the last, and the highest, is the curve.
    last = np.append(here[1:] > here[:-1], True)
    return here[last], there[last]
