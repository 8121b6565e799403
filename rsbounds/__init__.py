"""Votes of a classifier under noise, turned into guarantees.

The public names are imported on first use, so that ``import rsbounds`` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from rsbounds._types import (
        BoundedSamples,
        Certificate,
        Certificates,
        Counts,
        Guarantee,
        MarginBound,
        MeanBound,
        Predictions,
        Selection,
    )
    from rsbounds.bounds.margin import margin_lower_bound
    from rsbounds.bounds.proportion import (
        clopper_pearson_interval,
        clopper_pearson_lower,
        clopper_pearson_upper,
    )
    from rsbounds.certificates import certify, predict, select_top
    from rsbounds.noises import Gaussian, Lipschitz, Uniform, lipschitz_radius
    from rsbounds.report import (
        Comparison,
        average_certified_radius,
        certified_accuracy,
        compare,
        plot_certified_accuracy,
    )
    from rsbounds.runs import RunStore, certify_dataset, rebound
    from rsbounds.sampling import sample_counts, sample_scores

_HOME = {
    "rsbounds._types": (
        "BoundedSamples",
        "Certificate",
        "Certificates",
        "Counts",
        "Guarantee",
        "MarginBound",
        "MeanBound",
        "Predictions",
        "Selection",
    ),
    "rsbounds.bounds.margin": ("margin_lower_bound",),
    "rsbounds.bounds.proportion": (
        "clopper_pearson_interval",
        "clopper_pearson_lower",
        "clopper_pearson_upper",
    ),
    "rsbounds.certificates": ("certify", "predict", "select_top"),
    "rsbounds.noises": ("Gaussian", "Lipschitz", "Uniform", "lipschitz_radius"),
    "rsbounds.report": (
        "Comparison",
        "average_certified_radius",
        "certified_accuracy",
        "compare",
        "plot_certified_accuracy",
    ),
    "rsbounds.runs": ("RunStore", "certify_dataset", "rebound"),
    "rsbounds.sampling": ("sample_counts", "sample_scores"),
}
_WHERE = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "BoundedSamples",
    "Certificate",
    "Certificates",
    "Comparison",
    "Counts",
    "Gaussian",
    "Guarantee",
    "Lipschitz",
    "MarginBound",
    "MeanBound",
    "Predictions",
    "RunStore",
    "Selection",
    "Uniform",
    "average_certified_radius",
    "certified_accuracy",
    "certify",
    "certify_dataset",
    "clopper_pearson_interval",
    "clopper_pearson_lower",
    "clopper_pearson_upper",
    "compare",
    "lipschitz_radius",
    "margin_lower_bound",
    "plot_certified_accuracy",
    "predict",
    "rebound",
    "sample_counts",
    "sample_scores",
    "select_top",
]


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        value = getattr(importlib.import_module(_WHERE[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'rsbounds' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_WHERE})
