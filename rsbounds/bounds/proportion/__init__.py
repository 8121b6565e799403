"""Bounds on one binomial proportion: k successes in n draws."""

from __future__ import annotations

from rsbounds.bounds.proportion.clopper_pearson import (
    clopper_pearson_interval,
    clopper_pearson_lower,
    clopper_pearson_upper,
)
from rsbounds.bounds.proportion.order_statistics import lower_rank

__all__ = [
    "clopper_pearson_interval",
    "clopper_pearson_lower",
    "clopper_pearson_upper",
    "lower_rank",
]
