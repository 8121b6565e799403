"""Sequential decisions and adaptive looks."""

import itertools
import math
import pickle

import numpy as np
import pytest
from scipy.special import ndtri

import rsbounds
from rsbounds.bounds.mean._one_sided import log_capital
from rsbounds.testing import assert_error_rate, stopping_distribution

NOISE = rsbounds.Gaussian(sigma=0.5)


def rule(p0, alpha, prior=(0.5, 0.5), prior_no=(1.0, 0.1)):
    """Of the complement."""

    def stop(t, s):
        p, q = np.full(t + 1, p0), np.full(t + 1, 1 - p0)
        yes = log_capital(s, t - s, p, q, prior) >= -math.log(alpha)
        no = log_capital(t - s, s, q, p, prior_no[::-1]) >= -math.log(alpha)
        assert not (yes & no).any()
        return np.where(yes, 1, np.where(no, -1, 0)).astype(np.int8)

    return stop


@pytest.mark.parametrize("alpha", [0.05, 0.001])
@pytest.mark.parametrize("p0", [0.5, 0.8, 0.99])
def test_wrong_answers_exactly(p0, alpha):
    for p in (p0, p0 - 0.005, p0 + 0.005):
        law = stopping_distribution(p, 2000, rule(p0, alpha))
        wrong = (1,) if p < p0 else (-1,) if p > p0 else (1, -1)
        for code in wrong:
            assert law.get(code, np.zeros(1)).sum() <= alpha
    at = stopping_distribution(p0, 2000, rule(p0, alpha))
    assert at[1].sum() > alpha / 5, "the rule should use its alpha"


@pytest.mark.parametrize(("p0", "p"), [(0.8, 0.7), (0.8, 0.9), (0.99, 0.95), (0.99, 0.999)])
def test_median_draws_stay_near_the_limit(p0, p):
    alpha = 0.001
    divergence = p * math.log(p / p0) + (1 - p) * math.log((1 - p) / (1 - p0))
    limit = -math.log(alpha) / divergence
    law = stopping_distribution(p, int(1.35 * limit), rule(p0, alpha))
    assert sum(times.sum() for times in law.values()) >= 0.5


def test_the_object_follows_the_rule():
    radius = 0.4
    p0 = 0.7881446014166033  # Phi(0.8)
    for p in (0.6, 0.9):
        x = np.random.default_rng(int(10 * p)).random(3000) < p
        test = rsbounds.Decide(radius, 1, noise=NOISE, alpha=0.01, competitors="complement")
        stop = rule(p0, 0.01)
        s = 0
        for t, hit in enumerate(x, start=1):
            test.update([1 - int(hit), int(hit)])
            s += int(hit)
            code = stop(t, np.arange(t + 1))[s]
            assert test.active[0] == (code == 0)
            if code:
                break
        assert test.status[0] == ("yes" if p > p0 else "no")
        assert test.n[0] == t
        found = test.certificates()
        assert found.abstained[0] == (p < p0)
        assert found.radius[0] >= radius if p > p0 else found.radius[0] == 0
        assert found.radius[0] <= radius * (1 + 1e-13)


def test_rows_stop_on_their_own():
    test = rsbounds.Decide([0.1, 0.1, 5.0, 0.3], [0, 1, 0, 0], noise=NOISE, limit=1000)
    counts = np.array([[95, 5], [95, 5], [95, 5], [73, 27]])
    while test.active.any():
        test.update(counts)
        test = pickle.loads(pickle.dumps(test))
    assert test.status.tolist() == ["yes", "no", "no", "undecided"]
    assert test.n.tolist()[3] == 1000
    assert (test.n[:3] < 1000).all()
    with pytest.raises(ValueError, match="after every answer"):
        test.update(counts)


