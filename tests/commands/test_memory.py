"""``rsbounds memory``: the memory of a stored run on the command line."""

import json

import numpy as np
import pytest

import rsbounds
from rsbounds.commands import main

X = np.array([[0.9], [0.0], [0.1], [-0.9]], dtype=np.float32)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("data.npz", inputs=X)
    np.save("data.npy", X)
    np.savez("other.npz", pictures=X)
    # A small class amid a large one: wide noise far from it does not see it.
    law = rsbounds.Gaussian(sigma=[1.0, 0.1, 0.1, 1.0])
    rsbounds.certify_dataset(
        lambda batch: (np.abs(batch[:, 0]) < 0.4).astype(int), X, [0, 1, 1, 0], noise=law, n=500,
        num_classes=2, seed=1, store="run.sqlite", model_id="m", progress=False,
    )  # fmt: skip
    return tmp_path


WORDS = ["memory", "run.sqlite", "--memory", "memory.sqlite", "--data"]


def test_a_memory_is_made_and_goes_on(folder, capsys):
    assert main([*WORDS, "data.npz", "--output", "rows.tsv"]) == 0
    first = capsys.readouterr().out
    assert "about the memory classifier" in first
    assert "memory: memory.sqlite" in first
    assert main([*WORDS, "data.npy", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)["summary"]
    assert (summary["rows"], summary["memory"]) == (4, "memory.sqlite")
    assert f"{summary['adjusted']} adjusted" in first
    assert summary["adjusted"] >= 1
    rows = rsbounds.Certificates.read("rows.tsv")
    assert rows.about == "memory"
    # Finished inputs are the whole run here, and their order the same.
    assert main([*WORDS, "data.npz", "--finished", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["summary"] == summary


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["missing.npz"], "--data is 'missing.npz'; allowed: an .npz or .npy file"),
        (["run.sqlite"], "--data is 'run.sqlite'"),
        (["other.npz"], "holds the arrays pictures; allowed: one named 'inputs'"),
        (["data.npz", "--alpha", "2"], "alpha is 2.0"),
        (["data.npz", "--output", "data.npz"], "--output is 'data.npz'"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(folder, capsys, more, said):
    assert main([*WORDS, *more]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert not (folder / "memory.sqlite").exists()


def test_another_alpha_is_another_memory(folder, capsys):
    assert main([*WORDS, "data.npz", "--family"]) == 0
    assert "alpha 0.00025" in capsys.readouterr().out
    before = (folder / "memory.sqlite").read_bytes()
    assert main([*WORDS, "data.npz"]) == 2
    assert "was made with alpha = " in capsys.readouterr().err
    assert (folder / "memory.sqlite").read_bytes() == before
