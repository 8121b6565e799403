"""Quantiles of real-valued outputs: order statistics, exact coverage, and what is refused."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import rsbounds
from rsbounds.bounds.proportion import lower_rank
from rsbounds.commands import main
from rsbounds.noises import DiagonalGaussian
from rsbounds.testing import exact_coverage, outcomes, simplex_grid
from rsbounds.testing.coverage import outcome_probabilities

VALUES = np.array([-1.0, 0.5, 2.0])
LAW = rsbounds.Gaussian(0.5)


def samples_of(table):
    """(C, n) samples with so many of each of the values."""
    return np.array([np.repeat(VALUES, row) for row in table])


def true_ends(p, q, radius, law):
    """The least and the largest q-quantile that any perturbation can bring about.

    An output that has distribution p at x: a perturbation can take the probability of its low
    values from F to roc(r, F), and no further, and the same for its high values.
    """
    below = np.clip(np.cumsum(p, axis=1), 0.0, 1.0)
    above = np.clip(np.cumsum(p[:, ::-1], axis=1), 0.0, 1.0)
    # Sums that make one are one, and quantiles at a plateau are on both of its sides.
    lowest = law.roc(radius, np.where(below > 1 - 1e-12, 1.0, below)) >= q - 1e-12
    highest = law.roc(radius, np.where(above > 1 - 1e-12, 1.0, above)) >= 1 - q - 1e-12
    return VALUES[lowest.argmax(axis=1)], VALUES[::-1][highest.argmax(axis=1)]


@pytest.mark.parametrize("law", [LAW, rsbounds.Uniform(0.5)], ids=str)
@pytest.mark.parametrize("q", [0.5, 0.25, 0.9])
@pytest.mark.parametrize("radius", [0.0, 0.2])
def test_error_is_at_most_alpha_by_enumeration(law, q, radius):
    for n, alpha in ((14, 0.05), (20, 0.3)):
        table, points = outcomes(n, 3), simplex_grid(3, 20)
        found = {
            side: rsbounds.certify_quantile(
                samples_of(table), radius, noise=law, q=q, alpha=alpha, side=side
            )
            for side in ("lower", "upper", "both")
        }
        for side in ("lower", "upper"):
            values = getattr(found[side], side)[:, 0]
            exact_coverage(
                lambda _, values=values: values, n, points, side=side,
                truth=lambda p, side=side: true_ends(p, q, radius, law)[side == "upper"],
            ).assert_at_most(alpha)  # fmt: skip
        low, high = (ends[:, None] for ends in true_ends(points, q, radius, law))
        both = found["both"]
        wrong = (low < both.lower.T) | (high > both.upper.T)
        error = (outcome_probabilities(table, points) * wrong).sum(axis=1)
        assert error.max() <= alpha * (1 + 1e-9)
        # It says something.
        assert np.isfinite([both.lower, both.upper]).any()


def test_the_enumeration_would_notice_a_rank_too_high():
    table = outcomes(14, 3)
    ordered = np.sort(samples_of(table), axis=1)
    rank = int(lower_rank(14, 0.5, alpha=0.05))
    found = exact_coverage(
        lambda _: ordered[:, rank], 14, simplex_grid(3, 20),
        truth=lambda p: true_ends(p, 0.5, 0.0, LAW)[0],
    )  # fmt: skip
    with pytest.raises(AssertionError, match="claimed at most"):
        found.assert_at_most(0.05)


@settings(max_examples=60, deadline=None)
@given(n=st.integers(1, 400), b=st.floats(0, 1), alpha=st.floats(1e-9, 0.9))
def test_a_rank_is_the_largest_with_a_small_binomial_tail(n, b, alpha):
    rank = int(lower_rank(n, b, alpha=alpha))
    if rank:
        assert stats.binom.cdf(rank - 1, n, b) <= alpha * (1 + 1e-9)
    if rank < n:
        assert stats.binom.cdf(rank, n, b) >= alpha * (1 - 1e-9)


def test_the_ranks_are_those_of_chiang_et_al():
    # With continuous outputs and Gaussian noise: order statistics at Phi(Phi^-1(q) -+ r/sigma).
    n, alpha, radius = 2000, 0.01, 0.3
    outputs = np.arange(n, dtype=np.float64)
    found = rsbounds.certify_quantile(outputs[::-1], radius, noise=LAW, q=0.6, alpha=alpha)
    for target, value in ((0.6, found.lower[0, 0]), (0.4, n - 1 - found.upper[0, 0])):
        b = stats.norm.cdf(stats.norm.ppf(target) - radius / 0.5)
        rank = int(value) + 1
        assert stats.binom.cdf(rank - 1, n, b) <= alpha / 2 < stats.binom.cdf(rank, n, b)


def test_a_shift_of_the_input_stays_inside():
    # f(x) = x on the line: the median at x + delta is x + delta, so the band is sharp to n.
    draws = 3.0 + np.random.default_rng(1).normal(0, 0.5, 200_000)
    radii = np.array([0.1, 0.5, 1.0])
    found = rsbounds.certify_quantile(draws, radii, noise=LAW)
    assert (found.lower[0] <= 3 - radii).all()
    assert (found.upper[0] >= 3 + radii).all()
    np.testing.assert_allclose(found.lower[0], 3 - radii, atol=0.05)
    np.testing.assert_allclose(found.upper[0], 3 + radii, atol=0.05)


def test_more_statements_cost_and_hold_together():
    samples = np.random.default_rng(0).normal(size=(3, 500, 2))
    wide, one = ({"radii": r, "noise": LAW} for r in ([0.1, 0.2], 0.1))
    each = rsbounds.certify_quantile(samples, **wide)
    input_ = rsbounds.certify_quantile(samples, family="input", **wide)
    all_ = rsbounds.certify_quantile(samples, family="all", **wide)
    single = rsbounds.certify_quantile(samples, **one)
    assert each.lower.shape == (3, 2, 2)
    assert (all_.lower <= input_.lower).all()
    assert (input_.lower <= each.lower).all()
    assert (each.lower[..., 0] <= single.lower[..., 0]).all()
    # A family of one is the plain case.
    plain = rsbounds.certify_quantile(samples[0, :, 0], 0.1, noise=LAW)
    for family in ("input", "all"):
        same = rsbounds.certify_quantile(samples[0, :, 0], 0.1, noise=LAW, family=family)
        assert same.lower == plain.lower
        assert same.upper == plain.upper
    # At alpha / 12: 3 inputs, 2 outputs, 2 radii; and one side.
    share = rsbounds.certify_quantile(samples, 0.2, noise=LAW, alpha=0.001 / 12, side="lower")
    both = rsbounds.certify_quantile(samples, [0.1, 0.2], noise=LAW, side="lower", family="all")
    assert (share.lower[..., 0] == both.lower[..., 1]).all()
    assert (both.upper == np.inf).all()


def test_rows_types_orders_and_laws_per_input():
    rng = np.random.default_rng(3)
    samples = rng.normal(size=(2, 300)).astype(np.float32)
    each = rsbounds.Gaussian([0.25, 1.0])
    found = rsbounds.certify_quantile(samples, [0.1, 0.2], noise=each)
    for i in range(2):
        alone = rsbounds.certify_quantile(rng.permutation(samples[i]), [0.1, 0.2], noise=each[i])
        assert (alone.lower[0] == found.lower[i]).all()
        assert (alone.upper[0] == found.upper[i]).all()
        turned = rsbounds.certify_quantile(-samples[i], [0.1, 0.2], noise=each[i])
        assert (turned.upper[0] == -found.lower[i]).all()
    scaled = rsbounds.certify_quantile(samples, 0.1, noise=DiagonalGaussian(np.array([1.0, 2.0])))
    assert scaled.norm == "scaled l2"
    far = rsbounds.certify_quantile(samples, 50.0, noise=LAW)
    assert (far.lower == -np.inf).all()
    assert (far.upper == np.inf).all()


def test_outputs_of_a_callable_on_exact_noise():
    law = rsbounds.Gaussian(0.5, lattice=1 / 512)
    scores = rsbounds.sample_scores(
        lambda batch: batch * [1.0, -2.0], [0.3003, 0.1], noise=law, n=2000, seed=1,
        support=(-np.inf, np.inf),
    )  # fmt: skip
    found = rsbounds.certify_quantile(scores, 0.1, noise=law)
    assert found.lower.shape == (1, 2, 1)
    assert found.details["offset"] > 0
    assert "exact noise, alpha spent" in str(found)
    # The distance from the lattice makes the radius about its point larger.
    plain = rsbounds.certify_quantile(scores.values[None], 0.1, noise=law)
    assert plain.details["offset"] is None
    assert (found.lower <= plain.lower).all()
    with pytest.raises(ValueError, match="was drawn with noise of a lattice"):
        rsbounds.certify_quantile(scores, 0.1, noise=rsbounds.Gaussian(0.5, lattice=1 / 255))
    told = rsbounds.certify_quantile(scores, 0.1, noise=rsbounds.Gaussian(0.5))
    assert (told.noise, told.lower.tolist()) == (found.noise, found.lower.tolist())


BAD = [
    ({"samples": [1.0, np.nan]}, "draw 1, output 0 is nan; allowed: finite numbers"),
    ({"samples": [[1.0, 2.0], [np.inf, 0.0]]}, "input 1, draw 0, output 0 is inf"),
    ({"samples": [[1.0, 2.0], [-np.inf, 0.0]]}, r"is -inf; allowed: finite numbers \(clip"),
    ({"samples": []}, r"shape \(0,\)"),
    ({"samples": 3.0}, r"shape \(\)"),
    ({"samples": np.ones((2, 2, 2, 2))}, r"shape \(2, 2, 2, 2\)"),
    ({"samples": ["a"]}, "samples has type <U1"),
    ({"samples": [1j]}, "samples has type complex128"),
    ({"samples": [[1.0], [1.0, 2.0]]}, "rows of different lengths"),
    ({"radii": []}, r"radii is \[\]"),
    ({"radii": [-0.1]}, r"radii is \[-0.1\]"),
    ({"radii": [np.nan]}, r"radii is \[nan\]"),
    ({"radii": np.inf}, "radii is inf"),
    ({"radii": [[0.1]]}, r"radii is \[\[0.1\]\]"),
    ({"q": 0.0}, r"q is 0.0; allowed: a number in \(0, 1\)"),
    ({"q": 1}, "q is 1"),
    ({"q": np.nan}, "q is nan"),
    ({"alpha": 0}, "alpha is 0"),
    ({"alpha": 1}, "alpha is 1"),
    ({"alpha": [0.1]}, r"alpha is \[0.1\]"),
    ({"alpha": 1e-300}, "alpha leaves"),
    ({"side": "two"}, "side is 'two'"),
    ({"family": "row"}, "family is 'row'; allowed: output, input, all"),
    ({"noise": None}, "noise is None; allowed: a noise law"),
    ({"noise": rsbounds.Lipschitz(2.0, LAW)}, "whose constant is about probabilities of classes"),
    ({"noise": rsbounds.Gaussian([0.1, 0.2, 0.3])}, "3"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "message"), BAD)
def test_bad_input_is_named(change, message):
    given = {"samples": [1.0, 2.0, 3.0], "radii": 0.1, "noise": LAW, **change}
    with pytest.raises(ValueError, match=message):
        rsbounds.certify_quantile(given.pop("samples"), given.pop("radii"), **given)
    for b, n in ((1.5, 3), (np.nan, 3), (0.5, 0)):
        with pytest.raises(ValueError, match="allowed"):
            lower_rank(n, b, alpha=0.1)


def test_what_is_not_certified_is_said():
    found = rsbounds.certify_quantile([1.0, 2.0, 3.0], [0.1], noise=LAW)
    assert [(row["lower"], row["upper"]) for row in found.records()] == [(None, None)]
    assert str(found).splitlines()[2].split() == ["0", "0.1", "-", "2.0", "-"]
    with pytest.raises(ValueError, match="read-only"):
        found.lower[0] = 0.0


def test_the_command_line_says_what_the_library_says(tmp_path, capsys):
    samples = np.random.default_rng(0).normal(size=(400, 2))
    file, figure = tmp_path / "outputs.npy", tmp_path / "bands.png"
    np.save(file, samples)
    words = ["quantile", str(file), "--radii", "0.1,0.3", "--sigma", "0.5", "--q", "0.4"]
    assert main([*words, "--json", "--family", "all"]) == 0
    said = json.loads(capsys.readouterr().out)
    expected = rsbounds.certify_quantile(samples.T, [0.1, 0.3], noise=LAW, q=0.4, family="all")
    assert [row["lower"] for row in said["rows"]] == expected.lower.reshape(-1).tolist()
    assert said["summary"]["family"] == "all"
    assert main([*words, "--figure", str(figure)]) == 0
    assert "written" in capsys.readouterr().out
    assert figure.stat().st_size > 1000
    assert main([*words, "--figure", str(figure)]) == 2
    assert main([*words[:2], "--radii", "x", "--sigma", "0.5"]) == 2
    assert main([*words[:2], "--radii", "0.1"]) == 2
    said = capsys.readouterr().err
    assert "--radii is 'x'" in said
    assert "no noise law is given" in said


def test_a_figure_of_too_many_outputs_is_refused(tmp_path):
    found = rsbounds.certify_quantile(np.zeros((17, 5)), 0.1, noise=LAW)
    with pytest.raises(ValueError, match="17 outputs; allowed: up to 16"):
        rsbounds.plot_quantiles(found, path=tmp_path / "q.png")
    with pytest.raises(ValueError, match="names has 1 entries; allowed: 2"):
        rsbounds.plot_quantiles(
            rsbounds.certify_quantile(np.zeros((2, 5)), 0.1, noise=LAW), names=["a"],
            path=tmp_path / "q.png",
        )  # fmt: skip
