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
    from rsbounds.bounds.margin import (
        margin_lower_bound,
    )
    from rsbounds.bounds.mean import (
        mean_bound,
    )
    from rsbounds.bounds.proportion import (
        clopper_pearson_interval,
        clopper_pearson_lower,
        clopper_pearson_upper,
    )
    from rsbounds.certificates import (
        certify,
        certify_soft,
        hardmax,
        predict,
        select_top,
        soft_lipschitz,
        soft_margin_bound,
        softmax,
        sparsemax,
    )
    from rsbounds.noises import (
        Gaussian,
        Lipschitz,
        Uniform,
        lipschitz_radius,
    )
    from rsbounds.report import (
        Comparison,
        average_certified_radius,
        certified_accuracy,
        compare,
        plot_certified_accuracy,
    )
    from rsbounds.runs import (
        RunStore,
        certify_dataset,
        rebound,
    )
    from rsbounds.sampling import (
        sample_counts,
        sample_scores,
    )
    from rsbounds.sequential import (
        Adaptive,
        CountSequence,
        Decide,
        confidence_sequence,
        geometric_looks,
    )

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
    "rsbounds.bounds.mean": ("mean_bound",),
    "rsbounds.bounds.proportion": (
        "clopper_pearson_interval",
        "clopper_pearson_lower",
        "clopper_pearson_upper",
    ),
    "rsbounds.certificates": (
        "certify",
        "certify_soft",
        "hardmax",
        "predict",
        "select_top",
        "soft_lipschitz",
        "soft_margin_bound",
        "softmax",
        "sparsemax",
    ),
    "rsbounds.noises": (
        "Gaussian",
        "Lipschitz",
        "Uniform",
        "lipschitz_radius",
    ),
    "rsbounds.report": (
        "Comparison",
        "average_certified_radius",
        "certified_accuracy",
        "compare",
        "plot_certified_accuracy",
    ),
    "rsbounds.runs": (
        "RunStore",
        "certify_dataset",
        "rebound",
    ),
    "rsbounds.sampling": (
        "sample_counts",
        "sample_scores",
        "sample_until",
    ),
    "rsbounds.sequential": (
        "Adaptive",
        "CountSequence",
        "Decide",
        "confidence_sequence",
        "geometric_looks",
    ),
}
_WHERE = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "Adaptive",
    "BoundedSamples",
    "Certificate",
    "Certificates",
    "Comparison",
    "CountSequence",
    "Counts",
    "Decide",
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
    "certify_soft",
    "clopper_pearson_interval",
    "clopper_pearson_lower",
    "clopper_pearson_upper",
    "compare",
    "confidence_sequence",
    "geometric_looks",
    "hardmax",
    "lipschitz_radius",
    "margin_lower_bound",
    "mean_bound",
    "plot_certified_accuracy",
    "predict",
    "rebound",
    "sample_counts",
    "sample_scores",
    "sample_until",
    "select_top",
    "soft_lipschitz",
    "soft_margin_bound",
    "softmax",
    "sparsemax",
]


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        value = getattr(importlib.import_module(_WHERE[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'rsbounds' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_WHERE})
