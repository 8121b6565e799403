"""From a bound on the margin and a noise law to a certified region around the input."""

from __future__ import annotations

from rsbounds.certificates.ball import certify
from rsbounds.certificates.prediction import predict, select_top, voted_top
from rsbounds.certificates.simplex import hardmax, soft_lipschitz, softmax, sparsemax
from rsbounds.certificates.soft import certify_soft, soft_margin_bound
from rsbounds.certificates.votes import certify_votes

__all__ = [
    "certify",
    "certify_soft",
    "certify_votes",
    "hardmax",
    "predict",
    "select_top",
    "soft_lipschitz",
    "soft_margin_bound",
    "softmax",
    "sparsemax",
    "voted_top",
]
