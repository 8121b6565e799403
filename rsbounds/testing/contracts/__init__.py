"""The contracts of the registries, as checks that a member of anybody's can be put through.

``MARGIN_CHECKS``, ``MEAN_CHECKS``, ``SEQUENCE_CHECKS`` and ``NOISE_CHECKS`` map names to
functions that take a member and raise AssertionError where it breaks the contract;
`check_margin_method`, `check_mean_method`, `check_sequence` and `check_noise_law` run them all.
The library's own members go through the same checks in its tests, and ``rsbounds check-plugin``
puts an installed one through them (`margin_cases` and its like give it the checks one by one).

The checks enumerate a few draws. That finds a bound that is wrong there; whether it is valid for
every n and p takes its proof, and more enumeration (`rsbounds.testing.margin_coverage`,
`rsbounds.testing.exact_coverage`).
"""

from __future__ import annotations

from rsbounds.testing.contracts._declared import Case, by_name, check_texts, member_cases
from rsbounds.testing.contracts.margin import MARGIN_CHECKS, check_margin_method, margin_cases
from rsbounds.testing.contracts.mean import MEAN_CHECKS, check_mean_method, mean_cases
from rsbounds.testing.contracts.noise import NOISE_CHECKS, check_noise_law, noise_cases
from rsbounds.testing.contracts.sequence import SEQUENCE_CHECKS, check_sequence, sequence_cases

__all__ = [
    "MARGIN_CHECKS",
    "MEAN_CHECKS",
    "NOISE_CHECKS",
    "SEQUENCE_CHECKS",
    "Case",
    "by_name",
    "check_margin_method",
    "check_mean_method",
    "check_noise_law",
    "check_sequence",
    "check_texts",
    "margin_cases",
    "mean_cases",
    "member_cases",
    "noise_cases",
    "sequence_cases",
]
