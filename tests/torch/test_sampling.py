import numpy as np
import pytest

torch = pytest.importorskip("torch")

import rsbounds
from rsbounds.streams import Piece, batches
from rsbounds_torch import SampledCounts, SmoothedClassifier
from rsbounds_torch.sampling import Tally

CPU = torch.device("cpu")
LAW = rsbounds.Gaussian(0.5)


def test_pieces_are_cut_in_order():
    pieces = [Piece(0, 0, 5), Piece(1, 3, 0), Piece(2, 7, 6)]
    assert list(batches(pieces, 4)) == [
        [Piece(0, 0, 4)],
        [Piece(0, 4, 1), Piece(2, 7, 3)],
        [Piece(2, 10, 3)],
    ]


def test_tally_counts_votes_ties_and_nan():
    tally = Tally(2, 3, 8, CPU)
    nan, inf = float("nan"), float("inf")
    tally.add(torch.tensor([[1.0, 2, 0], [3, 3, 1], [nan, 5, 0]]), [Piece(0, 0, 2), Piece(1, 0, 1)])
    tally.add(torch.tensor([[0.0, -inf, inf], [nan, nan, nan]]), [Piece(1, 1, 2)])
    tally.add(torch.zeros((5, 3), dtype=torch.float64), [Piece(0, 2, 5)])
    assert tally.result().tolist() == [[6, 1, 0, 0], [0, 0, 1, 2]]


def test_counts_with_nan_are_refused_by_the_core():
    values = np.array([[90, 10], [70, 10]])
    good = SampledCounts(values, "estimate", 1, np.array([0, 0]))
    assert (rsbounds.certify(good, 0, noise=LAW).n == [100, 80]).all()
    bad = SampledCounts(values, "estimate", 1, np.array([0, 20]))
    assert bad.n.tolist() == [100, 100]
    for call in (lambda: rsbounds.certify(bad, 0, noise=LAW), lambda: rsbounds.select_top(bad)):
        with pytest.raises(ValueError, match="row 1 has 20 NaN draws of 100"):
            call()


def test_share_of_draws_gives_the_counts_of_one_process():
    weight = torch.tensor([[1.0, 0.3], [-1.0, 0.2], [0.1, 0.5]])
    classifier = SmoothedClassifier(lambda b: b @ weight.T, num_classes=3, noise=LAW)
    x = np.array([[0.2, 0.1]])
    whole = classifier.sample_counts(x, n=1000, seed=3, index=[7])
    parts = [
        classifier.sample_counts(
            x, n=1000, seed=3, index=[7], draws=classifier.share_of_draws(1000, rank, 3)
        ).values
        for rank in range(3)
    ]
    assert (sum(parts) == whole.values).all()
