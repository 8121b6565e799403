import numpy as np
import pytest

torch = pytest.importorskip("torch")

import rsbounds
from rsbounds.noises import Noise
from rsbounds_torch import SampledCounts, SmoothedClassifier
from rsbounds_torch.sampling import (
    DeviceStream,
    LawStream,
    Piece,
    Tally,
    batches,
    noise_stream,
)

CPU = torch.device("cpu")
LAW = rsbounds.Gaussian(0.5)


def draws(stream, x, parts, index=0):
    """Noise in pieces: parts are the ends of the pieces."""
    rows, first = [], 0
    for stop in parts:
        out = torch.full((stop - first, x.numel()), float("nan"))
        stream.add(out, x, index, first)
        rows.append(out)
        first = stop
    return torch.cat(rows)


def streams():
    return {
        "counter": lambda **k: noise_stream(
            k.get("law", LAW), (6,), seed=k.get("seed", 1), role=k.get("role", "estimate"),
            device=CPU,
        ),
        "device": lambda **k: DeviceStream(
            k.get("law", LAW), k.get("seed", 1), k.get("role", "estimate"), CPU
        ),
        "law": lambda **k: _law(**k),
    }  # fmt: skip


def _law(law=LAW, seed=1, role="estimate"):
    stream = LawStream(law, seed, role)
    stream.shape = (6,)
    return stream


@pytest.mark.parametrize("kind", ["counter", "device", "law"])
def test_noise_does_not_depend_on_the_cut(kind):
    make, x = streams()[kind], torch.linspace(0, 1, 6)
    whole = draws(make(), x, [9000])
    assert torch.isfinite(whole).all()
    assert (draws(make(), x, [1, 2, 130, 4095, 4097, 8500, 9000]) == whole).all()
    assert (draws(make(seed=2), x, [9000]) != whole).all(1).all()
    assert (draws(make(role="select"), x, [9000]) != whole).all(1).all()
    assert (draws(make(), x, [9000], index=1) != whole).all(1).all()
    noise = (whole - x).double()
    assert abs(noise.mean()) < 6 * 0.5 / 54000**0.5
    assert abs(noise.std() - 0.5) < 0.01


@pytest.mark.parametrize("kind", ["counter", "device", "law"])
def test_uniform_noise_fills_its_cube(kind):
    noise = draws(streams()[kind](law=rsbounds.Uniform(0.25)), torch.zeros(6), [4000])
    assert 0.2499 < noise.abs().max() <= 0.25
    assert abs(noise.double().std() - 0.25 / 3**0.5) < 0.002


def test_any_other_law_is_sampled_by_itself():
    class Twice(rsbounds.Gaussian):
        def sample(self, rng, shape, dtype):
            return 2 * super().sample(rng, shape, dtype)

    stream = noise_stream(Twice(0.5), (6,), seed=1, role="estimate", device=CPU)
    assert isinstance(stream, LawStream)
    assert abs(draws(stream, torch.zeros(6), [4000]).std() - 1) < 0.02
    inside = rsbounds.Lipschitz(1.0, LAW)
    assert isinstance(inside, Noise)
    one = noise_stream(inside, (6,), seed=1, role="estimate", device=CPU)
    two = noise_stream(LAW, (6,), seed=1, role="estimate", device=CPU)
    assert (draws(one, torch.zeros(6), [10]) == draws(two, torch.zeros(6), [10])).all()


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
