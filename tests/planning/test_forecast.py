"""Forecasts against closed forms, complete sums and plain simulation."""

import json
import math

import numpy as np
import pytest
from scipy import stats

import rsbounds
from rsbounds.planning import plot_plan
from rsbounds.planning._outcomes import Input
from rsbounds.planning.forecast import CHANCES
from rsbounds.testing import outcomes

LAW = rsbounds.Gaussian(0.5)
QUICK = {"method": "runner-up", "sequential": False}


def lower_bound(x, n, alpha):
    """Clopper and Pearson, from the beta quantile."""
    return np.where(x == 0, 0.0, stats.beta.ppf(alpha, np.maximum(x, 1), n - x + 1))


# -- fixed n -------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["complement", "exact"])
@pytest.mark.parametrize(
    ("p", "radius", "alpha", "success"),
    [(0.9, 0.5, 0.001, 0.9), (0.99, 1.0, 0.01, 0.5), (0.9999, 1.3, 1e-6, 0.95),
     (0.55, 0.05, 0.05, 0.7)],
)  # fmt: skip
def test_draws_of_two_classes_are_those_of_the_binomial(method, p, radius, alpha, success):
    made = rsbounds.plan(
        p=p, noise=LAW, radius=radius, n=1000, alpha=alpha, success=success, method=method,
        n0=None, sequential=False,
    )  # fmt: skip
    found = made.needed[0]["draws"][0]
    threshold = stats.norm.cdf(radius / 0.5)

    def chance(n):
        x = np.arange(n + 1)
        return stats.binom.pmf(x, n, p)[lower_bound(x, n, alpha) >= threshold].sum()

    # The chance falls back with each lost vote that is no longer allowed, so that a few draws less
    # may do as well, many less not.
    assert chance(found) >= success - 0.01
    enough = [n for n in np.linspace(0.5 * found, found, 40).astype(int) if chance(n) >= success]
    assert min(enough, default=found) >= 0.85 * found
    # The radii of 1,000 draws, by every outcome.
    x = np.arange(1001)
    radii = np.maximum(0.5 * stats.norm.ppf(lower_bound(x, 1000, alpha)), 0.0)
    weights = stats.binom.pmf(x, 1000, p)
    one = made.expected[0]
    assert one["mean"] == pytest.approx(radii @ weights, rel=0.005)
    for chance_of, quantile in zip(CHANCES, one["quantiles"], strict=True):
        # Increasing in x: the radius that is reached with that chance.
        exact = [
            radii[int(stats.binom.ppf(1 - c, 1000, p))]
            for c in (chance_of + 0.01, chance_of - 0.01)
        ]
        assert exact[0] * 0.999 <= quantile <= exact[1] * 1.001
    assert one["accuracy"][0] == pytest.approx(chance(1000), abs=0.01)


@pytest.mark.parametrize("method", ["exact", "runner-up", "complement"])
def test_radii_of_many_classes_are_those_of_plain_simulation(method):
    p, n, alpha = [0.7, 0.14, 0.1, 0.06], 3000, 0.01
    votes = np.random.default_rng(7).multinomial(n, p, size=1500)
    radii = rsbounds.certify(votes, 0, noise=LAW, alpha=alpha, method=method).radius
    at = float(np.median(radii))
    made = rsbounds.plan(
        p=p, noise=LAW, radius=at, n=n, alpha=alpha, method=method, sequential=False, n0=None
    )
    one = made.expected[0]
    spread = radii.std() / math.sqrt(len(radii))
    assert abs(one["mean"] - radii.mean()) < 5 * spread
    for chance, quantile in zip(CHANCES, one["quantiles"], strict=True):
        low, high = np.quantile(radii, [1 - chance - 0.03, 1 - chance + 0.03])
        assert low <= quantile <= high
    assert one["accuracy"][0] == pytest.approx(0.5, abs=0.05)
    found = made.needed[0]["draws"][0]
    assert found > n
    votes = np.random.default_rng(8).multinomial(found, p, size=600)
    share = (rsbounds.certify(votes, 0, noise=LAW, alpha=alpha, method=method).radius >= at).mean()
    assert share == pytest.approx(0.9, abs=0.06)


