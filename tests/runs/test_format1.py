"""Stores of the first format still open."""

import contextlib
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from _stores import CONFIG, LAW, folder_of

import rsbounds
from rsbounds.runs import RunStore, rebound


def format1(path, *changes):
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.executescript(Path(__file__).with_name("format1.sql").read_text())
        for change in changes:
            database.execute(change)
    return path


def test_a_store_of_format_1_opens(tmp_path):
    # Old stores open; the law is that of the run, not the six digits of the row.
    path = format1(tmp_path / "old.sqlite")
    before = path.read_bytes()
    with RunStore(path) as store:
        assert store.format == 1
        assert store.done() == {0, 1, 2}
        assert store.versions["rsbounds"] == "0.1.0"
        rows = list(store.rows())
        result = rebound(store)
    assert rows[2].estimate.tolist() == [450, 550, 0]
    assert rows[0].law == {"name": "gaussian", "sigma": 0.12345678901234566}
    assert rows[0].options == {"split": 0.75}
    assert rows[0].seed == 2**62 + 1
    assert [r.label for r in rows] == [1, 0, 1]
    expected = rsbounds.certify(
        [r.estimate for r in rows], rsbounds.select_top([r.select for r in rows]), noise=LAW,
        alpha=0.01, split=0.75,
    )  # fmt: skip
    assert (result.radius == expected.radius).all()
    # What the old version stored; later versions may bound more tightly, never much less so.
    np.testing.assert_allclose(result.radius, [r.radius for r in rows], rtol=1e-3)
    with pytest.raises(ValueError, match=r"older version \(format 1\); it can be read, re-bounded"):
        RunStore(path, CONFIG)
    assert folder_of(path) == {"old.sqlite": before}


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE inputs SET estimate_counts = '[1, 998, 0]' WHERE idx = 0",
        "UPDATE inputs SET estimate_counts = '[1, 1000, -1]' WHERE idx = 0",
        "UPDATE inputs SET noise = 'gaussian(sigma=0.123458)' WHERE idx = 1",
        "UPDATE inputs SET alpha = 0.001 WHERE idx = 1",
        "UPDATE inputs SET top = 3 WHERE idx = 1",
        "UPDATE inputs SET seed = 'x' WHERE idx = 1",
        "UPDATE run SET value = replace(value, '0.12345', '0.1245') WHERE key = 'config'",
        "UPDATE run SET value = replace(value, '\"alpha\": 0.01', '\"alpha\": 0.1')",
        "DELETE FROM run WHERE key = 'versions'",
    ],
)
def test_a_damaged_store_of_format_1_is_refused(tmp_path, change):
    with pytest.raises(ValueError, match="damaged"):
        RunStore(format1(tmp_path / "old.sqlite", change))


def test_format_1_kept_any_label_and_rows_without_votes(tmp_path):
    path = format1(
        tmp_path / "old.sqlite",
        "UPDATE inputs SET label = -1 WHERE idx = 0",
        "UPDATE inputs SET estimate_counts = '[0, 0, 0]', invalid = 1000, radius = 0, abstained = 1"
        " WHERE idx = 1",
    )
    with RunStore(path) as store:
        assert [r.label for r in store.rows()] == [-1, 0, 1]
        assert rebound(store).abstained.tolist() == [False, True, False]
