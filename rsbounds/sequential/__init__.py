"""Statistics that are fed as samples arrive: confidence sequences, decisions, adaptive radii.

Nothing here draws a sample. An object is given counts or samples and says what it knows and
whether it wants more, so that any sampler can drive it. The sequences for means of bounded
samples are the any-time forms of the mean methods, and lie with them in `rsbounds.bounds.mean`.
"""

from __future__ import annotations

from rsbounds.bounds.mean import ConfidenceSequence, confidence_sequence
from rsbounds.sequential.adaptive import Adaptive
from rsbounds.sequential.counts import CountSequence
from rsbounds.sequential.decide import Decide
from rsbounds.sequential.ladder import Ladder
from rsbounds.sequential.looks import geometric_looks
from rsbounds.sequential.margin import MarginTest
from rsbounds.sequential.margin_sequence import MarginSequence

__all__ = [
    "Adaptive",
    "ConfidenceSequence",
    "CountSequence",
    "Decide",
    "Ladder",
    "MarginSequence",
    "MarginTest",
    "confidence_sequence",
    "geometric_looks",
]
