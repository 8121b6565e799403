"""Certificates from margins proven along the way."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rsbounds._types import Certificates, Guarantee
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
    certified: NDArray[np.bool_],
) -> Certificates:
    """Balls for lower bounds on the margin, on the law's scale."""
    radius = noise.radius(margin)
    return Certificates(
        top=top.astype(np.int64),
        radius=radius,
        abstained=~(radius > 0),
        margin_lower=margin,
        n=n,
        alpha=alpha,
        method=method,
        guarantee=guarantee,
        certified=certified,
        noise=str(noise),
        norm=noise.norm,
        scale=noise.scale,
        index=np.arange(len(margin)),
    )