@pytest.mark.parametrize(
    ("radius", "sigma"), [(9.4, 0.25), (1e308, 0.25), (1.0, 1e-280), (1e300, 1e-10)]
)
def test_radii_beyond_floats_need_draws_for_an_answer(radius, sigma):
    def test(**options):
        return rsbounds.Decide(radius, 0, noise=rsbounds.Gaussian(sigma=sigma), **options)

    assert test().status[0] == "continue"
    assert test().wanted[0] > 0
    for_ever = test(limit=10**6)
    while for_ever.active.any():
        for_ever.update([for_ever.wanted[0], 0])
    assert (for_ever.status[0], for_ever.n[0]) == ("undecided", 10**6)
    assert for_ever.certificates().radius[0] == 0
    for alpha in (0.001, 1e-300):
        seen = test(alpha=alpha)
        seen.update([990, 10])
        # Ten votes against p_A >= 1 - 1e-300 refute it at any alpha.
        assert seen.status[0] == "no"
    # All the draws there can be: then it ends.
    last = test()
    last.update([10**12, 0])
    assert last.status[0] == "undecided"


def test_the_largest_radius_of_uniform_noise():
    law = rsbounds.Uniform(half_width=0.5)
    # p_A = 1 has exactly that radius: it was refuted with no draws.
    test = rsbounds.Decide([0.5, 0.5, 0.5000001], 0, noise=law, limit=10_000)
    assert test.status.tolist() == ["continue", "continue", "no"]
    while test.active.any():
        test.update([[10, 0], [9, 1], [0, 0]])
    assert test.status.tolist() == ["undecided", "no", "no"]
    assert test.n[2] == 0


def test_tiny_and_lopsided_radii():
    for radius, law in [
        (1e-280, rsbounds.Gaussian(sigma=1.0)),
        (1e-20, rsbounds.Gaussian(sigma=1e200)),
        (1e100, rsbounds.Uniform(half_width=1e280)),
    ]:
        test = rsbounds.Decide(radius, [0, 0], noise=law)
        test.update([[80, 20], [20, 80]])
        assert test.status.tolist() == ["yes", "no"]
        assert test.certificates().radius[0] == pytest.approx(radius, rel=1e-12)
    for radius, law, message in [
        (1e-300, rsbounds.Gaussian(sigma=1.0), "radius is 1e-300 with gaussian"),
        (1e-10, rsbounds.Gaussian(sigma=1e285), "radius is 1e-10 with gaussian"),
        (1e-10, rsbounds.Gaussian(sigma=1e-310), "noise is gaussian"),
        (1.0, rsbounds.Gaussian(sigma=1e300), "noise is gaussian"),
    ]:
        with pytest.raises(ValueError, match=message):
            rsbounds.Decide(radius, 0, noise=law)


def test_one_law_for_each_row():
    law = rsbounds.Gaussian(sigma=[0.25, 0.5])
    test = rsbounds.Decide(0.4, [0, 0], noise=law)
    run = rsbounds.Adaptive([0, 0], noise=law, looks=(1000, 10_000))
    for rule_ in (test, run):
        rule_.update([[900, 100], [900, 100]])
    assert test.status.tolist() == ["no", "yes"]
    assert run.n.tolist() == [1000, 1000]
    radius = run.certificates().radius
    assert radius[1] == pytest.approx(2 * radius[0], rel=1e-12)
    for kind in (rsbounds.Decide, rsbounds.Adaptive):
        with pytest.raises(ValueError, match="noise has parameters for 2 inputs; allowed"):
            kind(*((0.4,) if kind is rsbounds.Decide else ()), [0, 0, 0], noise=law)


@pytest.mark.parametrize("law", [rsbounds.Gaussian(sigma=0.5), rsbounds.Uniform(half_width=3.0)])
def test_both_thresholds_lie_on_their_safe_side(law):
    # "yes" must refute every p_A that the certificate's margin does not allow; "no" every one
    # that has the radius. Each number of the pair is rounded up.
    mpmath = pytest.importorskip("mpmath")
    radii = np.append(np.random.default_rng(0).uniform(0.0, 2.9, 200), [1e-12, 18.4])
    if law.scale == "linear":
        radii = radii[radii < 3]
    test = rsbounds.Decide(radii, 0, noise=law)
    half = radii / law.radius_per_margin / 2
    above, below = half * (1 + 1e-14) + 1e-15, half * (1 - 1e-14) - 1e-15
    with mpmath.workdps(60):
        for i, r in enumerate(radii.tolist()):
            asked = mpmath.mpf(r) / mpmath.mpf(law.radius_per_margin) / 2
            assert above[i] > asked * (1 + mpmath.mpf("8.5e-15"))
            assert below[i] < asked
            for at, (p, q) in [(above[i], test._yes[:, i]), (below[i], test._no[:, i])]:
                x = mpmath.mpf(at)
                true = mpmath.erfc(x / mpmath.sqrt(2)) / 2 if law.scale == "probit" else 0.5 - x
                assert p >= 1 - true
                assert true <= q < true * (1 + mpmath.mpf("1e-9"))


