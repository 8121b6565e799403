"""The contracts of the registries, as checks that a member of anybody's can be put through.

``MARGIN_CHECKS``, ``MEAN_CHECKS``, ``SEQUENCE_CHECKS`` and ``NOISE_CHECKS`` map names to
functions that take a member and raise AssertionError where it breaks the contract;
`check_margin_method`, `check_mean_method`, `check_sequence` and `check_noise_law` run them all.
The library's own members go through the same checks in its tests.

What the checks cannot see is whether a bound is valid: that takes its proof, and enumeration
(`rsbounds.testing.margin_coverage`, `rsbounds.testing.exact_coverage`).
"""

from __future__ import annotations

from rsbounds.testing.contracts._declared import by_name, check_texts
from rsbounds.testing.contracts.margin import MARGIN_CHECKS, check_margin_method
from rsbounds.testing.contracts.mean import MEAN_CHECKS, check_mean_method
from rsbounds.testing.contracts.noise import NOISE_CHECKS, check_noise_law
from rsbounds.testing.contracts.sequence import SEQUENCE_CHECKS, check_sequence

__all__ = [
    "MARGIN_CHECKS",
    "MEAN_CHECKS",
    "NOISE_CHECKS",
    "SEQUENCE_CHECKS",
    "by_name",
    "check_margin_method",
    "check_mean_method",
    "check_noise_law",
    "check_sequence",
    "check_texts",
]
