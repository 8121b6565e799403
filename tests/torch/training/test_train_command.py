"""``rsbounds train``: from a file to certificates, resumption, refusals."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the adapter needs torch")

from rsbounds_torch.commands import main

MODULE = """
import torch

def model():
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(6, 12), torch.nn.ReLU(),
                               torch.nn.Linear(12, 2))

def wider():
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(6, 16), torch.nn.ReLU(),
                               torch.nn.Linear(16, 2))

def data():
    return [(torch.full((6,), float(i % 2)), i % 2) for i in range(40)]

def function():
    return lambda x: x
"""
LABEL = np.arange(80) % 2
INPUTS = (LABEL[:, None, None] + 0.1 * np.random.default_rng(0).standard_normal((80, 2, 3))).astype(
    np.float32
)
WORDS = [
    "train", "--model", "own_train_module:model", "--data", "data.npz", "--sigma", "0.5",
    "--epochs", "3", "--batch-size", "20", "--lr", "0.2", "--seed", "4", "--device", "cpu",
]  # fmt: skip


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    (tmp_path / "own_train_module.py").write_text(MODULE)
    np.savez(tmp_path / "data.npz", inputs=INPUTS, labels=LABEL)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("own_train_module", None)


def run(capsys, *more):
    code = main([*WORDS, *more])
    out, err = capsys.readouterr()
    return code, out, err


def held(path):
    return torch.load(path, weights_only=True)["model"]


def test_from_a_file_to_certificates_and_after_a_stop(capsys):
    code, out, _ = run(capsys, "--folder", "whole", "--json", "--held-out", "16")
    assert code == 0
    whole = json.loads(out)
    assert (whole["epochs"], whole["seed"]) == (3, 4)
    assert whole["history"][-1]["noisy_accuracy"] > 0.9
    more = ["--folder", "parts", "--held-out", "16"]
    for _ in range(2):
        assert json.loads(run(capsys, *more, "--json", "--stop-after", "1")[1])["epochs"] == 1
    # Without a seed: that of the checkpoint.
    words = [word for word in WORDS if word not in ("--seed", "4")]
    assert main([*words, *more]) == 0
    out, err = capsys.readouterr()
    assert "estimates from 100 draws" in out
    assert err == ""
    parts = held("parts/checkpoint.pt")
    for key, value in held("whole/checkpoint.pt").items():
        assert torch.equal(value, parts[key])
    assert len(Path("parts/log.csv").read_text().splitlines()) == 4
    code = main([
        "certify", "--model", "own_train_module:model", "--weights", "parts/checkpoint.pt",
        "--data", "data.npz", "--num-classes", "2", "--sigma", "0.5", "--n", "1000", "--method",
        "runner-up", "--first", "64", "--store", "run.sqlite", "--seed", "1", "--device", "cpu",
        "--json", "--batch-size", "500",
    ])  # fmt: skip
    out, err = capsys.readouterr()
    assert code == 0, err
    assert json.loads(out)["summary"]["acr"] > 0.5
    code = main([
        "certify", "--model", "own_train_module:wider", "--weights", "parts/checkpoint.pt",
        "--data", "data.npz", "--num-classes", "2", "--sigma", "0.5", "--store", "other.sqlite",
    ])  # fmt: skip
    assert code == 2
    assert "are not this model's; 1.weight has shape" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--loss", "cohen"], "loss is 'cohen'; allowed: gaussian"),
        (["--loss-option", "copies=0"], "copies is 0; allowed: an integer >= 1"),
        (["--loss-option", "copies"], "--loss-option is 'copies'; allowed: NAME=VALUE"),
        (["--smoothing", "none"], "smoothing is 'none'; allowed"),
        (["--smoothing-option", "steps=1"], "without smoothing"),
        (["--epochs", "0"], "epochs is 0"),
        (["--lr", "nan"], "lr is nan"),
        (["--schedule", "line"], "schedule is 'line'"),
        (["--stop-after", "0"], "--stop-after is 0; allowed: an integer >= 1"),
        (["--model", "own_train_module:function"], "made a function; allowed: a torch.nn.Module"),
        (["--model", "own_train_module"], "allowed: package.module:name"),
        (["--data", "none.npz"], "data is 'none.npz'"),
        (["--data", "bare.npz"], "data has no label for input 0"),
        (["--data", "pixels.npz"], "nothing says their scale"),
        (["--first", "80"], "--first is 80; allowed: 0 to 79"),
        (["--inputs", "81"], "--inputs is 81; allowed: 1 to 80"),
        (["--held-out", "80"], "--held-out is 80; allowed: 0 to 79"),
        (["--device", "cuda:9"], "--device is 'cuda:9'"),
        (["--half-width", "1"], "is given together"),
    ],
)
def test_bad_arguments_end_with_one_sentence_and_no_folder(capsys, more, said):
    np.savez("bare.npz", inputs=INPUTS)
    np.savez("pixels.npz", inputs=(100 * INPUTS).astype(np.int16), labels=LABEL)
    code, out, err = run(capsys, "--folder", "new", *more)
    assert (code, out) == (2, "")
    assert said in err
    assert len(err.strip().splitlines()) == 1
    assert not Path("new").exists()


def test_a_data_set_of_one_s_own_and_a_loss_with_settings(capsys):
    more = ["--data", "own_train_module:data", "--loss", "gaussian", "--loss-option", "copies=3"]
    code, _, err = run(capsys, "--folder", "run", *more)
    assert code == 0, err
    before = Path("run/checkpoint.pt").read_bytes()
    code, _, err = run(capsys, "--folder", "run", *more[:-1], "copies=2")
    assert code == 2
    assert "has loss.copies = 3 where this call has 2; allowed: the same, or another" in err
    assert Path("run/checkpoint.pt").read_bytes() == before


def test_a_folder_of_pictures(capsys, folder):
    image = pytest.importorskip("PIL.Image")
    for i, label in enumerate(LABEL[:24]):
        (folder / "pictures" / str(label)).mkdir(parents=True, exist_ok=True)
        pixels = (255 * INPUTS[i]).clip(0, 255).astype(np.uint8)
        image.fromarray(pixels).save(folder / "pictures" / str(label) / f"{i}.png")
    code, _, err = run(capsys, "--folder", "run", "--data", "pictures")
    assert code == 0, err
    image.fromarray(pixels[:1]).save(folder / "pictures" / "1" / "other.png")
    code, _, err = run(capsys, "--folder", "new", "--data", "pictures")
    assert code == 2
    assert "data has inputs of shape (1, 1, 3) and (1, 2, 3); allowed: one" in err
    assert not Path("new").exists()


def test_ctrl_c_says_how_to_go_on(capsys, monkeypatch):
    from rsbounds_torch.training import _loop

    def stopped(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(_loop.Loop, "_step", stopped)
        code, out, err = run(capsys, "--folder", "run")
    assert (code, out) == (130, "")
    assert err.strip() == (
        "python -m rsbounds_torch train: interrupted; finished epochs are in run, and the same "
        "command goes on"
    )
    assert run(capsys, "--folder", "run")[0] == 0
