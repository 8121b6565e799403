"""Laws whose noise may be drawn on a lattice, so that its law is exact in floating point.

Let Q round every coordinate to the nearest multiple of the spacing h. A classifier f of floats,
whatever it does with them, gives a classifier of the reals: y -> f(the float of Q(y)). What is
smoothed and certified is that one, by the theorem over the reals; nothing in it is rounded. Its
votes at x are f(the float of h (k + eta)), where h k = Q(x) and eta is Q(eps) / h: integers of one
discrete law, the same for every x, drawn from a table that is exact to within `DISTANCE` in total
variation (`rsbounds.streams`). Only then are they turned into floats, by one rule for all integers:
that rounding is part of the classifier.

Three things follow for a certificate (`rsbounds.certificates.exact`): a sample of n draws of d
numbers is one of the exact law except with probability n d DISTANCE, which is taken from alpha; the
statement is about the lattice point Q(x), so that |x - Q(x)| is taken from the radius; and the law
must be the same at every input, so that the spacing is a parameter of the law and never chosen by
an input. And one for whoever answers at a perturbed input x' with this noise: votes at x' are those
at Q(x'), so that the certificate covers the answer where |Q(x') - x| is within the radius. Pictures
of 8 bits are on the lattice of "auto", and nothing is lost; elsewhere |x' - Q(x')| goes off the
radius too (h sqrt(d) / 2 at most).
"""

from __future__ import annotations

import abc
import dataclasses
import math
from typing import Any, ClassVar, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from rsbounds.noises._base import Noise
from rsbounds.noises._parameters import spacing_words, words
from rsbounds.streams import MAX_BITS, Table

#: Columns that "auto" stays within: 64 kB, in a core's own memory.
_AUTO_BITS = 14
_SMALLEST, _LARGEST = 1e-30, 1e30
#: Spacings that an input may be from 0, whatever its type.
_FARTHEST = 2.0**31
_EIGHT_BITS = 255


Self = TypeVar("Self", bound="LatticeLaw")


class LatticeLaw(Noise):
    """A law of one size (a number, or one for each input) with the parameter ``lattice``."""

    #: Field with the size.
    _size: ClassVar[str]
    #: Sizes that the table has to reach, and the spacings that one size must hold.
    _reach: ClassVar[float]
    _coarsest: ClassVar[float]

    lattice: float | None

    def _check_lattice(self, given: Any) -> float | None:
        """The spacing that was asked for, as a number."""
        if given is None:
            return None
        sizes = np.atleast_1d(getattr(self, self._size))
        small, large = float(sizes.min()), float(sizes.max())
        if isinstance(given, str) and given == "auto":
            given = _auto(self._reach * large)
        kind = isinstance(given, (int, float, np.integer, np.floating))
        spacing = float(given) if kind and not isinstance(given, bool) else math.nan
        # A table's columns are a power of two, and one of them stays empty.
        finest = self._reach * large / ((1 << (MAX_BITS - 1)) - 2)
        low, high = max(finest, _SMALLEST), min(small / self._coarsest, _LARGEST)
        if not low <= spacing <= high:
            of = f"{small:g}" if small == large else f"{small:g} to {large:g}"
            room = f"a spacing from {low:.3g} to {high:.3g}, " if low <= high else ""
            raise ValueError(
                f"lattice is {given!r}; allowed: {room}'auto' or None, for {self._size} = {of}"
            )
        return spacing

    @property
    def spacing(self) -> float | None:
        return self.lattice

    def in_floats(self: Self) -> Self:
        return cast(Self, dataclasses.replace(cast(Any, self), lattice=None))

    def on_lattice(self: Self, lattice: Any = "auto") -> Self:
        if lattice is None or self.lattice is not None:
            return super().on_lattice(lattice)
        if not isinstance(lattice, str):
            return cast(Self, dataclasses.replace(cast(Any, self), lattice=lattice))
        if lattice != "auto":
            raise ValueError(f"lattice is {lattice!r}; allowed: a spacing, 'auto' or None")
        if self.batch_shape:
            return self
        try:
            return cast(Self, dataclasses.replace(cast(Any, self), lattice=lattice))
        except ValueError:
            # Far too small or large for one: floats, and the certificate says so.
            return self

    def room(self, spacing: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The smallest and the largest factor on each size that fits a lattice; (B,) or () each."""
        cells = np.asarray(getattr(self, self._size), dtype=np.float64) / spacing
        most = ((1 << (MAX_BITS - 1)) - 2) / self._reach
        return self._coarsest * (1 + 1e-12) / cells, most * (1 - 1e-12) / cells

    @abc.abstractmethod
    def table(self) -> Table | None: ...

    def __str__(self) -> str:
        text = super().__str__()
        if self.lattice is None:
            return text
        return text.replace(
            f"lattice={words(self.lattice)}", f"lattice={spacing_words(self.lattice)}"
        )


def _auto(reach: float) -> float:
    """1/(255 2^j), on which all 8-bit pictures are, as fine as a table has room for.

    Where pixels are no fractions of 1 (the noise is too wide for that), a power of two.
    """
    for bits in (_AUTO_BITS, MAX_BITS):
        room = reach / ((1 << (bits - 1)) - 2)
        halvings = math.floor(-math.log2(room * _EIGHT_BITS))
        if halvings >= 0:
            return 1.0 / _EIGHT_BITS / 2.0**halvings
    return 2.0 ** math.ceil(math.log2(reach / ((1 << (_AUTO_BITS - 1)) - 2)))


def distances(x: NDArray[Any], spacing: float, norm: str) -> NDArray[np.float64]:
    """Distance of inputs from the lattice point that their noise is added to, rounded up.

    Parameters
    ----------
    x : (B, ...) array
        Inputs as they were given. They may be rounded to float32 before they are rounded to
        the lattice, which is allowed for.
    spacing : float
        Of the lattice.
    norm : {"l1", "l2", "linf"}
        In which norm.

    Returns
    -------
    (B,) float64

    Raises
    ------
    ValueError
        Numbers that have no lattice point with room for noise.
    """
    flat = np.asarray(x, dtype=np.float64).reshape(len(x), -1)
    if not (np.abs(flat) < spacing * _FARTHEST).all():
        raise ValueError(
            f"inputs hold {np.abs(flat).max():g} with noise on a lattice of {spacing:g}; allowed: "
            f"numbers up to {spacing * _FARTHEST:g}, a coarser lattice, or none (lattice=None)"
        )
    found = np.empty(len(flat))
    for row, values in enumerate(flat):
        with np.errstate(over="ignore"):
            moved = np.abs(values - values.astype(np.float32).astype(np.float64))
        cells = values / spacing
        nearest = np.rint(cells)
        # The product and the difference are rounded, by less than 2^-52 |x| together; neither is
        # where spacings are halved and halved again from 1.
        slack = 0.0 if math.frexp(spacing)[0] == 0.5 else 2.0**-51
        away = np.abs(values - nearest * spacing) + slack * np.abs(values)
        # Near the middle between two lattice points either may have been taken.
        unsure = np.abs(cells - nearest) > 0.5 - 2.0**-18
        away = np.where(unsure, spacing * (0.5 + 2.0**-17), away) + 2.0 * moved
        if norm == "linf":
            total = float(away.max(initial=0.0))
        else:
            total = math.fsum(away) if norm == "l1" else math.sqrt(math.fsum(away * away))
        found[row] = total * (1.0 + 1e-14)
    return found
