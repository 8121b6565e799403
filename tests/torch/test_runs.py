"""Data-set runs of a PyTorch model: resumption, ranks, the command line, NaN."""

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
from rsbounds.commands import main as core_main
from rsbounds_torch.commands import main
from rsbounds_torch.distributed import fingerprint

ROOT = Path(__file__).resolve().parents[2]
LAW = rsbounds.Gaussian(0.5)
X = np.random.default_rng(0).uniform(-1, 1, (7, 3)).astype(np.float32)
LABELS = [int(row[0] > 0) for row in X]
DATA = list(zip(X, LABELS, strict=True))


def half_space():
    model = torch.nn.Linear(3, 2, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[-1.0, 0, 0], [1.0, 0, 0]]))
    return model


def classifier(model=None, **changes):
    arguments = {"num_classes": 2, "noise": LAW, "batch_size": 100, **changes}
    return rsbounds_torch.SmoothedClassifier(model or half_space(), **arguments)


def certify(store, smoothed=None, data=DATA, **changes):
    arguments = {"n": 400, "n0": 50, "seed": 3, "progress": False, **changes}
    return rsbounds_torch.certify_dataset(smoothed or classifier(), data, store=store, **arguments)


def rows(path):
    with rsbounds.RunStore(path) as store:
        return [
            (r.index, r.label, r.digest, r.select.tolist(), r.estimate.tolist(), r.invalid, r.top,
             r.radius, r.abstained)
            for r in store.rows()
        ]  # fmt: skip


def test_a_run_is_certify_of_every_input(tmp_path):
    got = certify(tmp_path / "run.sqlite")
    expected = classifier().certify(X, n=400, n0=50, seed=3)
    assert (got.radius == expected.radius).all()
    assert (got.top == expected.top).all()
    assert [r[1] for r in rows(tmp_path / "run.sqlite")] == LABELS
    wrong = (~got.abstained) & (got.radius > np.abs(X[:, 0]))
    assert not wrong.any()
    assert [p.name for p in tmp_path.iterdir()] == ["run.sqlite"]


def test_batch_size_groups_and_interruptions_do_not_change_the_rows(tmp_path):
    certify(tmp_path / "whole.sqlite")
    certify(tmp_path / "other.sqlite", classifier(batch_size=4096))
    assert rows(tmp_path / "other.sqlite") == rows(tmp_path / "whole.sqlite")

    class Stops:
        def __len__(self):
            return len(DATA)

        def __getitem__(self, i):
            if i == 4:
                raise KeyboardInterrupt
            return DATA[i]

    with pytest.raises(KeyboardInterrupt):
        certify(tmp_path / "cut.sqlite", data=Stops())
    # The group that was interrupted is lost, what came before is not.
    kept = rows(tmp_path / "cut.sqlite")
    assert [r[0] for r in kept] == list(range(4))[: len(kept)] != []
    certify(tmp_path / "cut.sqlite", seed=None)
    assert rows(tmp_path / "cut.sqlite") == rows(tmp_path / "whole.sqlite")


def test_indices_choose_inputs_and_their_streams(tmp_path):
    certify(tmp_path / "whole.sqlite")
    certify(tmp_path / "part.sqlite", indices=[5, 2])
    assert rows(tmp_path / "part.sqlite") == [rows(tmp_path / "whole.sqlite")[i] for i in (2, 5)]
    with pytest.raises(ValueError, match="indices contains 7; allowed: 0 to 6"):
        certify(tmp_path / "part.sqlite", indices=[7])


def test_another_model_is_refused(tmp_path):
    certify(tmp_path / "run.sqlite")
    other = half_space()
    with torch.no_grad():
        other.weight *= 2
    with pytest.raises(ValueError, match="was made with model = 'Linear "):
        certify(tmp_path / "run.sqlite", classifier(other))
    assert fingerprint(half_space()) == fingerprint(half_space())
    assert fingerprint(other) != fingerprint(half_space())