def test_what_a_class_index_may_be():
    test = rsbounds.Decide(0.1, 1.0, noise=NOISE)
    test.update([5, 95])
    assert test.status[0] == "yes"
    for top in (0.5, -1, [], [[0, 1]], True, "0", np.ma.array([0, 1], mask=[0, 1])):
        with pytest.raises(ValueError, match="top"):
            rsbounds.Decide(0.1, top, noise=NOISE)
        with pytest.raises(ValueError, match="top"):
            rsbounds.Adaptive(top, noise=NOISE)
    for radius in ("0.5", True, [[0.5]], [], [0.1, 0.2], np.ma.array([0.1] * 3, mask=[0, 1, 0])):
        with pytest.raises(ValueError, match="radius"):
            rsbounds.Decide(radius, [0, 1, 0], noise=NOISE)


def test_draws_cannot_outgrow_the_counts():
    test = rsbounds.Decide(4.0, 0, noise=NOISE)
    test.update([10**11, 0])
    assert test.wanted[0] == 64 + 10**11 // 8
    state = pickle.dumps(test)
    with pytest.raises(ValueError, match="counts row 0 brings its draws to 1100000000000"):
        test.update([10**12, 0])
    assert pickle.dumps(test) == state


def test_the_selection_counts_decide_nothing():
    votes = np.array([[95, 5], [5, 95]])
    test = rsbounds.Decide(0.1, rsbounds.select_top(votes), noise=NOISE)
    run = rsbounds.Adaptive(rsbounds.select_top(votes), noise=NOISE, looks=(100, 1000))
    for rule_ in (test, run):
        with pytest.raises(ValueError, match="top was selected from"):
            rule_.update(votes)
        assert rule_.n.tolist() == [0, 0]


def test_copies_of_the_selection_counts_decide_nothing():
    rng = np.random.default_rng(11)
    first, second = rng.multinomial(50, [0.6, 0.3, 0.1], size=(2, 4))
    whole = first + second
    for independent in (False, True):
        # At once: a copy, as another type, is the same sample.
        chosen = rsbounds.select_top(whole, independent=independent)
        rules = [
            rsbounds.Decide(0.4, chosen, noise=NOISE),
            rsbounds.Adaptive(chosen, noise=NOISE, looks=(100, 1000)),
        ]
        for rule_ in rules:
            if independent:
                rule_.update(whole.tolist())
                assert rule_.n.tolist() == [100] * 4
                continue
            state = pickle.dumps(rule_)
            with pytest.raises(ValueError, match="top was selected from counts with the same val"):
                rule_.update(whole.tolist())
            assert pickle.dumps(rule_) == state
            # Another sample of as many draws is welcome, and so is what follows.
            rule_.update(whole[:, ::-1].copy())
            assert rule_.n.tolist() == [100] * 4
        # In parts: all counts so far are the selection's.
        in_parts = [
            rsbounds.Decide(0.4, chosen, noise=NOISE, alpha=1e-9),
            rsbounds.Adaptive(chosen, noise=NOISE, looks=(50, 100, 1000), gain=0.0),
        ]
        for rule_ in in_parts:
            rule_.update(first)
            assert rule_.active.all()
            if independent:
                rule_.update(second)
                assert rule_.n.tolist() == [100] * 4
                continue
            rule_ = pickle.loads(pickle.dumps(rule_))
            with pytest.raises(ValueError, match="top was selected from counts with the same val"):
                rule_.update(second)
            assert rule_.n.tolist() == [50] * 4


def test_equal_counts_that_may_be_chance_are_taken():
    # Every vote for one class: independent samples agree there all the time.
    votes = np.array([[100, 0], [0, 100]])
    for rule_ in (
        rsbounds.Decide(0.4, rsbounds.select_top(votes), noise=NOISE),
        rsbounds.Adaptive(rsbounds.select_top(votes), noise=NOISE, looks=(100, 1000)),
    ):
        rule_.update(votes.copy())
        assert rule_.n.tolist() == [100, 100]


