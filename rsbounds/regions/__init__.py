"""Certified regions: sets of perturbations around the inputs, one per input.

The contract is in `rsbounds.regions._base`. Regions know neither bounds nor noise: a law makes
one of its radii (`rsbounds.noises.Noise.region`).
"""

from __future__ import annotations

from rsbounds.regions._base import Region
from rsbounds.regions.ball import Ball
from rsbounds.regions.cross_polytope import CrossPolytope
from rsbounds.regions.ellipsoid import Ellipsoid
from rsbounds.regions.low_rank import LowRankEllipsoid

__all__ = ["Ball", "CrossPolytope", "Ellipsoid", "LowRankEllipsoid", "Region"]