def test_nan_answers_are_counted_reported_and_abstain(tmp_path):
    def model(batch):
        logits = torch.stack([-batch[:, 0], batch[:, 0]], 1)
        return torch.where(batch[:, 1:2] > 1.5, torch.nan, logits)

    data = [(np.array([1.0, y, 0], dtype=np.float32), 1) for y in (-3.0, 1.4, -3.0)]
    with pytest.warns(RuntimeWarning, match=r"1 of 3 inputs .* abstain \(input 1: .* NaN on"):
        got = certify(tmp_path / "run.sqlite", classifier(model), data)
    assert got.abstained.tolist() == [False, True, False]
    assert got.radius[1] == 0.0
    invalid = [r[5] for r in rows(tmp_path / "run.sqlite")]
    assert invalid[0] == invalid[2] == 0 < invalid[1]


def port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


MODULE = """
import numpy as np, torch

def model():
    layer = torch.nn.Linear(3, 2, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[-1.0, 0, 0], [1.0, 0, 0]]))
    return layer

def data():
    x = np.random.default_rng(0).uniform(-1, 1, (7, 3)).astype(np.float32)
    return [(row, int(row[0] > 0)) for row in x]

def one():
    return data()[:1]
"""


def launch(folder, store, ranks, factory="data", check=True):
    (folder / "own_module.py").write_text(MODULE)
    arguments = [
        "certify", "--model", "own_module:model", "--data", f"own_module:{factory}", "--sigma",
        "0.5", "--num-classes", "2", "--draws", "400", "--n0", "50", "--seed", "3", "--store",
        str(store), "--batch-size", "100", "--json",
    ]  # fmt: skip
    if ranks == 1:
        command = [sys.executable, "-m", "rsbounds_torch", *arguments]
    else:
        command = [
            sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(ranks),
            "--master-port", port(), "-m", "rsbounds_torch", *arguments,
        ]  # fmt: skip
    path = os.pathsep.join([str(ROOT), str(folder)])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=folder, check=check
    )


def test_two_ranks_make_the_rows_of_one(tmp_path):
    certify(tmp_path / "one.sqlite")
    done = launch(tmp_path, tmp_path / "two.sqlite", 2)
    assert rows(tmp_path / "two.sqlite") == rows(tmp_path / "one.sqlite")
    assert json.loads(done.stdout.strip().splitlines()[-1])["summary"]["rows"] == 7
    assert not list(tmp_path.glob("*.rank*"))


def test_shards_of_a_crash_are_taken_up_by_another_number_of_ranks(tmp_path):
    certify(tmp_path / "one.sqlite")
    with rsbounds.RunStore(tmp_path / "one.sqlite") as whole:
        held, config = list(whole.rows()), whole.config
    for rank, part in enumerate((held[0:2], held[3:5])):
        with rsbounds.RunStore(tmp_path / f"crash.sqlite.rank{rank}", config) as shard:
            for row in part:
                shard.add(row)
    certify(tmp_path / "crash.sqlite")
    assert rows(tmp_path / "crash.sqlite") == rows(tmp_path / "one.sqlite")
    assert not list(tmp_path.glob("*.rank*"))


def test_the_draws_of_one_input_are_dealt_to_two_ranks(tmp_path):
    certify(tmp_path / "one.sqlite", data=DATA[:1])
    launch(tmp_path, tmp_path / "two.sqlite", 2, factory="one")
    assert rows(tmp_path / "two.sqlite") == rows(tmp_path / "one.sqlite")


def test_every_rank_hears_of_a_refusal(tmp_path):
    certify(tmp_path / "run.sqlite", seed=4)
    done = launch(tmp_path, tmp_path / "run.sqlite", 2, check=False)
    assert done.returncode != 0
    assert "was made with seed = 4; this run has seed = 3" in done.stderr


