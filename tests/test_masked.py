"""Masked arrays are refused wherever numbers come in: numpy drops the mask, keeps the values."""

import numpy as np
import pytest

import rsbounds
from rsbounds._validate import unmasked

# The masked entry is the one that raises every bound.
SAMPLES = np.ma.array([0.2, 0.4, 1.0], mask=[False, False, True])
COUNTS = np.ma.array([90, 5], mask=[False, True])
SCORES = np.ma.array([[0.9, 0.1], [0.8, 0.2]], mask=[[False, False], [True, False]])

CALLS = {  # issue item 18
    "mean_bound": lambda: rsbounds.mean_bound(SAMPLES, alpha=0.1),
    "mean_bound, rows": lambda: rsbounds.mean_bound([SAMPLES, SAMPLES], alpha=0.1, axis=1),
    "sequence": lambda: rsbounds.confidence_sequence(alpha=0.1).update(SAMPLES),
    "soft margin": lambda: rsbounds.soft_margin_bound(SCORES, 0, alpha=0.1, scale="linear"),
    "soft record": lambda: rsbounds.certify_soft(
        rsbounds.BoundedSamples(SCORES, (0.0, 1.0), 0), 0, noise=rsbounds.Gaussian(1.0)
    ),
    "softmax": lambda: rsbounds.softmax(SCORES),
    "proportion, k": lambda: rsbounds.clopper_pearson_lower(COUNTS, 100, alpha=0.1),
    "proportion, n": lambda: rsbounds.clopper_pearson_upper(3, COUNTS, alpha=0.1),
    "proportion, alpha": lambda: rsbounds.clopper_pearson_interval(3, 9, alpha=SAMPLES / 2),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_masked_arrays_are_refused(call):
    with pytest.raises(ValueError, match="is a masked array, or holds one; allowed: plain"):
        call()


def test_what_is_not_masked_passes():
    for values in (1, [1, 2], [[1, 2], np.array([3, 4])], np.array([1.0]), np.ma.getdata(COUNTS)):
        unmasked("values", values)
    with pytest.raises(ValueError, match="values is a masked array"):
        unmasked("values", [1.0, np.ma.masked])
    with pytest.raises(ValueError, match="values is a masked array"):
        unmasked("values", ([[1.0, 2.0], [np.ma.array([1.0]), 2.0]],))
