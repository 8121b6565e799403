"""The report has a row for every claim, and its verdicts are those that the checks give."""

import importlib
import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
REPORT = ROOT / "paper_checks" / "REPORT.md"
#: Sections whose verdicts rest on many draws or images, which a quick run does not have.
STATISTICAL = {"t_certify_curves", "mean_widths", "l1"}
PLANE = {"plane", "smoothing"}
AGAIN = "REPORT.md is older than its checks: make paper-checks ARGS='--only {}'"


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))


def sections():
    return sorted(
        path.stem.removeprefix("check_") for path in (ROOT / "paper_checks").glob("check_*.py")
    )


def quick(name):
    if name in ("t_certify_curves", "l1"):
        pytest.importorskip("sklearn", reason="our own counts need scikit-learn")
    if name in PLANE or name == "l1":
        pytest.importorskip("torch", reason="the adapter needs torch")
    return list(importlib.import_module(f"paper_checks.check_{name}").run(quick=True))


@pytest.mark.parametrize("name", sections())
def test_the_report_has_the_rows_of_every_section(name):
    from paper_checks import data_folder
    from paper_checks._report import read

    rows = read(REPORT.read_text())[name].rows
    checks = quick(name)
    told = {(row[0], row[1]): row for row in rows}
    assert len(told) == len(rows)
    for check in checks:
        assert (check.source, check.claim) in told, AGAIN.format(name)
        if name not in STATISTICAL:
            assert told[check.source, check.claim][5] == check.verdict, check
    # The plane takes minutes; published logs and counts are not everywhere.
    if name not in PLANE and data_folder() is not None:
        assert [(c.source, c.claim) for c in checks] == list(told), AGAIN.format(name)


def test_read_sections_are_as_they_were_made():
    # What is read here must not be older than what was read from.
    from paper_checks._report import read, section

    for name in ("training", "smoothing"):
        module = importlib.import_module(f"paper_checks.check_{name}")
        made = section(module.__doc__, quick(name)).rows
        assert set(made) <= set(read(REPORT.read_text())[name].rows), AGAIN.format(name)


def test_every_erratum_has_a_row_that_shows_it():
    from paper_checks import ERRATA
    from paper_checks._report import read

    rows = [row for one in read(REPORT.read_text()).values() for row in one.rows]
    assert {row[7] for row in rows} - {""} == set(ERRATA)
    # Most are no good as they are printed; what holds all the same is loose, or has no proof.
    for key in ERRATA:
        verdicts = {row[5] for row in rows if row[7] == key}
        assert verdicts != {"not decided"}, key


def test_what_fails_says_what_the_library_does():
    from paper_checks._report import VERDICTS, read

    rows = [row for one in read(REPORT.read_text()).values() for row in one.rows]
    assert len(rows) > 80
    for row in rows:
        assert row[5] in VERDICTS
        assert row[5] not in ("fails", "misprint") or row[6], row
        assert all(row[:5]), row


def test_the_report_is_what_its_sections_make():
    from paper_checks._report import read, report

    text = REPORT.read_text()
    assert report(read(text)) == text
    for link in re.findall(r"\]\((\w[\w.]*)\)", text):
        assert (REPORT.parent / link).is_file() or link == "training.md", link


def test_a_section_is_made_anew_and_the_others_stay(monkeypatch, tmp_path, capsys):
    from paper_checks import __main__
    from paper_checks._report import COLUMNS, Section, read, report

    monkeypatch.setattr(__main__, "FOLDER", tmp_path)
    monkeypatch.setattr(__main__, "names", lambda: ["other", "training"])
    assert __main__.main(["--only", "training"]) == 2
    assert "where there is one" in capsys.readouterr().err
    assert __main__.main(["--only", "nothing"]) == 2
    assert "--only has 'nothing'; allowed: other, training" in capsys.readouterr().err
    old = (*("a | b" if c == "claim" else "holds" for c in COLUMNS[:-1]), "")
    path = tmp_path / "REPORT.md"
    path.write_text(report({"other": Section("Title: with a colon", ("A note.",), (old,))}))
    assert __main__.main(["--only", "training", "--json", str(tmp_path / "rows.json")]) == 0
    found = read(path.read_text())
    assert list(found) == ["other", "training"]
    assert found["other"].rows == (old,)
    assert found["other"].notes == ("A note.",)
    assert '"section": "training"' in (tmp_path / "rows.json").read_text()
    # Less work for each row is not what the report is made of.
    before = path.read_bytes()
    assert __main__.main(["--only", "training", "--quick"]) == 0
    assert path.read_bytes() == before


def test_an_erratum_without_a_name_is_refused():
    from paper_checks import Check

    with pytest.raises(ValueError, match="erratum is 'none'; allowed: rddrs-eq1"):
        Check("a", "b", "c", "d", "e", True, erratum="none")


def test_the_commands_of_what_is_not_checked_are_there(capsys):
    pytest.importorskip("torch", reason="the adapter needs torch")
    import rsbounds.commands
    import rsbounds_torch.commands
    from paper_checks.not_checked import NOT_CHECKED

    mains = {"rsbounds": rsbounds.commands.main, "python": rsbounds_torch.commands.main}
    shown = {}
    for row in NOT_CHECKED:
        for text in re.findall(r"`((?:rsbounds|python -m rsbounds_torch) [^`]*)`", row[3]):
            words = shlex.split(text)
            command = words[1] if words[0] == "rsbounds" else words[3]
            if (words[0], command) not in shown:
                with pytest.raises(SystemExit):
                    mains[words[0]]([command, "--help"])
                shown[words[0], command] = capsys.readouterr().out
            for word in words:
                if word.startswith("--"):
                    assert word in shown[words[0], command], (text, word)
    assert len(shown) == 4


