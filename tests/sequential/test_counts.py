"""Confidence sequences for every class of a stream of votes."""

import pickle

import numpy as np
import pytest

from rsbounds.sequential import CountSequence, confidence_sequence


def test_count_sequence():
    rng = np.random.default_rng(9)
    one = CountSequence(alpha=0.01, classes=3)
    many = CountSequence(alpha=0.01, classes=3, simultaneous=True)
    parts = rng.multinomial(50, [0.7, 0.2, 0.1], size=20)
    assert one.lower.tolist() == [0, 0, 0]
    assert one.upper.tolist() == [1, 1, 1]
    for part in parts:
        one.update(part)
        many.update(part)
    whole = CountSequence(alpha=0.01, classes=3)
    whole.update(parts.sum(axis=0))
    assert one.n == 1000
    assert (one.lower == whole.lower).all()
    assert (one.upper == whole.upper).all()
    assert (many.lower < one.lower).all()
    assert (many.upper > one.upper).all()
    seq = confidence_sequence("beta-binomial", alpha=0.01)
    seq.update(np.r_[np.ones(one.counts[0]), np.zeros(1000 - one.counts[0])])
    assert seq.lower[0] == one.lower[0]
    assert seq.upper[0] == one.upper[0]
    before = one.counts.copy()
    for bad in ([1, 2], [1, -1, 0], [0, 0, 0], [0.5, 0, 0]):
        with pytest.raises(ValueError, match="allowed"):
            one.update(bad)
        assert (one.counts == before).all()
    assert (pickle.loads(pickle.dumps(one)).lower == one.lower).all()
    one.close()
    with pytest.raises(ValueError, match="closed"):
        one.update([1, 1, 1])
