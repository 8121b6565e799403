import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import rsbounds
from rsbounds.bounds.margin import MARGIN_METHODS
from rsbounds.commands import main

ROWS = np.array([[990, 8, 2], [10, 985, 5], [400, 350, 250]])
SELECT = np.array([[98, 2, 0], [1, 99, 0], [40, 35, 25]])
LABELS = np.array([0, 1, 0])


@pytest.fixture
def table(tmp_path):
    file = tmp_path / "counts.tsv"
    header = ["class_0", "class_1", "class_2", "label", "select_0", "select_1", "select_2"]
    body = np.column_stack([ROWS, LABELS, SELECT])
    file.write_text(
        "\n".join(["\t".join(header), *["\t".join(map(str, r)) for r in body.tolist()]]) + "\n"
    )
    return str(file)


def run(capsys, *arguments):
    code = main(list(arguments))
    out, err = capsys.readouterr()
    return code, out, err


def test_certify_prints_what_the_library_says(table, capsys):
    code, out, _ = run(capsys, "certify", table, "--sigma", "0.5", "--json")
    assert code == 0
    result = json.loads(out)
    expected = rsbounds.certify(ROWS, rsbounds.select_top(SELECT), noise=rsbounds.Gaussian(0.5))
    assert [row["radius"] for row in result["rows"]] == expected.radius.tolist()
    assert result["summary"]["acr"] == rsbounds.average_certified_radius(expected, LABELS)
    code, out, _ = run(capsys, "certify", table, "--sigma", "0.5")
    assert "2 of 3 certified" in out
    assert "average certified radius" in out


@pytest.mark.parametrize(
    ("arguments", "law"),
    [
        (["--half-width", "0.5"], rsbounds.Uniform(0.5)),
        (["--lipschitz", "2", "--sigma", "3"], rsbounds.Lipschitz(2.0, rsbounds.Gaussian(3.0))),
    ],
)
def test_other_laws(table, capsys, arguments, law):
    _code, out, _ = run(capsys, "certify", table, *arguments, "--json", "--top", "label")
    expected = rsbounds.certify(ROWS, LABELS, noise=law)
    assert [row["radius"] for row in json.loads(out)["rows"]] == expected.radius.tolist()
    assert json.loads(out)["summary"]["norm"] == law.norm
    # What was drawn from goes on record; a Gaussian(1) that nobody gave stood there.
    assert json.loads(out)["summary"]["noise"] == str(law)


def test_method_options_and_output(table, tmp_path, capsys):
    target = str(tmp_path / "out.tsv")
    code, out, _ = run(
        capsys, "certify", table, "--sigma", "0.5", "--method", "t-certify", "--option",
        "fractions=[0.5, 1.0]", "--option", "require_majority=true", "--output", target,
    )  # fmt: skip
    assert code == 0
    expected = rsbounds.certify(
        ROWS, LABELS, noise=rsbounds.Gaussian(0.5), method="t-certify", fractions=(0.5, 1.0),
        require_majority=True,
    )  # fmt: skip
    assert rsbounds.Certificates.read(target).radius.tolist() == expected.radius.tolist()
    assert target in out
    run(capsys, "certify", table, "--sigma", "0.5", "--output", target.replace("tsv", "jsonl"))
    assert len(rsbounds.Certificates.read(target.replace("tsv", "jsonl"))) == 3


def test_top_rules(table, capsys):
    _code, out, err = run(capsys, "certify", table, "--sigma", "1", "--top", "argmax", "--json")
    assert json.loads(out)["summary"]["guarantee"] == "none"
    assert "no theorem covers" in err
    _, out, _ = run(capsys, "compare", table, "--sigma", "1", "--top", "argmax", "--json")
    assert {row["guarantee"] for row in json.loads(out)["methods"]} == {"none"}
    _, out, _ = run(capsys, "certify", table, "--sigma", "1", "--top", "1", "--json")
    assert [row["candidate"] for row in json.loads(out)["rows"]] == [1, 1, 1]
    assert [row["top"] for row in json.loads(out)["rows"]] == [None, 1, None]


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".csv", ".txt"])
def test_other_files(tmp_path, capsys, suffix):
    file = tmp_path / f"counts{suffix}"
    if suffix == ".npy":
        np.save(file, ROWS)
    elif suffix == ".npz":
        np.savez(file, counts=ROWS, label=LABELS, select=SELECT)
    else:
        # A bare table, with a byte-order mark and a comment as spreadsheets leave them.
        text = "\n".join(",".join(map(str, r)) for r in ROWS.tolist())
        file.write_text("\ufeff" + text + "\n\n# end\n", encoding="utf-8")
    code, out, _ = run(capsys, "certify", str(file), "--sigma", "0.5", "--top", "0", "--json")
    assert code == 0
    expected = rsbounds.certify(ROWS, 0, noise=rsbounds.Gaussian(0.5))
    assert [row["radius"] for row in json.loads(out)["rows"]] == expected.radius.tolist()


