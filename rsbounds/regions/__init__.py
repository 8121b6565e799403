"""Certified regions: sets of perturbations around the inputs, one per input.

The contract is in `rsbounds.regions._base`. Regions know neither bounds nor noise: a law makes
one of its radii (`rsbounds.noises.Noise.region`). Placed at inputs, two of them are proven not to
meet (`disjoint`), or made smaller until they do not (`shrink_to_avoid`, `shrink_into`).
"""

from __future__ import annotations

from rsbounds.regions._base import Region
from rsbounds.regions.ball import Ball
from rsbounds.regions.cross_polytope import CrossPolytope
from rsbounds.regions.disjoint import Separation, disjoint, inside
from rsbounds.regions.ellipsoid import Ellipsoid
from rsbounds.regions.low_rank import LowRankEllipsoid
from rsbounds.regions.outline import half_widths, outline
from rsbounds.regions.shrink import shrink_into, shrink_to_avoid

__all__ = [
    "Ball",
    "CrossPolytope",
    "Ellipsoid",
    "LowRankEllipsoid",
    "Region",
    "Separation",
    "disjoint",
    "half_widths",
    "inside",
    "outline",
    "shrink_into",
    "shrink_to_avoid",
]
