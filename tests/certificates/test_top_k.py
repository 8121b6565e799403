"""A class stays among the k most probable: the margin, the bounds, and what is refused."""

import itertools
import json
from dataclasses import dataclass

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import ndtr, ndtri

import rsbounds
from rsbounds.bounds.margin import margin_lower_bound
from rsbounds.bounds.margin._top_k import Levels, planned_levels, top_k_rows, union_margin
from rsbounds.bounds.margin.runner_up import RunnerUp
from rsbounds.claims import Top, TopK
from rsbounds.commands import main
from rsbounds.noises import DiagonalGaussian, Noise
from rsbounds.testing import exact_coverage, simplex_grid

METHODS = [
    ("runner-up", {}),
    ("runner-up", {"split": 0.3}),
    ("runner-up", {"split": 1.0}),
    ("bonferroni", {}),
    ("bonferroni", {"over": "classes"}),
]


def margin_of_union(p_a, p_t, size, scale):
    """The root in m of size g^-1(g(p_a) - m/2) = g^-1(g(p_t) + m/2), by plain bisection."""
    if scale == "linear":
        return 2 * (size * p_a - p_t) / (size + 1)
    a, b = ndtri(p_a), ndtri(p_t)
    low, high = np.full(len(p_a), -100.0), np.full(len(p_a), 100.0)
    for _ in range(100):
        middle = (low + high) / 2
        holds = size * ndtr(a - middle) > ndtr(b + middle)
        low, high = np.where(holds, middle, low), np.where(holds, high, middle)
    # No class can pass one that has probability where they have none.
    low = np.where((p_t == 0) & (p_a > 0), np.inf, low)
    return np.where(p_a == 0, -np.inf, 2 * low)


def true_margin(p, k, scale):
    """Over every set of k others, the best of its subsets: as in the definition, with no order."""
    worst = np.full(len(p), np.inf)
    for chosen in itertools.combinations(range(1, p.shape[1]), k):
        best = np.full(len(p), -np.inf)
        for t in range(1, k + 1):
            for part in itertools.combinations(chosen, t):
                found = margin_of_union(p[:, 0], p[:, part].sum(axis=1), t, scale)
                best = np.maximum(best, found)
        worst = np.minimum(worst, best)
    return worst


@pytest.mark.parametrize("scale", ["linear", "probit"])
@pytest.mark.parametrize(("method", "options"), METHODS)
@pytest.mark.parametrize(
    ("classes", "k", "n", "steps"), [(3, 2, 11, 16), (4, 2, 8, 9), (4, 3, 8, 9)]
)
def test_error_is_at_most_alpha_by_enumeration(classes, k, n, steps, method, options, scale):
    edge = [[1 - c, *[c / (classes - 1)] * (classes - 1)] for c in (1e-3, 0.05, 0.4)]
    points = np.vstack([simplex_grid(classes, steps), edge])
    for alpha in (0.05, 0.3):
        exact_coverage(
            lambda table, alpha=alpha: margin_lower_bound(
                table, TopK(np.zeros(len(table), int), k), alpha=alpha, scale=scale,
                method=method, **options,
            ).lower,
            n, points, truth=lambda p: true_margin(p, k, scale),
        ).assert_at_most(alpha)  # fmt: skip


def test_the_enumeration_would_notice_levels_that_do_not_add():
    class Greedy(RunnerUp):
        name = "greedy"

        def rows(self, problem):
            return top_k_rows(problem, Levels(*[problem.alpha] * 3))

    found = exact_coverage(
        lambda table: margin_lower_bound(
            table, TopK(np.zeros(len(table), int), 2), alpha=0.1, scale="linear", method=Greedy()
        ).lower,
        11, simplex_grid(4, 14), truth=lambda p: true_margin(p, 2, "linear"),
    )  # fmt: skip
    with pytest.raises(AssertionError, match="claimed at most"):
        found.assert_at_most(0.1)