def test_decide_refuses():
    for arguments, message in [
        ({"radius": 0.0}, "radius is 0.0"),
        ({"radius": float("nan")}, "radius is nan"),
        ({"alpha": 2}, "alpha is 2"),
        ({"prior": (1, -1)}, "prior is -1"),
        ({"noise": 0.5}, "noise is 0.5"),
        ({"limit": 0}, "limit is 0"),
    ]:
        with pytest.raises(ValueError, match=message):
            rsbounds.Decide(**{"radius": 0.5, "top": 0, "noise": NOISE, **arguments})
    test = rsbounds.Decide(0.5, 0, noise=NOISE)
    test.update([3, 1])
    state = pickle.dumps(test)
    for bad in ([[3, 1], [1, 1]], [-1, 2], [0.5, 1], [float("nan"), 1], [[3]]):
        with pytest.raises(ValueError, match="allowed"):
            test.update(bad)
        assert pickle.dumps(test) == state


def test_looks():
    assert rsbounds.geometric_looks(100, 100) == (100,)
    looks = rsbounds.geometric_looks(100, 100_000, 3.0)
    assert looks[0] == 100
    assert looks[-1] == 100_000
    assert all(b / a <= 3.05 for a, b in itertools.pairwise(looks))
    for bad in ({"first": 0}, {"last": 5}, {"ratio": 1.0}):
        with pytest.raises(ValueError, match="allowed"):
            rsbounds.geometric_looks(**{"first": 10, "last": 100, **bad})


def drive(run, rng, p):
    while run.active.any():
        run.update(np.array([rng.multinomial(k, q) for k, q in zip(run.wanted, p, strict=True)]))
    return run


def test_adaptive_holds_its_error_probability():
    # False alarm of a correct method: 1e-6 (assert_error_rate).
    alpha, rows = 0.2, 2000
    p = np.tile([0.7, 0.25, 0.05], (rows, 1))
    truth = 0.25 * (ndtri(0.7) - ndtri(0.25))
    run = rsbounds.Adaptive(
        np.zeros(rows, int), noise=NOISE, alpha=alpha, looks=(50, 100, 200, 400, 800), gain=0.001
    )
    drive(run, np.random.default_rng(4), p)
    assert_error_rate(int((run.certificates().radius > truth).sum()), rows, alpha)
    assert (run.n == 800).mean() > 0.5


def test_adaptive_stops_where_nothing_is_to_gain():
    p = np.array([[0.3, 0.5, 0.2], [0.999, 0.0005, 0.0005], [0.6, 0.3, 0.1]])
    run = rsbounds.Adaptive([0, 0, 0], noise=NOISE)
    drive(run, np.random.default_rng(5), p)
    found = run.certificates()
    assert found.abstained.tolist() == [True, False, False]
    assert run.n[0] == 1000
    assert found.method == "adaptive runner-up"
    fixed = rsbounds.certify(np.round(100_000 * p).astype(int), [0, 0, 0], noise=NOISE, alpha=0.001)
    assert (found.radius[1:] > 0.9 * fixed.radius[1:]).all()
    assert (run.wanted == 0).all()


def test_adaptive_with_one_look_is_certify():
    counts = np.array([[80, 15, 5], [40, 35, 25]])
    run = rsbounds.Adaptive([0, 0], noise=NOISE, looks=(100,), method="complement")
    run.update(counts)
    want = rsbounds.certify(counts, [0, 0], noise=NOISE, method="complement")
    np.testing.assert_allclose(run.certificates().margin_lower, want.margin_lower, rtol=1e-12)
    assert not run.active.any()


def test_each_look_is_a_bound_at_its_share_of_alpha():
    # Every look at all of alpha errs too seldom to be seen by simulation.
    first, second = np.array([[80, 15, 5]]), np.array([[720, 145, 35]])
    for counts, looks in (((first,), (100, 1000)), ((first, second), (100, 1000))):
        run = rsbounds.Adaptive(
            [0], noise=NOISE, alpha=0.1, looks=looks, shares=(0.3, 0.7), gain=0.0
        )
        for part in counts:
            run.update(part)
        bounds = [
            rsbounds.margin_lower_bound(
                table, 0, alpha=0.1 * share, scale="probit", method="runner-up"
            ).lower[0]
            for table, share in ((first, 0.3), (first + second, 0.7))
        ]
        want = max(bounds[: len(counts)])
        assert run.certificates().margin_lower[0] == pytest.approx(want, rel=1e-12)