def test_few_draws_are_summed_over_every_outcome():
    # All compositions of 12 votes, two selection draws included in closed form by simulation.
    p, n = np.array([0.6, 0.3, 0.1]), 12
    table = outcomes(n, 3)
    radii = rsbounds.certify(table, 0, noise=LAW, alpha=0.2, method="complement").radius
    weights = stats.multinomial.pmf(table, n, p)
    made = rsbounds.plan(
        p=p, noise=LAW, radius=0.05, n=n, alpha=0.2, method="complement", n0=None, sequential=False
    )
    one = made.expected[0]
    assert one["mean"] == pytest.approx(radii @ weights, rel=0.02)
    assert one["accuracy"][0] == pytest.approx(weights[radii >= 0.05].sum(), abs=0.02)
    few = rsbounds.plan(
        p=p, noise=LAW, n=4, alpha=0.2, method="complement", n0=None, sequential=False
    )  # fmt: skip
    table = outcomes(4, 3)
    radii = rsbounds.certify(table, 0, noise=LAW, alpha=0.2, method="complement").radius
    assert few.expected[0]["mean"] == pytest.approx(radii @ stats.multinomial.pmf(table, 4, p))


def test_a_pilot_promises_what_its_votes_may_have_come_from():
    votes, n, alpha, radius = (58, 2), 2000, 0.001, 0.6
    made = rsbounds.plan(
        [votes], noise=LAW, radius=radius, n=n, alpha=alpha, success=0.8, n0=None, sequential=False,
        method="complement",
    )  # fmt: skip
    x = np.arange(n + 1)
    weights = stats.betabinom.pmf(x, n, votes[0] + 0.5, votes[1] + 0.5)
    radii = np.maximum(0.5 * stats.norm.ppf(lower_bound(x, n, alpha)), 0.0)
    one = made.expected[0]
    assert one["mean"] == pytest.approx(radii @ weights, rel=0.02)
    assert one["accuracy"][0] == pytest.approx(weights[radii >= radius].sum(), abs=0.03)
    # What any number of draws can do, from the posterior.
    truly = stats.beta.sf(stats.norm.cdf(radius / 0.5), votes[0] + 0.5, votes[1] + 0.5)
    assert made.needed[0]["chance"][0] == pytest.approx(truly, abs=0.03)
    assert truly > 0.8
    # Fewer draws would do if the share seen were the probability.
    plug_in = rsbounds.plan(
        p=votes[0] / 60, noise=LAW, radius=radius, n=n, alpha=alpha, success=0.8, n0=None,
        sequential=False, method="complement",
    )  # fmt: skip
    assert plug_in.needed[0]["draws"][0] < made.needed[0]["draws"][0]
    # A short pilot without a lost vote is no promise of a large radius.
    sure = rsbounds.plan([[20, 0]], noise=LAW, radius=[0.3, 1.5], n=100, **QUICK)
    assert sure.needed[0]["reached"] == 1
    assert sure.needed[1]["improbable"] == 1
    assert 0.1 < sure.needed[1]["chance"][0] < 0.9


def test_a_selection_that_may_choose_another_class_is_counted():
    p, n0 = np.array([0.55, 0.45]), 9
    one = Input(None, p, 0, LAW, n0=n0, draws=2048, seed=(0, 0))
    other = Input(None, p[::-1], 1, LAW, n0=10, draws=2048, seed=(0, 0))
    picked = stats.binom.sf(4, 9, 0.55)
    assert one.limit().weights[1] == pytest.approx(picked, rel=1e-12)
    # The lower index on a tie.
    assert other.limit().weights[1] == pytest.approx(stats.binom.sf(5, 10, 0.55), rel=1e-12)
    made = rsbounds.plan(p=p, noise=LAW, radius=0.01, n0=n0, n=10**6, **QUICK)
    assert made.needed[0]["chance"][0] == pytest.approx(picked)
    assert made.needed[0]["improbable"] == 1
    assert made.expected[0]["accuracy"][0] == pytest.approx(picked, abs=0.01)
    three = Input(None, np.array([0.5, 0.3, 0.2]), 0, LAW, n0=5, draws=20_000, seed=(0, 0))
    table = outcomes(5, 3)
    right = stats.multinomial.pmf(table, 5, [0.5, 0.3, 0.2])[table.argmax(axis=1) == 0].sum()
    assert three.limit().weights[1] == pytest.approx(right, abs=0.02)


