import dataclasses
import json

import numpy as np
import pytest

import rsbounds
from rsbounds.bounds.margin import MARGIN_METHODS
from rsbounds.noises import DiagonalGaussian
from rsbounds.report import report_runs

COUNTS = np.array([[990, 8, 2], [10, 985, 5], [400, 350, 250], [1000, 0, 0]])
LABELS = [0, 0, 0, 0]
LAW = rsbounds.Gaussian(0.5)


@pytest.fixture
def certificates():
    return rsbounds.certify(COUNTS, [0, 1, 0, 0], noise=LAW)


def test_certified_accuracy_counts_right_classes_at_the_radius(certificates):
    r = certificates.radius
    at = [0.0, r[0], np.nextafter(r[0], 9), r[3], 99.0]
    expected = [
        np.mean([(not a) and t == 0 and radius >= x for a, t, radius in
                 zip(certificates.abstained, certificates.top, r, strict=True)])
        for x in at
    ]  # fmt: skip
    assert rsbounds.certified_accuracy(certificates, LABELS, at).tolist() == expected
    assert expected == [0.5, 0.5, 0.25, 0.25, 0.0]


def test_acr_counts_wrong_and_abstained_as_zero(certificates):
    acr = rsbounds.average_certified_radius(certificates, LABELS)
    assert acr == pytest.approx((certificates.radius[0] + certificates.radius[3]) / 4)


def test_labels_and_radii_are_checked(certificates):
    with pytest.raises(ValueError, match="labels has 2 entries; allowed: 4"):
        rsbounds.average_certified_radius(certificates, [0, 1])
    with pytest.raises(ValueError, match="radii contains -1"):
        rsbounds.certified_accuracy(certificates, LABELS, [0.1, -1])
    with pytest.raises(ValueError, match="radii contains nan"):
        rsbounds.certified_accuracy(certificates, LABELS, float("nan"))


def test_compare_shows_every_fast_method_and_variant():
    result = rsbounds.compare(COUNTS, 0, noise=LAW, labels=LABELS)
    expected = sum(
        len(MARGIN_METHODS[m].variants)
        for m in MARGIN_METHODS
        if MARGIN_METHODS[m].usable() and not MARGIN_METHODS[m].seconds_per_row
    )
    assert len(result.rows) == expected == len(result.certificates)
    means = [row.mean_radius for row in result.rows]
    assert means == sorted(means, reverse=True)
    for row in result.rows:
        certificates = result.certificates[row.method]
        assert row.acr == rsbounds.average_certified_radius(certificates, LABELS)
        assert row.guarantee == certificates.guarantee
        assert row.microseconds_per_row > 0
    text = str(result)
    assert "complement" in text
    assert "certified accuracy" in text
    json.dumps(result.as_dict(), allow_nan=False)


