"""The list of known mistakes does not rot: each has its place, its tests, a row in the table."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "tests" / "mutants"


@pytest.fixture(scope="module")
def tools():
    """The two scripts, which find each other as they do when they are run."""
    sys.path.insert(0, str(FOLDER))
    try:
        import mutants
        import run

        yield mutants, run
    finally:
        sys.path.remove(str(FOLDER))
        for name in ("mutants", "run"):
            sys.modules.pop(name, None)


def test_every_mistake_has_its_place(tools):
    mutants, _ = tools
    assert len(mutants.MUTANTS) >= 25
    names = [one.name for one in mutants.MUTANTS]
    assert len(set(names)) == len(names)
    for one in mutants.MUTANTS:
        text = (ROOT / one.file).read_text(encoding="utf-8")
        assert text.count(one.old) == 1, f"{one.name}: {one.file} no longer holds its text once"
        # A mistake, not a typing error: the file is still Python.
        assert one.old != one.new, one.name
        ast.parse(text.replace(one.old, one.new))
        for word in one.tests.split():
            place, _, test = word.partition("::")
            assert (ROOT / place).exists(), f"{one.name}: {word}"
            named = f"def {test.partition('[')[0]}("
            assert not test or named in (ROOT / place).read_text(encoding="utf-8"), word


def test_the_table_has_every_mistake(tools):
    mutants, run = tools
    rows = run.known(FOLDER / "TABLE.md")
    assert list(rows) == [one.name for one in mutants.MUTANTS]
    for one in mutants.MUTANTS:
        said, _ = rows[one.name]
        assert said == f"no test can: {one.unseen}" if one.unseen else said.startswith("`tests/")
    # Read and written again it is the same.
    assert run.table(rows) == (FOLDER / "TABLE.md").read_text(encoding="utf-8")


def test_a_place_that_has_changed_is_noticed(tools, tmp_path):
    mutants, run = tools
    (tmp_path / "a.py").write_text("x = 1\ny = 1\n")
    for old, new in (("x = 2", "x = 3"), ("= 1", "= 2"), ("x = 1", "x = 1")):
        with pytest.raises(RuntimeError, match=r"'wrong': a\.py no longer holds its text exactly"):
            run.planted(tmp_path, mutants.Mutant("wrong", "a.py", old, new, "tests"))
    run.planted(tmp_path, mutants.Mutant("wrong", "a.py", "x = 1", "x = 2", "tests"))
    assert (tmp_path / "a.py").read_text() == "x = 2\ny = 1\n"


def test_a_test_is_named_and_a_broken_file_is_no_catch(tools, tmp_path):
    mutants, run = tools
    known = mutants.Mutant("known", "a.py", "a", "b", "tests")
    (tmp_path / "test_a.py").write_text("def test_it():\n    assert 1 == 2, 'one - two'\n")
    code, failed = run.noticed(tmp_path, ["test_a.py"])
    assert run.verdict(known, code, failed) == "`test_a.py::test_it`"
    (tmp_path / "test_a.py").write_text("def test_it(:\n")
    assert run.verdict(known, *run.noticed(tmp_path, ["test_a.py"])).startswith("BROKEN")
    assert run.verdict(known, 0, "") == "SURVIVED"
    assert run.verdict(known, 124, "").startswith("SURVIVED")
    unseen = mutants.Mutant("known", "a.py", "a", "b", "tests", unseen="because")
    assert run.verdict(unseen, 0, "") == "no test can: because"