@pytest.mark.parametrize(
    "law", [rsbounds.Uniform(1.0), rsbounds.Gaussian(0.5, lattice="auto"),
            rsbounds.Lipschitz(1.0, LAW), rsbounds.Laplace(0.5)]
)  # fmt: skip
def test_every_law_has_its_own_radius(law):
    p, n = [0.8, 0.15, 0.05], 1000
    made = rsbounds.plan(p=p, noise=law, n=n, n0=None, **QUICK)
    votes = np.random.default_rng(3).multinomial(n, p, size=2000)
    radii = rsbounds.certify(votes, 0, noise=law, method="runner-up").radius
    assert made.expected[0]["mean"] == pytest.approx(radii.mean(), rel=0.01)
    if law.scale == "linear" and not law.curve_only:
        assert made.pilot.law(0).radius(0.65) == pytest.approx(
            Input(None, np.array(p), 0, law, n0=None, draws=9, seed=(0, 0)).limit().values[1]
        )


def test_a_law_without_chance_has_nothing_to_plan():
    from rsbounds.noises import BlockAblation

    with pytest.raises(ValueError, match="cells are counted and not sampled; allowed for plan"):
        rsbounds.plan(p=0.9, noise=BlockAblation(**BlockAblation.variants[0]))


def test_inputs_may_have_laws_of_their_own():
    laws = rsbounds.Gaussian([0.25, 0.5])
    both = rsbounds.plan(p=[[0.9, 0.1]] * 2, noise=laws, radius=0.2, n=500, n0=None, **QUICK)
    for i, sigma in enumerate((0.25, 0.5)):
        one = rsbounds.plan(
            p=0.9, noise=rsbounds.Gaussian(sigma), radius=0.2, n=500, n0=None, **QUICK
        )
        assert both.needed[0]["draws"][i] == one.needed[0]["draws"][0]
    assert "2 laws" in both.noise
    with pytest.raises(ValueError, match="noise has parameters for 2 inputs"):
        rsbounds.plan(p=0.9, noise=laws)


# -- tests that stop by themselves ---------------------------------------------------------------


def test_sequential_draws_are_those_of_the_rule():
    p, radius, alpha = np.array([0.9, 0.06, 0.04]), 0.5, 0.001
    made = rsbounds.plan(
        p=p, noise=LAW, radius=radius, n=100, alpha=alpha, method="runner-up", n0=None, limit=20_000
    )
    found = made.needed[0]["sequential"]
    rng, draws, yes = np.random.default_rng(99), [], 0
    for _ in range(300):
        test = rsbounds.Decide(radius, 0, noise=LAW, alpha=alpha, no="futile", limit=20_000)
        while test.active.any():
            test.update(rng.multinomial(test.wanted[0], p))
        draws.append(int(test.n[0]))
        yes += test.status[0] == "yes"
    assert found["yes"] == pytest.approx(yes / 300, abs=0.05)
    error = np.std(draws) * math.sqrt(1 / 300 + 1 / 400)
    assert abs(found["draws"] - np.mean(draws)) < 5 * error
    assert found["total"] == pytest.approx(found["draws"])
    assert found["median"] <= found["most"]


def test_sequential_draws_of_two_classes_are_near_the_information():
    # Wald's bound: no test of power one takes fewer than ln(1/alpha)/KL draws on average.
    p, radius, alpha = 0.95, 0.6, 1e-6
    edge = stats.norm.cdf(radius / 0.5)
    divergence = p * math.log(p / edge) + (1 - p) * math.log((1 - p) / (1 - edge))
    made = rsbounds.plan(p=p, noise=LAW, radius=radius, n=100, alpha=alpha, method="complement")
    found = made.needed[0]["sequential"]
    assert found["yes"] > 0.98
    assert 0.98 * math.log(1 / alpha) < found["draws"] * divergence < 1.7 * math.log(1 / alpha)


