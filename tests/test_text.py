import os
import warnings
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rsbounds
from rsbounds import _text
from rsbounds._text import check_output, complete_file, down


@given(st.floats(-1e6, 1e6), st.integers(0, 8))
def test_down_never_exceeds_the_value(value, digits):
    shown = float(down(value, digits))
    assert shown <= value + 1e-9 * abs(value) * 1e-6
    assert value - shown <= 1.0000001 * 10.0**-digits + 1e-9 * abs(value) * 1e-6


def test_down_rounds_half_units_down():
    assert down(0.3789, 3) == "0.378"
    assert down(-0.3781, 3) == "-0.379"
    assert down(np.inf) == "inf"


@given(st.floats(-1e6, 1e6), st.integers(0, 8))
def test_up_is_the_other_side(value, digits):
    shown = Fraction(_text.up(value, digits))
    assert 0 <= shown - Fraction(value) < Fraction(1, 10**digits)


def test_a_table_is_aligned_as_numbers_are_read():
    shown = _text.table(["input", "n"], [["a", "1000"], ["longer", "7"]])
    assert shown.splitlines() == [
        "input      n",
        "------  ----",
        "a       1000",
        "longer     7",
    ]


def test_invalid_inputs_are_named_up_to_five():
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        _text.warn_invalid("the model", [False] * 3)
        _text.warn_invalid("the model", [True, False, True])
        _text.warn_invalid("the model", [True] * 5)
        _text.warn_invalid("the model", [False, *[True] * 6])
    assert [str(one.message).split("answered NaN on ")[1] for one in said] == [
        "2 of 3 inputs (0, 2); they abstain",
        "5 of 5 inputs (0, 1, 2, 3, 4); they abstain",
        "6 of 7 inputs (1, 2, 3, 4, 5, ...); they abstain",
    ]


def test_a_complete_file_can_be_read_by_whom_an_ordinary_one_can(tmp_path):
    (tmp_path / "plain").write_text("")
    with complete_file(tmp_path / "ours") as stream:
        stream.write("1")
    modes = [(tmp_path / name).stat().st_mode for name in ("plain", "ours")]
    assert modes[0] == modes[1]


def test_a_file_appears_only_when_complete(tmp_path):
    target = tmp_path / "out.txt"
    target.write_text("old")

    def half():
        with complete_file(target) as stream:
            stream.write("new")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        half()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]
    with complete_file(target) as stream:
        stream.write("new")
    assert target.read_text() == "new"
    with pytest.raises(ValueError, match="folder that exists"), complete_file(tmp_path / "no/x"):
        pass


# An output that was the input emptied it, and an old result was overwritten unasked.
def test_an_output_is_checked_before_the_work(tmp_path):
    source, link, old = tmp_path / "in.tsv", tmp_path / "link.tsv", tmp_path / "old.tsv"
    source.write_text("1")
    old.write_text("2")
    link.symlink_to(source)
    hard = tmp_path / "hard.tsv"
    hard.hardlink_to(source)
    assert check_output(tmp_path / "new.tsv", [source]) == tmp_path / "new.tsv"
    for same in (source, link, hard, tmp_path / "." / "in.tsv"):
        for force in (False, True):
            with pytest.raises(ValueError, match="which is read; allowed: another file"):
                check_output(same, [old, source], force=force)
    with pytest.raises(ValueError, match="which is read"):
        check_output(tmp_path / "none.tsv", [tmp_path / "none.tsv"], force=True)
    with pytest.raises(ValueError, match=r"--output is .*old.tsv', which is there already"):
        check_output(old, name="--output")
    assert check_output(old, force=True) == old
    dangling = tmp_path / "dangling.tsv"
    dangling.symlink_to(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="which is there already"):
        check_output(dangling)
    with pytest.raises(ValueError, match="a folder"):
        check_output(tmp_path, force=True)
    with pytest.raises(ValueError, match="a file in a folder that exists"):
        check_output(tmp_path / "no" / "x.tsv")
    with pytest.raises(ValueError, match="not an ordinary file"):
        check_output(os.devnull, force=True)
    assert old.read_text() == "2"


def test_shares_are_exact_and_never_rounded_up():  # 43 of 50 read 0.859
    for total in (*range(1, 130), 250, 999, 10_000):
        for part in range(0, total + 1, max(1, total // 100)):
            for digits in (1, 3):
                shown = Fraction(_text.share(part / total, total, digits))
                assert shown <= Fraction(part, total) < shown + Fraction(1, 10**digits)


def test_tables_show_exact_shares():
    counts = [[990, 10]] * 43 + [[10, 990]] * 7
    found = rsbounds.compare(
        counts, 0, noise=rsbounds.Gaussian(0.5), labels=[0] * 50, radii=[0.5],
        methods=["complement"],
    )  # fmt: skip
    line = str(found).splitlines()[3].split()
    assert line[2] == "86.0%"
    assert line[5] == "0.860"
