"""What makes a resumed run of a PyTorch model the same run; faults on one rank and on two."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the adapter needs torch")

import rsbounds
import rsbounds_torch
from rsbounds.runs import RunStore
from rsbounds_torch._subject import fingerprint

ROOT = Path(__file__).resolve().parents[2]
LAW = rsbounds.Gaussian(0.5)
X = np.random.default_rng(0).uniform(-1, 1, (7, 16)).astype(np.float32)
DATA = [(row, int(row[0] > 0)) for row in X]


def net(activation=torch.nn.ReLU, seed=0):
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(16, 32), activation(), torch.nn.Linear(32, 3)).eval()


def certify(store, model, data=DATA, indices=None, seed=None, options=None, **settings):
    classifier = rsbounds_torch.SmoothedClassifier(
        model, num_classes=3, noise=LAW, **{"batch_size": 100, **settings}
    )
    return rsbounds_torch.certify_dataset(
        classifier, data, store=store, n=200, n0=50, seed=seed, indices=indices, progress=False,
        **(options or {}),
    )  # fmt: skip


def plain(path):
    with RunStore(path) as store:
        return [
            (r.index, r.label, r.digest, r.select.tolist(), r.estimate.tolist(), r.invalid, r.top,
             r.radius, r.abstained, r.error)
            for r in store.rows()
        ]  # fmt: skip


# -- a resumed run is the same run -------------------------------------------------------------


def quantised(seed):
    return torch.ao.quantization.quantize_dynamic(
        net(seed=seed), {torch.nn.Linear}, dtype=torch.qint8
    )


def behind(model):
    return lambda batch: model(batch)


def shifted(batch):
    return batch + 0.01


@pytest.mark.parametrize("finished", [2, 7], ids=["half", "finished"])
@pytest.mark.parametrize(
    ("first", "second", "settings", "message"),
    [
        (behind(net()), behind(net(seed=1)), {}, "a model that answered"),
        (net(), net(torch.nn.Tanh), {}, "a model that answered"),
        (net(), net(), {"preprocess": shifted}, "a model that answered"),
        (net(), net(), {"autocast": torch.bfloat16}, "answers with bfloat16 under autocast"),
        (behind(net()), behind(net().double()), {}, "allowed|float64|failed"),
        (net(), net(), {"data": [(x + 0.001, y) for x, y in DATA]}, "another input 0 "),
        (net(), net(), {"data": [(x, 1 - y) for x, y in DATA]}, "label . for input 0; this run"),
        (net(), net(), {"options": {"model_id": "b"}}, "model_id = None; this run has model_id"),
        (net(), net(), {"data": DATA[:6]}, "inputs = 7; this run has inputs = 6"),
    ],
    ids=["weights behind a function", "tanh", "preprocess", "autocast", "double", "data", "labels",
         "model_id", "length"],
)  # fmt: skip
def test_another_run_is_refused(tmp_path, finished, first, second, settings, message):
    path = tmp_path / "run.sqlite"
    certify(path, first, indices=range(finished))
    before = plain(path)
    with pytest.raises(ValueError, match=message):
        certify(path, second, **settings)
    assert plain(path) == before
    certify(path, first)
    assert [row[0] for row in plain(path)] == list(range(7))


def test_the_softmax_of_an_autocast_model_is_told_from_single_precision(tmp_path):
    class Softmax(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net()

        def forward(self, batch):
            return torch.softmax(self.net(batch).float(), 1)

    def autocast(batch):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return single(batch)

    single = Softmax().eval()
    certify(tmp_path / "run.sqlite", behind(single), indices=[0])
    with pytest.raises(ValueError, match="a model that answered"):
        certify(tmp_path / "run.sqlite", behind(autocast))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_quantised_layers_have_fingerprints_of_their_own(tmp_path):
    one, other = quantised(0), quantised(1)
    assert fingerprint(one) != fingerprint(other)
    assert fingerprint(one) == fingerprint(quantised(0))
    # They scale by the batch, so an input must be alone in it.
    certify(tmp_path / "run.sqlite", one, indices=[0], batch_size=1)
    for another in (other, net()):
        with pytest.raises(ValueError, match="was made with model = "):
            certify(tmp_path / "run.sqlite", another, batch_size=1)


def test_another_machine_s_rounding_is_the_same_model(tmp_path):
    model = net()
    certify(tmp_path / "run.sqlite", behind(model), indices=[0, 1])

    def rounded(batch):
        return model(batch) * (1 + 1e-6)

    certify(tmp_path / "run.sqlite", behind(rounded))


def test_weights_of_every_kind_have_a_fingerprint():
    # A sparse buffer ended the run with torch's words.
    def model(value):
        made = net()
        for name, part in (("a", torch.eye(3)), ("b", torch.ones(3, dtype=torch.bfloat16))):
            made.register_buffer(name, value * part)
        made.register_buffer("c", (value * torch.eye(3)).to_sparse())
        return made

    assert fingerprint(model(1)) == fingerprint(model(1)) != fingerprint(model(2))
    rsbounds_torch.SmoothedClassifier(model(1), num_classes=3, noise=LAW).sample_counts(X[0], n=9)


LAZY = []


def lazy(batch):
    if not LAZY:
        LAZY.append(net())
    return LAZY[0](batch)


@pytest.mark.parametrize("place", ["function", "preprocess", "global made by the call"])
def test_weights_out_of_sight_have_a_fingerprint(tmp_path, place):
    # A change too small for the probes, in modules that are not the model itself.
    def settings(change):
        if place == "preprocess":
            layer = torch.nn.Linear(16, 16)
            torch.nn.init.eye_(layer.weight)
            torch.nn.init.constant_(layer.bias, change)
            return net(), {"preprocess": lambda batch: layer(batch)}
        if place == "function":
            model = net()
            model[0].bias.data += change
            return behind(model), {}
        for model in LAZY:
            model[0].bias.data += change
        return lazy, {}

    LAZY.clear()
    path = tmp_path / "run.sqlite"
    model, more = settings(0)
    certify(path, model, indices=[0, 1], **more)
    model, more = settings(0)
    certify(path, model, indices=[2], **more)
    model, more = settings(1e-7)
    with pytest.raises(ValueError, match=r"a model whose weights have the hash [0-9a-f]"):
        certify(path, model, **more)
    assert [row[0] for row in plain(path)] == [0, 1, 2]


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        ([1, 2, 1], "indices contains 1 twice"),
        ([-1], "indices contains -1; allowed: 0 to 6"),
        ([7], "indices contains 7"),
        ([1.5], "indices contains 1.5"),
        ([True], "indices contains True"),
        ([], "indices is empty"),
    ],
)
def test_indices_are_checked(tmp_path, indices, message):
    with pytest.raises(ValueError, match=message):
        certify(tmp_path / "run.sqlite", net(), indices=indices)
    assert list(tmp_path.iterdir()) == []


def test_each_input_may_have_its_own_law(tmp_path):
    law = rsbounds.Gaussian(np.linspace(0.2, 0.8, 7))
    model = net()
    classifier = rsbounds_torch.SmoothedClassifier(model, num_classes=3, noise=law, batch_size=100)
    for name, indices in (("part", [5, 2]), ("whole", None)):
        rsbounds_torch.certify_dataset(
            classifier, DATA, store=tmp_path / name, n=200, n0=50, seed=1, indices=indices,
            progress=False,
        )  # fmt: skip
    assert plain(tmp_path / "part") == [plain(tmp_path / "whole")[i] for i in (2, 5)]
    with RunStore(tmp_path / "whole") as store:
        assert [row.law["sigma"] for row in store.rows()] == law.sigma.tolist()
    alone = rsbounds_torch.SmoothedClassifier(
        model, num_classes=3, noise=law[4], lattice=None, batch_size=100
    )
    counts = alone.sample_counts(X[4], n=200, seed=1, index=[4])
    assert plain(tmp_path / "whole")[4][4] == counts.values[0].tolist()


class Kinds:
    """A model without parameters, and the types of what it was given."""

    def __init__(self):
        self.met = set()

    def __call__(self, batch):
        self.met.add(batch.dtype)
        return batch[:, :3]


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (torch.utils.data.TensorDataset(torch.tensor(X).double()), torch.float64),
        ([{"x": torch.tensor(x).double(), "y": y} for x, y in DATA], torch.float64),
        (torch.utils.data.TensorDataset(torch.tensor(X)), torch.float32),
        ([(x.tolist(), y) for x, y in DATA], torch.float32),
    ],
    ids=["tensors", "dicts", "single", "lists"],
)
def test_float64_tensors_stay_float64_without_parameters(tmp_path, data, kind):
    # All of them became float32.
    model = Kinds()
    certify(tmp_path / "run.sqlite", model, data, indices=[0, 1])
    certify(tmp_path / "run.sqlite", model, data)
    assert model.met == {kind}


# -- one failing input does not stop a run -----------------------------------------------------


class Faulty:
    def __init__(self, faults):
        self.faults = faults

    def __len__(self):
        return len(DATA)

    def __getitem__(self, i):
        fault = self.faults.get(i, DATA[i])
        if isinstance(fault, Exception):
            raise fault
        return fault


def test_failing_inputs_are_recorded_and_tried_again(tmp_path):
    nan = X[3].copy()
    nan[2] = np.nan
    faults = {3: (nan, 1), 5: OSError("truncated file"), 6: (np.full(16, 7.0, np.float32), 0)}
    settings = {"input_bounds": (-1, 1)}
    path = tmp_path / "run.sqlite"
    with pytest.warns(RuntimeWarning, match="3 of 7 inputs .*input 3: its value .*tries failed"):
        got = certify(path, net(), Faulty(faults), seed=1, **settings)
    assert got.abstained[[3, 5, 6]].all()
    assert not got.abstained.all()
    errors = {row[0]: row[-1] for row in plain(path) if row[-1]}
    assert errors[5] == "OSError: truncated file"
    assert "numbers from -1 to 1" in errors[6]
    with pytest.raises(ValueError, match="input 3: its value"):
        certify(tmp_path / "stop.sqlite", net(), Faulty(faults), options={"on_error": "stop"})
    certify(path, net(), **settings)
    certify(tmp_path / "whole.sqlite", net(), seed=1, **settings)
    assert plain(path) == plain(tmp_path / "whole.sqlite")


def test_a_fault_of_the_caller_is_no_list_of_invalid_inputs(tmp_path):
    with pytest.raises(ValueError, match=r"no input could be certified .*7 tried.*mat1"):
        certify(tmp_path / "run.sqlite", torch.nn.Linear(5, 3))
    with pytest.raises(ValueError, match="label of input 4 is 3; allowed: a class from 0 to 2"):
        certify(tmp_path / "run.sqlite", net(), Faulty({4: (X[4], torch.tensor(3))}))
    assert not list(tmp_path.glob("*.rank*"))


# -- ranks -------------------------------------------------------------------------------------

SCRIPT = """
import os, signal, sys
import numpy as np, torch, rsbounds, rsbounds_torch
from rsbounds_torch._ranks import process_group
store, fault, inputs = sys.argv[1], sys.argv[2], int(sys.argv[3])
rank = int(os.environ.get("RANK", "0"))
x = np.random.default_rng(0).uniform(-1, 1, (inputs, 16)).astype(np.float32)

