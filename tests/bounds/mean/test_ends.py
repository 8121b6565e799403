"""Ends of the support in floating-point types that cannot hold them."""

import numpy as np
import pytest

from rsbounds.bounds.mean import mean_bound


@pytest.mark.parametrize("kind", [np.float32, np.float16])
def test_clopper_pearson_reads_the_ends_in_smaller_floats(kind):
    x = np.where(np.arange(100) < 80, 0.7, 0.3)
    how = {"alpha": 0.01, "side": "both", "method": "clopper-pearson", "support": (0.3, 0.7)}
    gap = max(abs(float(kind(v)) - v) for v in (0.3, 0.7))
    full = mean_bound(x, **how)
    got = mean_bound(x.astype(kind), **how)
    assert got.details["two_point"].all()
    np.testing.assert_allclose(got.lower, full.lower - gap, rtol=0, atol=1e-12)
    np.testing.assert_allclose(got.upper, full.upper + gap, rtol=0, atol=1e-12)
    # Another float between the ends is still between them.
    x = x.astype(kind)
    x[7] = np.nextafter(x[7], kind(0))
    with pytest.raises(ValueError, match=r"samples\[7\] is .*allowed with method clopper"):
        mean_bound(x, **how)
    # Ends beyond what the type can hold.
    wide = mean_bound(x, alpha=0.01, support=(0.0, 1e300))
    assert wide.lower[0] <= x.mean() < wide.upper[0]
