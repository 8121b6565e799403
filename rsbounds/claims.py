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


def checked_claim(top: ArrayLike | Selection | Claim, rows: int, classes: int) -> Claim:
    """A claim about ``rows`` rows of ``classes`` classes, from what a caller may give.

    Raises
    ------
    ValueError
        Not a claim, or one about other rows or classes.
    """
    if isinstance(top, Claim) and not isinstance(top, Top):
        if len(top) != rows:
            raise ValueError(f"top is a claim about {len(top)} rows; allowed: {rows}")
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
