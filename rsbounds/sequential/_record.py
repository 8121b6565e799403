"""Certificates from margins proven along the way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rsbounds._types import Certificates, Guarantee, content_hash
from rsbounds.certificates.ball import plain_law, radii
from rsbounds.certificates.exact import details_of, nearer
from rsbounds.noises import Noise


def certificates(
    margin: NDArray[np.float64],
    top: NDArray[np.int64],
    n: NDArray[np.int64],
    *,
    noise: Noise,
    alpha: float,
    method: str,
    guarantee: Guarantee,
    solved: NDArray[np.bool_],
    options: Mapping[str, Any],
    votes: NDArray[np.int64],
    most: int,
    offset: NDArray[np.float64] | None,
    radius: NDArray[np.float64] | None = None,
) -> Certificates:
    """Balls for lower bounds on the margin, on the law's scale, or for ``radius``.

    ``most`` is how many draws there could have been, ``offset`` how far the inputs are from the
    lattice of the noise.
    """
    if radius is None:
        sizes = radii(margin, noise, offset)
    else:
        unknown = np.full(len(radius), np.nan)
        near = nearer(radius, offset)
        sizes = {"radius": near, "inscribed_radius": unknown, "proxy_radius": unknown}
    return Certificates(
        candidate=top.astype(np.int64),
        **sizes,
        margin_lower=margin,
        n=n,
        alpha=alpha,
        method=method,
        guarantee=guarantee,
        solved=solved,
        noise=str(noise),
        norm=noise.norm,
        scale=noise.scale,
        index=np.arange(len(margin)),
        law=plain_law(noise),
        options=options,
        input_hash=content_hash(votes),
        details=details_of(noise, most, offset),
    )