def test_hopeless_inputs_cost_little_and_never_run_on():
    made = rsbounds.plan(p=[0.4, 0.35, 0.25], noise=LAW, radius=1.0, n=100, method="runner-up")
    found = made.needed[0]["sequential"]
    assert found["yes"] == 0.0
    assert found["most"] < 2000
    assert made.needed[0]["draws"] == [None]


# -- the record ----------------------------------------------------------------------------------


def test_a_plan_is_a_forecast_and_says_so():
    made = rsbounds.plan([[97, 2, 1], [50, 30, 20]], noise=LAW, radius=0.3, n=[100, 1000], **QUICK)
    assert made.guarantee == "forecast"
    assert str(made).startswith("forecast, no guarantee: 2 inputs, gaussian(sigma=0.5)")
    assert "the pilot's draws must not be bounded." in str(made)
    assert "forecast" in repr(made)
    assert made._repr_html_().startswith("<pre>forecast")
    held = json.loads(json.dumps(made.as_dict(), allow_nan=False))
    assert held["guarantee"] == "forecast"
    assert len(held["needed"][0]["draws"]) == 2
    again = rsbounds.plan([[97, 2, 1], [50, 30, 20]], noise=LAW, radius=0.3, n=[100, 1000], **QUICK)
    assert again.as_dict() == made.as_dict()
    other = rsbounds.plan(
        [[97, 2, 1], [50, 30, 20]], noise=LAW, radius=0.3, n=[100, 1000], seed=1, **QUICK
    )
    assert other.as_dict() != made.as_dict()


def test_more_draws_and_a_larger_alpha_never_forecast_less():
    made = rsbounds.plan(
        p=[0.8, 0.15, 0.05], noise=LAW, radius=[0.1, 0.2, 0.3], n=[100, 1000, 10_000],
        alpha=[0.001, 0.05], **QUICK,
    )  # fmt: skip
    mean = {(one["n"], one["alpha"]): one["mean"] for one in made.expected}
    draws = {(one["radius"], one["alpha"]): one["median"] for one in made.needed}
    assert mean[100, 0.001] < mean[1000, 0.001] < mean[10_000, 0.001] < mean[10_000, 0.05]
    assert draws[0.1, 0.05] < draws[0.1, 0.001] < draws[0.2, 0.001] < draws[0.3, 0.001]


def test_labels_say_which_certificates_count():
    p = [[0.9, 0.1], [0.9, 0.1]]
    made = rsbounds.plan(p=p, noise=LAW, labels=[0, 1], radius=0.1, n=1000, n0=None, **QUICK)
    assert made.labelled
    assert made.expected[0]["accuracy"] == pytest.approx([0.5], abs=0.01)
    assert "certified accuracy" in str(made)
    # A class that does not lead is never certified.
    other = rsbounds.plan(p=p, noise=LAW, top=[0, 1], radius=0.1, n=1000, n0=None, **QUICK)
    assert other.needed[0]["draws"][1] is None
    assert other.needed[0]["chance"][1] == 0.0


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_the_figure(tmp_path, ending):
    made = [
        rsbounds.plan(p=0.9, noise=rsbounds.Gaussian(s), radius=0.1, n=[100, 1000], **QUICK)
        for s in (0.25, 0.5)
    ]
    path = tmp_path / f"plan.{ending}"
    assert plot_plan(made, path=path, title="sigmas") == path
    assert path.stat().st_size > 1000
    with pytest.raises(ValueError, match="which is there already"):
        plot_plan(made[0], path=path)
    with pytest.raises(ValueError, match="plan is empty"):
        plot_plan([], path=tmp_path / "b.png")