def test_the_estimation_counts_are_refused_as_selection(table, tmp_path, capsys):
    np.savez(tmp_path / "same.npz", counts=ROWS, select=ROWS)
    same = str(tmp_path / "same.npz")
    for arguments, message in (
        ([table, "--select", "class_"], "takes count columns of FILE"),
        ([same, "--select", "counts"], "--select is 'counts', the counts of FILE"),
        ([same], "same values as those that are to be bounded, in 3 of 3 rows"),
    ):
        code, out, err = run(capsys, "certify", *arguments, "--sigma", "1")
        assert (code, out) == (2, "")
        assert message in err
    assert run(capsys, "certify", same, "--sigma", "1", "--independent")[0] == 0


def test_compare(table, tmp_path, capsys):
    figure, output = str(tmp_path / "a.svg"), str(tmp_path / "a.json")
    code, out, _ = run(
        capsys, "compare", table, "--sigma", "0.5", "--figure", figure, "--output", output,
        "--radii", "0.1,0.5", "--methods", "complement,runner-up",
    )  # fmt: skip
    assert code == 0
    assert "runner-up (split=optimal)" in out
    assert "ACR" in out
    assert Path(figure).read_text().startswith("<?xml")
    assert json.loads(Path(output).read_text())["radii"] == [0.1, 0.5]


def test_methods_lists_the_registry(capsys):
    code, out, _ = run(capsys, "methods", "--json")
    names = [row["name"] for row in json.loads(out) if row["role"] == "margin"]
    assert names == MARGIN_METHODS.names()
    code, out, _ = run(capsys, "methods")
    assert code == 0
    assert "guarantee: proven" in out
    assert "guarantee: enumerated" in out


def test_demo(tmp_path, capsys):
    folder = tmp_path / "demo"
    code, out, _ = run(capsys, "demo", "--output", str(folder), "--inputs", "3", "--n", "60")
    assert code == 0
    made = {file.name for file in folder.iterdir()}
    for sigma in ("0.25", "0.5"):
        for rest in (".png", ".svg", "_certificates.tsv", "_comparison.json", "_counts.npz"):
            assert f"digits_sigma{sigma}{rest}" in made
    counts = str(folder / "digits_sigma0.25_counts.npz")
    law = ("--sigma", "0.25", "--lattice", "1/256")
    code, out, _ = run(capsys, "certify", counts, *law, "--json")
    written = rsbounds.Certificates.read(folder / "digits_sigma0.25_certificates.tsv")
    assert written.details["offset"] == 0.0
    radii = [row["radius"] for row in json.loads(out)["rows"]]
    assert written.radius.tolist() == radii
    assert run(capsys, "demo", "--output", str(folder), "--inputs", "0")[0] == 2


def write(tmp_path, text, name="bad.tsv"):
    file = tmp_path / name
    file.write_text(text)
    return str(file)


BAD_FILES = [
    ("class_0\tclass_1\n5\t5\n5\n", "row 1 has 1 cells; allowed: 2"),
    ("class_0\tclass_1\n5\t5\t5\n", "row 0 has 3 cells"),
    ("a\tb\n5\t5\n", "has columns a, b; allowed: count columns"),
    ("class_0\tclass_1\n5\t-5\n", r"counts[0, 1] is -5"),
    ("class_0\tclass_1\n5\t5.5\n", "row 0, column 'class_1' is '5.5'; allowed: whole numbers"),
    ("class_0\tclass_1\n5\tx\n", "row 0, column 'class_1' is 'x'"),
    ("class_0\tclass_1\n5\tnan\n", "is 'nan'"),
    ("class_0\tclass_1\n5\t1e30\n", "is '1e30'"),
    ("class_0\tclass_1\n0\t0\n", "row 0 sums to 0"),
    ("class_0\n5\n", "at least 2 classes"),
    ("class_0\tclass_0\n5\t5\n", "names column 'class_0' twice"),
    ("", "is empty"),
    ("class_0\tclass_1\n", "header only"),
    (
        "class_0\tclass_1\tlabel\n5\t5\t7\n",
        "row 0, column 'label' is 7; allowed: a class from 0 to 1",
    ),
]


