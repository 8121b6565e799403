"""What other people's tests import: exact coverage, statistical assertions, strategies.

`exact_error` enumerates every outcome, so it replaces simulation for small n.
`assert_error_rate` is for the rest: it fails a correct procedure with a probability that you
state. The hypothesis strategies are in `rsbounds.testing.strategies` (extra ``testing``).
"""

from __future__ import annotations

from rsbounds.testing.coverage import exact_error, margin_errors, outcomes, simplex_grid
from rsbounds.testing.statistical import assert_error_rate

__all__ = ["assert_error_rate", "exact_error", "margin_errors", "outcomes", "simplex_grid"]