def test_differences_of_training_become_rows(tmp_path, capsys):
    from paper_checks import check_training

    (none,) = check_training.run(path=tmp_path / "training.md")
    assert none.verdict == "not decided"
    assert "make paper-training" in none.remark
    text = (
        "## mnist, sigma 0.5\n\n| method | seeds |\n|---|---|\n| a | 1 |\n\n"
        "| ACR | difference | 95 % | by seed | claim | here |\n|---|---|---|---|---|---|\n"
        "| macer over gaussian | +0.02 | +0.01 to +0.03 | +0.02 | Zhai et al. 2020 | holds |\n"
        "| ds over a | -0.02 | -0.03 to -0.01 | -0.02 | Alfarra et al. 2022, Table 1 |"
        " does not hold |\n"
        "| b over a | +0.00 | -0.01 to +0.01 | +0.00 | x | not decided |\n"
    )
    (tmp_path / "training.md").write_text(text)
    rows = list(check_training.run(path=tmp_path / "training.md"))
    assert [row.verdict for row in rows] == ["holds", "fails", "not decided"]
    assert rows[0].claim == "macer certifies more than gaussian (mnist, sigma 0.5)"
    assert rows[1].source == "data-dependent-smoothing, Table 1"
    assert "+0.01 to +0.03" in rows[0].got


def test_widths_are_written(monkeypatch, tmp_path):
    from paper_checks import _figures, check_mean_widths

    monkeypatch.setattr(check_mean_widths, "FOLDER", tmp_path)
    monkeypatch.setattr(_figures, "FOLDER", tmp_path)
    rows = {"a": dict.fromkeys(
        ("theoretical Bernstein", "empirical Bernstein", "PrPl-EB", "mixture", "goal"), [1.0] * 4
    )}  # fmt: skip
    monkeypatch.setattr(check_mean_widths, "CASES", {"a": ()})
    check_mean_widths.write(rows)
    made = (tmp_path / "widths.svg").read_bytes()
    check_mean_widths.write(rows)
    # The same numbers make the same bytes.
    assert (tmp_path / "widths.svg").read_bytes() == made
    assert "| goal | 1.000 |" in (tmp_path / "widths.md").read_text()


def test_regions_found_in_the_plane_are_larger():
    pytest.importorskip("torch", reason="the adapter needs torch")
    from paper_checks import check_smoothing

    assert set(check_smoothing.ORDER) <= set(check_smoothing.methods())
    held = check_smoothing.areas(["fixed", "search"], (0, 90), n=2000, draws=100, steps=4)
    # The plane that is turned has the same distances: isotropic noise does not notice.
    fixed, found = (sorted(held[name]) for name in ("fixed", "search"))
    assert found[0] > 1.3 * fixed[1]
    assert fixed[1] < 1.2 * fixed[0]


def test_areas_of_several_seeds_are_compared():
    pytest.importorskip("torch", reason="the adapter needs torch")
    import numpy as np

    from paper_checks.check_plane import area, compared

    one = np.array([1.0, 1.1, 0.9, 1.0])
    for shift, verdict in ((0.0, "holds"), (0.15, "not decided"), (1.0, "fails")):
        check = compared("a", "b", "c", {0: one, 90: one + shift}, "d")
        assert check.verdict == verdict, check
    assert area(30, 500, first="search", steps=1, draws=20) > 0.01


def test_smoothing_is_not_checked_without_data(monkeypatch, tmp_path, capsys):
    pytest.importorskip("torch", reason="the adapter needs torch")
    from paper_checks import check_smoothing

    monkeypatch.setenv("RSBOUNDS_DATA", "/nowhere")
    monkeypatch.delenv("RSBOUNDS_IMAGES", raising=False)
    monkeypatch.setattr(check_smoothing, "plane", lambda: iter([]))
    # With the table that is there no images are needed.
    rows = list(check_smoothing.run())
    assert len(rows) == 2
    assert "images" in rows[0].tolerance
    monkeypatch.setattr(check_smoothing, "FOLDER", tmp_path)
    assert list(check_smoothing.run()) == []
    assert "only the plane is checked" in capsys.readouterr().out


def test_the_table_of_smoothing_is_read_as_it_was_written(monkeypatch, tmp_path):
    pytest.importorskip("torch", reason="the adapter needs torch")
    import rsbounds
    from paper_checks import check_smoothing

    law = rsbounds.noises.DiagonalGaussian([0.5, 1.0])
    made = rsbounds.certify([[90, 10], [10, 90], [70, 30]], [0, 1, 0], noise=law)
    truth = [0, 1, 1]
    monkeypatch.setattr(check_smoothing, "FOLDER", tmp_path)
    check_smoothing.write({"fixed": made, "ddrs": made}, truth)
    images, acr, large = check_smoothing.read((tmp_path / "smoothing.md").read_text())
    assert images == 3
    for size in ("proxy_radius", "inscribed_radius"):
        mean = rsbounds.average_certified_radius(made, truth, size=size)
        assert acr["ddrs", size] == pytest.approx(mean, abs=6e-4)
    assert large == {"fixed": 0.0, "ddrs": 0.0}


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
