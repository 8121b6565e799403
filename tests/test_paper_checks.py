"""The checks run, and their verdicts are the ones that the errata state."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))


def test_verdicts_on_radii():
    from paper_checks import check_radii

    assert [check.holds for check in check_radii.run()] == [False] * 5


def test_verdicts_on_t_certify():
    from paper_checks import check_t_certify

    verdicts = [check.holds for check in check_t_certify.run()]
    assert verdicts[:3] == [True, True, False]


def test_verdicts_on_mean_widths(monkeypatch, tmp_path):
    from paper_checks import check_mean_widths

    monkeypatch.setattr(check_mean_widths, "FOLDER", tmp_path)
    verdicts = [check.holds for check in check_mean_widths.run()]
    assert verdicts == [True, True, True, True, False, False]
    assert "goal" in (tmp_path / "widths.md").read_text()


def test_a_single_check_runs_from_the_command_line(capsys, monkeypatch):
    from paper_checks import __main__

    monkeypatch.setattr(sys, "argv", ["paper_checks", "check_radii"])
    assert __main__.main() == 0
    assert "does not hold as printed" in capsys.readouterr().out


def test_regions_found_in_the_plane_are_larger():
    pytest.importorskip("torch", reason="the adapter needs torch")
    from paper_checks import check_smoothing

    assert set(check_smoothing.ORDER) <= set(check_smoothing.methods())
    held = check_smoothing.areas(["fixed", "search"], (0, 90), n=2000, draws=100, steps=4)
    # The plane that is turned has the same distances: isotropic noise does not notice.
    fixed, found = (sorted(held[name]) for name in ("fixed", "search"))
    assert found[0] > 1.3 * fixed[1]
    assert fixed[1] < 1.2 * fixed[0]


def test_smoothing_is_not_checked_without_data(monkeypatch, capsys):
    pytest.importorskip("torch", reason="the adapter needs torch")
    from paper_checks import check_smoothing

    monkeypatch.setenv("RSBOUNDS_DATA", "/nowhere")
    monkeypatch.setattr(check_smoothing, "plane", lambda: iter([]))
    assert list(check_smoothing.run()) == []
    assert "only the plane is checked" in capsys.readouterr().out


def test_training_tables_of_cells_that_are_kept(monkeypatch, tmp_path, capsys):
    pytest.importorskip("torch", reason="the adapter needs torch")
    from paper_checks import training

    monkeypatch.setattr(training, "EPOCHS", {"mnist": 2, "digits": 2})
    monkeypatch.setattr(training, "N", 200)
    words = [
        "--sets", "digits", "--methods", "gaussian-4,adre-reg", "--sigma", "0.25",
        "--seeds", "0", "--images", "6", "--runs", str(tmp_path / "runs"), "--output",
        str(tmp_path),
    ]  # fmt: skip
    assert training.main(words) == 0
    table = (tmp_path / "training.md").read_text()
    assert "| adre-reg over gaussian-4 |" in table
    assert table.count("| gaussian-4 | 1 |") == 1
    # What is there is not made again; what was made otherwise is refused.
    monkeypatch.setattr(training, "run_cell", None)
    assert training.main(words) == 0
    assert (tmp_path / "training.md").read_text() == table
    monkeypatch.setattr(training, "N", 300)
    assert training.main(words) == 2
    assert "was made with" in capsys.readouterr().err
    assert training.main(["--methods", "none"]) == 2


def test_every_loss_has_its_row_in_the_training_tables():
    pytest.importorskip("torch", reason="the adapter needs torch")
    from paper_checks.training import METHODS
    from rsbounds_torch.training import LOSSES

    assert set(LOSSES) == {method.loss for method in METHODS.values()}
    assert {method.parent for method in METHODS.values()} - {None} <= set(METHODS)


def test_differences_of_training_are_paired():
    import numpy as np
    from scipy.stats import ttest_1samp

    from paper_checks.training import Found, difference, verdict

    rng = np.random.default_rng(0)
    hard = rng.uniform(0, 2, 300)
    right = np.ones(300, dtype=bool)
    one, other = (
        [Found(hard + shift + rng.normal(0, 0.05, 300), right, {}) for _ in range(2)]
        for shift in (0.02, 0.0)
    )
    mean, low, high, each = difference(one, other)
    by_image = np.mean([a.radius - b.radius for a, b in zip(one, other, strict=True)], axis=0)
    interval = ttest_1samp(by_image, 0.0).confidence_interval(0.95)
    assert (low, high) == pytest.approx((interval.low, interval.high))
    assert np.mean(each) == pytest.approx(mean)
    # The images differ by far more than the methods do.
    assert verdict(low, high) == "holds"
