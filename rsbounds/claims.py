"""What is certified: a statement about the smoothed classifier at each input.

Contract
--------
A claim holds one statement per row, fixed before the estimation counts are seen, and the
selection counts where it was chosen from those. ``claim[start:stop]`` is the claim about those
rows. Margin methods say in ``claims`` which kinds they can prove.
"""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsbounds import _validate
from rsbounds._types import Selection


class Claim(abc.ABC):
    """Base of the claims; see the module's text for the contract."""

    #: (B,) class that each row's statement is about.
    classes: NDArray[np.int64]
    #: (B, K) selection counts that the claim was chosen from, or None where it was given.
    selection: NDArray[Any] | None

    def check_table(self, rows: int, classes: int) -> None:
        """Raise ValueError where the claim cannot be about a table of that shape."""
        if len(self) != rows:
            raise ValueError(f"top is a claim about {len(self)} rows; allowed: {rows}")

    @abc.abstractmethod
    def __len__(self) -> int:
        """Rows that the claim is about."""

    @abc.abstractmethod
    def __getitem__(self, rows: slice) -> Claim:
        """The claim about some of the rows."""


@dataclass(frozen=True, eq=False)
class Top(Claim):
    """The smoothed classifier's answer at input i is the class ``classes[i]``.

    Parameters
    ----------
    classes : (B,) int64
        A class for each row.
    selection : (B, K) array, optional
        Selection counts that they were chosen from.

    Examples
    --------
    >>> import numpy as np
    >>> from rsbounds.claims import Top
    >>> len(Top(np.array([3, 1, 1]))[1:])
    2
    """

    classes: NDArray[np.int64]
    selection: NDArray[Any] | None = None

    def __len__(self) -> int:
        return len(self.classes)

    def __getitem__(self, rows: slice) -> Top:
        chosen = None if self.selection is None else self.selection[rows]
        return Top(self.classes[rows], chosen)


@dataclass(frozen=True, eq=False)
class TopK(Claim):
    """At input i, fewer than k classes are at least as probable as the class ``classes[i]``.

    The margin of that claim is the largest m at which it holds for all shifts of m/2: with t
    classes T of the k most probable others, A is above the least of T where t P(A) > P(T), and a
    shift takes P(A) to g^-1(g(P(A)) - m/2) and P(T) to g^-1(g(P(T)) + m/2) at worst (g: the
    scale). So it is the best over t of the largest m for P(T) the sum of the t smallest of the k
    largest probabilities of other classes (Jia et al. 2020, Theorem 1); for k = 1 it is
    g(p_A) - g(p_c), which `Top` claims.

    Parameters
    ----------
    classes : (B,) int64
        A class for each row.
    k : int
        2 <= k < K.
    selection : (B, K) array, optional
        Selection counts that they were chosen from.
    unions : bool
        Whether classes may be taken together; False leaves t = 1, for a law whose curve is about
        one class at a time.

    Raises
    ------
    ValueError
        k below 2.

    Examples
    --------
    >>> import numpy as np
    >>> from rsbounds.claims import TopK
    >>> TopK(np.array([3, 1, 1]), 2)[1:].classes
    array([1, 1])
    """

    classes: NDArray[np.int64]
    k: int
    selection: NDArray[Any] | None = None
    unions: bool = True

    def __post_init__(self) -> None:
        _validate.integer("k", self.k, low=2)

    def check_table(self, rows: int, classes: int) -> None:
        super().check_table(rows, classes)
        _validate.class_indices(self.classes, rows, classes)
        checked_k(self.k, classes)

    def __len__(self) -> int:
        return len(self.classes)

    def __getitem__(self, rows: slice) -> TopK:
        chosen = None if self.selection is None else self.selection[rows]
        return TopK(self.classes[rows], self.k, chosen, self.unions)


def checked_k(k: Any, classes: int) -> int:
    """A number of classes that are not all of them: every class is among all K."""
    if isinstance(k, (int, np.integer)) and not isinstance(k, (bool, np.bool_)) and k >= classes:
        raise ValueError(
            f"k is {k} of {classes} classes, among which every class is; allowed: 1 to "
            f"{classes - 1}"
        )
    return _validate.integer("k", k, low=1, high=classes - 1)


def checked_claim(top: ArrayLike | Selection | Claim, rows: int, classes: int) -> Claim:
    """A claim about ``rows`` rows of ``classes`` classes, from what a caller may give.

    Raises
    ------
    ValueError
        Not a claim, or one about other rows or classes.
    """
    if isinstance(top, Claim) and not isinstance(top, Top):
        top.check_table(rows, classes)
        return top
    given: Any
    selection: NDArray[Any] | None
    if isinstance(top, Selection):
        given, selection = top.top, top.counts
    elif isinstance(top, Top):
        given, selection = top.classes, top.selection
    else:
        if np.ndim(top) == 2:
            raise ValueError(
                f"top has shape {np.shape(top)}; allowed: class indices, or select_top(counts) "
                "of a selection sample that is independent of the estimation counts"
            )
        given, selection = top, None
    if selection is not None and selection.shape != (rows, classes):
        raise ValueError(
            f"top was selected from counts of shape {selection.shape}; allowed: {(rows, classes)}"
        )
    return Top(_validate.class_indices(given, rows, classes), selection)