# -- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "pilot and p are not given"),
        ({"pilot": [[9, 1]], "p": 0.9}, "pilot and p are both given"),
        (
            {"p": [0.9, 0.05]},
            "p row 0 has 2 entries that add to 0.95; allowed: at least 2 that add",
        ),
        ({"p": [0.9, 0.2]}, "add to 1.1"),
        ({"p": [0.9, 0.2], "num_classes": 10}, "add to 1.1"),
        ({"p": [1.0]}, "1 entries"),
        ({"p": [0.9, 0.1], "num_classes": 1}, "num_classes is 1"),
        ({"p": [1.1, -0.1]}, "allowed: probabilities from 0 to 1"),
        ({"p": [float("nan"), 1.0]}, "allowed: probabilities from 0 to 1"),
        ({"p": []}, "p has shape"),
        ({"p": [[[0.9, 0.1]]]}, "p has shape"),
        ({"p": "0.9"}, "p has type"),
        ({"pilot": [[9.5, 0.5]]}, "whole numbers"),
        ({"pilot": [[0, 0]]}, "sums to 0"),
        ({"pilot": [[-1, 5]]}, "whole numbers >= 0"),
        ({"pilot": [[9, 1]], "num_classes": 3}, "num_classes is 3 with a pilot"),
        ({"p": 0.9, "noise": None}, "noise is None"),
        ({"p": 0.9, "alpha": 0}, "alpha is 0"),
        ({"p": 0.9, "alpha": 1}, "alpha is 1"),
        ({"p": 0.9, "alpha": [0.1, float("nan")]}, "alpha is nan"),
        ({"p": 0.9, "success": 0}, "success is 0"),
        ({"p": 0.9, "success": 1}, "success is 1"),
        ({"p": 0.9, "radius": 0}, "radius is 0"),
        ({"p": 0.9, "radius": [0.1, -1]}, "radius is -1"),
        ({"p": 0.9, "radius": float("inf")}, "radius is inf"),
        ({"p": 0.9, "n": 0}, "n is 0"),
        ({"p": 0.9, "n": 1.5}, "n is 1.5"),
        ({"p": 0.9, "n0": 0}, "n0 is 0"),
        ({"p": 0.9, "limit": 0}, "limit is 0"),
        ({"p": 0.9, "seed": -1}, "seed is -1"),
        ({"p": 0.9, "top": 2}, r"top\[0\] is 2"),
        ({"p": 0.9, "labels": [0, 1]}, "labels has 2 entries"),
        ({"p": 0.9, "method": "best"}, "method is 'best'"),
        ({"p": 0.9, "split": 3}, "split"),
    ],
)
def test_bad_arguments_are_named(given, message):
    with pytest.raises(ValueError, match=message):
        rsbounds.plan(**{"noise": LAW, **given})


def test_a_radius_out_of_reach_is_said_to_be():
    made = rsbounds.plan(p=0.9, noise=LAW, radius=[0.64, 0.65, 50.0], n=100, **QUICK)
    # Phi^-1(0.9) / 2 is 0.6408: the first takes many draws, the others none will do.
    assert made.needed[0]["beyond"] == 1
    assert [one["improbable"] for one in made.needed] == [0, 1, 1]
    assert "improbable: no number of draws has that chance" in str(made)
    box = rsbounds.plan(p=1.0, noise=rsbounds.Uniform(0.5), radius=[0.4, 0.6], n=100, **QUICK)
    assert [one["reached"] for one in box.needed] == [1, 0]
    # Probabilities of one: no radius is out of reach, and every vote is for the class.
    sure = rsbounds.plan(p=[1.0, 0.0, 0.0], noise=LAW, radius=[0.5, 1.2], n=100, **QUICK)
    assert sure.needed[0]["draws"][0] < sure.needed[1]["draws"][0] < 1200
    none = rsbounds.plan(p=[0.5, 0.5], noise=LAW, radius=1e-6, n=100, **QUICK)
    assert none.needed[0]["improbable"] == 1


# -- draws that were used ------------------------------------------------------------------------


def vote(batch):
    return (batch[:, 0] > 0).astype(int)


X = np.array([[0.5], [0.9], [-0.3], [0.02]])
DRAW = {"noise": LAW, "num_classes": 2}


