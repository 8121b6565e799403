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