@pytest.mark.parametrize("law", [rsbounds.Gaussian(0.25), rsbounds.Uniform(0.5)])
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_never_below_the_bound_of_jia_et_al(law, data):
    classes = data.draw(st.integers(3, 8))
    k = data.draw(st.integers(2, classes - 1))
    rows = data.draw(
        st.lists(
            st.lists(st.sampled_from([0, 0, 1, 3, 40, 900]), min_size=classes, max_size=classes),
            min_size=1, max_size=6,
        ).filter(lambda table: all(map(sum, table)))
    )  # fmt: skip
    ours = rsbounds.certify_top_k(rows, 0, k, noise=law, alpha=0.01).radius
    theirs = rsbounds.certify_top_k(
        rows, 0, k, noise=law, alpha=0.01, method="bonferroni", over="classes"
    ).radius
    assert (ours >= theirs - 1e-12).all()


def test_the_bound_of_jia_et_al_is_their_theorem_2():
    row, k, alpha = np.array([500, 240, 130, 90, 40]), 3, 0.01
    n, share = row.sum(), alpha / len(row)
    p_a = stats.beta.ppf(share, row[0], n - row[0] + 1)
    upper = np.sort(stats.beta.isf(share, row[1:] + 1, n - row[1:]))[::-1][:k]
    margins = [
        margin_of_union(
            np.array([p_a]), np.array([min(upper[k - t :].sum(), 1 - p_a)]), t, "probit"
        )
        for t in range(1, k + 1)
    ]
    got = margin_lower_bound(
        row, TopK(np.array([0]), k), alpha=alpha, scale="probit", method="bonferroni",
        over="classes",
    )  # fmt: skip
    assert got.lower[0] == pytest.approx(max(margins)[0], rel=1e-9)
    assert got.details["size"][0] == int(np.argmax([m[0] for m in margins])) + 1


@settings(max_examples=80, deadline=None)
@given(
    p=st.floats(1e-12, 1 - 1e-9), q=st.floats(1e-12, 1), size=st.integers(2, 40),
    probit=st.booleans(),
)  # fmt: skip
def test_a_margin_is_rounded_down_and_close(p, q, size, probit):
    got = union_margin(p, 1 - p, q, 1 - q, float(size), probit)
    with mpmath.workdps(40):
        if not probit:
            exact = 2 * (size * mpmath.mpf(p) - mpmath.mpf(q)) / (size + 1)
        else:
            a = mpmath.sqrt(2) * mpmath.erfinv(2 * mpmath.mpf(p) - 1)
            b = mpmath.sqrt(2) * mpmath.erfinv(2 * mpmath.mpf(q) - 1) if q < 1 else mpmath.inf
            low, high = mpmath.mpf(-60), mpmath.mpf(60)
            for _ in range(120):
                middle = (low + high) / 2
                top = mpmath.ncdf(b + middle) if q < 1 else 1
                low, high = (
                    (middle, high) if size * mpmath.ncdf(a - middle) > top else (low, middle)
                )
            exact = 2 * low
        assert got <= max(exact, -1 if not probit else exact)
        if got > -1:
            assert exact - got < 1e-10 * (1 + abs(exact))


def test_the_radius_is_attained_by_a_classifier_on_the_line():
    # Noise N(0, 1): A below its quantile, three others in equal parts of each point above theirs.
    p_a, p_t, k = 0.4, 0.3, 3
    margin = union_margin(p_a, 1 - p_a, p_t, 1 - p_t, float(k), True)
    radius = rsbounds.Gaussian(1.0).radius(margin)
    for shift, stays in ((radius, True), (radius + 1e-9, False)):
        a = stats.norm.cdf(stats.norm.ppf(p_a) - shift)
        each = stats.norm.sf(stats.norm.isf(p_t) - shift) / k
        assert (each < a) is np.bool_(stays)


@pytest.mark.parametrize(("alpha", "split"), [(0.001, 0.9), (0.3, 0.5), (1e-9, 1.0), (0.05, 0.01)])
def test_levels_add_up_to_alpha_and_leave_each_class_its_share(alpha, split):
    for classes in (3, 4, 10, 1000):
        for k in range(2, min(classes, 40)):
            a, each, sums = planned_levels(alpha, split, k, classes)
            assert a + k * each + sums <= alpha * (1 + 1e-14)
            assert min(a, each) >= alpha / classes * (1 - 1e-12)
            assert sums >= 0


@dataclass(frozen=True, eq=False)
class Curve(Noise):
    """A law of somebody who knows its curve only."""

    law: Noise
    name, norm, curve_only = "known-by-its-curve", "l2", True

    def roc(self, r, b):
        return self.law.roc(r, b)


