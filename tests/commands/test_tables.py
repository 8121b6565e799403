"""Columns mean what they say: by number, by name, or the file is refused."""

import gzip
import io
import json
import sys

import numpy as np
import pytest

from rsbounds import Certificates
from rsbounds._files import read_counts
from rsbounds._sample_files import read_samples
from rsbounds.commands import main

LAW = ["--sigma", "1", "--method", "complement"]


def write(tmp_path, text, name="t.csv"):
    file = tmp_path / name
    file.write_text(text, encoding="utf-8")
    return str(file)


def certified(capsys, file, *more):
    code = main(["certify", file, *LAW, "--json", *more])
    out, err = capsys.readouterr()
    assert code == 0, err
    return [(row["top"], row["radius"] > 0) for row in json.loads(out)["rows"]]


def refused(capsys, file, *more, command="certify"):
    code = main([command, file, *(LAW if command == "certify" else []), *more])
    out, err = capsys.readouterr()
    assert (code, out) == (2, ""), (code, out, err)
    assert len(err.strip().splitlines()) == 1
    assert err.startswith(f"rsbounds {command}: ")
    return err


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("class_1,class_0,label\n9900,100,0\n", [[100, 9900]]),
        ("class_0,class_1,class_10,class_2,class_3,class_4,class_5,class_6,class_7,class_8,class_9"
         "\n0,1,10,2,3,4,5,6,7,8,9\n", [list(range(11))]),
        ("class_01,class_00\n5,7\n", [[7, 5]]),
    ],
)  # fmt: skip
def test_count_columns_are_placed_by_number(tmp_path, text, counts):
    assert read_counts(write(tmp_path, text)).counts.tolist() == counts


def test_the_right_class_is_certified_whatever_the_order(tmp_path, capsys):
    file = write(tmp_path, "class_1,class_0,label\n9900,100,0\n")
    assert not certified(capsys, file)[0][1]
    assert certified(capsys, file, "--top", "1") == [(1, True)]


def test_selection_columns_are_placed_by_number(tmp_path):
    text = "select_2,class_0,select_0,class_2,select_1,class_1\n3,10,1,30,2,20\n"
    found = read_counts(write(tmp_path, text))
    assert found.counts.tolist() == [[10, 20, 30]]
    assert found.select.tolist() == [[1, 2, 3]]


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("class_0,class_2", "class_0, class_2: gaps; allowed: class_0 to class_1"),
        ("class_1,class_2", "class_1, class_2: numbers from 1; allowed: class_0"),
        ("class_0,class_00", "class_0, class_00: repeated numbers"),
        ("class_0,class_1,class_total", "class_0, class_1, class_total; allowed: all numbered"),
        ("class_0,class_1,class_1.1", "class_1.1; allowed: all numbered"),
        ("class_0,class_-1", "class_-1; allowed: all numbered"),
        ("class_0,class_dog", "class_0, class_dog; allowed: all numbered"),
        ("class_cat,class_dog,class_total", "class_total; allowed: all numbered"),
        ("class_,class_dog", "allowed: all numbered"),
        ("class_cat,class_dog,class_id", "class_id; allowed: all numbered"),
        ("class_cat,class_dog,class_label", "class_label; allowed: all numbered"),
        ("class_0,class_1,clas_2", "column 'clas_2', which is read as nothing; allowed: class_2"),
        ("class_0,class_1,Class_2", "column 'Class_2', which is read as nothing"),
        ("class_0,class_1,class2", "column 'class2', which is read as nothing"),
        ("class_0,class_1,selct_0,selct_1", "'selct_0', which is read as nothing; allowed: sele"),
        ("class_0,class_1,selection_0,selection_1", "'selection_0', which is read as nothing"),
        ("class_0,class_1,select_0", "2 count columns and the selection columns select_0"),
        ("class_0,class_1,select_1,select_2", "select_1, select_2: numbers from 1"),
        ("class_0,class_1,select_a,select_b", "allowed: one for every class"),
        ("class_0,class_1,label,labels", "has label and labels; allowed: one"),
        ("a,b", "has columns a, b; allowed: count columns"),
    ],
)
def test_columns_that_are_not_one_set_of_classes_are_refused(tmp_path, capsys, header, said):
    row = ",".join(["1"] * len(header.split(",")))
    file = write(tmp_path, f"{header}\n{row}\n")
    assert said in refused(capsys, file, "--top", "0")


