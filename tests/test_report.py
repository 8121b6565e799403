import json

import numpy as np
import pytest

import rsbounds
from rsbounds.bounds.margin import MARGIN_METHODS

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


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_figure(certificates, tmp_path, ending):
    path = tmp_path / f"curve.{ending}"
    got = rsbounds.plot_certified_accuracy(
        {"one": certificates, "two": certificates}, LABELS, path=path, title="a title"
    )
    assert got == path
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
def test_the_limit_is_the_delta_method(scale):
    from scipy import stats

    from rsbounds.report.limit import normal_limit

    n, p = 1000, np.array([0.7, 0.2, 0.1])
    got = normal_limit(p * n, 0, alpha=0.01, scale=scale)

    def g(q):
        return q[0] - q[1] if scale == "linear" else stats.norm.ppf(q[0]) - stats.norm.ppf(q[1])

    # The gradient by differences, the covariance of a multinomial proportion.
    steps = np.eye(3) * 1e-6
    gradient = np.array([(g(p + s) - g(p - s)) / 2e-6 for s in steps])
    covariance = (np.diag(p) - np.outer(p, p)) / n
    expected = g(p) - stats.norm.isf(0.01) * np.sqrt(gradient @ covariance @ gradient)
    assert got.lower[0] == pytest.approx(expected, rel=1e-6)
    assert got.guarantee == "none"
    assert not got.certified.any()


def test_the_limit_without_a_second_class_is_the_two_class_bound():
    from rsbounds.report.limit import normal_limit

    rows = [[1000, 0, 0], [0, 1000, 0]]
    got = normal_limit(rows, 0, alpha=0.01, scale="probit").lower
    cohen = rsbounds.margin_lower_bound(
        rows, 0, alpha=0.01, scale="probit", method="complement"
    ).lower
    assert (got == cohen).all()


def test_compare_shows_the_limit():
    counts = np.random.default_rng(0).multinomial(10_000, [0.7, 0.2, 0.1], size=20)
    result = rsbounds.compare(counts, 0, noise=LAW, methods=["complement", "runner-up"])
    assert result.limit.mean_radius > result.rows[0].mean_radius
    assert "limit (not a bound)" in str(result).splitlines()[-1]
    assert list(result.curves())[-1] == "limit (not a bound)"
    assert result.as_dict()["limit"]["guarantee"] == "none"