@pytest.mark.parametrize("law", [rsbounds.Gaussian(0.5), rsbounds.Uniform(0.5)])
def test_a_law_known_by_its_curve_has_the_same_radii(law):
    rows = [[400, 350, 200, 50], [900, 60, 30, 10], [10, 800, 150, 40], [300, 350, 340, 10]]
    for k in (1, 2, 3):
        closed = rsbounds.certify_top_k(rows, 0, k, noise=law, method="runner-up").radius
        curve = rsbounds.certify_top_k(rows, 0, k, noise=Curve(law)).radius
        np.testing.assert_allclose(curve, closed, rtol=1e-9, atol=1e-12)
    assert (closed > 0).tolist() == [True, True, False, True]


def test_a_constant_of_single_classes_compares_them_one_by_one():
    # A sum of t coordinates moves by sqrt(t) times as much, so that sums would claim too much.
    law = rsbounds.Lipschitz(2.0, rsbounds.Gaussian(0.5))
    row, share = np.array([400, 350, 200, 50]), 0.001 / 4
    got = rsbounds.certify_top_k(row, 0, 2, noise=law, method="bonferroni", over="classes")
    p_a = rsbounds.clopper_pearson_lower(400, 1000, alpha=share)
    p_c = rsbounds.clopper_pearson_upper(200, 1000, alpha=share)
    assert got.radius[0] == pytest.approx((p_a - p_c) / (2**0.5 * 2), rel=1e-9)
    whole = rsbounds.certify_top_k(row, 0, 2, noise=rsbounds.Uniform(0.5))
    assert whole.radius[0] > 0.5 * (p_a - p_c)


def test_one_is_the_answer_itself_and_more_is_never_less():
    rows = np.random.default_rng(0).multinomial(3000, [0.4, 0.3, 0.2, 0.05, 0.05], size=20)
    law = rsbounds.Gaussian(0.25)
    assert (
        rsbounds.certify_top_k(rows, 0, 1, noise=law).radius
        == rsbounds.certify(rows, 0, noise=law).radius
    ).all()
    radii = [rsbounds.certify_top_k(rows, 0, k, noise=law).radius for k in (1, 2, 3, 4)]
    assert (np.diff(radii, axis=0) > 0).all()


def test_rows_scales_laws_and_selections():
    rows, select = [[500, 300, 200], [100, 500, 400]], [[50, 30, 20], [10, 50, 40]]
    each = rsbounds.Gaussian([0.25, 0.5])
    both = rsbounds.certify_top_k(rows, rsbounds.select_top(select), 2, noise=each)
    assert both.top.tolist() == [0, 1]
    for i in range(2):
        one = rsbounds.certify_top_k(rows[i], i, 2, noise=each[i])
        assert one.radius == both.radius[i]
        turned = rsbounds.certify_top_k(rows[i][::-1], 2 - i, 2, noise=each[i])
        assert turned.radius == both.radius[i]
    wide = rsbounds.certify_top_k(rows, 0, 2, noise=DiagonalGaussian(np.array([1.0, 2.0])))
    assert wide.norm == "scaled l2"
    assert wide.inscribed_radius[0] == pytest.approx(wide.radius[0], rel=1e-12)
    counts = rsbounds.sample_counts(
        lambda batch: (batch[:, 0] > 0).astype(int), [[0.3]], n=500, num_classes=3, seed=1,
        noise=rsbounds.Gaussian(0.5, lattice="auto"),
    )  # fmt: skip
    exact = rsbounds.certify_top_k(counts, 1, 2, noise=rsbounds.Gaussian(0.5, lattice="auto"))
    assert exact.details["alpha_of_noise"] > 0
    with pytest.raises(ValueError, match="drawn with noise of a lattice"):
        rsbounds.certify_top_k(counts, 1, 2, noise=rsbounds.Gaussian(0.5, lattice=1 / 255))
    told = rsbounds.certify_top_k(counts, 1, 2, noise=rsbounds.Gaussian(0.5))
    assert (told.noise, told.radius[0]) == (exact.noise, exact.radius[0])


