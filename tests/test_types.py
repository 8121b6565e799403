"""What the records are like to use: unpacking, indexing, frames, one line each."""

import math

import numpy as np
import pytest

import rsbounds
from rsbounds.noises import Gaussian

COUNTS = np.array([[80, 15, 5], [51, 49, 0], [3, 7, 90]])


def test_a_mean_bound_is_a_pair_of_ends():
    x = np.random.default_rng(0).beta(9, 1, (3, 200))
    bound = rsbounds.mean_bound(x, alpha=0.01, side="both", axis=1)
    low, high = bound
    np.testing.assert_array_equal(low, bound.lower)
    np.testing.assert_array_equal(high, bound.upper)
    assert (low < x.mean(axis=1)).all()
    assert (x.mean(axis=1) < high).all()
    # Three rows are not three parts, and a length of 3 would say so.
    with pytest.raises(TypeError, match="has no len"):
        len(bound)
    # A side that was not asked for is the end of the support, which is always true.
    low, high = rsbounds.mean_bound(x, alpha=0.01, side="upper", axis=1)
    assert low.tolist() == [0.0] * 3


def test_predictions_are_indexed_by_row():
    answers = rsbounds.predict(COUNTS, alpha=0.001)
    assert len(answers) == 3
    first, unsure, last = answers
    assert (first.top, first.candidate, first.abstained, first.alpha) == (0, 0, False, 0.001)
    assert (unsure.top, unsure.candidate, unsure.abstained) == (None, 0, True)
    assert answers[-1] == last == answers[np.int64(2)]
    assert last.top == 2
    assert [p.p_value for p in answers] == answers.p_value.tolist()
    for key in (slice(1, None), [1, 2], np.array([False, True, True])):
        part = answers[key]
        assert part.candidate.tolist() == [0, 2]
        assert part.top.tolist() == [rsbounds.NO_CLASS, 2]
        assert part.p_value.tolist() == answers.p_value[1:].tolist()
        assert part.alpha == 0.001
    with pytest.raises(IndexError):
        answers[3]
    nothing = rsbounds.Predictions(
        np.array([rsbounds.NO_CLASS]), np.array([True]), np.array([1.0]), 0.01
    )
    assert (nothing[0].top, nothing[0].candidate) == (None, None)


def test_predictions_as_a_frame():
    pandas = pytest.importorskip("pandas")
    answers = rsbounds.predict(COUNTS, alpha=0.001)
    frame = answers.to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert frame["abstained"].tolist() == [False, True, False]
    assert frame["p_value"].tolist() == answers.p_value.tolist()
    # An abstention is no answer, right or wrong.
    assert (frame["top"] == [0, 0, 2]).mean() == 2 / 3
    assert (frame["top"] != frame["top"]).tolist() == [False, True, False]


def test_every_record_is_shown_in_one_line():
    x = np.random.default_rng(0).random(500)
    mean = rsbounds.mean_bound(x, alpha=0.01, side="both")
    words = repr(mean)
    assert words.startswith("MeanBound([0.")
    assert words.endswith("], side both, goal, alpha 0.01, proven)")
    low, high = (float(part) for part in words[len("MeanBound([") : words.index("]")].split(", "))
    # Shown outwards: the digits are a bound too.
    assert low <= mean.lower[0] < low + 1e-4
    assert high - 1e-4 < mean.upper[0] <= high
    rows = np.tile(COUNTS, (50, 1))
    margin = rsbounds.margin_lower_bound(rows, 0, alpha=0.01, scale="probit", method="complement")
    sequence = rsbounds.confidence_sequence(alpha=0.01)
    classes = rsbounds.CountSequence(alpha=0.01, classes=3)
    law = Gaussian(0.5)
    for record, said in [
        (margin, "MarginBound(150 rows, probit, complement, alpha 0.01, proven)"),
        (rsbounds.mean_bound(x.reshape(50, 10), alpha=0.01, axis=0),
         "MeanBound(10 means, side lower, goal, alpha 0.01, proven)"),
        (rsbounds.Counts(rows, "select", 7), "Counts(150 inputs, 3 classes, select, seed 7)"),
        (rsbounds.BoundedSamples(x[:, None], (-1.0, 2.5), 3),
         "BoundedSamples(500 draws, 1 classes, support [-1, 2.5], seed 3)"),
        (rsbounds.BoundedSamples(x[:, None].reshape(2, 250, 1), (-1.0, 2.5), 3),
         "BoundedSamples(2 inputs, 250 draws, 1 classes, support [-1, 2.5], seed 3)"),
        (rsbounds.select_top(rows), "Selection(150 inputs)"),
        (rsbounds.select_top(rows, independent=True),
         "Selection(150 inputs, said to be independent)"),
        (rsbounds.predict(rows, alpha=0.001), "Predictions(150 inputs, 100 answered, alpha 0.001)"),
        (sequence, "MixtureSequence(before the first chunk, side both, alpha 0.01, proven)"),
        (classes, "CountSequence(3 classes, 0 draws, alpha 0.01)"),
        (rsbounds.Adaptive([0, 0, 2], noise=law),
         "Adaptive(3 inputs, 3 open, runner-up, alpha 0.001)"),
        (rsbounds.Decide(0.5, [0, 0, 2], noise=law, alpha=0.01),
         "Decide(3 inputs, 3 open, alpha 0.01)"),
    ]:  # fmt: skip
        assert repr(record) == said
    sequence.update(x)
    assert (
        repr(sequence) == "MixtureSequence(1 streams, 500 samples, side both, alpha 0.01, proven)"
    )
    assert math.isfinite(sequence.lower[0])