@pytest.mark.parametrize(("text", "message"), BAD_FILES)
def test_bad_files_end_with_code_2_and_one_sentence(tmp_path, capsys, text, message):
    target = tmp_path / "out.tsv"
    top = "label" if "label" in text else "0"
    code, out, err = run(
        capsys, "certify", write(tmp_path, text), "--sigma", "0.5", "--top", top, "--output",
        str(target),
    )  # fmt: skip
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert not target.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sigma", "0"], "sigma is 0; allowed"),
        (["--sigma", "nan"], "sigma is nan"),
        (["--sigma", "1", "--alpha", "1"], "alpha is 1.0"),
        (["--sigma", "1", "--method", "best"], "method is 'best'; known: exact, runner-up"),
        (["--sigma", "1", "--option", "split"], "--option is 'split'; allowed: NAME=VALUE"),
        (["--sigma", "1", "--option", "split=2"], "split is 2"),
        (["--sigma", "1", "--option", "fractions=__import__('os')"], "fractions is"),
        (["--sigma", "1", "--top", "best"], "--top is 'best'"),
        (["--sigma", "1", "--top", "9"], "top[0] is 9"),
        (["--sigma", "1", "--output", "x.parquet"], "allowed endings: .tsv, .jsonl"),
        (["--sigma", "1", "--output", "no/such/folder/x.tsv"], "a file in a folder that exists"),
    ],
)
def test_bad_arguments_end_with_code_2(table, capsys, arguments, message):
    code, out, err = run(capsys, "certify", table, *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.strip().splitlines()) == 1


def test_more_bad_input(tmp_path, table, capsys):
    assert "a file that exists" in run(capsys, "certify", "none.tsv", "--sigma", "1")[2]
    assert (
        "allowed endings" in run(capsys, "certify", write(tmp_path, "", "a.doc"), "--sigma", "1")[2]
    )
    np.savez(tmp_path / "other.npz", votes=ROWS)
    code, _, err = run(capsys, "certify", str(tmp_path / "other.npz"), "--sigma", "1", "--top", "0")
    assert code == 2
    assert "holds arrays ['votes']" in err
    code, _, err = run(
        capsys, "certify", write(tmp_path, "junk", "a.npy"), "--sigma", "1", "--top", "0"
    )
    assert code == 2
    assert "cannot be read as .npy" in err
    np.save(tmp_path / "p.npy", np.array([{}], dtype=object))
    assert run(capsys, "certify", str(tmp_path / "p.npy"), "--sigma", "1", "--top", "0")[0] == 2
    bare = write(tmp_path, "class_0\tclass_1\n5\t5\n")
    code, _, err = run(capsys, "certify", bare, "--sigma", "1")
    assert code == 2
    assert "neither selection columns nor a label column" in err
    assert run(capsys, "certify", bare, "--sigma", "1", "--top", "label")[0] == 2
    assert run(capsys, "certify", bare, "--sigma", "1", "--top", "selection")[0] == 2
    assert run(capsys, "compare", table, "--sigma", "1", "--radii", "a")[0] == 2
    assert run(capsys, "compare", table, "--sigma", "1", "--output", "a.txt")[0] == 2
    assert run(capsys, "compare", table, "--sigma", "1", "--figure", "a.txt")[0] == 2
    (tmp_path / "latin.tsv").write_bytes(b"class_0\tclass_1\n\xff\t5\n")
    assert "UTF-8" in run(capsys, "certify", str(tmp_path / "latin.tsv"), "--sigma", "1")[2]