def test_adaptive_refuses():
    for arguments, message in [
        ({"looks": ()}, "looks is empty"),
        ({"looks": (1.5,)}, "looks is 1.5"),
        ({"looks": (10, 20), "shares": (1.0,)}, "shares is"),
        ({"looks": (10, 20), "shares": (0.5, 0.6)}, "adding to 1.1"),
        ({"gain": -1}, "gain is -1"),
        ({"looks": (10, 20), "shares": ("a", "b")}, "shares is"),
        ({"looks": (10, 10**13)}, "looks is 10000000000000"),
        ({"alpha": 1e-299}, "alpha is 1e-299, of which a look has 0.00"),
        ({"method": "x"}, "method is 'x'"),
        ({"noise": None}, "noise is None"),
    ]:
        with pytest.raises(ValueError, match=message):
            rsbounds.Adaptive(**{"top": 0, "noise": NOISE, **arguments})
    run = rsbounds.Adaptive(0, noise=NOISE, looks=(10, 100))
    run.update([8, 2])
    state = pickle.dumps(run)
    for bad, message in [
        ([8, 2], "counts row 0 sums to 10; allowed: 90"),
        ([80, 10, 0], "counts has 3 columns; allowed: 2"),
        ([[80, 10], [80, 10]], "counts has 2"),
        ([95, -5], "allowed: whole numbers"),
    ]:
        with pytest.raises(ValueError, match=message):
            run.update(bad)
        assert pickle.dumps(run) == state


def test_replay_of_published_counts(data_folder):
    path = data_folder / "cifar10_resnet110_sigma0.25_counts.tsv"
    votes = np.loadtxt(path, delimiter="\t", skiprows=1, dtype=np.int64)[:60, :-1]
    top = votes.argmax(axis=1)
    rng = np.random.default_rng(0)
    noise = rsbounds.Gaussian(sigma=0.25)
    fixed = rsbounds.certify(votes, top, noise=noise, alpha=0.001)
    run = rsbounds.Adaptive(top, noise=noise)
    left = votes.copy()
    while run.active.any():
        part = np.array(
            [
                rng.multivariate_hypergeometric(row, k, method="marginals")
                for row, k in zip(left, run.wanted.tolist(), strict=True)
            ]
        )
        left -= part
        run.update(part)
    assert run.n.mean() <= 60_000
    assert run.certificates().radius.mean() >= 0.97 * fixed.radius.mean()


# -- against every class -----------------------------------------------------------------------


def three_class_errors(p, radius, n, **options):
    """Exact chances of each answer by time n, a look after every draw of three classes."""
    law = rsbounds.Gaussian(sigma=0.5)
    mass = {(0, 0): 1.0}
    told = {}
    for t in range(1, n + 1):
        grown = {}
        for (a, b), m in mass.items():
            for step, chance in zip(((1, 0), (0, 1), (0, 0)), p, strict=True):
                at = a + step[0], b + step[1]
                grown[at] = grown.get(at, 0.0) + m * chance
        places = list(grown)
        counts = np.array([(a, b, t - a - b) for a, b in places])
        test = rsbounds.Decide(radius, np.zeros(len(counts), int), noise=law, **options)
        test.update(counts)
        status = test.status
        for place, word in zip(places, status.tolist(), strict=True):
            if word != "continue":
                told[word] = told.get(word, 0.0) + grown.pop(place)
        mass = grown
    return told


@pytest.mark.parametrize("no", ["proven", "futile"])
def test_wrong_answers_against_every_class_exactly(no):
    alpha, radius = 0.05, 0.1
    for b, c in [(0.3, 0.1), (0.42, 1e-6), (0.2, 0.2), (0.05, 0.75)]:
        # On the edge of the truth neither answer may come often.
        a = 1 - b - c
        t = ndtri(a) - ndtri(max(b, c))
        at = radius if abs(t) < 1e-9 else max(t, 0.02) * 0.25
        told = three_class_errors((a, b, c), at, 25, no=no, alpha=alpha, limit=60)
        assert told.get("yes", 0.0) <= alpha
        if t > 0.02:
            assert told.get("no", 0.0) <= alpha


