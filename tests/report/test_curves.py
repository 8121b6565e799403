"""What a figure draws and a comparison counts, against the definitions."""

import json

import numpy as np
import pytest

import rsbounds
from rsbounds.report.comparison import accuracy_radii, method_label

LAW = rsbounds.Gaussian(0.5)
COUNTS = np.array([[990, 8, 2], [10, 985, 5], [400, 350, 250], [1000, 0, 0], [960, 30, 10]])
TOP = [0, 1, 0, 0, 0]


@pytest.fixture
def certificates():
    return rsbounds.certify(COUNTS, TOP, noise=LAW, method="complement")


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """Draws a figure; gives the points of each line, by its name, and the words on it."""
    axes = pytest.importorskip("matplotlib.axes").Axes
    plain = axes.plot

    def draw(curves, labels=None, **more):
        lines, found = {}, []

        def plot(self, x, y, **style):
            lines[style["label"]] = (np.array(x), np.array(y))
            found.append(self)
            return plain(self, x, y, **style)

        monkeypatch.setattr(axes, "plot", plot)
        rsbounds.plot_certified_accuracy(curves, labels, path=tmp_path / "a.svg", force=True)
        return lines, found[0]

    return draw


def height(line, radius):
    """Height of a step line: where it is vertical, the upper end (radius r counts at r)."""
    x, y = line
    return y[x >= radius].max() if (x >= radius).any() else 0.0


@pytest.mark.parametrize("labels", [None, [0, 0, 0, 0, 0], [2, 2, 2, 2, 2]])
def test_the_line_is_the_certified_accuracy_at_every_radius(certificates, drawn, labels):
    lines, axes = drawn({"one": certificates}, labels)
    x, y = lines["one"]
    assert (np.diff(x) >= 0).all()
    assert (np.diff(y) <= 0).all()
    assert y[-1] == 0
    own = certificates.radius
    at = np.concatenate([[0.0], own, np.nextafter(own, 9), np.linspace(0, own.max(), 50)])
    assert [height(lines["one"], r) for r in at] == rsbounds.certified_accuracy(
        certificates, labels, at
    ).tolist()
    said = "share certified" if labels is None else "certified accuracy"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("l2 radius", said)
    assert axes.get_xlim()[1] > own.max()


def test_labels_may_differ_from_line_to_line(certificates, drawn):
    labels = {"right": TOP, "wrong": [2] * 5}
    lines, _ = drawn({"right": certificates, "wrong": certificates}, labels)
    assert height(lines["right"], 0.0) == 0.8
    assert height(lines["wrong"], 0.0) == 0.0


@pytest.mark.parametrize("largest", [0.0123, 0.25, 0.978, 4.04, 77.0])
def test_the_radii_of_the_columns_are_round_and_within_reach(largest):
    at = accuracy_radii([np.linspace(0, largest, 5), np.zeros(1)])
    assert len(at) == 4
    np.testing.assert_allclose(np.diff(at), at[0])
    assert 0.6 * largest < at[-1] <= 1.2 * largest
    assert all(len(f"{r:g}".strip("0.").replace(".", "")) <= 2 for r in at)


def test_a_row_of_a_comparison_says_what_its_certificates_do():
    labels = [0, 0, 0, 0, 1]
    result = rsbounds.compare(
        COUNTS, TOP, noise=LAW, labels=labels, radii=[0.0, 0.9], methods=["complement"]
    )
    (row,) = result.rows
    made = result.certificates["complement"]
    assert row.certified == made.certified.mean() == 0.8
    assert row.mean_radius == pytest.approx(made.radius.mean(), rel=1e-12)
    assert row.accuracy == (0.4, 0.4)
    bare = rsbounds.compare(COUNTS, TOP, noise=LAW, radii=[0.0, 0.9], methods=["complement"])
    assert bare.rows[0].accuracy == (0.8, (made.radius >= 0.9).mean())
    assert method_label("a", {}) == "a"
    assert method_label("a", {"split": 0.5, "over": "x"}) == "a (split=0.5, over=x)"


def test_a_method_that_is_not_installed_is_not_compared(monkeypatch):
    from rsbounds.bounds.margin import MARGIN_METHODS

    monkeypatch.setattr(MARGIN_METHODS["bonferroni"], "usable", classmethod(lambda cls: False))
    result = rsbounds.compare(COUNTS, TOP, noise=LAW, methods=["complement", "bonferroni"])
    assert [row.method for row in result.rows] == ["complement"]
    with pytest.raises(ValueError, match="methods is"):
        rsbounds.compare(COUNTS, TOP, noise=LAW, methods=["bonferroni"])


@pytest.mark.parametrize("labels", [None, [0, 1, 1, 1]])
def test_the_lines_of_a_report_are_those_of_the_certificates(tmp_path, labels):
    def model(batch):
        # The last input is answered with NaN: it abstains, and is said to be invalid.
        logits = np.column_stack([-batch[:, 0], batch[:, 0]])
        return np.where(batch[:, 1:] > 50, np.nan, logits)

    inputs = np.array([[2.0, 0.0], [-2.0, 0.0], [0.0, 0.0], [2.0, 99.0]])
    with pytest.warns(RuntimeWarning, match="1 of 4 inputs have invalid answers"):
        made = rsbounds.certify_dataset(
            model, inputs, labels, store=tmp_path / "run.sqlite", noise=LAW, n=500, n0=50,
            num_classes=2, seed=1, method="complement", progress=False,
        )  # fmt: skip
    report = rsbounds.report.report_runs(
        [tmp_path / "run.sqlite"], tmp_path / "out", methods=["complement"], radii=[0.0, 0.3]
    )
    (line,) = report.lines
    assert (line["run"], line["inputs"], line["invalid"]) == ("run", 4, 1)
    assert line["abstained"] == made.abstained.sum() == 2
    # Without labels an input without a valid vote ended the report: its class is none.
    assert made.candidate[3] == rsbounds.NO_CLASS
    right = made.certified if labels is None else made.top == labels
    assert line["accuracy"] == [right.mean(), (right & (made.radius >= 0.3)).mean()]
    rows = (tmp_path / "out" / "report.tsv").read_text().splitlines()
    cells = dict(zip(rows[0].split("\t"), rows[1].split("\t"), strict=True))
    acr = "" if labels is None else str(rsbounds.average_certified_radius(made, labels))
    assert cells["acr"] == acr
    assert cells["r>=0.3"] == str(line["accuracy"][1])
    stored = json.loads((tmp_path / "out" / "report.json").read_text())
    assert stored["lines"] == list(report.lines)