class Data:
    def __len__(self):
        return inputs
    def __getitem__(self, i):
        if fault == f"fail{rank}" and i >= 8:
            raise OSError("a bad sector")
        if fault == f"kill{rank}" and i >= 8:
            os.kill(os.getpid(), signal.SIGKILL)
        if fault == "interrupt" and i >= 8:
            raise KeyboardInterrupt
        return x[i], int(x[i, 0] > 0)

torch.manual_seed(rank if fault == "models" else 0)
model = torch.nn.Sequential(torch.nn.Linear(16, 32), torch.nn.ReLU(), torch.nn.Linear(32, 3))
with process_group() as (_, size):
    classifier = rsbounds_torch.SmoothedClassifier(
        (lambda b: model(b)) if fault == "models" else model, num_classes=3,
        noise=rsbounds.Gaussian(0.5), batch_size=100)
    try:
        rsbounds_torch.certify_dataset(
            classifier, Data(), store=store, n=200, n0=50, progress=False, on_error="stop")
    except ValueError as error:
        print("REFUSED", error, flush=True)
        sys.exit(2)
"""


def launch(folder, fault, ranks, inputs=24):
    """Ranks as torchrun starts them, without its agent: nobody ends a rank that hangs."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    started = []
    for rank in range(ranks):
        environment = {
            **os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "RANK": str(rank),
            "WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port,
            "LOCAL_RANK": str(rank),
        }  # fmt: skip
        started.append(subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(folder / "run.sqlite"), fault, str(inputs)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
        ))  # fmt: skip
    return [(*p.communicate(timeout=240), p.returncode) for p in started]