def test_the_draws_of_a_pilot_are_refused_for_certificates(tmp_path):
    pilot = rsbounds.sample_counts(vote, X, n=300, seed=5, **DRAW)
    made = rsbounds.plan(pilot, noise=LAW, n=1000, **QUICK)
    assert "(any seed but 5)" in str(made)
    again = rsbounds.sample_counts(vote, X, n=1000, seed=5, **DRAW)
    other = rsbounds.sample_counts(vote, X, n=1000, seed=6, **DRAW)
    # The pilot itself, more of its stream, its seed, a store of that seed.
    for sample in (pilot, again, 5, np.int64(5)):
        with pytest.raises(ValueError, match="the sample has seed 5, as the pilot"):
            made.check_fresh(sample)
    with pytest.raises(ValueError, match=r"the sample is the pilot itself|the same values"):
        made.check_fresh(np.asarray(pilot))
    with pytest.raises(ValueError, match="the same values"):
        made.check_fresh(np.asarray(pilot).tolist())
    made.check_fresh(other)
    made.check_fresh(np.asarray(other))
    made.check_fresh(6)
    for seed in (5, 6):
        rsbounds.certify_dataset(
            vote, X, store=tmp_path / f"{seed}.sqlite", n=500, seed=seed, progress=False, **DRAW
        )
    made.check_fresh(tmp_path / "6.sqlite")
    with pytest.raises(ValueError, match="as the pilot"):
        made.check_fresh(tmp_path / "5.sqlite")
    for bad in (True, -1, "none.sqlite"):
        with pytest.raises(ValueError, match="allowed"):
            made.check_fresh(bad)
    # A law at another sigma takes multiples of the same numbers.
    wide = rsbounds.sample_counts(
        vote, X, n=300, seed=5, noise=rsbounds.Gaussian(1.0), num_classes=2
    )
    with pytest.raises(ValueError, match="as the pilot"):
        made.check_fresh(wide)


def test_a_selection_sample_is_a_pilot_that_costs_nothing():
    select = rsbounds.sample_counts(vote, X, n=300, seed=5, role="select", **DRAW)
    made = rsbounds.plan(select, noise=LAW, n=1000, **QUICK)
    assert made.pilot.seed is None
    made.check_fresh(rsbounds.sample_counts(vote, X, n=1000, seed=5, **DRAW))
    assumed = rsbounds.plan(p=0.9, noise=LAW, n=1000, **QUICK)
    assumed.check_fresh(5)
    assumed.check_fresh([[900, 100]])


def test_a_store_is_a_pilot_of_its_own_law(tmp_path):
    labels = (X[:, 0] > 0).astype(int)
    labels[1] = 0
    broken = X.copy()
    broken[2] = np.nan
    path = tmp_path / "pilot.sqlite"
    with pytest.warns(RuntimeWarning, match="invalid answers"):
        rsbounds.certify_dataset(
            vote, broken, labels, store=path, n=500, seed=5, progress=False, **DRAW
        )
    made = rsbounds.plan(path, radius=0.3, n=1000, method="runner-up")
    assert made.source == "the stored run pilot.sqlite"
    assert made.pilot.seed == 5
    assert made.noise == str(LAW.on_lattice())
    # An input without valid answers certifies nothing; one with a wrong class does not count.
    assert made.needed[0]["draws"][2] is None
    assert made.needed[0]["chance"][2] == 0.0
    assert made.needed[0]["draws"][1] is not None
    assert 0.2 < made.expected[0]["accuracy"][0] < 0.35
    with rsbounds.RunStore(path) as store:
        same = rsbounds.plan(store, noise=LAW, radius=0.3, n=1000, method="runner-up")
    assert same.as_dict() == made.as_dict()
    with pytest.raises(ValueError, match="another law's votes would be, only a pilot with it"):
        rsbounds.plan(path, noise=rsbounds.Gaussian(0.25))
    scores = tmp_path / "scores.sqlite"
    rsbounds.certify_dataset(
        lambda batch: np.stack([1.0 * (batch[:, 0] <= 0), 1.0 * (batch[:, 0] > 0)], axis=1), X,
        store=scores, kind="scores", n=50, seed=5, progress=False, **DRAW,
    )  # fmt: skip
    with pytest.raises(ValueError, match="a run of scores, which keeps no votes"):
        rsbounds.plan(scores)
    with pytest.raises(ValueError, match="allowed: a file that exists"):
        rsbounds.plan(tmp_path / "none.sqlite")
