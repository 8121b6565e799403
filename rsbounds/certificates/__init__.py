"""From a bound on the margin and a noise law to a certified region around the input."""

from __future__ import annotations

from rsbounds.certificates.ball import certify
from rsbounds.certificates.components import certify_components
from rsbounds.certificates.family import family_alpha
from rsbounds.certificates.memory import MemoryAnswer, MemoryClassifier
from rsbounds.certificates.prediction import predict, predict_votes, select_top, voted_top
from rsbounds.certificates.quantile import certify_quantile
from rsbounds.certificates.simplex import hardmax, soft_lipschitz, softmax, sparsemax
from rsbounds.certificates.soft import certify_soft, soft_margin_bound
from rsbounds.certificates.top_k import certify_top_k
from rsbounds.certificates.votes import certify_votes

__all__ = [
    "MemoryAnswer",
    "MemoryClassifier",
    "certify",
    "certify_components",
    "certify_quantile",
    "certify_soft",
    "certify_top_k",
    "certify_votes",
    "family_alpha",
    "hardmax",
    "predict",
    "predict_votes",
    "select_top",
    "soft_lipschitz",
    "soft_margin_bound",
    "softmax",
    "sparsemax",
    "voted_top",
]