def test_no_is_proven_where_the_complement_would_not_say_it():
    # p_A is above p0, and the runner-up takes nearly all of the rest: still the radius is smaller.
    p = np.array([0.80, 0.195, 0.005])
    truth = 0.25 * (ndtri(0.80) - ndtri(0.195))
    rng = np.random.default_rng(2)
    radius = np.repeat([truth * 1.25, truth * 0.75], 40)
    for top in (0, rsbounds.select_top(np.tile([80, 15, 5], (80, 1)), independent=True)):
        tops = np.zeros(80, int) if isinstance(top, int) else top
        test = rsbounds.Decide(radius, tops, noise=NOISE, alpha=0.01)
        while test.active.any():
            test.update(np.array([rng.multinomial(k, p) for k in test.wanted]))
        assert test.status.tolist() == ["no"] * 40 + ["yes"] * 40


def test_the_pieces_cover_the_statement():
    # Every p with p_A >= h(p_c) has, in the piece of its pair's share, c's share below the bound.
    for law, r in [(NOISE, 0.3), (rsbounds.Uniform(half_width=1.0), 0.4)]:
        test = rsbounds.Decide(r, 0, noise=law)
        pieces = test._pieces
        rng = np.random.default_rng(1)
        for _ in range(3000):
            b = rng.random() ** 4
            edge = float(law.roc(2 * r, b)) if law.scale == "probit" else b + r
            a = min(edge + rng.random() * rng.choice([1e-6, 0.1]), 1.0)
            if a + b > 1:
                continue
            k = int((pieces._sum[:, 0] > a + b).sum())
            assert b / (a + b) <= pieces._share[k, 0]
            assert a / (a + b) >= 1 - pieces._share[k, 0] - 1e-12


def test_a_hopeless_row_stops_early_and_others_do_not():
    rng = np.random.default_rng(8)
    p = np.array([[0.75, 0.15, 0.1]] * 50 + [[0.93, 0.04, 0.03]] * 200)
    told = {}
    for competitors in ("all", "complement"):
        for no in ("futile", "proven"):
            test = rsbounds.Decide(
                0.5, np.zeros(250, int), noise=NOISE, no=no, futility=0.05, limit=20_000,
                competitors=competitors,
            )  # fmt: skip
            while test.active.any():
                test.update(
                    np.array([rng.multinomial(k, q) for k, q in zip(test.wanted, p, strict=True)])
                )
                test = pickle.loads(pickle.dumps(test))
            told[competitors, no] = test
        one = told[competitors, "futile"]
        assert (one.status[:50] == "futile").all()
        assert one.n[:50].mean() < 0.5 * told[competitors, "proven"].n[:50].mean()
        # At most 5 % of the rows that are yes; a right share fails this once in 10^4.
        assert (one.status[50:] == "yes").mean() > 0.87
        assert one.certificates().abstained[:50].all()


def test_a_row_without_a_lost_vote_is_hopeless_only_where_no_votes_are_enough():
    # Half a vote against it was enough to give it up.
    for law, radius in [(NOISE, 2.2), (rsbounds.Uniform(half_width=0.5), 0.499999)]:
        for competitors in ("all", "complement"):
            for limit, answer in [(10**8, "yes"), (1000, "futile")]:
                test = rsbounds.Decide(
                    radius, 0, noise=law, no="futile", limit=limit, competitors=competitors
                )
                while test.active.any():
                    test.update([test.wanted[0], 0])
                assert test.status[0] == answer
                assert answer == "yes" or test.n[0] == 64


def test_options_of_decide_are_checked():
    for options, message in [
        ({"competitors": "some"}, "competitors is 'some'; allowed: all, complement"),
        ({"no": "maybe"}, "no is 'maybe'; allowed: proven, futile"),
        ({"futility": 0}, "futility is 0"),
        ({"prior_no": (1, 0)}, "prior is 0"),
    ]:
        with pytest.raises(ValueError, match=message):
            rsbounds.Decide(0.2, 0, noise=NOISE, **options)
