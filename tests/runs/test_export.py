"""Rows of a store as files."""

import json
import sys

import numpy as np
import pytest
from _stores import CONFIG, LAW, filled, row

import rsbounds
from rsbounds.commands import main
from rsbounds.runs import RunStore, export_rows, rebound

NONE = {
    "select": np.zeros(4, int), "estimate": np.zeros(4, int), "invalid": 450, "top": -1,
    "radius": 0.0, "abstained": True, "error": "NaN\tin\nline",
}  # fmt: skip


@pytest.fixture
def store(tmp_path):
    with RunStore(tmp_path / "run.sqlite", CONFIG) as writer:
        writer.add_many([*(row(i) for i in range(11)), row(11, **NONE), row(12, label=None)])
    with RunStore(tmp_path / "run.sqlite") as reader:
        yield reader


def test_the_columns_of_the_published_logs_come_first(store, tmp_path):
    # Index and top as in the certificates, and no class where the row abstained.
    certificates = rebound(store, method="complement", alpha=0.001)
    rows = list(store.rows())
    export_rows(store, certificates, tmp_path / "out.tsv")
    lines = [line.split("\t") for line in (tmp_path / "out.tsv").read_text().splitlines()]
    assert lines[0][:6] == ["idx", "label", "predict", "radius", "correct", "time"]
    table = [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]
    assert len(table) == 13
    assert 2 < certificates.abstained.sum() < 10
    for cells, r, c in zip(table, rows, certificates, strict=True):
        assert cells["idx"] == cells["index"] == str(r.index)
        assert float(cells["radius"]) == c.radius
        assert cells["predict"] == ("-1" if c.abstained else str(r.select.argmax()))
        assert cells["top"] == ("" if c.abstained else cells["predict"])
        assert json.loads(cells["law"]) == LAW.to_dict()
        assert float(cells["alpha"]) == 0.001
        assert cells["version"] == rsbounds.__version__
        assert json.loads(cells["estimate_counts"]) == r.estimate.tolist()
        right = "" if r.label is None else str(int(cells["top"] == str(r.label)))
        assert cells["correct"] == right
    assert table[11]["error"] == "NaN in line"
    assert table[12]["label"] == ""


def test_json_lines_have_null_where_there_is_no_class(store, tmp_path):
    certificates = rebound(store)
    export_rows(store, certificates, tmp_path / "out.jsonl")
    objects = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    for record, c in zip(objects, certificates, strict=True):
        assert (record["top"] is None) == c.abstained
        assert record["law"] == LAW.to_dict()
        assert record["seed"] == CONFIG["seed"]


def test_exports_replace_nothing_unasked(store, tmp_path, capsys):
    certificates = rebound(store)
    path = tmp_path / "out.tsv"
    path.write_text("precious")
    before = store.path.read_bytes()
    with pytest.raises(ValueError, match="which is there already"):
        export_rows(store, certificates, path)
    assert path.read_text() == "precious"
    assert main(["export", str(store.path), str(path)]) == 2
    assert "which is there already" in capsys.readouterr().err
    assert path.read_text() == "precious"
    export_rows(store, certificates, path, force=True)
    assert main(["export", str(store.path), str(path), "--force"]) == 0
    assert path.read_text().startswith("idx\t")
    link = tmp_path / "link.tsv"
    link.symlink_to(store.path)
    with pytest.raises(ValueError, match="which is read"):
        export_rows(store, certificates, link, force=True)
    with pytest.raises(ValueError, match="allowed endings"):
        export_rows(store, certificates, tmp_path / "out.doc")
    assert main(["export", str(store.path), str(tmp_path / "out.doc")]) == 2
    assert "allowed endings" in capsys.readouterr().err
    assert store.path.read_bytes() == before


def test_certificates_of_other_inputs_are_refused(store, tmp_path):
    with RunStore(filled(tmp_path / "other.sqlite", range(20, 33))) as other:
        certificates = rebound(other)
    with RunStore(tmp_path / "counts.sqlite", CONFIG) as other:
        other.add_many(row(i, select=row(i + 1).select, estimate=row(i + 1).estimate, top=0)
                       for i in range(13))  # fmt: skip
        same_indices = rebound(other)
    for wrong in (certificates, rebound(store)[:5], same_indices):
        with pytest.raises(ValueError, match="inputs that are not the 13 of store"):
            export_rows(store, wrong, tmp_path / "out.tsv")
    assert not (tmp_path / "out.tsv").exists()


def test_parquet_where_pyarrow_is(store, tmp_path, monkeypatch):
    certificates = rebound(store)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"install rsbounds\[all\]"):
        export_rows(store, certificates, tmp_path / "out.parquet")
    monkeypatch.undo()
    parquet = pytest.importorskip("pyarrow.parquet", reason="Parquet needs pyarrow")
    export_rows(store, certificates, tmp_path / "out.parquet")
    table = parquet.read_table(tmp_path / "out.parquet")
    assert table.column("radius").to_pylist() == certificates.radius.tolist()
    assert [top is None for top in table.column("top").to_pylist()] == (
        certificates.abstained.tolist()
    )
    assert json.loads(table.column("law")[0].as_py()) == LAW.to_dict()