def whole_of(folder, inputs=24):
    """The rows of an uninterrupted run with the seed of the store."""
    with RunStore(folder / "run.sqlite") as store:
        seed = store.config["seed"]
    x = np.random.default_rng(0).uniform(-1, 1, (inputs, 16)).astype(np.float32)
    certify(folder / "whole.sqlite", net(), [(row, int(row[0] > 0)) for row in x], seed=seed)
    return plain(folder / "whole.sqlite")


def test_a_failing_rank_ends_all_with_one_sentence_and_the_run_resumes(tmp_path):
    # Nobody gave a seed: the shards must find that of the store again.
    ended = launch(tmp_path, "fail1", 2)
    assert [code for _, _, code in ended] == [2, 2]
    sentences = {out.strip() for out, _, _ in ended}
    assert len(sentences) == 1
    assert "a bad sector" in sentences.pop()
    kept = plain(tmp_path / "run.sqlite")
    assert 0 < len(kept) < 24
    assert [p.name for p in tmp_path.iterdir()] == ["run.sqlite"]
    assert launch(tmp_path, "none", 1)[0][2] == 0
    assert plain(tmp_path / "run.sqlite") == whole_of(tmp_path)
    assert [row for row in plain(tmp_path / "run.sqlite") if row in kept] == kept


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs kill -9")
def test_ranks_that_are_killed_or_interrupted_resume_without_a_seed(tmp_path):
    launch(tmp_path, "kill1", 2)
    ended = launch(tmp_path, "interrupt", 2)
    assert any("the same call resumes the run" in err for _, err, _ in ended)
    assert launch(tmp_path, "none", 1)[0][2] == 0
    assert plain(tmp_path / "run.sqlite") == whole_of(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run.sqlite", "whole.sqlite"]


def test_a_rank_that_is_left_alone_says_so(monkeypatch):
    # Torch's words, with the path of a source file, where another rank was interrupted.
    from rsbounds_torch import _ranks

    def closed(*_):
        raise RuntimeError("[pair.cc:553] Connection closed by peer")

    monkeypatch.setattr(_ranks, "ranks", lambda: (1, 2))
    for name in ("all_gather_object", "broadcast_object_list"):
        monkeypatch.setattr(_ranks.dist, name, closed)
    for agree in (_ranks.everywhere, _ranks.on_first):
        with pytest.raises(OSError, match=r"another process of the run has ended; .* resumes"):
            agree(lambda: None)


def test_ranks_with_different_models_are_refused(tmp_path):
    ended = launch(tmp_path, "models", 2)
    assert [code for _, _, code in ended] == [2, 2]
    assert all("was made with a model that answered" in out for out, _, _ in ended)