def test_certificates_say_what_they_are_about(tmp_path):
    law = rsbounds.Gaussian(0.5)
    found = rsbounds.certify_top_k([[500, 300, 200]], 0, 2, noise=law)
    assert "class among the top 2" in str(found)
    assert "class 0 among the top 2 within l2 radius" in str(found[0])
    for name in ("rows.tsv", "rows.jsonl"):
        found.write(tmp_path / name)
        assert rsbounds.Certificates.read(tmp_path / name)[:1].k == 2
    memory = rsbounds.MemoryClassifier(model="m", noise="gaussian", dimension=1)
    with pytest.raises(ValueError, match="about the top k; allowed: answers"):
        memory.certify([[0.0]], found, noise=law)


BAD = [
    ({"k": 3}, "k is 3 of 3 classes, among which every class is; allowed: 1 to 2"),
    ({"k": 10**9}, "among which every class is"),
    ({"k": 0}, "k is 0; allowed: an integer from 1 to 2"),
    ({"k": -1}, "k is -1"),
    ({"k": True}, "k is True"),
    ({"k": 1.5}, "k is 1.5"),
    ({"label": 3}, r"top\[0\] is 3; allowed: a class index from 0 to 2"),
    ({"label": rsbounds.NO_CLASS}, "allowed: a class index from 0 to 2"),
    ({"label": [0, 1]}, "top has 2 entries; allowed: 1"),
    ({"label": TopK(np.array([0]), 2)}, "label is a claim of kind TopK"),
    ({"alpha": 0.0}, "alpha is 0.0"),
    ({"alpha": 1.0}, "alpha is 1.0"),
    ({"alpha": 1e-300}, "the smallest share"),
    ({"noise": None}, "noise is None; allowed: a noise law"),
    ({"noise": rsbounds.Gaussian([1.0, 2.0])}, "2"),
    ({"counts": [[5, float("nan"), 1]]}, "is nan"),
    ({"counts": [[0, 0, 0]]}, "sums to 0"),
    ({"method": "exact"}, "method is 'exact' with k = 2; allowed: runner-up, bonferroni"),
    ({"method": "complement"}, "method is 'complement' with k = 2"),
    ({"split": "optimal"}, "split is 'optimal'; allowed for a claim of kind TopK"),
    ({"split": 2.0}, "split is 2.0"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "message"), BAD)
def test_bad_input_is_named(change, message):
    given = {
        "counts": [[70, 20, 10]], "label": 0, "k": 2, "noise": rsbounds.Gaussian(0.5), **change
    }  # fmt: skip
    with pytest.raises(ValueError, match=message):
        rsbounds.certify_top_k(given.pop("counts"), given.pop("label"), given.pop("k"), **given)


def test_counts_are_not_used_twice():
    rows = np.array([[50, 30, 20], [10, 50, 40]])
    for again in (rsbounds.select_top(rows), rsbounds.select_top(rows.copy()), Top([0, 1], rows)):
        with pytest.raises(ValueError, match=r"selection|selected"):
            rsbounds.certify_top_k(rows, again, 2, noise=rsbounds.Gaussian(0.5))


def test_a_claim_knows_its_table():
    with pytest.raises(ValueError, match="k is 1; allowed: an integer >= 2"):
        TopK(np.array([0]), 1)
    for claim, message in (
        (TopK(np.array([0, 0]), 2), "claim about 2 rows"),
        (TopK(np.array([3]), 2), "allowed: a class index"),
        (TopK(np.array([0]), 3), "among which every class is"),
    ):
        with pytest.raises(ValueError, match=message):
            margin_lower_bound([[5, 3, 1]], claim, alpha=0.1, scale="linear", method="runner-up")


def test_the_command_line_says_what_the_library_says(tmp_path, capsys):
    file = tmp_path / "counts.tsv"
    file.write_text("class_0\tclass_1\tclass_2\tlabel\n500\t300\t200\t1\n")
    assert main(["top-k", str(file), "--k", "2", "--sigma", "0.5", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    expected = rsbounds.certify_top_k([[500, 300, 200]], 1, 2, noise=rsbounds.Gaussian(0.5))
    assert said["rows"][0]["radius"] == expected.radius[0] > 0
    assert said["summary"]["k"] == 2
    kept = str(tmp_path / "rows.tsv")
    assert main(["top-k", str(file), "--k", "2", "--sigma", "0.5", "--output", kept]) == 0
    assert main(["certify", kept]) == 0
    assert capsys.readouterr().out.count("among the top 2") == 2
    assert main(["top-k", str(file), "--k", "3", "--sigma", "0.5"]) == 2
    assert "every class is" in capsys.readouterr().err