def test_compare_without_labels_and_with_a_selection():
    select = rsbounds.select_top(COUNTS // 2 + 1)
    result = rsbounds.compare(COUNTS, select, noise=LAW, methods=["complement"], radii=[0.1, 0.5])
    assert result.rows[0].acr is None
    assert result.radii.tolist() == [0.1, 0.5]
    assert "share certified" in str(result)
    with pytest.raises(ValueError, match="method is 'best'; known: exact, runner-up"):
        rsbounds.compare(COUNTS, 0, noise=LAW, methods=["best"])
    with pytest.raises(ValueError, match="methods is"):
        rsbounds.compare(COUNTS, 0, noise=LAW, methods=[])


def test_compare_where_nothing_is_certified():
    result = rsbounds.compare([[5, 5]], 0, noise=LAW, methods=["complement"])
    assert result.rows[0].certified == 0.0
    assert np.isfinite(result.radii).all()


def test_a_comparison_says_what_it_is_in_one_line():
    result = rsbounds.compare(COUNTS, 0, noise=LAW, methods=["complement"])
    assert repr(result).startswith("Comparison(1 methods on 4 inputs, gaussian(sigma=0.5), alpha")
    assert "\n" not in repr(result)
    assert result._repr_html_().startswith("<pre>4 rows, gaussian")


def test_means_are_exact_and_never_rounded_up(certificates):
    from fractions import Fraction

    from rsbounds import _text

    # The mean in floating point of three radii of 0.1 is above 0.1.
    three = dataclasses.replace(certificates[[0, 0, 0]], radius=np.full(3, 0.1))
    assert three.radius.mean() > 0.1
    assert rsbounds.average_certified_radius(three, [0, 0, 0]) == 0.1
    rng = np.random.default_rng(0)
    for size in (1, 7, 1000):
        values = rng.exponential(size=size) * 10.0 ** rng.integers(-300, 3, size)
        exact = sum(map(Fraction, values.tolist())) / size
        mean = _text.mean_down(values.tolist())
        assert Fraction(mean) <= exact < Fraction(np.nextafter(mean, np.inf))
    assert _text.mean_down([]) == 0.0


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_figure(certificates, tmp_path, ending):
    path = tmp_path / f"curve.{ending}"
    got = rsbounds.plot_certified_accuracy(
        {"one": certificates, "two": certificates}, LABELS, path=path, title="a title"
    )
    assert got == path
    with pytest.raises(ValueError, match="which is there already"):
        rsbounds.plot_certified_accuracy({"one": certificates}, path=path)
    rsbounds.plot_certified_accuracy({"one": certificates}, path=path, force=True)
    start = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[ending]
    assert path.read_bytes().startswith(start)
    if ending == "svg":
        assert "<svg" in path.read_text()


def test_figure_refuses_other_files(certificates, tmp_path):
    with pytest.raises(ValueError, match=r"allowed endings: \.png, \.svg, \.pdf"):
        rsbounds.plot_certified_accuracy({"a": certificates}, path=tmp_path / "a.txt")
    with pytest.raises(ValueError, match="curves is empty"):
        rsbounds.plot_certified_accuracy({}, path=tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("scale", ["linear", "probit"])
def test_the_limit_is_the_delta_method_for_many_draws(scale):
    from scipy import stats

    from rsbounds.report.limit import likelihood_limit

    n, p = 10**8, np.array([0.7, 0.2, 0.1])
    got = likelihood_limit((p * n).astype(int), 0, alpha=0.01, scale=scale)

    def g(q):
        return q[0] - q[1] if scale == "linear" else stats.norm.ppf(q[0]) - stats.norm.ppf(q[1])

    # The gradient by differences, the covariance of a multinomial proportion.
    steps = np.eye(3) * 1e-6
    gradient = np.array([(g(p + s) - g(p - s)) / 2e-6 for s in steps])
    covariance = (np.diag(p) - np.outer(p, p)) / n
    spread = np.sqrt(gradient @ covariance @ gradient)
    assert (g(p) - got.level[0]) / spread == pytest.approx(stats.norm.isf(0.01), rel=1e-3)
    # Nothing that is no bound passes for one.
    assert not isinstance(got, rsbounds.MarginBound)
    with pytest.raises(TypeError, match="LikelihoodLimit"):
        LAW.region(got)
    other = rsbounds.Uniform(1.0) if scale == "probit" else LAW
    with pytest.raises(ValueError, match=f"allowed: a law on the {scale} scale"):
        got.curve(other)


@pytest.mark.parametrize("scale", ["linear", "probit"])
def test_the_limit_is_where_the_likelihood_ratio_is_that_of_alpha(scale):
    from scipy import stats
    from scipy.special import xlogy

    from rsbounds.report.limit import likelihood_limit

    for row in ([60, 30, 10], [95, 5, 0], [40, 35, 25], [9, 1, 0]):
        level = likelihood_limit(row, 0, alpha=0.01, scale=scale).level[0]
        if scale == "linear":
            q2 = np.linspace(max(0.0, -level), 0.5 * (1 - level), 200_001)
            q1 = q2 + level
        else:
            q2 = stats.norm.cdf(np.linspace(-9, -0.5 * level, 200_001))
            q1 = stats.norm.cdf(stats.norm.ppf(q2) + level)
        q = np.maximum([q1, q2, 1 - q1 - q2], 1e-300)
        x = np.array(row)[:, None]
        deviance = (xlogy(x, x / x.sum()) - xlogy(x, q)).sum(axis=0).min()
        assert np.sqrt(2 * deviance) == pytest.approx(stats.norm.isf(0.01), rel=1e-3)


@pytest.mark.parametrize("scale", ["linear", "probit"])
def test_no_bound_of_a_winning_class_lies_above_the_limit(scale):
    from rsbounds.report.limit import likelihood_limit
    from rsbounds.testing import outcomes

    for n in (5, 30):
        table = outcomes(n, 3)
        table = table[table[:, 0] > table[:, 1:].max(axis=1)]
        for alpha in (0.001, 0.05):
            limit = likelihood_limit(table, 0, alpha=alpha, scale=scale).level
            for method in ("exact", "runner-up", "complement"):
                lower = rsbounds.margin_lower_bound(
                    table, 0, alpha=alpha, scale=scale, method=method
                ).lower
                assert (lower <= limit).all()


def test_the_limit_at_the_edges():
    from rsbounds.report.limit import likelihood_limit

    for n in (1, 100, 10**7):
        rows = [[n, 0, 0], [0, n, 0], [n, 1, 0], [n, 0, 1], [1, n, 0]]
        for alpha in (1e-12, 0.01, 0.9):
            for scale in ("linear", "probit"):
                got = likelihood_limit(rows, 0, alpha=alpha, scale=scale).level
                assert np.isfinite(got[[0, 2, 3, 4]]).all()
                assert got[1] == -np.inf if scale == "probit" else -1 <= got[1] < 0


def test_compare_shows_the_limit():
    counts = np.random.default_rng(0).multinomial(10_000, [0.7, 0.2, 0.1], size=20)
    result = rsbounds.compare(counts, 0, noise=LAW, methods=["complement", "runner-up"])
    assert result.limit.mean_radius > result.rows[0].mean_radius
    assert "limit (not a bound)" in str(result).splitlines()[-1]
    assert list(result.curves())[-1] == "limit (not a bound)"
    assert result.as_dict()["limit"]["guarantee"] == "none"
    assert not isinstance(result.limit_curve, rsbounds.Certificates)
    assert result.limit_curve.radius.mean() == pytest.approx(result.limit.mean_radius, rel=1e-15)


def test_compare_with_a_law_of_one_sigma_per_input():
    # The small call before the clock starts took all B sigmas for its one row.
    laws = rsbounds.Gaussian([0.25, 0.5, 0.25, 0.5])
    result = rsbounds.compare(COUNTS, 0, noise=laws, methods=["complement"])
    one = rsbounds.certify(COUNTS, 0, noise=laws, method="complement")
    assert result.rows[0].mean_radius == one.radius.mean()
    assert len(result.limit_curve) == 4


AXES = rsbounds.certify(
    COUNTS, [0, 1, 0, 0], noise=DiagonalGaussian(np.full((4, 9), 0.4), batched=True)
)


def test_accuracy_of_any_size(certificates):
    # Axes of 0.4 in every direction: the inscribed radius is 0.4 times the radius.
    at = AXES.inscribed_radius[[0, 3]]
    share = rsbounds.certified_accuracy(AXES, LABELS, [*at, at[1] * 1.001], size="inscribed_radius")
    assert share.tolist() == [0.5, 0.25, 0.0]
    acr = rsbounds.average_certified_radius(AXES, LABELS, size="proxy_radius")
    assert acr == pytest.approx(0.4 * rsbounds.average_certified_radius(AXES, LABELS), rel=1e-12)
    for size in ("inscribed_radius", "proxy_radius"):
        same = rsbounds.average_certified_radius(certificates, LABELS, size=size)
        assert same == rsbounds.average_certified_radius(certificates, LABELS)
    with pytest.raises(ValueError, match="size is 'volume'; allowed: radius, inscribed_radius"):
        rsbounds.certified_accuracy(AXES, LABELS, [0.1], size="volume")
    unknown = dataclasses.replace(AXES, proxy_radius=np.full(4, np.nan))
    with pytest.raises(ValueError, match="size is 'proxy_radius', which scaled l2 certificates"):
        rsbounds.certified_accuracy(unknown, LABELS, [0.1], size="proxy_radius")


def test_curves_of_two_sizes_stand_side_by_side(certificates, tmp_path, monkeypatch):
    import rsbounds.report.figure as module

    drawn = {}

    def kept(figure, target):
        drawn["panels"] = figure.axes
        return target

    monkeypatch.setattr(module, "save", kept)
    sizes = ("inscribed_radius", "proxy_radius")
    rsbounds.plot_certified_accuracy(
        {"axes": AXES, "ball": certificates}, LABELS, path=tmp_path / "c.svg", size=sizes, band=0.05
    )
    words = [panel.get_xlabel() for panel in drawn["panels"]]
    assert words == ["inscribed l2 radius", "proxy l2 radius"]
    for panel, size in zip(drawn["panels"], sizes, strict=True):
        for line, result in zip(panel.get_lines(), (AXES, certificates), strict=True):
            # Just before each step the share is that of the inputs that reach it.
            x, y = line.get_data()
            at = np.unique(getattr(result, size))
            expected = rsbounds.certified_accuracy(result, LABELS, at, size=size)
            assert [y[x == r].max() for r in at] == expected.tolist()
        low, high = rsbounds.clopper_pearson_interval(2, 4, alpha=0.05)
        corners = panel.collections[0].get_paths()[0].vertices
        assert float(low) in corners[:, 1]
        assert float(high) in corners[:, 1]
    for bad in ({"size": ()}, {"size": "area"}, {"band": 1.5}):
        with pytest.raises(ValueError, match="allowed"):
            rsbounds.plot_certified_accuracy({"a": AXES}, path=tmp_path / "c.svg", **bad)


def test_a_report_of_regions_compares_inscribed_radii(tmp_path, certificates):
    AXES.write(tmp_path / "axes.tsv")
    certificates.write(tmp_path / "ball.tsv")
    result = report_runs([tmp_path / "axes.tsv", tmp_path / "ball.tsv"], tmp_path / "out")
    assert result.size == "inscribed_radius"
    assert json.loads(json.dumps(result.as_dict()))["size"] == "inscribed_radius"
    for line, table in zip(result.lines, (AXES, certificates), strict=True):
        for size, mean in table.mean_radii().items():
            assert line[f"mean_{size}"] == mean
        at = np.array(result.radii)
        shares = [(table.inscribed_radius >= r).mean() for r in at]
        assert line["accuracy"] == shares
    assert "inscribed    proxy" in str(result)
    assert (tmp_path / "out" / "axes.png").exists()
    alone = report_runs([tmp_path / "ball.tsv"], tmp_path / "alone")
    assert alone.size == "radius"
    assert "proxy" not in str(alone)
