"""Scores, decisions and adaptive looks of a PyTorch model over a data set."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the adapter needs torch")

import rsbounds
import rsbounds_torch
from rsbounds.commands import main
from rsbounds.runs import RunStore, rebound, stored_answers

ROOT = Path(__file__).resolve().parents[2]
LAW = rsbounds.Gaussian(0.5)
X = np.random.default_rng(0).uniform(-0.9, 0.9, (5, 3)).astype(np.float32)
DATA = [(torch.from_numpy(row), int(row[0] > 0)) for row in X]
KINDS = {
    "decide": {"n": 5000, "decide": [0.1, 0.3]},
    "adaptive": {"n": 3000, "looks": [200, 1000, 3000]},
    "scores": {"n": 200, "map": "sparsemax", "temperature": 0.5, "share": 0.4},
}


def logits(batch):
    return torch.stack([-batch[:, 0], batch[:, 0]], 1)


def smoothed(model=logits, **changes):
    settings = {"num_classes": 2, "noise": LAW, "batch_size": 256, **changes}
    return rsbounds_torch.SmoothedClassifier(model, **settings)


def certify(store, kind, classifier=None, data=DATA, **changes):
    settings = {"n0": 50, "seed": 5, **KINDS[kind], **changes}
    if kind != "decide":
        settings["kind"] = kind
    return rsbounds_torch.certify_dataset(classifier or smoothed(), data, store=store, **settings)


def rows(path):
    with RunStore(path) as store:
        return [
            {**vars(r), "select": r.select.tolist(), "estimate": r.estimate.tolist(), "seconds": 0}
            for r in store.rows()
        ]


def test_rows_are_those_of_the_classifier_itself(tmp_path):
    classifier = smoothed(lattice=None)
    decided = classifier.decide(X, 0.3, n0=50, seed=5, limit=5000, no="futile")
    adapted = classifier.adaptive(X, n0=50, seed=5, looks=(200, 1000, 3000)).certificates()
    softly = classifier.certify_soft(
        X, n=200, n0=50, seed=5, map="sparsemax", temperature=0.5, share=0.4
    )
    for kind, expected in [
        ("decide", decided.certificates()), ("adaptive", adapted), ("scores", softly)
    ]:  # fmt: skip
        got = certify(
            tmp_path / f"{kind}.sqlite",
            kind,
            classifier,
            **({"decide": 0.3} if kind == "decide" else {}),
        )
        for name in ("candidate", "radius", "margin_lower", "n"):
            assert getattr(got, name).tolist() == getattr(expected, name).tolist(), (kind, name)
        assert (got.method, got.options) == (expected.method, expected.options)
    with RunStore(tmp_path / "decide.sqlite") as store:
        assert stored_answers(store)[:, 0].tolist() == decided.status.tolist()
    # Another question to the same store, and another map.
    with pytest.raises(ValueError, match=r"option radius = \[0\.3\]; .*\[0\.25\]"):
        certify(tmp_path / "decide.sqlite", "decide", classifier, decide=0.25)
    with pytest.raises(ValueError, match=r"option map = 'sparsemax'.*'softmax'"):
        certify(tmp_path / "scores.sqlite", "scores", classifier, map="softmax")
    with pytest.raises(ValueError, match="map is <function logits"):
        certify(tmp_path / "own.sqlite", "scores", map=logits)


@pytest.mark.parametrize("kind", list(KINDS))
def test_nan_answers_abstain(tmp_path, kind):
    def brittle(batch):
        return torch.where(batch[:, 1:2] > 40, torch.nan, logits(batch))

    x = X.copy()
    x[3, :2] = 0.8, 40.0
    data = [(torch.from_numpy(row), 1) for row in x]
    with pytest.warns(RuntimeWarning, match="1 of 5 inputs have invalid answers"):
        got = certify(tmp_path / "run.sqlite", kind, smoothed(brittle), data)
    kept = rows(tmp_path / "run.sqlite")
    assert [r["invalid"] > 0 for r in kept] == [False, False, False, True, False]
    assert got.abstained[3]
    assert "the model answered NaN on" in kept[3]["error"]
    # An invented vote would be a class: the record has none where no vote was valid.
    assert kept[3]["top"] == (-1 if kind == "scores" else 1)
    with RunStore(tmp_path / "run.sqlite") as store:
        assert rebound(store).radius.tolist() == got.radius.tolist()


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_decisions_of_a_model_in_train_mode_whatever_the_batch(tmp_path, batch_size):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.BatchNorm1d(8), torch.nn.ReLU(),
                                torch.nn.Dropout(0.5), torch.nn.Linear(8, 2))  # fmt: skip
    certify(tmp_path / "eval.sqlite", "decide", smoothed(model.eval()), n=600)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    certify(
        tmp_path / "train.sqlite", "decide", smoothed(model.train(), batch_size=batch_size), n=600
    )
    assert all(module.training for module in model.modules())
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert rows(tmp_path / "train.sqlite") == rows(tmp_path / "eval.sqlite")


def test_rows_without_a_valid_vote_have_no_class():
    def never(batch):
        return torch.where(batch[:, :1] > -9, torch.nan, logits(batch))

    x = np.concatenate([X[:1], X[:1] - 50])
    classifier = smoothed(never)
    with pytest.warns(RuntimeWarning, match=r"NaN on 1 of 2 inputs \(0\)"):
        decided = classifier.decide(x, 0.3, seed=1)
    with pytest.warns(RuntimeWarning, match=r"NaN on 1 of 2 inputs \(0\)"):
        adapted = classifier.adaptive(x, seed=1, looks=(100, 200))
    with pytest.warns(RuntimeWarning, match=r"NaN on 1 of 2 inputs \(0\)"):
        softly = classifier.certify_soft(x, seed=1, n=100)
    assert (decided.status.tolist(), decided.n[0]) == (["undecided", "yes"], 0)
    for result in (decided.certificates(), adapted.certificates(), softly):
        assert result.candidate.tolist() == [rsbounds.NO_CLASS, 0]
        assert result.abstained.tolist() == [True, False]


SCRIPT = """
import sys
from test_kinds import DATA, KINDS, certify
from rsbounds_torch._ranks import process_group
with process_group():
    for kind in KINDS:
        certify(f"{sys.argv[1]}/{kind}.sqlite", kind)
    certify(f"{sys.argv[1]}/one.sqlite", "decide", data=DATA[:1])
