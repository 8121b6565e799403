"""The statistical assertions: how often they fail, how soon they end, what they say."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

import rsbounds
from rsbounds.bounds.mean.mixture import CAPS, WEIGHTS
from rsbounds.testing import (
    Refuted,
    assert_covers,
    assert_error_rate,
    assert_mean_at_least,
    assert_probability_at_least,
    assert_probability_at_most,
    assert_same_distribution,
    stopping_distribution,
)
from rsbounds.testing._bets import Odds, Twins, mean_could_reach, mean_reaches
from rsbounds.testing._trials import MISSED_ALARM, next_look


def test_assert_error_rate_fails_at_its_stated_rate():
    # The smallest count that fails is the first one beyond the binomial quantile.
    trials, alpha, chance = 2000, 0.01, 1e-3
    limit = next(k for k in range(trials) if stats.binom.sf(k - 1, trials, alpha) < chance)
    assert_error_rate(limit - 1, trials, alpha, false_alarm=chance)
    with pytest.raises(AssertionError, match=f"{limit} failures in 2000"):
        assert_error_rate(limit, trials, alpha, false_alarm=chance)
    with pytest.raises(ValueError, match="failures is 3"):
        assert_error_rate(3, 2, 0.1)


def looks(most):
    """Where an event of one trial a call is looked at."""
    found, t = [], 1
    while t <= most:
        found.append(t)
        t = next_look(t)
    return {*found, most}


def rule(p, at_most, false_alarm, most):
    """Code 1 where the claim is refuted, -1 where it is accepted."""
    odds, when = Odds(p), looks(most)
    above, below = odds.against_at_most, odds.against_at_least
    against, opposite = (above, below) if at_most else (below, above)

    def stop(t, s):
        if t not in when:
            return np.zeros(t + 1, dtype=np.int8)
        refuted = against(s, t - s) >= -math.log(false_alarm)
        accepted = opposite(s, t - s) >= -math.log(MISSED_ALARM)
        assert not (refuted & accepted).any()
        return np.where(refuted, 1, np.where(accepted, -1, 0)).astype(np.int8)

    return stop


@pytest.mark.parametrize("at_most", [True, False])
@pytest.mark.parametrize(("p", "most"), [(0.02, 1200), (0.5, 300), (0.93, 500)])
def test_false_and_missed_alarms_exactly(p, most, at_most):
    # Exact dynamic programming at the edge of the claim, where both are largest.
    law = stopping_distribution(p, most, rule(p, at_most, 0.05, most))
    assert 0.005 < law[1].sum() <= 0.05, "the rule should use what it is given"
    assert law[-1].sum() <= MISSED_ALARM
    # A true claim further off fails more seldom, a false one is missed more seldom.
    for q in (0.8 * p, p + 0.2 * (1 - p)):
        law = stopping_distribution(q, most, rule(p, at_most, 0.05, most))
        true = (q < p) == at_most
        code, allowed = (1, 0.05) if true else (-1, MISSED_ALARM)
        assert law.get(code, np.zeros(1)).sum() <= allowed


def test_trials_needed_exactly():
    # The figures of the docstring, near the information limits 45/p and 54/p.
    p = 0.05
    times = np.arange(3001)
    law = stopping_distribution(p / 2, 3000, rule(p, True, 1e-9, 3000))
    assert law[-1].sum() > 0.998
    assert (law[-1] * times).sum() < 55 / p
    law = stopping_distribution(2 * p, 3000, rule(p, True, 1e-9, 3000))
    assert law[1].sum() > 0.999
    assert (law[1] * times).sum() < 60 / p
    assert np.cumsum(law[1])[int(120 / p)] > 0.99


@pytest.mark.parametrize("at_most", [True, False])
@pytest.mark.parametrize(("q", "p"), [(0.1, 0.2), (0.4, 0.2), (0.85, 0.8), (0.5, 0.5)])
def test_the_assertion_follows_the_rule(q, p, at_most):
    stop = rule(p, at_most, 1e-3, 400)
    claim = assert_probability_at_most if at_most else assert_probability_at_least
    for seed in range(3):
        x = np.random.default_rng(seed).random(400) < q
        s = np.concatenate([[0], np.cumsum(x)])
        codes = [int(stop(t, np.arange(t + 1))[s[t]]) for t in range(1, 401)]
        end = next((t for t, code in enumerate(codes, 1) if code), 400)
        expected = {1: "refuted", -1: "accepted", 0: "not refuted"}[codes[end - 1]]
        try:
            found = claim(
                lambda rng: rng.random() < q, p, false_alarm=1e-3, max_trials=400, seed=seed
            )
        except Refuted as failure:
            found = failure.finding
        assert (found.verdict, found.trials) == (expected, end)
        assert found.estimate == s[end] / end
        assert found.lower <= found.estimate <= found.upper
        # The interval says the same as the verdict.
        excluded = found.lower > p if at_most else found.upper < p
        assert excluded == (expected == "refuted")


def test_extreme_probabilities_are_settled():
    rare = assert_probability_at_most(lambda rng: rng.random(10_000) < -1, 1e-6, seed=0)
    assert rare.verdict == "accepted"
    assert rare.trials < 12e6
    sure = assert_probability_at_least(lambda rng: rng.random(1000) < 2, 1 - 1e-5, seed=0)
    assert sure.verdict == "accepted"
    assert sure.estimate == sure.upper == 1.0
    with pytest.raises(Refuted, match="refuted by 12 of 12 trials"):
        assert_probability_at_most(lambda rng: rng.random() < 2, 1e-12, max_trials=10**6, seed=0)


def test_capitals_against_mpmath():
    import mpmath

    mpmath.mp.dps = 40

    def literally(s, f, p, small):
        # Average of the likelihood ratios over the prior cut to q > p.
        a, b = (mpmath.mpf(1), (1 - small) / small) if p <= 0.5 else ((1 - small) / small, 1)
        p = mpmath.mpf(p)
        won = mpmath.betainc(a + s, b + f, p, 1)
        return mpmath.log(won / mpmath.betainc(a, b, p, 1) / p**s / (1 - p) ** f)

    for p, s, n in [(0.05, 30, 300), (1e-6, 7, 10**6), (0.5, 70, 100), (0.9, 2950, 3000)]:
        small = mpmath.mpf(p) if p <= 0.5 else 1 - mpmath.mpf(p)
        got = float(Odds(p).against_at_most(np.array([s]), np.array([n - s]))[0])
        exact = float(literally(s, n - s, p, small))
        assert exact - 1e-3 < got <= exact


def test_what_a_failure_says():
    with pytest.raises(AssertionError) as failure:
        assert_probability_at_most(lambda rng: rng.random(4) < 0.3, 0.1)
    said = str(failure.value)
    found = failure.value.finding
    assert found.verdict == "refuted"
    assert said.splitlines()[0].startswith("P(event) <= 0.1 is refuted by ")
    assert said.splitlines()[0].endswith(f"seed={found.seed}")
    assert f"interval [{found.lower:.6g}, {found.upper:.6g}]" in said
    # What it says is enough to see it again.
    again = eval(f"dict({said.rpartition('with ')[2]})")
    with pytest.raises(AssertionError) as second:
        assert_probability_at_most(lambda rng: rng.random(4) < 0.3, 0.1, **again)
    assert str(second.value) == said


def test_fresh_seeds_unless_given():
    def event(rng):
        return rng.random(100) < 0.5

    seeds = {assert_probability_at_most(event, 0.9).seed for _ in range(3)}
    assert len(seeds) == 3


def boom(rng):
    if rng.random() < 0.1:
        raise ZeroDivisionError("no luck")
    return False


def grows(counter=itertools.count(1)):  # noqa: B008
    return lambda rng: rng.random(next(counter)) < 0.1


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (boom, r"boom raised ZeroDivisionError: no luck \(in trial \d+; seed=7\)"),
        (lambda rng: rng.integers(2), r"event failed: it gave .*; allowed: True or False.*seed=7"),
        (lambda rng: None, "it gave None"),
        (lambda rng: rng.random(), "it gave 0.6"),
        (lambda rng: rng.random((2, 2)) < 0.5, "it gave array"),
        (lambda rng: rng.random(0) < 0.5, "it gave array"),
        (grows(), r"gave shape \(2,\) after \(1,\)"),
        (lambda rng: np.random.default_rng(0).random() < 0.01, r"drew nothing .*seed=7"),
        (3, "event is 3"),
    ],
)
def test_bad_events_are_named_with_the_seed(event, said):
    # No ValueError is an AssertionError, so that no broken event passes for a refuted claim.
    with pytest.raises(ValueError, match=said):
        assert_probability_at_most(event, 0.4, seed=7)


def test_bad_numbers_are_named():
    def event(rng):
        return rng.random() < 0.5

    for p in (0.0, 1.0, -0.1, 1.5, math.nan, None, "0.5", 5e-324, 1e-100, math.nextafter(1, 0)):
        with pytest.raises(ValueError, match=r"p is .*allowed: a number with 0 < value < 1"):
            assert_probability_at_most(event, p)
    with pytest.raises(ValueError, match="false_alarm is 0"):
        assert_probability_at_least(event, 0.5, false_alarm=0)
    with pytest.raises(ValueError, match="seed is -1"):
        assert_probability_at_least(event, 0.5, seed=-1)
    # An assertion that cannot fail is none.
    with pytest.raises(ValueError, match=r"max_trials is 5 .*allowed: at least") as failure:
        assert_probability_at_most(event, 0.5, max_trials=5)
    least = int(str(failure.value).split("at least ")[1].split(",")[0])
    with pytest.raises(Refuted, match=f"refuted by {least} of {least} trials"):
        assert_probability_at_most(lambda rng: rng.random() < 2, 0.5, max_trials=least)
    with pytest.raises(ValueError, match=f"at least {least}"):
        assert_probability_at_most(event, 0.5, max_trials=least - 1)
    # Neither is one without a whole call.
    with pytest.raises(ValueError, match=r"max_trials is 90 \(of which 100 in a call\).*least 100"):
        assert_probability_at_most(lambda rng: rng.random(100) < 0.1, 0.5, max_trials=90)
    with pytest.raises(ValueError, match="could refute no claim"):
        assert_mean_at_least(lambda rng: rng.random(), 0.5, max_trials=5)
    with pytest.raises(ValueError, match="could refute no claim"):
        assert_same_distribution(lambda rng: rng.random(), lambda rng: rng.random(), max_trials=50)


def test_covers_finds_a_bound_that_is_a_little_too_good():
    def sampler(rng):
        return rng.binomial(50, 0.8, size=200)

    def greedy(k):
        return rsbounds.clopper_pearson_lower(k, 50, alpha=0.2)

    with pytest.raises(AssertionError, match=r"P\(greedy excludes 0.8\) <= 0.05 is refuted by"):
        assert_covers(greedy, sampler, 0.8, 0.05, seed=1)
    found = assert_covers(
        lambda k: rsbounds.clopper_pearson_interval(k, 50, alpha=0.05),
        sampler, 0.8, 0.06, side="both", seed=1,
    )  # fmt: skip
    assert found.verdict != "refuted"
    exact = stats.binom.sf(44, 50, 0.8)
    upper = assert_covers(
        lambda k: np.where(k == 50, 0.7, 1.0), sampler, 0.8, 0.02, side="upper", seed=2
    )
    assert upper.verdict == "accepted"
    assert upper.lower <= exact


def test_covers_names_bad_bounds():
    def sampler(rng):
        return rng.binomial(50, 0.8, size=4)

    for bound, said in (
        (lambda k: k * math.nan, r"bound failed: it is NaN; allowed: numbers .*seed=3"),
        (lambda k: np.zeros((2, 2)), r"it has shape \(2, 2\)"),
        (lambda k: np.zeros(1 + k[0] % 2), "gave shape"),
        (lambda k: "low", "bound"),
        (lambda k: 1 // 0, "raised ZeroDivisionError"),
    ):
        with pytest.raises(ValueError, match=said):
            assert_covers(bound, sampler, 0.8, 0.05, seed=3)
    with pytest.raises(ValueError, match=r"allowed with side 'both': \(lower, upper\)"):
        assert_covers(lambda k: k / 50, sampler, 0.8, 0.05, side="both")
    with pytest.raises(ValueError, match="truth is nan"):
        assert_covers(lambda k: k / 50, sampler, math.nan, 0.05)
    with pytest.raises(ValueError, match="bound and sampler are 3"):
        assert_covers(3, sampler, 0.8, 0.05)


@pytest.mark.parametrize("m", [0.1, 0.7])
def test_mean_false_alarms_exactly(m):
    # Votes are the bounded draws whose capital is a function of (t, successes).
    caps, weights = np.array(CAPS)[:, None], np.array(WEIGHTS)[:, None]

    def stop(t, s):
        # Against "at least m": draws turned round.
        log = (t - s) * np.log1p(caps * (1 / (1 - m) - 1)) + s * np.log1p(-caps)
        with np.errstate(over="ignore"):
            return ((weights * np.exp(log)).sum(axis=0) >= 1 / 0.05).astype(np.int8)

    law = stopping_distribution(m, 600, stop)
    assert 0.005 < law[1].sum() <= 0.05
    x = (np.random.default_rng(5).random(600) < 0.3 * m) * 1.0
    s = np.cumsum(x).astype(int)
    crossed = next(t for t in range(1, 601) if stop(t, np.array([s[t - 1]]))[0])
    assert mean_reaches(1.0 - x[:crossed], 1.0 - m, 0.05)
    assert not mean_reaches(1.0 - x[: crossed - 1], 1.0 - m, 0.05)


def test_how_many_ones_a_mean_takes():
    for m, alpha in [(0.5, 1e-9), (0.9, 1e-3), (1e-3, 1e-9), (0.999, 0.2)]:
        n = next(n for n in range(1, 10**5) if mean_could_reach(n, m, alpha))
        assert mean_reaches(np.ones(n), m, alpha)
        assert n == 1 or not mean_reaches(np.ones(n - 1), m, alpha)
    # Where it takes more than there is memory for, that is said, and nothing is tried.
    with pytest.raises(ValueError, match=r"max_trials is 100000 .*allowed: at least 2\d{10}"):
        assert_mean_at_least(lambda rng: rng.random(), 1e-9)


def test_means():
    def scores(rng):
        return 2.0 * rng.beta(20, 2, size=20) - 1.0

    true = 2 * 20 / 22 - 1
    assert assert_mean_at_least(scores, true - 0.05, support=(-1, 1), seed=1).verdict == "accepted"
    edge = assert_mean_at_least(scores, true, support=(-1, 1), max_trials=5000, seed=1)
    assert edge.verdict == "not refuted"
    assert edge.lower <= true <= edge.upper
    with pytest.raises(AssertionError, match=r"E\(scores\) >= 0.85 is refuted by \d+ draws") as it:
        assert_mean_at_least(scores, 0.85, support=(-1, 1), seed=1)
    assert it.value.finding.upper < 0.85
    assert it.value.finding.estimate == pytest.approx(true, abs=0.05)
    for sampler, said in (
        (lambda rng: rng.random() * 3, r"outside|allowed: numbers in \[0, 1\] \(in trial"),
        (lambda rng: rng.random((2, 2)), "allowed: a number, or"),
        (lambda rng: math.nan, "it gave nan"),
        (lambda rng: rng.random(1 + rng.integers(2)), "gave shape|"),
    ):
        with pytest.raises(ValueError, match=said):
            assert_mean_at_least(sampler, 0.5, seed=4)
    for bad in (0.0, 1.0, math.nan):
        with pytest.raises(ValueError, match="mean is"):
            assert_mean_at_least(scores, bad)
    with pytest.raises(ValueError, match="support is"):
        assert_mean_at_least(scores, 0.5, support=(1, 0))


def test_twins_are_a_fair_game_exactly():
    # Under the hypothesis the two of a pair may be swapped: over all swaps of the pairs that are
    # bet on, the capital keeps its mean of one.
    rng = np.random.default_rng(0)
    pilot, late = rng.integers(0, 5, size=(2, 2, 32, 3)) * 1.0
    late = late[:, :9]
    total = []
    for swaps in itertools.product((False, True), repeat=9):
        game = Twins(np.random.default_rng(1))
        game.take(*pilot)
        turned = np.where(np.array(swaps)[None, :, None], late[::-1], late)
        game.take(*turned)
        total.append(math.exp(game.log_capital()))
    assert np.mean(total) == pytest.approx(1.0, abs=1e-9)
    assert np.mean(total) <= 1.0 + 1e-12
    assert max(total) > 1.5


def test_same_distribution():
    def normal(rng):
        return rng.normal(size=50)

    found = assert_same_distribution(normal, lambda rng: rng.normal(size=50), seed=1)
    assert (found.verdict, found.trials) == ("not refuted", 20_000)
    shift = (lambda rng: rng.normal(0.3, 1, size=50), "a draw is at most")
    wide = (lambda rng: rng.normal(0, 1.4, size=50), "a draw is at most")
    for other, said in (shift, wide):
        with pytest.raises(AssertionError, match=said) as failure:
            assert_same_distribution(normal, other, seed=1)
        assert "differ after" in str(failure.value).splitlines()[0]
        assert failure.value.finding.trials < 6000
    # Equal coordinates, another dependence: the random directions see it.
    with pytest.raises(AssertionError, match="a random direction"):
        assert_same_distribution(
            lambda rng: rng.normal(size=(50, 2)),
            lambda rng: np.repeat(rng.normal(size=(50, 1)), 2, axis=1),
            seed=1,
        )
    # An atom beside a density.
    with pytest.raises(AssertionError, match="differ after"):
        assert_same_distribution(
            lambda rng: rng.random(50), lambda rng: np.maximum(rng.random(50), 0.2), seed=1
        )


def test_same_distribution_holds_its_false_alarms():
    failures = 0
    for seed in range(150):
        try:
            assert_same_distribution(
                lambda rng: rng.poisson(2, size=(40, 2)),
                lambda rng: rng.poisson(2, size=(40, 2)),
                false_alarm=0.1, max_trials=400, seed=seed,
            )  # fmt: skip
        except AssertionError:
            failures += 1
    assert_error_rate(failures, 150, 0.1)


def test_same_distribution_names_bad_samplers():
    def good(rng):
        return rng.random(20)

    for other, said in (
        (lambda rng: rng.random(10), r"it gave shape \(20, 1\) and sampler_b \(10, 1\).*seed=2"),
        (lambda rng: rng.random((20, 3)), r"\(20, 1\) and sampler_b \(20, 3\)"),
        (lambda rng: np.arange(20) / 20, "sampler_b drew nothing"),
        (lambda rng: "a", "sampler_b failed: it has type"),
        (lambda rng: rng.random(20) * np.inf, "it gave array"),
        (boom, "sampler_b raised|boom raised|boom"),
    ):
        with pytest.raises(ValueError, match=said):
            assert_same_distribution(good, other, seed=2, max_trials=400)
