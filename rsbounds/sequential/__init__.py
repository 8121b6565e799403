"""Statistics that are fed as samples arrive: confidence sequences, decisions, adaptive radii.

Nothing here draws a sample. An object is given counts or samples and says what it knows and
whether it wants more, so that any sampler can drive it.
"""

from __future__ import annotations

from rsbounds.sequential.adaptive import Adaptive
from rsbounds.sequential.confidence import (
    SEQUENCES,
    ConfidenceSequence,
    CountSequence,
    confidence_sequence,
)
from rsbounds.sequential.decide import Decide
from rsbounds.sequential.looks import geometric_looks

SEQUENCES.register("mixture", "rsbounds.sequential.confidence:MixtureSequence")
SEQUENCES.register("betting", "rsbounds.sequential.confidence:BettingSequence")
SEQUENCES.register("prpl-eb", "rsbounds.sequential.confidence:PrPlEBSequence")
SEQUENCES.register("beta-binomial", "rsbounds.sequential.confidence:BetaBinomialSequence")

__all__ = [
    "SEQUENCES",
    "Adaptive",
    "ConfidenceSequence",
    "CountSequence",
    "Decide",
    "confidence_sequence",
    "geometric_looks",
]
