import json

import numpy as np
import pytest
from scipy import stats

import rsbounds

COUNTS = np.array([[990, 8, 2], [400, 350, 250], [10, 985, 5]])


@pytest.fixture
def certificates():
    return rsbounds.certify(COUNTS, [0, 0, 1], noise=rsbounds.Gaussian(0.5), alpha=0.01)


def test_radius_is_the_law_of_the_margin(certificates):
    bound = rsbounds.margin_lower_bound(COUNTS, [0, 0, 1], alpha=0.01, scale="probit")
    assert (certificates.margin_lower == bound.lower).all()
    assert (certificates.radius == rsbounds.Gaussian(0.5).radius(bound.lower)).all()
    assert certificates.abstained.tolist() == [False, True, False]
    uniform = rsbounds.certify(COUNTS, [0, 0, 1], noise=rsbounds.Uniform(0.5), alpha=0.01)
    linear = rsbounds.margin_lower_bound(COUNTS, [0, 0, 1], alpha=0.01, scale="linear")
    assert (uniform.radius == rsbounds.Uniform(0.5).radius(linear.lower)).all()
    assert uniform.norm == "l1"


def test_indexing(certificates):
    one = certificates[2]
    assert (one.index, one.top, one.abstained) == (2, 1, False)
    assert one.radius == certificates.radius[2]
    assert "class 1 within l2 radius" in str(one)
    assert str(certificates[1]) == "input 1: abstained"
    part = certificates[1:]
    assert len(part) == 2
    assert part[0].index == 1
    kept = certificates[~certificates.abstained]
    assert [c.index for c in kept] == [0, 2]
    assert len(list(certificates)) == 3


def test_table_rounds_radii_down(certificates):
    lines = str(certificates).splitlines()
    shown = float(lines[2].split()[2])
    assert shown <= certificates.radius[0] < shown + 1e-4
    assert "2 of 3 certified" in lines[-2]
    assert "guarantee: proven" in lines[-1]
    assert "... 1 more rows" in certificates.table(2)


def test_exports_hold_every_number_exactly(certificates, tmp_path):
    certificates.to_tsv(tmp_path / "c.tsv")
    text = (tmp_path / "c.tsv").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    header = lines[0].split("\t")
    column = header.index("radius")
    assert [float(line.split("\t")[column]) for line in lines[1:]] == certificates.radius.tolist()
    assert {"n", "alpha", "method", "noise", "guarantee"} <= set(header)
    certificates.to_jsonl(tmp_path / "c.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "c.jsonl").read_text().splitlines()[1:]]
    assert [row["radius"] for row in rows] == certificates.radius.tolist()
    assert rows[0]["n"] == 1000
    frame = certificates.to_pandas()
    assert frame["radius"].tolist() == certificates.radius.tolist()
    assert frame["alpha"].tolist() == [0.01] * 3
    with pytest.raises(ValueError, match="folder"):
        certificates.to_tsv(tmp_path)


def test_a_margin_without_bound_is_null_in_json(tmp_path):
    nothing = rsbounds.certify([0, 5], 0, noise=rsbounds.Gaussian(0.5))
    assert nothing.margin_lower[0] == -np.inf
    nothing.to_jsonl(tmp_path / "c.jsonl")
    row = json.loads((tmp_path / "c.jsonl").read_text().splitlines()[1])
    assert (row["margin_lower"], row["top"]) == (None, None)


def test_predict_by_scipy():
    rows = np.array([[80, 15, 5], [51, 49, 0], [30, 30, 1], [0, 0, 9], [1, 0, 0]])
    answers = rsbounds.predict(rows, alpha=0.01)
    for row, p, top, abstained in zip(
        rows, answers.p_value, answers.top, answers.abstained, strict=True
    ):
        second, first = np.sort(row)[-2:]
        expected = stats.binomtest(int(first), int(first + second), 0.5).pvalue
        assert p == pytest.approx(expected, rel=1e-10)
        assert abstained == (expected > 0.01)
        assert top == (rsbounds.NO_CLASS if abstained else row.argmax())
    assert (answers.candidate == rows.argmax(axis=1)).all()
    assert len(answers) == 5


def test_select_top_remembers_its_counts():
    chosen = rsbounds.select_top(COUNTS)
    assert chosen.top.tolist() == [0, 0, 1]
    assert len(chosen) == 3
    result = rsbounds.certify(COUNTS * 10, chosen, noise=rsbounds.Gaussian(0.5))
    assert result.top.tolist() == [0, 0, 1]
    with pytest.raises(ValueError, match="selected from the same counts"):
        rsbounds.certify(COUNTS, chosen, noise=rsbounds.Gaussian(0.5))
    with pytest.raises(ValueError, match=r"counts\[0, 0\] is -1"):
        rsbounds.select_top([[-1, 2]])
    assert rsbounds.select_top([[4, 4, 1]]).top.tolist() == [0]
