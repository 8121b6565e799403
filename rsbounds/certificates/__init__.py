"""From a bound on the margin and a noise law to a certified region around the input."""

from __future__ import annotations

from rsbounds.certificates.ball import certify
from rsbounds.certificates.prediction import predict, select_top

__all__ = ["certify", "predict", "select_top"]
