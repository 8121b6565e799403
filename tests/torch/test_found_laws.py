"""Runs that find a noise law for each input: what is stored, resumed and refused."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the adapter needs torch")

import rsbounds
import rsbounds_torch
from rsbounds.commands import main
from rsbounds.noises import noise_from_dict
from rsbounds.report.runs import report_runs
from rsbounds_torch.optimizers import OPTIMIZERS

ROOT = Path(__file__).resolve().parents[2]
LAW = rsbounds.Gaussian(0.2)
X = np.array([[1.0, 0.3, 0], [-0.4, 1, 0], [0.7, 0, 1], [0.9, 1, 1]], dtype=np.float32)
LABELS = [1, 0, 1, 1]
DATA = list(zip(X, LABELS, strict=True))
QUICK = {"steps": 4, "draws": 20}


def half_space():
    model = torch.nn.Linear(3, 2, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[-1.0, 0, 0], [1.0, 0, 0]]))
    return model


def classifier(model=None, **changes):
    arguments = {"num_classes": 2, "noise": LAW, "batch_size": 100, **changes}
    return rsbounds_torch.SmoothedClassifier(model or half_space(), **arguments)


def certify(store, smoothed=None, data=DATA, **changes):
    arguments = {
        "n": 300, "n0": 20, "seed": 3, "progress": False, "method": "complement",
        "smoothing": OPTIMIZERS["search"](**QUICK), **changes,
    }  # fmt: skip
    return rsbounds_torch.certify_dataset(smoothed or classifier(), data, store=store, **arguments)


def rows(path):
    with rsbounds.RunStore(path) as store:
        return [
            (r.index, r.label, dict(r.law), r.select.tolist(), r.estimate.tolist(), r.radius)
            for r in store.rows()
        ]


@pytest.mark.parametrize("method", list(OPTIMIZERS))
def test_a_row_is_certify_under_the_law_that_it_keeps(tmp_path, method):
    smoothing = OPTIMIZERS[method](**QUICK)
    got = certify(tmp_path / "run.sqlite", smoothing=smoothing)
    kept = rows(tmp_path / "run.sqlite")
    for i, (index, label, law, select, estimate, radius) in enumerate(kept):
        assert (index, label) == (i, LABELS[i])
        # The draws are those of any call with that seed: the search used others.
        own = classifier(noise=noise_from_dict(law))
        for role, counts, n in (("select", select, 20), ("estimate", estimate, 300)):
            again = own.sample_counts(X[i], n=n, role=role, seed=3, index=i)
            assert again.values[0].tolist() == counts
        assert got.radius[i] == radius
        one = own.certify(X[i], n=300, n0=20, seed=3, index=i, method="complement")
        assert one.radius[0] == radius
    # These inputs are far from the edge: what was found is better than the start.
    fixed = classifier().certify(X, n=300, n0=20, seed=3, method="complement")
    assert got.proxy_radius.mean() > 1.02 * fixed.radius.mean()
    with rsbounds.RunStore(tmp_path / "run.sqlite") as store:
        again = rsbounds.rebound(store)
    assert (again.radius == got.radius).all()


@pytest.mark.parametrize("n", [20, 100])
def test_few_draws_have_a_law_too(tmp_path, n):
    # The curve of what n draws certify ended in an infinity, and every input failed.
    got = certify(tmp_path / "run.sqlite", n=n, smoothing=OPTIMIZERS["ddrs"](steps=1, draws=4))
    assert (got.radius > 0).all()


def test_interruptions_groups_and_batch_sizes_change_no_law(tmp_path):
    certify(tmp_path / "whole.sqlite")
    certify(tmp_path / "other.sqlite", classifier(batch_size=7))
    assert rows(tmp_path / "other.sqlite") == rows(tmp_path / "whole.sqlite")

    class Stops:
        def __len__(self):
            return len(DATA)

        def __getitem__(self, i):
            if i == 3:
                raise KeyboardInterrupt
            return DATA[i]

    smoothing = OPTIMIZERS["ancer"](**QUICK)
    certify(tmp_path / "axes.sqlite", smoothing=smoothing)
    with pytest.raises(KeyboardInterrupt):
        certify(tmp_path / "cut.sqlite", data=Stops(), smoothing=smoothing)
    certify(tmp_path / "cut.sqlite", smoothing=smoothing, indices=[3, 1], seed=None)
    certify(tmp_path / "cut.sqlite", smoothing=smoothing, seed=None)
    assert rows(tmp_path / "cut.sqlite") == rows(tmp_path / "axes.sqlite")


def test_another_search_is_refused_by_name(tmp_path):
    certify(tmp_path / "run.sqlite", indices=[0])
    for other, said in [
        (OPTIMIZERS["search"](steps=5, draws=20), "'steps': 5"),
        (OPTIMIZERS["ddrs"](**QUICK), "'method': 'ddrs'"),
        (None, "this run has smoothing = None"),
    ]:
        with pytest.raises(ValueError, match="was made with smoothing = ") as refusal:
            certify(tmp_path / "run.sqlite", smoothing=other)
        assert said in str(refusal.value)
    # A cap at another box finds other laws.
    with pytest.raises(ValueError, match="input_bounds"):
        certify(tmp_path / "run.sqlite", classifier(input_bounds=(-2.0, 2.0)))
    with pytest.raises(ValueError, match="smoothing is 'best'; allowed: "):
        certify(tmp_path / "new.sqlite", smoothing="best")
    certify(tmp_path / "fixed.sqlite", smoothing=None, indices=[0])
    with pytest.raises(ValueError, match="was made with smoothing = None"):
        certify(tmp_path / "fixed.sqlite")
    assert len(rows(tmp_path / "run.sqlite")) == 1


@pytest.mark.parametrize("kind", ["scores", "decide", "adaptive"])
def test_other_kinds_of_runs_take_the_laws(tmp_path, kind):
    more = {"decide": {"decide": 0.05}, "scores": {"map": "softmax"}}.get(kind, {})
    named = {} if kind == "decide" else {"kind": kind}
    certify(tmp_path / "run.sqlite", method=None, **named, **more)
    laws = [law for _, _, law, *_ in rows(tmp_path / "run.sqlite")]
    certify(tmp_path / "votes.sqlite")
    assert laws == [law for _, _, law, *_ in rows(tmp_path / "votes.sqlite")]


def test_an_input_that_fails_abstains_and_the_others_keep_their_laws(tmp_path):
    certify(tmp_path / "whole.sqlite")
    broken = [*DATA[:2], (np.full(3, np.nan, dtype=np.float32), 1), DATA[3]]
    with pytest.warns(RuntimeWarning, match="1 of 4 inputs have invalid answers"):
        got = certify(tmp_path / "run.sqlite", data=broken)
    assert got.abstained.tolist() == [False, False, True, False]
    kept, whole = rows(tmp_path / "run.sqlite"), rows(tmp_path / "whole.sqlite")
    assert [kept[i] for i in (0, 1, 3)] == [whole[i] for i in (0, 1, 3)]
    # It was certified under no law: what is kept is where a search would have begun.
    assert kept[2][2] == LAW.on_lattice().to_dict()
    # The next call tries it again.
    certify(tmp_path / "run.sqlite")
    assert rows(tmp_path / "run.sqlite") == whole


MODULE = """
import numpy as np, torch