def test_a_named_total_is_told_by_its_values(tmp_path, capsys):
    text = "class_cat,class_dog,class_whole\n90,10,100\n70,30,100\n"
    assert "'whole' is the sum of the other" in refused(capsys, write(tmp_path, text), "--top", "0")
    found = read_counts(write(tmp_path, text), classes=["cat", "dog", "whole"])
    assert found.counts.shape == (2, 3)


def test_named_classes_by_their_columns_or_by_classes(tmp_path, capsys):
    named = "class_dog,class_cat,label,select_cat,select_dog\n990,10,dog,1,9\n20,980,cat,8,2\n"
    found = read_counts(write(tmp_path, named))
    assert found.classes == ("dog", "cat")
    assert found.label.tolist() == [0, 1]
    assert found.select.tolist() == [[9, 1], [2, 8]]
    bare = write(tmp_path, "dog,cat,target\n990,10,dog\n20,980,cat\n", "bare.csv")
    again = read_counts(bare, classes=["cat", "dog"], label="target")
    assert again.counts.tolist() == [[10, 990], [980, 20]]
    assert again.label.tolist() == [1, 0]
    numbered = write(tmp_path, "class_0,class_1,label\n990,10,dog\n20,980,cat\n", "n.csv")
    assert read_counts(numbered, classes=["dog", "cat"]).label.tolist() == [0, 1]
    indices = write(tmp_path, "class_0,class_1,label\n990,10,0\n20,980,1\n")
    assert read_counts(indices, classes=["dog", "cat"]).label.tolist() == [0, 1]
    digits = write(tmp_path, "class_3,class_5,label\n990,10,5\n20,980,3\n")
    assert read_counts(digits, classes=["3", "5"]).label.tolist() == [1, 0]
    assert certified(capsys, numbered, "--classes", "dog,cat", "--top", "cat")[1][1]
    for classes, said in [
        ("dog", "--classes names 1 classes"),
        ("dog,dog", "allowed: distinct names"),
        ("dog,bird", "column 'label' is 'cat'; allowed: dog, bird"),
    ]:
        assert said in refused(capsys, numbered, "--classes", classes)
    assert "--classes is 'dog,bird'" in refused(capsys, bare, "--classes", "dog,bird")
    both = write(tmp_path, "class_dog,class_cat,class_cow\n990,10,0\n")
    assert "class_cow besides the columns" in refused(capsys, both, "--classes", "dog,cat")


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("packed", [False, True])
def test_separators_and_gzip(tmp_path, capsys, separator, packed):
    text = "\ufeffclass_0,class_1,label,note\n990,10,0,a\n20,980,1,b\n".replace(",", separator)
    file = tmp_path / ("t.csv.gz" if packed else "t.csv")
    data = text.encode("utf-8")
    file.write_bytes(gzip.compress(data) if packed else data)
    assert certified(capsys, str(file)) == [(0, True), (1, True)]


@pytest.mark.parametrize("kind", ["text", "gzip", "npy", "npz"])
def test_pipes(monkeypatch, capsys, kind):
    held = io.BytesIO()
    table = np.array([[990, 10], [20, 980]])
    if kind == "npy":
        np.save(held, table)
    elif kind == "npz":
        np.savez(held, counts=table)
    else:
        text = b"class_0,class_1\n990,10\n20,980\n"
        held.write(gzip.compress(text) if kind == "gzip" else text)
    held.seek(0)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(held))
    assert certified(capsys, "-", "--top", "0")[0] == (0, True)


def test_an_id_column_is_kept_and_never_counted(tmp_path, capsys):
    file = write(tmp_path, "class_id,class_0,class_1,label\nx7,990,10,0\nx9,20,980,1\n")
    found = read_counts(file, id="class_id")
    assert found.id == ["x7", "x9"]
    assert found.counts.tolist() == [[990, 10], [20, 980]]
    assert "--id is 'name'" in refused(capsys, file, "--id", "name")
    pandas = write(tmp_path, ",class_0,class_1,label\n0,990,10,0\n1,20,980,1\n")
    assert read_counts(pandas).counts.tolist() == [[990, 10], [20, 980]]


def test_a_label_that_is_given_is_enough_and_must_be_there(tmp_path, capsys):
    file = write(tmp_path, "class_0,class_1,target\n990,10,0\n20,980,1\n")
    assert certified(capsys, file, "--label", "target") == [(0, True), (1, True)]
    assert "--label is 'targte'" in refused(capsys, file, "--label", "targte", "--top", "0")
    assert "--select is 'sel_'" in refused(capsys, file, "--select", "sel_", "--top", "0")
    np.savez(tmp_path / "t.npz", counts=[[990, 10], [20, 980]], target=[0, 1])
    npz = str(tmp_path / "t.npz")
    assert certified(capsys, npz, "--label", "target") == [(0, True), (1, True)]
    assert "'targte'" in refused(capsys, npz, "--label", "targte")