def test_command_line(tmp_path, capsys, monkeypatch):
    (tmp_path / "own_cli_module.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    np.savez(tmp_path / "data.npz", inputs=X, labels=np.array(LABELS))
    torch.save(half_space().state_dict(), tmp_path / "weights.pt")
    arguments = [
        "--model", "own_cli_module:model", "--weights", "weights.pt", "--data", "data.npz",
        "--sigma", "0.5", "--num-classes", "2", "--draws", "400", "--n0", "50", "--seed", "3",
        "--store", "run.sqlite",
    ]  # fmt: skip
    assert core_main(["certify-model", *arguments]) == 0
    out = capsys.readouterr().out
    assert "average certified radius" in out
    certify(tmp_path / "library.sqlite")
    assert [r[7] for r in rows("run.sqlite")] == [r[7] for r in rows("library.sqlite")]
    assert core_main(["rebound", "run.sqlite", "--method", "complement"]) == 0
    assert "complement" in capsys.readouterr().out
    assert main(["certify", *arguments[:-2], "--store", "a.sqlite", "--first", "2", "--every", "3",
                 "--inputs", "2"]) == 0  # fmt: skip
    assert [r[0] for r in rows("a.sqlite")] == [2, 5]
    capsys.readouterr()
    for change, message in [
        (["--first", "7"], "--first is 7; allowed: 0 to 6"),
        (["--every", "0"], "--every is 0"),
        (["--inputs", "0"], "--inputs is 0"),
        (["--batch-size", "few"], "--batch-size is 'few'"),
        (["--weights", "none.pt"], "--weights is 'none.pt'"),
        (["--weights", "data.npz"], "cannot be loaded"),
        (["--model", "own_cli_module:nothing"], "has no 'nothing'"),
        (["--n", "0"], "n is 0"),
        (["--n0", "0"], "n0 is 0"),
        (["--num-classes", "3"], "allowed"),
        (["--alpha", "7"], "alpha is 7"),
        (["--method", "best"], "method is 'best'"),
        (["--sigma", "0"], "sigma is 0"),
    ]:
        given = [*arguments[:-2], "--store", "bad.sqlite", *change]
        assert main(["certify", *given]) == 2, change
        err = capsys.readouterr().err
        assert message in err
        assert len(err.strip().splitlines()) == 1
        assert not (tmp_path / "bad.sqlite").exists()
    sys.modules.pop("own_cli_module")


def test_weights_are_never_unpickled(tmp_path, capsys, monkeypatch):
    import pickle

    class Bomb:
        def __reduce__(self):
            return (os.system, ("touch exploded",))

    (tmp_path / "own_bomb_module.py").write_text(MODULE)
    (tmp_path / "bomb.pt").write_bytes(pickle.dumps(Bomb()))
    monkeypatch.chdir(tmp_path)
    np.savez(tmp_path / "data.npz", inputs=X)
    code = main([
        "certify", "--model", "own_bomb_module:model", "--weights", "bomb.pt", "--data", "data.npz",
        "--sigma", "0.5", "--num-classes", "2", "--store", "run.sqlite",
    ])  # fmt: skip
    assert code == 2
    assert "cannot be loaded" in capsys.readouterr().err
    assert not (tmp_path / "exploded").exists()
    sys.modules.pop("own_bomb_module")


def test_demo(tmp_path, capsys, monkeypatch):
    from rsbounds_torch import _demo

    monkeypatch.setattr(_demo, "EPOCHS", 1)
    monkeypatch.setattr(_demo, "FOUND", 1)
    assert len(_demo.one_of_each_kind(LAW, (2,))) > 2
    monkeypatch.setattr(_demo, "one_of_each_kind", lambda start, shape: ["search"])
    folder = tmp_path / "demo"
    assert main(["demo", "--output", str(folder), "--inputs", "3", "--n", "100"]) == 0
    out = capsys.readouterr().out
    assert "runner-up" in out
    names = {p.name for p in folder.rglob("*")}
    assert {"cnn_sigma0.25.sqlite", "cnn_sigma0.5.sqlite", "report.tsv", "runs.png"} <= names
    assert {"cnn_sigma0.5_ddrs.sqlite", "regions.png"} <= names
    assert "noise found by" in out
    with rsbounds.RunStore(folder / "cnn_sigma0.5_ddrs.sqlite") as store:
        assert [row.evidence for row in store.rows()] == [{"offset": 0.0}]
        assert "exact noise" in str(rsbounds.rebound(store))
    kept = (folder / "cnn_sigma0.25" / "checkpoint.pt").stat().st_mtime_ns
    # Again: the trainings and the runs are taken up.
    again = ["demo", "--output", str(folder), "--inputs", "3", "--n", "100"]
    assert main(again) == 2
    assert "is there already" in capsys.readouterr().err
    assert main([*again, "--force"]) == 0
    assert (folder / "cnn_sigma0.25" / "checkpoint.pt").stat().st_mtime_ns == kept
    assert main(["demo", "--output", str(folder), "--inputs", "0"]) == 2