def model():
    layer = torch.nn.Linear(3, 2, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[-1.0, 0, 0], [1.0, 0, 0]]))
    return layer

def steps():
    return lambda batch: torch.nn.functional.one_hot((batch[:, 0] > 0).long(), 2).float()
"""
WORDS = [
    "--data", "data.npz", "--sigma", "0.2", "--num-classes", "2", "--draws", "300", "--n0", "20",
    "--seed", "3", "--method", "complement", "--batch-size", "100",
]  # fmt: skip
SEARCH = ["--smoothing", "search", *(f"--smoothing-option={k}={v}" for k, v in QUICK.items())]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "own_laws_module.py").write_text(MODULE)
    np.savez(tmp_path / "data.npz", inputs=X, labels=np.array(LABELS))
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("own_laws_module", None)


def run(*more, model="model", store="run.sqlite"):
    return main(["certify-model", "--model", f"own_laws_module:{model}", *WORDS, "--store", store,
                 *more])  # fmt: skip


def test_command_line(folder, capsys):
    assert run(*SEARCH) == 0
    out = capsys.readouterr().out
    assert "a noise law of its own, found by search; each certificate is about" in out
    certify("library.sqlite")
    assert rows("run.sqlite") == rows("library.sqlite")
    assert run(*SEARCH, "--json") == 0
    summary = json.loads(capsys.readouterr().out)["summary"]
    assert summary["smoothing"] == "search"
    assert "a memory" in summary["about"]
    assert run() == 2
    assert "was made with smoothing = {'method': 'search'" in capsys.readouterr().err
    for change, said in [
        (["--smoothing", "best"], "--smoothing is 'best'; allowed: "),
        (["--smoothing-option", "steps=4"], "without --smoothing; allowed: both"),
        ([*SEARCH, "--smoothing-option", "steps=5"], "--smoothing-option steps is given twice"),
        (["--smoothing", "search", "--smoothing-option", "steps"], "allowed: NAME=VALUE"),
        (["--smoothing", "search", "--smoothing-option", "pace=1"], "pace is not an option of"),
        (["--smoothing", "search", "--smoothing-option", "steps=many"], "steps is 'many'; allowed"),
        (["--smoothing", "search", "--smoothing-option", "draws=0"], "draws is 0; allowed"),
    ]:
        assert run(*change, store="bad.sqlite") == 2, change
        err = capsys.readouterr().err
        assert said in err
        assert len(err.strip().splitlines()) == 1
        assert not Path("bad.sqlite").exists()


def test_the_settings_of_low_rank_are_words(folder, capsys):
    words = ["--smoothing", "low-rank", *(f"--smoothing-option={k}={v}" for k, v in {
        **QUICK, "rank": 2, "complement": "diagonal", "gradients": 10}.items())]  # fmt: skip
    assert run(*words) == 0
    assert "found by low-rank; each certificate is about" in capsys.readouterr().out
    method = OPTIMIZERS["low-rank"](**QUICK, rank=2, complement="diagonal", gradients=10)
    certify("library.sqlite", smoothing=method)
    assert rows("run.sqlite") == rows("library.sqlite")
    for change, said in [
        ("complement=none", "complement is 'none'; allowed: "),
        ("rank=0", "rank is 0; allowed: "),
    ]:
        wrong = ["--smoothing", "low-rank", "--smoothing-option", change]
        assert run(*wrong, store="bad.sqlite") == 2
        assert said in capsys.readouterr().err
        assert not Path("bad.sqlite").exists()


def test_a_model_without_gradients_hears_of_the_search(folder, capsys):
    gradients = ["--smoothing", "ddrs", "--smoothing-option", "draws=10"]
    assert run(*gradients, model="steps", store="bad.sqlite") == 2
    err = capsys.readouterr().err
    assert "needs gradients" in err
    assert "search" in err
    assert len(err.strip().splitlines()) == 1
    assert run(*SEARCH, model="steps") == 0
    # The same votes have the same law.
    assert run(*SEARCH, store="line.sqlite") == 0
    assert rows("run.sqlite") == rows("line.sqlite")


def test_two_ranks_go_on_where_one_stopped(folder):
    assert run(*SEARCH, "--inputs", "3") == 0
    assert run(*SEARCH, "--inputs", "2", store="two.sqlite") == 0
    path = os.pathsep.join([str(ROOT), str(folder)])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
        "-m", "rsbounds_torch", "certify", "--model", "own_laws_module:model", *WORDS, *SEARCH,
        "--store", "two.sqlite", "--inputs", "3",
    ]  # fmt: skip
    # Fewer inputs than ranks, which would share the draws of an input under a law that is given.
    subprocess.run(command, env=environment, check=True)
    assert rows("two.sqlite") == rows("run.sqlite")


def test_the_report_shows_some_of_the_noise(tmp_path):
    certify(tmp_path / "scale.sqlite")
    certify(tmp_path / "axes.sqlite", smoothing=OPTIMIZERS["ancer"](**QUICK))
    stores = [tmp_path / f"{name}.sqlite" for name in ("scale", "axes")]
    report = report_runs(stores, tmp_path / "report", methods=["complement"])
    found = {
        run: [line for line in report.found if line["run"] == run] for run in ("scale", "axes")
    }
    sigmas = {index: law["sigma"] for index, _, law, *_ in rows(stores[0])}
    scales = [line["proxy_scale"] for line in found["scale"]]
    assert scales == sorted(scales)
    assert len(scales) == 4
    for line in found["scale"]:
        assert line["proxy_scale"] == pytest.approx(sigmas[line["input"]] / 0.2, rel=1e-12)
        assert line["inscribed_scale"] == pytest.approx(line["proxy_scale"], rel=1e-12)
        assert (line["method"], line["noise"][:15]) == ("search", "gaussian(sigma=")
    axes = {index: noise_from_dict(law).axes for index, _, law, *_ in rows(stores[1])}
    for line in found["axes"]:
        own = axes[line["input"]]
        assert line["proxy_scale"] == pytest.approx(own.prod() ** (1 / 3) / 0.2, rel=1e-9)
        assert line["inscribed_scale"] == pytest.approx(own.min() / 0.2, rel=1e-9)
    assert "noise found by" in str(report)
    assert json.loads((tmp_path / "report" / "report.json").read_text())["found"] == list(
        report.found
    )