def test_as_a_program(table):
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, "-m", "rsbounds", "certify", table, "--sigma", "0.5", "--json"],
        capture_output=True, text=True, env=environment, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout)["summary"]["rows"] == 3
    assert done.stderr == ""
    done = subprocess.run(
        [sys.executable, "-m", "rsbounds", "certify", table],
        capture_output=True, text=True, env=environment, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "--sigma" in done.stderr


def test_mean_of_a_table_and_of_arrays(tmp_path, capsys):
    x = np.random.default_rng(0).beta(9, 1, (2, 400))
    text = tmp_path / "scores.tsv"
    text.write_text("cat\tdog\n" + "\n".join(f"{a!r}\t{b!r}" for a, b in x.T.tolist()) + "\n")
    np.save(tmp_path / "scores.npy", x.T)
    np.savez(tmp_path / "scores.npz", samples=x.T, other=np.zeros(3))
    want = rsbounds.mean_bound(x, alpha=0.01, side="both", axis=1)
    for name in ("scores.tsv", "scores.npy", "scores.npz"):
        code, out, _ = run(
            capsys, "mean", str(tmp_path / name), "--alpha", "0.01", "--side", "both", "--json"
        )
        assert code == 0
        rows = json.loads(out)["rows"]
        assert [row["lower"] for row in rows] == want.lower.tolist()
        assert [row["upper"] for row in rows] == want.upper.tolist()
    assert [row["n"] for row in rows] == [400, 400]
    code, out, _ = run(
        capsys, "mean", str(text), "--method", "betting", "--option", "cap=0.9", "--side", "both"
    )
    assert code == 0
    cells = out.splitlines()[2].split()
    exact = rsbounds.mean_bound(x[0], alpha=0.001, side="both", method="betting", cap=0.9)
    assert cells[0] == "cat"
    assert float(cells[3]) <= exact.lower[0] < float(cells[3]) + 1e-6
    assert float(cells[4]) >= exact.upper[0] > float(cells[4]) - 1e-6


def test_mean_compares_methods(tmp_path, capsys):
    x = np.random.default_rng(0).beta(9, 1, (1, 400))
    np.save(tmp_path / "scores.npy", x[0])
    code, out, _ = run(capsys, "mean", str(tmp_path / "scores.npy"), "--compare", "--json")
    assert code == 0
    rows = {row["method"]: row for row in json.loads(out)["rows"]}
    assert "clopper-pearson" not in rows
    for method, row in rows.items():
        assert row["lower"] == rsbounds.mean_bound(x, alpha=0.001, method=method, axis=1).lower[0]
    code, out, _ = run(capsys, "mean", str(tmp_path / "scores.npy"), "--compare")
    assert "the best of several" in out


def test_methods_lists_means_and_sequences(capsys):
    _, out, _ = run(capsys, "methods", "--json")
    listed = {(row["role"], row["name"]) for row in json.loads(out)}
    assert {("mean", "goal"), ("any-time mean", "mixture"), ("margin", "runner-up")} <= listed
    _, out, _ = run(capsys, "methods")
    assert "(any-time mean bound, guarantee: proven)" in out


def test_mean_offers_clopper_pearson_for_votes(tmp_path, capsys):
    file = tmp_path / "votes.csv"
    file.write_text("\n".join(["1"] * 90 + ["0"] * 10))
    code, out, _ = run(capsys, "mean", str(file))
    assert code == 0
    assert "--method clopper-pearson is exact" in out
    code, out, _ = run(capsys, "mean", str(file), "--method", "clopper-pearson", "--json")
    low = rsbounds.clopper_pearson_lower(90, 100, alpha=0.001)
    assert json.loads(out)["rows"][0]["lower"] == low


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("0.5\n1.5\n", "samples[0, 1] is 1.5"),
        ("a\tb\n0.5\t0.5\n0.5\n", "row 1 has 1 cells; allowed: 2"),
        ("a\n0.5\nx\n", "row 1, column 'a' is 'x'"),
        ("a\n", "has a header only"),
        ("", "is empty"),
        ("0.5\n", "n = 1 draws"),
    ],
)
def test_mean_refuses(tmp_path, capsys, content, message):
    file = tmp_path / "scores.tsv"
    file.write_text(content)
    code, _, err = run(capsys, "mean", str(file))
    assert code == 2
    assert message in err


def test_an_average_is_shown_on_its_side_of_the_bound(tmp_path, capsys):
    """Six digits showed an average below 1 as 1.000000, and one below its upper bound above it."""
    values = np.ones(5000)
    values[0] = 0.999
    np.save(tmp_path / "scores.npy", values)
    _, out, _ = run(capsys, "mean", str(tmp_path / "scores.npy"))
    assert f" {float(values.mean())!r} " in out
    assert out.count("1.000000") == 1, "the upper end of the support alone"
    with pytest.raises(SystemExit):
        main(["mean", "--help"])
    assert "sorted draws are not a sample" in " ".join(capsys.readouterr().out.split())
