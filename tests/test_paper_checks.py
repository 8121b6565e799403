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
