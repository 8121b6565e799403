"""Soft margins, soft certificates and the simplex maps."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtri

import rsbounds
from rsbounds.testing import assert_error_rate

NOISE = rsbounds.Gaussian(sigma=0.5)
LOGITS = st.lists(st.floats(-700, 700), min_size=2, max_size=8)


@given(LOGITS, st.floats(0.1, 10))
def test_simplex_maps(z, temperature):
    for values in (
        rsbounds.softmax(z, temperature),
        rsbounds.sparsemax(z, temperature),
        rsbounds.hardmax(z),
    ):
        assert values.shape == (len(z),)
        assert ((values >= 0) & (values <= 1)).all()
        assert values.sum() == pytest.approx(1, abs=1e-9)
        higher = np.asarray(z)[:, None] > np.asarray(z)[None, :]
        assert (values[:, None] >= values[None, :] - 1e-12)[higher].all()


@given(LOGITS)
def test_sparsemax_is_the_projection(z):
    z = np.array(z)
    p = rsbounds.sparsemax(z)
    # Optimality on the simplex: z - p is the same where p > 0 and no larger elsewhere.
    gap = z - p
    assert gap[p > 0].max() - gap[p > 0].min() <= 1e-9 * max(1, abs(z).max())
    assert (gap[p == 0] <= gap[p > 0].min() + 1e-9 * max(1, abs(z).max())).all()


@given(LOGITS, LOGITS)
def test_lipschitz_constants(a, b):
    size = min(len(a), len(b))
    a, b = np.array(a[:size]), np.array(b[:size])
    distance = np.linalg.norm(a - b)
    for way, constant in ((rsbounds.softmax, 0.5), (rsbounds.sparsemax, 1.0)):
        assert np.linalg.norm(way(a) - way(b)) <= constant * distance * (1 + 1e-9) + 1e-9


def test_hardmax_takes_the_first_of_a_tie_and_maps_refuse():
    assert rsbounds.hardmax([[1, 1, 0], [0, 2, 2]]).tolist() == [[1, 0, 0], [0, 1, 0]]
    for way in (rsbounds.softmax, rsbounds.sparsemax, rsbounds.hardmax):
        with pytest.raises(ValueError, match=r"logits\[1\] is inf"):
            way([0.0, float("inf")])
        with pytest.raises(ValueError, match="logits has"):
            way([1.0])
    with pytest.raises(ValueError, match="temperature is 0"):
        rsbounds.softmax([0.0, 1.0], 0)
    assert rsbounds.soft_lipschitz(3.0, 0.5) >= 1.5
    with pytest.raises(ValueError, match="network is 0"):
        rsbounds.soft_lipschitz(0)


def scores(rng, shape, weights=(7.0, 2.0, 1.0)):
    return rng.dirichlet(weights, size=shape)


@pytest.mark.parametrize("method", ["goal", "mixture", "prpl-eb", "empirical-bernstein"])
def test_margins_hold(method):
    # False alarm of a correct method: 1e-6 (assert_error_rate).
    alpha, rows = 0.2, 400
    x = scores(np.random.default_rng(0), (rows, 200))
    truth = {"linear": 0.5, "probit": ndtri(0.7) - ndtri(0.2)}
    for scale, pair in (("linear", "split"), ("linear", "difference"), ("probit", "split")):
        found = rsbounds.soft_margin_bound(
            x, np.zeros(rows, int), alpha=alpha, scale=scale, pair=pair, method=method
        )
        assert_error_rate(int((found.lower > truth[scale]).sum()), rows, alpha)
        assert (found.details["runner_up"] == 1).mean() > 0.9


@pytest.mark.parametrize("share", [0.5, 0.8])
def test_the_split_is_two_bounds_at_their_shares_of_alpha(share):
    # A class at all of alpha in place of its share was no more often wrong than alpha, here.
    x = scores(np.random.default_rng(3), 400)
    alpha = 0.1
    low = rsbounds.mean_bound(x[:, 0], alpha=share * alpha, method="prpl-eb").lower[0]
    high = rsbounds.mean_bound(
        x[:, 1:], alpha=(1 - share) * alpha, side="upper", method="prpl-eb", axis=0
    ).upper
    for scale, exact in (
        ("linear", low - high.max()),
        ("probit", ndtri(low) - ndtri(high.max())),
    ):
        found = rsbounds.soft_margin_bound(
            x, 0, alpha=alpha, scale=scale, share=share, method="prpl-eb"
        )
        assert found.lower[0] == pytest.approx(exact, abs=1e-12)


def test_difference_is_tighter_than_the_split_where_scores_move_together():
    x = scores(np.random.default_rng(1), 2000, (9.0, 1.0))
    split = rsbounds.soft_margin_bound(x, 0, alpha=0.001, scale="linear")
    direct = rsbounds.soft_margin_bound(x, 0, alpha=0.001, scale="linear", pair="difference")
    assert split.lower[0] < direct.lower[0] < 0.81


def test_certificates():
    x = scores(np.random.default_rng(2), 3000)
    found = rsbounds.certify_soft(x, 0, noise=NOISE)
    margin = rsbounds.soft_margin_bound(x, 0, alpha=0.001, scale="probit")
    assert found.radius[0] == pytest.approx(0.25 * margin.lower[0])
    assert found.method == "soft split goal"
    law = rsbounds.Lipschitz(constant=2.0, noise=NOISE)
    linear = rsbounds.certify_soft(x, 0, noise=law, pair="difference")
    assert 0 < linear.radius[0] <= 0.5 / (2**0.5 * 2.0)
    assert rsbounds.certify_soft(x, 1, noise=NOISE).abstained[0]
    batch = rsbounds.certify_soft(np.stack([x, x[:, [1, 0, 2]]]), [0, 1], noise=NOISE)
    assert batch.radius.tolist() == [found.radius[0]] * 2


def test_samples_of_a_callable():
    def classifier(batch):
        return rsbounds.softmax(batch @ np.array([[4.0, 0.0], [0.0, 4.0]]))

    drawn = rsbounds.sample_scores(classifier, np.array([1.0, 0.0]), noise=NOISE, n=500, seed=1)
    assert rsbounds.certify_soft(drawn, 0, noise=NOISE).radius[0] > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scores": np.zeros(4)}, "scores has shape"),
        ({"scores": np.zeros((1, 3))}, "scores has shape"),
        ({"scores": np.full((4, 2), 1.5)}, r"scores\[0, 0\] is 1.5"),
        ({"top": 2}, r"top\[0\] is 2"),
        ({"pair": "x"}, "pair is 'x'"),
        ({"pair": "difference"}, "probit scale"),
        ({"share": 1.0}, "share is 1.0"),
        ({"method": "x"}, "method is 'x'"),
        ({"noise": 1.0}, "noise is 1.0"),
    ],
)
def test_refusals(arguments, message):
    with pytest.raises(ValueError, match=message):
        rsbounds.certify_soft(
            **{"scores": np.full((4, 2), 0.5), "top": 0, "noise": NOISE, **arguments}
        )
