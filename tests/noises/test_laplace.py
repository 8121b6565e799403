"""Laplace noise: its radius against many digits, its curve in the plane, and what certifies."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpmath import mp, mpf

import rsbounds
from rsbounds.commands import main
from rsbounds.noises import Noise, namespace
from rsbounds.streams import CounterStream, base_draws
from rsbounds.testing import assert_error_rate

LAW = rsbounds.Laplace(1.0)
SHARES = st.floats(0.0, 1.0)


def exact_radius(p_a, p_b):
    """Of width 1, in 50 digits."""

    def quantile(p):
        return mp.log(2 * p) if p <= 0.5 else -mp.log(2 * (1 - p))

    return max((quantile(mpf(p_a)) - quantile(mpf(p_b))) / 2, mpf(0))


@given(p_a=SHARES, p_b=SHARES, width=st.floats(1e-3, 1e3))
def test_the_radius_is_rounded_down_by_next_to_nothing(p_a, p_b, width):
    radius = float(rsbounds.Laplace(width).radius_of_pair(p_a, p_b))
    if p_a == 0.0 or p_b == 1.0:
        assert radius == 0.0
    elif p_a < 1.0 and p_b > 0.0:
        with mp.workdps(50):
            exact = exact_radius(p_a, p_b) * mpf(width)
            assert radius <= exact
            logarithms = sum(-mp.log(min(mpf(p), 1 - mpf(p))) for p in (p_a, p_b))
            assert radius >= exact - (exact + mpf(width) * (2 + logarithms)) * 1e-14
    else:
        assert radius > 0 or p_a <= p_b


@given(low=st.floats(1e-6, 1.0 - 1e-6), share=st.floats(1e-6, 1.0))
def test_the_closed_form_is_the_bisection_of_the_curve(low, share):
    high = share * (1.0 - low)
    bisected = float(Noise._radius_of_pair(LAW, np.array(low), np.array(high)))
    assert float(LAW.radius_of_pair(low, high)) == pytest.approx(bisected, abs=1e-7)


def test_no_radius_is_infinite():
    for law in (rsbounds.Laplace(1e308), rsbounds.Laplace([1e308, 0.5])):
        one = rsbounds.Laplace(1e308) if law.batch_shape else law
        assert 1e308 < float(one.radius_of_pair(1.0, 0.0)) < np.inf
        assert np.isfinite(law.radius([1.0, 1.0] if law.batch_shape else 1.0)).all()
    assert LAW.radius_of_pair([0.0, 0.3, 1.0], [0.0, 1.0, 1.0]).tolist() == [0.0, 0.0, 0.0]
    assert float(rsbounds.Laplace(5e-324).radius_of_pair(1.0, 0.0)) == 0.0


def law_of_ratio(r, at_x):
    """Of one coordinate moved by r: atoms at -r and r of the log ratio, density between."""
    here, there = mpf(1) / 2, mp.exp(-r) / 2
    ends = (here, there) if at_x else (there, here)
    if at_x:
        return ends, lambda t: mp.exp(-(t + r) / 2) / 4
    return ends, lambda t: mp.exp(-(r - t) / 2) / 4


def above(r, s, t, at_x):
    """Of two coordinates moved by r and s: P(sum of their log ratios > t)."""
    (low, high), density = law_of_ratio(r, at_x)
    high2 = law_of_ratio(s, at_x)[0][1]

    def tail(u):
        if u >= s:
            return mpf(0)
        if u < -s:
            return mpf(1)
        if at_x:
            return high2 + (mp.exp(-(u + s) / 2) - mp.exp(-s)) / 2
        return high2 + (1 - mp.exp(-(s - u) / 2)) / 2

    cuts = sorted({-r, r, *(c for c in (t - s, t + s) if -r < c < r)})
    inside = mp.quad(lambda v: density(v) * tail(t - v), cuts)
    return low * tail(t + r) + high * tail(t - r) + inside


@pytest.mark.parametrize(("r", "s"), [(1.0, 0.0001), (0.6, 0.4), (0.5, 0.5), (0.25, 0.75)])
def test_no_set_of_the_plane_gains_more_than_the_curve(r, s):
    # Sets of large likelihood ratio, exactly: of a move along both axes by 1 in all. The curve is
    # attained where the move is along one axis.
    with mp.workdps(25):
        gaps = []
        for t in np.linspace(-1.05, 1.05, 22):
            b, c = (float(above(mpf(r), mpf(s), mpf(t), at_x)) for at_x in (True, False))
            gaps.append(float(LAW.roc(r + s, b)) - c)
    assert min(gaps) > -1e-10
    assert (max(gaps) < 1e-3) == (s < 0.01)


@pytest.mark.parametrize("lattice", [None, "auto"])
def test_certified_radii_keep_within_the_class(lattice):
    # A half-space a x > 0: what moves fastest towards the edge is the largest coordinate of a, and
    # the l1 distance to the edge is |a x| / max |a|. 300 inputs at alpha 0.05; a right library
    # fails with probability 1e-9.
    rng = np.random.default_rng(5)
    a, x = np.array([1.0, -0.5, 0.2]), rng.uniform(-0.6, 0.6, (300, 3))
    law = rsbounds.Laplace(0.3, lattice=lattice)
    x = np.rint(x * 255) / 255

    def vote(batch):
        return (batch @ a > 0).astype(int)

    arguments = {"noise": law, "lattice": lattice, "num_classes": 2, "seed": 4}
    select = rsbounds.sample_counts(vote, x, n=50, role="select", **arguments)
    estimate = rsbounds.sample_counts(vote, x, n=400, **arguments)
    truth = np.abs(x @ a)
    top = rsbounds.select_top(select)
    for method in (None, "exact", "bonferroni"):
        found = rsbounds.certify(estimate, top, noise=law, alpha=0.05, method=method)
        wrong = ~found.abstained & ((found.top != vote(x)) | (found.radius > truth))
        assert_error_rate(int(wrong.sum()), 300, 0.05, false_alarm=1e-9)
        assert found.certified.mean() > 0.6
    exact = "exact noise, alpha spent on it" in str(found)
    assert exact == (lattice is not None)


def test_the_bound_errs_as_often_as_it_may_where_the_classifier_is_the_worst():
    # Along one axis the half-space attains the curve: the error probability is that of the
    # bound on p_A, alpha or a little less. 4,000 inputs; a right library fails with 1e-9.
    law = rsbounds.Laplace(0.5)
    x = np.full((4000, 1), 0.25)
    counts = rsbounds.sample_counts(
        lambda batch: (batch[:, 0] > 0).astype(int), x, noise=law, n=200, num_classes=2, seed=9
    )
    found = rsbounds.certify(counts, 1, noise=law, alpha=0.1, method="complement")
    wrong = int((found.radius > 0.25).sum())
    assert_error_rate(wrong, 4000, 0.1, false_alarm=1e-9)
    assert wrong > 200, "the bound is loose"


def test_a_decision_is_a_certificate():
    test = rsbounds.Decide(0.4, 0, noise=rsbounds.Laplace(0.5), no="futile")
    while test.active.any():
        test.update([9, 1, 0])
    # The true radius is 0.804.
    assert test.status.tolist() == ["yes"]
    assert test.certificates().radius.tolist() == [0.4]


class TestNoise:
    def test_no_base_draw_gives_noise_without_an_end(self):
        # A device's generator may return the ends of (-1, 1).
        for kind in (np.float32, np.float64):
            noise = LAW.transform(np.array([-1.0, 1.0, 0.0], dtype=kind))
            assert noise.dtype == kind
            assert noise[0] == -noise[1] < -15.0
            assert np.isfinite(noise).all()
            assert noise[2] == 0.0

    def test_tensors_get_the_bits_of_arrays(self):
        torch = pytest.importorskip("torch")
        from rsbounds_torch.streams import noise_stream

        for law in (rsbounds.Laplace(0.5), rsbounds.Laplace(0.5, lattice="auto")):
            for kind in (np.float32, np.float64):
                x = np.linspace(0, 1, 5).astype(kind)
                out = np.empty((40, 5), dtype=kind)
                CounterStream(law, (5,), seed=3, role="estimate").add(out, x, 2, 0)
                made = torch.empty(40, 5, dtype=torch.from_numpy(x).dtype)
                stream = noise_stream(
                    law, (5,), seed=3, role="estimate", device=torch.device("cpu")
                )
                stream.add(made, torch.from_numpy(x), 2, 0)
                assert (made.numpy() == out).all()
        base = base_draws("uniform", 20, 4, seed=1, role="estimate")
        tensor = LAW.transform(torch.from_numpy(base))
        assert namespace(tensor) is torch
        np.testing.assert_allclose(tensor.numpy(), LAW.transform(base), rtol=1e-14)

    def test_a_gradient_in_the_width_goes_through(self):
        torch = pytest.importorskip("torch")
        width = torch.tensor(0.5, requires_grad=True)
        base = torch.tensor([0.5, -0.25])
        LAW.transform(base, width=width).sum().backward()
        assert float(width.grad) == pytest.approx(np.log(2) + np.log(0.75), rel=1e-6)


def test_the_command_line_knows_its_width(tmp_path, capsys):
    file = tmp_path / "counts.csv"
    file.write_text("class_0,class_1,class_2,label\n900,60,40,0\n")
    said = []
    for law in (["--width", "0.5"], ["--noise", "laplace", "--width", "0.5", "--lattice", "auto"]):
        assert main(["certify", str(file), "--top", "label", "--json", *law]) == 0
        said.append(json.loads(capsys.readouterr().out)["summary"])
    assert said[0]["noise"] == "laplace(width=0.5)"
    assert said[1]["noise"] == "laplace(width=0.5, lattice=1/510)"
    assert {s["norm"] for s in said} == {"l1"}
    assert {s["method"] for s in said} == {"runner-up"}
    assert main(["certify", str(file), "--top", "label", "--width", "0"]) == 2
    assert "width is 0; allowed" in capsys.readouterr().err


def test_a_store_keeps_the_law_and_bounds_its_rows_again(tmp_path):
    law = rsbounds.Laplace(0.25, lattice=1 / 512)
    x = np.array([[0.5, 0.1], [-0.25, 0.0]])

    def run(noise, **more):
        return rsbounds.certify_dataset(
            lambda batch: (batch[:, 0] > 0).astype(int), x, [1, 0], n=1000, seed=3, noise=noise,
            num_classes=2, store=tmp_path / "run.sqlite", progress=False, **more,
        )  # fmt: skip

    found = run(law)
    assert (found.method, found.norm, found.law) == ("runner-up", "l1", law.to_dict())
    assert found.certified.all()
    with rsbounds.RunStore(tmp_path / "run.sqlite") as store:
        again = rsbounds.rebound(store)
        by_margin = rsbounds.rebound(store, method="exact")
    assert (again.radius == found.radius).all()
    assert by_margin.radius == pytest.approx(found.radius, rel=0.05)
    with pytest.raises(ValueError, match="noise"):
        run(rsbounds.Laplace(0.25))


@pytest.mark.parametrize("width", [0, -1.0, np.nan, np.inf, "0.5", True, [], [0.5, 0.0]])
def test_widths_that_cannot_be_are_refused(width):
    with pytest.raises(ValueError, match="width"):
        rsbounds.Laplace(width)


def test_lattices_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match=r"lattice is 0.6; allowed: a spacing from .* width = 0.5"):
        rsbounds.Laplace(0.5, lattice=0.6)
    with pytest.raises(ValueError, match=r"lattice is 0\.0001"):
        rsbounds.Laplace(0.5, lattice=1e-4)