"""


@pytest.mark.parametrize("size", [2, 4])
def test_ranks_make_the_rows_of_one(tmp_path, size):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    path = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
    shared = {
        **os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port, "WORLD_SIZE": str(size),
    }  # fmt: skip
    (tmp_path / "two").mkdir()
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(tmp_path / "two")], stderr=subprocess.PIPE,
            text=True, env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(size)
    ]  # fmt: skip
    for rank in ranks:
        _, said = rank.communicate(timeout=120)
        assert rank.returncode == 0, said
    for kind in KINDS:
        certify(tmp_path / f"{kind}.sqlite", kind)
    # Fewer inputs than ranks: draws that a rule stops are not dealt.
    certify(tmp_path / "one.sqlite", "decide", data=DATA[:1])
    for name in (*KINDS, "one"):
        assert rows(tmp_path / "two" / f"{name}.sqlite") == rows(tmp_path / f"{name}.sqlite")
    assert len(list((tmp_path / "two").iterdir())) == 4


MODULE = """
import torch
def model():
    return lambda x: torch.stack([-x[:, 0], x[:, 0]], 1)
def broken():
    raise RuntimeError("CUDA driver version is insufficient")
"""


def test_command_line(tmp_path, capsys, monkeypatch):
    (tmp_path / "own_kinds_module.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    np.savez("data.npz", inputs=X, label=[label for _, label in DATA])
    words = [
        "certify-model", "--model", "own_kinds_module:model", "--data", "data.npz", "--n0", "50",
        "--num-classes", "2", "--sigma", "0.5", "--seed", "5", "--batch-size", "256",
    ]  # fmt: skip

    def call(*more):
        code = main([*words, *more])
        out, err = capsys.readouterr()
        assert (code, err) == (0, "")
        return out

    asked = ["--radius", "0.1", "0.3", "--n", "5000", "--store", "decide.sqlite"]
    shown = call(*asked).splitlines()
    place = next(i for i, line in enumerate(shown) if "certified accuracy" in line)
    answers = json.loads(call(*asked, "--json"))["summary"]["answers"]
    assert [line["radius"] for line in answers] == [0.1, 0.3]
    for line, row in zip(answers, shown[place + 2 :], strict=False):
        told = [line[word] for word in ("yes", "no", "futile", "undecided")]
        assert sum(told) == line["inputs"] == 5
        assert [int(v) for v in row.split()[-5:-1]] == told
        assert row.split()[0] == f"{line['radius']:g}"
    call("--adaptive", "--n", "3000", "--option", "looks=[200,1000,3000]", "--store",
         "adaptive.sqlite")  # fmt: skip
    assert "with their bounds" in call(
        "--soft", "sparsemax", "--temperature", "0.5", "--option", "share=0.4", "--n", "200",
        "--store", "scores.sqlite",
    )  # fmt: skip
    for kind in KINDS:
        certify(tmp_path / f"library_{kind}.sqlite", kind)
        for one, other in zip(
            rows(f"{kind}.sqlite"), rows(f"library_{kind}.sqlite"), strict=True
        ):  # fmt: skip
            assert one == other
    assert main(["rebound", "decide.sqlite", "--option", "radius=0.1"]) == 0
    assert main(["rebound", "scores.sqlite", "--alpha", "0.01"]) == 2
    assert "which are not kept" in capsys.readouterr().err
    assert main(["export", "adaptive.sqlite", "rows.jsonl"]) == 0
    first = json.loads(Path("rows.jsonl").read_text().splitlines()[0])
    assert (first["kind"], list(first["evidence"])) == ("adaptive", ["looks", "offset"])
    capsys.readouterr()
    for more, said in [
        (["--radius", "0"], "--radius is [0.0]; allowed: finite numbers > 0"),
        (["--radius", "0.5", "0.25"], "--radius is [0.5, 0.25]; allowed"),
        (["--radius", "1e400"], "--radius is [inf]"),
        (["--radius", "0.3", "--method", "exact"], "allowed for decisions: 'decide'"),
        (["--radius", "0.3", "--option", "radius=1"], "--option radius is given besides"),
        (["--temperature", "2"], "--temperature is given without --soft"),
        (["--soft", "argmax"], "map is 'argmax'; allowed in a run: softmax"),
        (["--adaptive", "--option", "looks=[5]"], "looks is [5] with n = 100000"),
        (["--radius", "0.3", "--store", "scores.sqlite"], "kind = 'scores'; this run has kind"),
        (
            ["--model", "own_kinds_module:broken"],
            "--model is 'own_kinds_module:broken', which failed: RuntimeError: CUDA driver",
        ),
        (["--data", "own_kinds_module:broken"], "data is 'own_kinds_module:broken', which failed"),
    ]:
        assert main([*words, "--store", "bad.sqlite", *more]) == 2, more
        out, err = capsys.readouterr()
        assert (out, len(err.strip().splitlines())) == ("", 1), more
        assert said in err
        assert not Path("bad.sqlite").exists()
    with pytest.raises(SystemExit):
        main([*words, "--store", "bad.sqlite", "--radius", "0.3", "--adaptive"])
    sys.modules.pop("own_kinds_module")
