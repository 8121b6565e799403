"""What noise on a lattice takes from a certificate, and what the certificate says of it.

`rsbounds.noises._lattice` says why such noise is exact. Of alpha it takes the probability that a
sample differs from one of the exact law, n d `DISTANCE` for n draws of d numbers, where d is taken
to be 2^32, the most that a stream has counters for: the two samples can be drawn together so that
they agree otherwise (a coupling), and where they agree every bound says the same of both. That
holds for bounds at a stopping time too, with n the most draws that there can be. Selection draws
take nothing: a bound holds for any class that the estimation sample has no part in. Of the radius
it takes the distance from the input to its lattice point, about which the statement is.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsbounds import _validate
from rsbounds._types import BoundedSamples, Counts
from rsbounds.noises import Noise, distances
from rsbounds.noises._parameters import spacing_words
from rsbounds.streams import DISTANCE, NUMBERS

Offset = Mapping[str, NDArray[np.float64]]


def alpha_of_noise(lattice: float | None, n: int) -> float:
    """Probability, rounded up, that n draws are no draws of the exact law; 0 for floats."""
    return 0.0 if lattice is None else float(n) * (NUMBERS * DISTANCE * (1.0 + 1e-15))


def level_left(lattice: float | None, alpha: float, n: int) -> float:
    """What is left of alpha for a bound from up to n draws, rounded down.

    Raises
    ------
    ValueError
        Nothing is left.
    """
    if lattice is None:
        return alpha
    spent = alpha_of_noise(lattice, n)
    left = float(np.nextafter(np.nextafter(alpha - spent, -1.0), -1.0))
    if not left > 0.5 * alpha:
        raise ValueError(
            f"alpha is {alpha!r}, of which exact noise takes {spent:.2g} for up to {n} draws; "
            f"allowed: more than {2 * spent:.2g}"
        )
    return left


def offset_of(noise: Noise, inputs: ArrayLike) -> Offset | None:
    """(B,) distances of inputs from their lattice points, by norm; None where there is none.

    Parameters
    ----------
    noise : Noise
        The law.
    inputs : (B, ...) array
        Inputs as they were given, in raw units.
    """
    if noise.spacing is None:
        return None
    values = np.asarray(inputs)
    return {norm: distances(values, noise.spacing, norm) for norm in ("l1", "l2", "linf")}


def law_of_sample(noise: Noise, sample: Any) -> tuple[Noise, NDArray[np.float64] | None]:
    """The law of a sample, and (B,) distances of its inputs from the lattice, in the law's norm.

    A law that says nothing of a lattice is on that of the sample, if it was drawn on one.

    Parameters
    ----------
    noise : Noise
        The law as it was given.
    sample : Counts, BoundedSamples or array_like
        The sample; a plain array says nothing of its noise, and the law stays as it is.

    Raises
    ------
    ValueError
        The sample was drawn on another lattice than the law's, or on none, or it is no sample
        but all cells of an enumerated law, where the law is none.
    """
    if not isinstance(sample, (Counts, BoundedSamples)):
        return noise, None
    if noise.spacing is None and sample.lattice is not None:
        with suppress(ValueError):
            # What it cannot be on is refused below.
            noise = noise.on_lattice(sample.lattice)
    check_drawn(noise, sample)
    return noise, None if sample.offset is None else sample.offset[noise.norm]


def check_drawn(noise: Noise, sample: Any) -> None:
    """Raise ValueError where a sample says that it was drawn in another way than the law's."""
    if not isinstance(sample, (Counts, BoundedSamples)):
        return
    held = sample.cells if isinstance(sample, Counts) else None
    if held != noise.cells:
        drawn, asked = (
            "samples" if cells is None else f"all of {cells} cells" for cells in (held, noise.cells)
        )
        raise ValueError(
            f"counts are of {drawn}, and the votes of noise {noise} are of {asked}; allowed: the "
            "law that they were taken with"
        )
    if sample.lattice != noise.spacing:
        drawn, asked = (
            "floats" if h is None else f"a lattice of {spacing_words(h)}"
            for h in (sample.lattice, noise.spacing)
        )
        raise ValueError(
            f"noise is {noise}, on {asked}, and the sample was drawn with noise of {drawn}; "
            "allowed: the law that it was drawn with"
        )


def nearer(radius: NDArray[np.float64], offset: ArrayLike | None) -> NDArray[np.float64]:
    """Radii about inputs, from those about points at that distance from them; rounded down."""
    if offset is None:
        return radius
    away = np.asarray(offset, dtype=np.float64)
    less = np.nextafter(radius - away, -np.inf)
    return np.where(away > 0, np.maximum(less, 0.0), radius)


def farther(radius: ArrayLike, offset: ArrayLike | None) -> ArrayLike:
    """Radii about lattice points that leave those about the inputs; rounded up."""
    if offset is None:
        return radius
    away = np.asarray(offset, dtype=np.float64)
    return np.asarray((_validate.real_array("radius", radius) + away) * (1.0 + 1e-15))


def details_of(
    noise: Noise, n: NDArray[np.int64] | int, offset: ArrayLike | None
) -> dict[str, Any]:
    """What a certificate says of exact noise; nothing of floats.

    Returns
    -------
    dict
        ``lattice``, its spacing; ``alpha_of_noise``, the part of alpha that it took;
        ``offset``, the largest distance that a radius was reduced by, None where the inputs were
        not known and the statements are about their lattice points.
    """
    if noise.spacing is None:
        return {}
    return {
        "lattice": noise.spacing,
        "alpha_of_noise": alpha_of_noise(noise.spacing, int(np.max(n, initial=0))),
        "offset": None if offset is None else float(np.max(np.asarray(offset), initial=0.0)),
    }


def joined_details(tables: list[Mapping[str, Any]]) -> dict[str, Any]:
    """The details of several tables that are put together."""
    if not any(tables):
        return {}
    if len({table.get("lattice") for table in tables}) > 1:
        raise ValueError(
            f"tables were certified on lattices of {[t.get('lattice') for t in tables]}; allowed: "
            "one for all"
        )
    offsets = [table["offset"] for table in tables]
    return {
        "lattice": tables[0]["lattice"],
        "alpha_of_noise": max(table["alpha_of_noise"] for table in tables),
        "offset": None if None in offsets else max(offsets),
    }


def checked_offset(offset: Any, rows: int) -> NDArray[np.float64]:
    """(B,) distances >= 0 for so many rows."""
    values = _validate.real_array("offset", offset)
    if values.shape != (rows,) or not ((values >= 0) & np.isfinite(values)).all():
        raise ValueError(f"offset is {offset!r}; allowed: a distance >= 0 for each of {rows} rows")
    return values
