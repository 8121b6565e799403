"""Ablation of pixels against every set of pixels, every change of tiny inputs and exact numbers."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

import rsbounds
from rsbounds.noises import Ablation, noise_from_dict, with_complement
from rsbounds.streams import CounterStream

#: A right sampler fails a test with this probability.
FALSE_ALARM = 1e-6


def copies(law, x, count, kind=np.float64, seed=1):
    x = np.asarray(x, dtype=kind)
    out = np.empty((count, x.size), dtype=kind)
    CounterStream(law, x.shape, seed=seed, role="estimate").add(out, x.ravel(), 0, 0)
    return out.reshape(count, *x.shape)


def delta(d, k, r):
    return 1 - Fraction(math.comb(d - r, k), math.comb(d, k)) if r <= d else Fraction(1)


@pytest.mark.parametrize(
    ("keep", "pixels"), [(1, 1), (1, 9), (9, 9), (3, 40), (45, 784), (75, 1024), (500, 1024)]
)
def test_shares_are_the_exact_ones_rounded_up(keep, pixels):
    law = Ablation(keep, pixels)
    exact = [delta(pixels, keep, r) for r in range(pixels - keep + 2)]
    found = [Fraction(float(v)) for v in law.roc(np.arange(len(exact)), 0.0)]
    for a, b in zip(found, exact, strict=True):
        assert b <= a <= b + Fraction(1, 10**12)
    assert law.roc(pixels + 5, 0.0) == 1.0
    # The largest r with 2 Delta below the margin, where rounding has no say.
    for margin in (Fraction(1, 3), Fraction(7, 10), Fraction(99, 100)):
        largest = max(r for r in range(len(exact)) if 2 * exact[r] < margin)
        assert law.radius(float(margin)) == largest


def test_many_pixels_take_no_big_numbers():
    law = Ablation(keep=1000, pixels=150_528)
    exact = math.exp(sum(math.log1p(-1000 / (150_528 - i)) for i in range(50)))
    assert abs(1.0 - float(law.roc(50, 0.0)) - exact) < 1e-9
    assert law.radius(0.999) == 103


def test_all_sets_are_alike():
    law = Ablation(2, 6, null=-1.0)
    draws = copies(law, np.arange(6.0), 60_000)
    kept = draws >= 0
    assert (kept.sum(axis=1) == 2).all()
    assert (draws == np.where(kept, np.arange(6.0), -1.0)).all()
    sets = {pair: i for i, pair in enumerate(itertools.combinations(range(6), 2))}
    counts = np.bincount([sets[tuple(np.flatnonzero(row))] for row in kept], minlength=15)
    assert stats.chisquare(counts).pvalue > FALSE_ALARM


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_every_pixel_is_kept_as_often_as_others(kind):
    law = Ablation(45, 784, null=-1.0)
    kept = copies(law, np.zeros((28, 28)), 4000, kind).reshape(4000, -1) == 0
    assert (kept.sum(axis=1) == 45).all()
    share = 45 / 784
    # Without replacement the counts are less spread than a multinomial's: by 1 - share.
    spread = ((kept.sum(axis=0) - 4000 * share) ** 2).sum() / (4000 * share * (1 - share))
    spread *= 783 / 784
    assert stats.chi2(783).sf(spread) > FALSE_ALARM
    assert stats.chi2(783).cdf(spread) > FALSE_ALARM
    # Draws follow on one another without a tie: pairs of neighbours agree as chance has it.
    both = (kept[1:] & kept[:-1]).sum()
    expected = 3999 * 45 * share
    assert abs(both - expected) < 5.5 * math.sqrt(expected)


def exact_shares(keep, d, table, x):
    """Probability of each class, of a classifier that is a table of (set, content)."""
    shares = np.zeros(3)
    for kept in itertools.combinations(range(d), keep):
        shares[table[kept, tuple(x[i] for i in kept)]] += 1
    return shares / math.comb(d, keep)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("keep", "d"), [(1, 7), (2, 7), (2, 8)])
def test_no_change_of_so_many_pixels_changes_the_answer(keep, d, seed):
    rng = np.random.default_rng(seed)
    lean = rng.permutation([0.9, 0.07, 0.03])
    table = {
        (kept, content): int(rng.choice(3, p=lean))
        for kept in itertools.combinations(range(d), keep)
        for content in itertools.product((0, 1), repeat=keep)
    }
    points = list(itertools.product((0, 1), repeat=d))
    shares = np.array([exact_shares(keep, d, table, x) for x in points])
    law, answers = Ablation(keep, d), shares.argmax(axis=1)
    ordered = np.sort(shares, axis=1)
    radius = law.radius(ordered[:, -1] - ordered[:, -2])
    assert radius.max() >= 1
    changed = (np.array(points)[:, None] != np.array(points)[None]).sum(axis=2)
    for i, r in enumerate(radius):
        if r > 0:
            assert (answers[changed[i] <= r] == answers[i]).all()


@pytest.mark.parametrize(("keep", "d"), [(1, 5), (2, 6), (3, 6)])
def test_the_curve_is_that_of_the_best_sets(keep, d):
    # Neyman and Pearson on all copies: those of x alone, of x' alone, and the common ones.
    law = Ablation(keep, d)
    for r in range(d + 1):
        common = math.comb(d - r, keep) / math.comb(d, keep)
        for b in np.linspace(0.0, 1.0, 21):
            # Free of charge are the copies that x has not; then each at its own probability.
            best = min(1.0 - common + min(b, common), 1.0)
            assert best - 1e-14 <= law.roc(r, b) <= best + 1e-12


def test_the_worst_classifier_loses_one_step_further():
    # It answers 1 as soon as it sees a changed pixel: right up to the largest r with Delta < 1/2.
    law = Ablation(4, 30)
    last = max(r for r in range(30) if delta(30, 4, r) < Fraction(1, 2))
    assert law.radius(1.0) == last
    assert delta(30, 4, last + 1) >= Fraction(1, 2)
    found = rsbounds.certify([1_000_000, 0], 0, noise=law)
    assert found.radius[0] == last
    shown = Ablation(4, 30, null=-1.0)

    def classifier(batch):
        return (batch == 1.0).any(axis=1).astype(int)

    x = np.zeros((2, 30))
    x[0, :last] = 1.0
    x[1, : last + 1] = 1.0
    votes = rsbounds.sample_counts(classifier, x, noise=shown, n=200_000, num_classes=2, seed=3)
    chances = [float(delta(30, 4, r)) for r in (last, last + 1)]
    for count, chance in zip(votes.values[:, 1], chances, strict=True):
        assert stats.binomtest(int(count), 200_000, chance).pvalue > FALSE_ALARM


def test_the_procedure_errs_with_alpha_at_most():
    # p_A = 1 - Delta_1 = 0.7 exactly; radius 1 takes a margin above 0.6 and is wrong here.
    law = Ablation(3, 10, null=-1.0)

    def classifier(batch):
        return (batch[:, 0] == 1.0).astype(int)

    x = np.tile(np.r_[1.0, np.zeros(9)], (2000, 1))
    counts = rsbounds.sample_counts(classifier, x, noise=law, n=200, num_classes=2, seed=5)
    found = rsbounds.certify(counts, 0, noise=law, alpha=0.05)
    wrong = int((found.margin_lower > 0.4).sum())
    assert stats.binomtest(wrong, 2000, 0.05, alternative="greater").pvalue > FALSE_ALARM
    assert (found.radius == 0).all()
    assert stats.binomtest(int(counts.values[:, 1].sum()), 400_000, 0.3).pvalue > FALSE_ALARM


def test_it_goes_all_the_way(tmp_path):
    law = Ablation(4, 12, null=-1.0)
    x = np.random.default_rng(0).random((5, 3, 3, 4)) * 0.2
    x[::2] += 0.8

    def classifier(batch):
        return (batch.max(axis=(1, 2, 3)) > 0.5).astype(int)

    found = rsbounds.certify_dataset(
        classifier, x, [1, 0, 1, 0, 1], noise=law, n=5000, num_classes=2, seed=1,
        store=tmp_path / "s.sqlite",
    )  # fmt: skip
    assert found.top.tolist() == [1, 0, 1, 0, 1]
    assert (found.norm, found.guarantee, found.method) == ("l0", "proven", "exact")
    assert (found.radius == law.radius(found.margin_lower)).all()
    assert found.radius.tolist() == [law.radius(0.99)] * 5
    with rsbounds.RunStore(tmp_path / "s.sqlite") as store:
        again = rsbounds.rebound(store, method="complement", alpha=1e-4)
    assert (again.radius <= found.radius).all()
    counts = rsbounds.sample_counts(
        classifier, x, noise=law, n=5000, num_classes=2, seed=1, batch_size=77
    )
    with rsbounds.RunStore(tmp_path / "s.sqlite") as store:
        assert (counts.values == [row.estimate for row in store.rows()]).all()
    for method in ("runner-up", "bonferroni", "t-certify"):
        more = rsbounds.certify(counts, [1, 0, 1, 0, 1], noise=law, method=method)
        assert (more.radius <= law.radius(1.0)).all()
    assert noise_from_dict(law.to_dict()) == law


def test_rules_that_stop_know_it():
    law = Ablation(4, 40)
    test = rsbounds.Decide(3, [0, 0], noise=law, no="futile")
    while test.active.any():
        test.update([[99, 1, 0], [60, 40, 0]])
    assert test.status.tolist() == ["yes", "futile"]
    # 2 Delta_3 is about 0.56: a margin of 0.98 is enough, one of 0.2 is not.
    run = rsbounds.Adaptive(0, noise=law, looks=(100, 1000, 10_000))
    while run.active.any():
        run.update(run.wanted[:, None] // 100 * [97, 2, 1])
    radius = run.certificates().radius[0]
    assert 1 <= radius <= law.radius(0.95)
    assert radius == int(radius)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Ablation(11, 10), "keep is 11; allowed: an integer from 1 to 10"),
        (lambda: Ablation(0, 10), "keep is 0"),
        (lambda: Ablation(2, 0), "pixels is 0"),
        (lambda: Ablation(2.0, 10), "keep is 2.0"),
        (lambda: Ablation(2, 10, null=np.nan), "null is nan"),
        (lambda: noise_from_dict({"name": "ablation", "keep": 3}), "allowed: the parameters of"),
    ],
)
def test_bad_parameters_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("shape", [(1, 11), (1, 10, 2), (1, 2, 11), (1, 5)])
def test_inputs_of_another_size_are_refused(shape):
    with pytest.raises(
        ValueError, match=r"inputs have shape .*; allowed with noise ablation.*10 p"
    ):
        rsbounds.sample_counts(
            lambda b: np.zeros(len(b), int), np.ones(shape), noise=Ablation(2, 10), n=5,
            num_classes=2,
        )  # fmt: skip


def test_channels_are_hidden_together():
    law = Ablation(3, 10)
    x = with_complement(np.random.default_rng(0).integers(0, 2, (1, 10)).astype(float))[0]
    assert x.shape == (2, 10)
    seen = copies(law, x, 500)
    shown = seen.sum(axis=1)
    # Of a hidden pixel nothing is left, of another both channels, which add up to 1.
    assert set(np.unique(shown)) == {0.0, 1.0}
    assert (shown.sum(axis=1) == 3).all()
    with pytest.raises(ValueError, match=r"inputs hold 0 in all 1 channels of pixel \d"):
        copies(law, x[0], 5)
