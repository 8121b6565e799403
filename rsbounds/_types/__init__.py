"""What goes in and what comes out: frozen records of arrays, one entry per input."""

from __future__ import annotations

from rsbounds._types._common import NO_CLASS, Guarantee, Scale, content_hash, plain_options
from rsbounds._types.bounds import MarginBound, MeanBound
from rsbounds._types.certificates import Certificate, Certificates
from rsbounds._types.quantiles import CertifiedQuantiles
from rsbounds._types.samples import BoundedSamples, Counts, Prediction, Predictions, Selection

__all__ = [
    "NO_CLASS",
    "BoundedSamples",
    "Certificate",
    "Certificates",
    "CertifiedQuantiles",
    "Counts",
    "Guarantee",
    "MarginBound",
    "MeanBound",
    "Prediction",
    "Predictions",
    "Scale",
    "Selection",
    "content_hash",
    "plain_options",
]