def test_npz_keys_are_the_same_everywhere(tmp_path, capsys):
    file = tmp_path / "t.npz"
    for key in ("label", "labels"):
        np.savez(file, counts=[[990, 10], [20, 980]], **{key: [0, 1]})
        assert certified(capsys, str(file)) == [(0, True), (1, True)]
    np.savez(file, counts=[[990, 10], [20, 980]], selct=[[9, 1], [1, 9]])
    assert "'selct', which is read as nothing" in refused(capsys, str(file), "--top", "0")
    np.savez(file, counts=[[990, 10], [20, 980]], label=[0])
    assert "array 'label' has shape (1,)" in refused(capsys, str(file))
    np.savez(file, np.zeros((500, 3)))
    said = refused(capsys, str(file), command="mean")
    assert "holds arrays ['arr_0']; allowed: one named 'samples'" in said


def test_draws_are_rows_in_every_format(tmp_path, capsys):
    x = np.random.default_rng(0).beta(9, 1, (500, 3))
    np.save(tmp_path / "a.npy", x)
    np.savez(tmp_path / "a.npz", samples=x)
    np.savetxt(tmp_path / "a.csv", x, delimiter=",", header="cat,dog,cow", comments="")
    for name in ("a.npy", "a.npz", "a.csv"):
        table, names = read_samples(tmp_path / name)
        np.testing.assert_array_equal(table, x.T)
        assert names == (["cat", "dog", "cow"] if name == "a.csv" else ["0", "1", "2"])
    # Three draws of 500 quantities, or 500 of three lying down? Not guessed.
    np.save(tmp_path / "b.npy", x.T)
    said = refused(capsys, str(tmp_path / "b.npy"), command="mean")
    assert "3 rows of 500 columns" in said
    assert "--axis 1" in said
    np.testing.assert_array_equal(read_samples(tmp_path / "b.npy", axis=1)[0], x.T)
    np.testing.assert_array_equal(read_samples(tmp_path / "b.npy", axis=0)[0], x)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0,1,2\n90,5,5\n80,10,10\n", "begins with the row 0, 1, 2"),
        ("0,90,10\n1,80,20\n2,70,30\n", "the first column counts the rows"),
        ("90,10,1\n80,20,0\n70,30,1\n", "without column 2 every row sums to 100"),
        ("17,90,10\n3,80,20\n9,70,30\n", "without column 0 every row sums to 100"),
    ],
)
def test_columns_without_a_header_that_are_plainly_no_votes(tmp_path, capsys, text, said):
    assert said in refused(capsys, write(tmp_path, text), "--top", "0")


def test_a_header_behind_a_hash_is_read(tmp_path):  # as numpy.savetxt writes it
    found = read_counts(write(tmp_path, "# class_1,class_0,label\n9900,100,1\n"))
    assert found.counts.tolist() == [[100, 9900]]
    assert found.label.tolist() == [1]


def test_certificates_print_names_and_ids_and_are_read_back(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = "class_dog,class_cat,label,name\n990,10,dog,x1\n400,600,cat,x2\n510,490,cat,x3\n"
    file = write(tmp_path, text)
    words = ["certify", file, *LAW, "--id", "name", "--output", "made.tsv"]
    assert main(words) == 0
    lines = [line.split()[:2] for line in capsys.readouterr().out.splitlines()[2:5]]
    assert lines == [["x1", "dog"], ["x2", "cat"], ["x3", "-"]]
    made = Certificates.read("made.tsv")
    assert made.classes == ("dog", "cat")
    assert made.ids == ("x1", "x2", "x3")
    assert made[made.certified].ids == ("x1", "x2")
    assert made[1:].ids == ("x2", "x3")
    assert main(["certify", "made.tsv", "--output", "made.jsonl"]) == 0
    capsys.readouterr()
    assert main(["certify", "made.jsonl", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [(row["id"], row["class"]) for row in rows] == [
        ("x1", "dog"), ("x2", "cat"), ("x3", None),
    ]  # fmt: skip
    assert [row["radius"] for row in rows] == made.radius.tolist()
    said = refused(capsys, "made.tsv")
    assert "--method, --sigma is given, but made.tsv holds certificates" in said
    assert main(["report", "made.tsv", "--output", "report", "--radii", "0.1", "--json"]) == 0
    (line,) = json.loads(capsys.readouterr().out)["lines"]
    assert (line["method"], line["inputs"], line["abstained"]) == ("complement", 3, 1)
