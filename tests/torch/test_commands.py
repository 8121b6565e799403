"""``certify-model``: weights, devices, outputs and interrupts on the command line."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the adapter needs torch")

import rsbounds
from rsbounds.commands import main

ROOT = Path(__file__).resolve().parents[2]
MODULE = """
import time
import torch

MOVED = []

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.line = torch.nn.Linear(2, 2, bias=False)
        torch.nn.init.eye_(self.line.weight)

    def forward(self, x):
        return self.line(x)

    def to(self, device):
        MOVED.append(str(device))
        return self

def model():
    return Net()

def slow():
    def answer(x):
        print("ready", flush=True)
        time.sleep(0.2)
        return x
    return answer
"""
X = np.array([[1.0, 0.0], [0.0, 0.7], [0.2, 0.1], [0.0, 0.9]], dtype=np.float32)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "own_commands_module.py").write_text(MODULE)
    np.savez(tmp_path / "data.npz", inputs=X, label=[0, 1, 0, 1])
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("own_commands_module", None)


WORDS = [
    "certify-model", "--model", "own_commands_module:model", "--data", "data.npz", "--num-classes",
    "2", "--n", "200", "--n0", "50", "--method", "complement", "--seed", "3",
]  # fmt: skip


def refused(capsys, *more):
    code = main([*WORDS, "--sigma", "0.5", "--store", "bad.sqlite", *more])
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert err.startswith("rsbounds certify-model: ")
    assert len(err.strip().splitlines()) == 1
    assert not Path("bad.sqlite").exists()
    return err


def test_weights_name_what_is_missing_and_unexpected(folder, capsys):
    weight = torch.eye(2)
    for state, said in [
        ({"module.line.weight": weight}, "missing keys: line.weight; unexpected keys: module.line"),
        ({"line.weight": weight, "head.bias": weight}, "are not this model's; unexpected keys: he"),
        ({}, "missing keys: line.weight"),
        ({"line.weight": torch.eye(3)}, "line.weight has shape (3, 3), the model's has (2, 2)"),
        ({"line.weight": 3}, "cannot be loaded"),
        ([weight], "holds a list; allowed: a state dict"),
        ({f"k{i}": weight for i in range(9)}, "k0, k1, k2, k3, k4 and 4 more"),
    ]:
        torch.save(state, "weights.pt")
        assert said in refused(capsys, "--weights", "weights.pt")
    for name in ("none.pt", "."):
        assert "allowed: a file that exists" in refused(capsys, "--weights", name)


def test_bad_arguments(folder, capsys):
    Path("there.tsv").write_text("mine")
    for more, said in [
        (["--device", "cuda:7"], "--device is 'cuda:7'"),
        (["--device", "gpu"], "--device is 'gpu'"),
        (["--output", "there.tsv"], "is there already"),
        (["--output", "x.csv"], "allowed endings: .tsv, .jsonl"),
        (["--data", "none.npz"], "data is 'none.npz'"),
        (["--half-width", "1"], "--sigma --half-width is given together"),
    ]:
        assert said in refused(capsys, *more)
    assert Path("there.tsv").read_text() == "mine"
    code = main([*WORDS, "--lipschitz", "2", "--store", "bad.sqlite"])
    assert code == 2
    assert "without the law that noise is drawn from" in capsys.readouterr().err


def test_integers_say_their_scale(folder, capsys):
    np.savez("pixels.npz", inputs=(255 * X).astype(np.uint8), label=[0, 1, 0, 1])
    words = [*WORDS, "--store", "run.sqlite", "--data", "pixels.npz", "--sigma", "100"]
    assert "allowed: floating-point numbers, or integers with input_bounds" in refused(
        capsys, "--data", "pixels.npz"
    )
    assert "input_bounds is [9.0, 1.0]" in refused(capsys, "--input-bounds", "9", "1")
    assert "inputs[0, 0] is 1.0; allowed: numbers from 2 to 3" in refused(
        capsys, "--input-bounds", "2", "3"
    )
    assert main([*words, "--input-bounds", "0", "255", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["summary"]["noise"] == "gaussian(sigma=100, lattice=1/4)"
    radius = [row["radius"] for row in found["rows"]]
    assert 50 < max(radius) < 255 / 2**0.5


def test_failing_inputs_and_names_of_models(folder, capsys):
    inputs = X.copy()
    inputs[2, 1] = np.nan
    np.savez("nan.npz", inputs=inputs, label=[0, 1, 0, 1])
    assert "input 2: its value at [1] is nan" in refused(
        capsys, "--data", "nan.npz", "--on-error", "stop"
    )
    assert "on_error is 'go'" in refused(capsys, "--on-error", "go")
    words = [*WORDS, "--sigma", "0.5", "--store", "run.sqlite", "--data", "nan.npz", "--json"]
    assert main([*words, "--model-id", "a"]) == 0
    out, err = capsys.readouterr()
    assert [row["abstained"] for row in json.loads(out)["rows"]] == [False, False, True, False]
    assert "1 of 4 inputs have invalid answers and abstain (input 2: its value" in err
    assert main([*words, "--model-id", "b"]) == 2
    assert "model_id = 'a'; this run has model_id = 'b'" in capsys.readouterr().err


def test_it_has_what_certify_has(folder, capsys):
    words = [*WORDS, "--sigma", "0.5", "--lipschitz", "2", "--store", "run.sqlite"]
    assert main([*words, "--output", "rows.tsv", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    made = rsbounds.Certificates.read("rows.tsv")
    assert [row["radius"] for row in found["rows"]] == made.radius.tolist()
    assert found["summary"]["rows"] == 4
    law = "gaussian(sigma=0.5, lattice=1/1020)"
    assert found["summary"]["noise"] == f"lipschitz(constant=2, noise={law})"
    assert found["summary"]["acr"] == rsbounds.average_certified_radius(made, [0, 1, 0, 1])


def test_the_model_is_moved_to_the_device(folder, capsys, monkeypatch):
    """Without a GPU here: the sampling is replaced, the order of calls is kept."""
    from rsbounds_torch import _ranks, model

    calls = []

    class Stopped(ValueError):
        pass

    class Classifier:
        def __init__(self, net, **arguments):
            moved = sys.modules["own_commands_module"].MOVED
            calls.append(("classifier", moved[-1], str(arguments["device"])))
            raise Stopped("far enough")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "set_device", lambda d: calls.append(("set", str(d))))
    monkeypatch.setattr(_ranks.dist, "init_process_group", lambda b: calls.append(("init", b)))
    monkeypatch.setattr(_ranks.dist, "destroy_process_group", lambda: None)
    monkeypatch.setattr(model, "SmoothedClassifier", Classifier)
    for name, value in {"WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "4", "LOCAL_RANK": "2"}.items():
        monkeypatch.setenv(name, value)
    words = [*WORDS, "--sigma", "0.5", "--store", "run.sqlite"]
    assert main(words) == 2
    assert "far enough" in capsys.readouterr().err
    assert calls == [("set", "cuda:2"), ("init", "nccl"), ("classifier", "cuda:2", "cuda:2")]
    calls.clear()
    assert main([*words, "--device", "cpu"]) == 2
    assert calls == [("init", "gloo"), ("classifier", "cpu", "cpu")]


def test_ctrl_c_says_how_to_resume(folder):
    words = [sys.executable, "-m", "rsbounds", *WORDS, "--sigma", "0.5", "--store", "run.sqlite"]
    words[words.index("own_commands_module:model")] = "own_commands_module:slow"
    process = subprocess.Popen(
        [*words, "--batch-size", "10"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert err.strip().splitlines()[-1] == (
        "rsbounds certify-model: interrupted; finished inputs are in run.sqlite, and the same "
        "command resumes"
    )


def test_top_k_through_the_program(folder, capsys):
    words = [word for word in WORDS if word not in ("--method", "complement")]
    assert main([*words, "--sigma", "0.5", "--store", "k.sqlite", "--top-k", "2"]) == 2
    assert "k is 2 of 2 classes" in capsys.readouterr().err
