"""The trainer: resumption bit for bit, ranks, faults, bad input, and a gain that can be known."""

import csv
import dataclasses
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
from rsbounds import _text
from rsbounds_torch.training import LOSSES, TrainingLoss, TrainSettings

ROOT = Path(__file__).resolve().parents[3]
LAW = rsbounds.Gaussian(0.5)
RNG = np.random.default_rng(0)
Y = torch.arange(60) % 3
X = (
    torch.nn.functional.one_hot(Y, 4).float()
    + torch.from_numpy(0.2 * RNG.standard_normal((60, 4))).float()
)
HELD = X[:12], Y[:12]


def net(*more):
    """A network with batch statistics and random numbers of its own."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return torch.nn.Sequential(
            torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.ReLU(), torch.nn.Dropout(0.2),
            torch.nn.Linear(8, 3), *more,
        )  # fmt: skip


def train(model, folder=None, data=(X, Y), **changes):
    given = {"noise": LAW, "epochs": 3, "batch_size": 16, "lr": 0.1, "seed": 5, "progress": False}
    return rsbounds_torch.train(model, data, folder=folder, **{**given, **changes})


def weights(model):
    return [value.clone() for value in model.state_dict().values()]


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(weights(one), weights(other), strict=True))


class Shaken:
    """A data set whose transform draws torch's and numpy's global random numbers."""

    def __len__(self):
        return len(X)

    def __getitem__(self, i):
        moved = X[i] + 0.1 * torch.randn(4) + 0.1 * np.random.standard_normal()  # noqa: NPY002
        return moved, int(Y[i])


SETTINGS = {
    "plain": {"loss_options": {"copies": 2}},
    "step, warm-up, clip": {"schedule": "step", "warmup": 0.5, "clip": 0.5, "momentum": 0.0},
    "noise of each input": {"smoothing": "ddrs", "smoothing_after": 1},
    "transforms": {"data": Shaken(), "autocast": "bfloat16"},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_training_that_is_stopped_goes_on_bit_for_bit(tmp_path, name):
    straight, stopped, resumed = net(), net(), net()
    # What is logged, shown and estimated changes nothing, nor do global random numbers.
    whole = train(straight, validation=HELD, **SETTINGS[name])
    torch.manual_seed(8)
    state = torch.get_rng_state()
    first = train(stopped, tmp_path, validation=HELD, stop=lambda n: n == 1, **SETTINGS[name])
    assert first.epochs == 1
    assert not same(straight, stopped)
    second = train(resumed, tmp_path, validation=HELD, **SETTINGS[name])
    assert second.epochs == 3
    assert same(straight, resumed)
    assert torch.equal(torch.get_rng_state(), state)
    strip = [{k: v for k, v in row.items() if k != "seconds"} for row in second.history]
    assert strip == [{k: v for k, v in row.items() if k != "seconds"} for row in whole.history]
    silent = net()
    train(silent, **SETTINGS[name])
    assert same(straight, silent)
    assert second.noise == whole.noise
    # Once more: there is nothing left to do, and the weights are those of the checkpoint.
    again = net()
    assert train(again, tmp_path, validation=HELD, **SETTINGS[name]).epochs == 3
    assert same(straight, again)
    other = net()
    train(other, **{**SETTINGS[name], "seed": 6})
    assert not same(straight, other)


def test_the_table_has_each_epoch_once(tmp_path):
    train(net(), tmp_path, validation=HELD, stop=lambda n: n == 1, seed=None)
    done = train(net(), tmp_path, validation=HELD, seed=None)
    # As after a crash between the checkpoint and the table.
    (tmp_path / "log.csv").write_text("epoch,loss\n1,0.5\n2,0.5\n")
    train(net(), tmp_path, validation=HELD, seed=None)
    rows = list(csv.DictReader((tmp_path / "log.csv").read_text().splitlines()))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert [float(row["loss"]) for row in rows] == [row["loss"] for row in done.history]
    assert rows[0]["mean_factor"] == ""
    assert all(0 <= float(row["certified_accuracy"]) <= 1 for row in rows)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint.pt", "log.csv"]


def test_estimates_are_about_the_held_out_inputs():
    """A classifier that is right by a known distance, with few draws of each input."""
    from rsbounds_torch._sampler import NoisyModel
    from rsbounds_torch.training._estimates import estimates
    from rsbounds_torch.training._examples import examples_of

    x = torch.tensor([[0.4, 0.0], [-0.4, 1.0], [0.01, 0.0], [0.4, 2.0]])
    held = examples_of(
        "validation", (x, torch.tensor([1, 0, 1, 0])), seed=0, kind=torch.float32,
        device=torch.device("cpu"), bounds=None,
    )  # fmt: skip
    sampled = NoisyModel(half_space(), num_classes=2, noise=rsbounds.Gaussian(0.2), batch_size=64)
    found = estimates(sampled, held, 4000, 0.001, 1)
    ndtr = torch.special.ndtr(torch.tensor([2.0, 2.0, 0.05, -2.0])).mean()
    assert found["noisy_accuracy"] == pytest.approx(float(ndtr), abs=0.02)
    # Half of sigma x the quantile of 0.001 ** (1 / 4000); only the first two are that far.
    largest = 0.2 * float(torch.special.ndtri(torch.tensor(0.001 ** (1 / 4000)).double()))
    assert found["radius"] == pytest.approx(largest / 2, rel=0.01)
    assert 0.25 < found["radius"] < 0.3
    assert found["certified_accuracy"] == 0.5
    assert 0.36 / 2 < found["acr"] < 0.4 / 2


def half_space():
    """A classifier by the sign of the first coordinate."""
    model = torch.nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[-9.0, 0.0], [9.0, 0.0]]))
    return model


def test_the_noise_of_an_input_goes_on_from_that_of_the_epoch_before():
    from rsbounds_torch._sampler import NoisyModel
    from rsbounds_torch.training._per_input import WIDEST, input_noise

    x = torch.tensor([[3.0, 0.0], [-0.1, 1.0], [9.0, 2.0], [0.4, 0.0]])
    sampled = NoisyModel(half_space(), num_classes=2, noise=LAW, batch_size=64)

    def grown(order, epochs, smoothing="ddrs", **settings):
        noise = input_noise(smoothing, settings, LAW, (2,), len(x), seed=1)
        for epoch in range(epochs):
            for rows in order:
                law = noise.update(sampled, x[rows], np.array(rows), epoch)
                assert law == rsbounds.Gaussian(0.5 * noise.factor[rows])
        return noise.factor

    once, often = grown([[0, 1, 2, 3]], 1), grown([[0, 1, 2, 3]], 12)
    # One step changes a sigma by 10 % at most; more noise where the border is far away.
    assert np.all(np.abs(np.log(once)) <= 0.1 + 1e-9)
    assert often[0] > 1.8
    assert often[2] > 1.8
    assert often[1] < 1.0
    assert np.all(often >= 1 / WIDEST)
    assert grown([[2]], 60, draws=2)[2] == WIDEST
    # What an input gets does not depend on the batch it is in.
    np.testing.assert_allclose(grown([[3, 1], [0], [2]], 12), often, rtol=1e-5)
    assert grown([[0, 1, 2, 3]], 1, smoothing="search")[0] > 1.0


def test_search_in_training_looks_at_less_noise_too():
    from rsbounds_torch._sampler import NoisyModel
    from rsbounds_torch.training._per_input import input_noise

    # A slab 0.42 wide on either side: under a sigma of 0.5 class 1 has 60 % of the votes, and
    # the radius is largest at a sigma of about 0.2.
    def slab(batch):
        inside = batch[:, 0].abs() < 0.42
        return torch.stack([~inside, inside], 1).float()

    sampled = NoisyModel(slab, num_classes=2, noise=LAW, batch_size=64)
    x, rows = torch.zeros(20, 2), np.arange(20)
    noise = input_noise("search", {}, LAW, (2,), 20, seed=1)
    for epoch in range(3):
        noise.update(sampled, x, rows, epoch)
    assert np.median(noise.factor) < 0.8


RANKS = """
import sys
import torch
sys.path.insert(0, sys.argv[1])
import test_trainer as t
from rsbounds_torch._ranks import process_group, ranks
with process_group(torch.device("cpu")):
    found = t.shared(sys.argv[2], None, lambda n: n == 2)
    torch.save(found, sys.argv[2] + f".{ranks()[0]}")
"""


def shared(folder, seed, stop=None):
    """A training whose batches of 20 are cut into parts of 10; each input with its noise."""
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.linspace(0, 7, p.numel()).sin().reshape(p.shape))
    done = train(
        model, folder, validation=HELD, smoothing="ddrs", batch_size=25, clip=1.0, seed=seed,
        stop=stop,
    )  # fmt: skip
    history = [{k: v for k, v in row.items() if k != "seconds"} for row in done.history]
    return model.state_dict(), history, done.noise.sigma.tolist(), done.seed


def launch(folder, size):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    started = []
    for rank in range(size):
        environment = {
            **os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "RANK": str(rank),
            "WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port,
            "LOCAL_RANK": str(rank),
        }  # fmt: skip
        started.append(subprocess.Popen(
            [sys.executable, "-c", RANKS, str(Path(__file__).parent), str(folder)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
        ))  # fmt: skip
    return [(*p.communicate(timeout=240), p.returncode) for p in started]


def test_two_ranks_train_what_one_does(tmp_path):
    ended = launch(tmp_path / "run", 2)
    assert [code for _, _, code in ended] == [0, 0], ended
    first, second = (torch.load(tmp_path / f"run.{rank}") for rank in range(2))
    assert all(torch.equal(first[0][key], second[0][key]) for key in first[0])
    assert first[1:] == second[1:]
    # One process goes on after the second epoch of three, and one alone does all of it.
    resumed, whole = shared(tmp_path / "run", None), shared(None, first[3])
    assert len(first[1]) == 2
    assert len(resumed[1]) == 3
    for key, value in whole[0].items():
        torch.testing.assert_close(resumed[0][key], value, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(resumed[2], whole[2], rtol=1e-3)
    for row, other in zip(resumed[1], whole[1], strict=True):
        for key in ("loss", "noisy_accuracy", "acr", "mean_factor"):
            assert row[key] == pytest.approx(other[key], rel=1e-3), key


def test_training_finds_the_classifier_with_the_largest_radius():
    """Two points at -1 and 1 on one axis: of all half-planes, x > 0 certifies most, radius 1."""
    y = torch.arange(200) % 2
    x = torch.stack([2.0 * y - 1.0, torch.zeros(200)], 1)

    def half_plane(weight):
        model = torch.nn.Linear(2, 2)
        with torch.no_grad():
            model.weight.copy_(torch.tensor([[-1.0, -weight], [1.0, weight]]))
            model.bias.zero_()
        return model

    def acr(model):
        classifier = rsbounds_torch.SmoothedClassifier(
            model, num_classes=2, noise=LAW, batch_size=500
        )
        made = classifier.certify(
            x[:10], n=2000, seed=1, method="runner-up", progress=False
        )  # fmt: skip
        return rsbounds.average_certified_radius(made, y[:10].numpy())

    # At 3 the border passes the points at 1 / sqrt(10).
    model, best = half_plane(3.0), acr(half_plane(0.0))
    before = acr(model)
    assert before < 1 / 10**0.5
    train(model, None, (x, y), epochs=20, lr=0.5, batch_size=50)
    assert before < 0.35 * best
    assert 0.97 * best < acr(model) < 1.0


# -- faults --------------------------------------------------------------------------------


class Exploding(torch.nn.Module):
    """A model whose answers are no numbers from some call on."""

    def __init__(self, at):
        super().__init__()
        self.line, self.at, self.calls = torch.nn.Linear(4, 3), at, 0

    def forward(self, x):
        self.calls += self.training
        bad = self.at is not None and self.calls > self.at
        return self.line(x) * (float("nan") if bad else 1.0)


def test_a_loss_that_is_no_number_stops_with_its_step(tmp_path):
    # Four batches each epoch: the seventh is step 6, in the second epoch.
    with pytest.raises(ValueError, match=r"loss is nan at step 6 \(epoch 2\).* epoch 1 is kept"):
        train(Exploding(6), tmp_path)
    fine = Exploding(None)
    fine.load_state_dict(torch.load(tmp_path / "checkpoint.pt", weights_only=True)["model"])
    assert all(bool(torch.isfinite(p).all()) for p in fine.parameters())
    assert train(Exploding(None), tmp_path).epochs == 3


def test_weights_that_are_no_numbers_are_not_kept(tmp_path):
    @dataclasses.dataclass(frozen=True)
    class Last(TrainingLoss):
        name = "last"

        def __call__(self, model, x, y, noise):
            value = LOSSES["gaussian"]()(model, x, y, noise)
            # Fine by itself; its gradient is not, in the last step of an epoch.
            return value if noise.drawn < 4 else value + (value - value.detach()).abs().sqrt()

    with pytest.raises(ValueError, match=r"model has 0.bias not finite after epoch 1; .* epoch 0"):
        train(net(), tmp_path, loss=Last())
    held = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert held["epoch"] == 0
    assert all(bool(torch.isfinite(v).all()) for v in held["model"].values())


def test_an_interrupted_write_leaves_the_checkpoint_before(tmp_path, monkeypatch):
    train(net(), tmp_path, stop=lambda n: n == 1)
    before = (tmp_path / "checkpoint.pt").read_bytes()

    def full(handle):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(_text.os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            train(net(), tmp_path)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint.pt", "log.csv"]
    straight, resumed = net(), net()
    train(straight)
    train(resumed, tmp_path)
    assert same(straight, resumed)


def test_ctrl_c_leaves_a_checkpoint_that_goes_on(tmp_path):
    class Stops(Shaken):
        left = 150

        def __getitem__(self, i):
            Stops.left -= 1
            if Stops.left < 0:
                raise KeyboardInterrupt
            return super().__getitem__(i)

    model = net().eval()
    model[1].train()
    # The first item, then all 60 are looked at before; 60 are an epoch.
    Stops.left = 1 + 60 + 60 + 20
    with pytest.raises(KeyboardInterrupt, match=r"stopped after epoch 1; epoch 1 is kept in"):
        train(model, tmp_path, Stops())
    assert [m.training for m in model] == [False, True, False, False, False]
    Stops.left = 10**9
    straight, resumed = net(), net()
    train(straight, None, Shaken())
    train(resumed, tmp_path, Stops())
    assert same(straight, resumed)


def test_a_second_training_in_the_folder_is_refused(tmp_path):
    def again(n):
        with pytest.raises(ValueError, match="is being written to by another process"):
            train(net(), tmp_path)
        return True

    assert train(net(), tmp_path, stop=again).epochs == 1


# -- what does not belong together ---------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "changes", "said"),
    [
        (lambda: net(torch.nn.Linear(3, 3)), {}, r"of another model: it lacks 5.weight, 5.bias"),
        (lambda: net(torch.nn.Identity()), {}, r"of another model: its \) is \(5\): Identity\(\)"),
        (lambda: net().double(), {}, r"its 0.weight is float32 \(8, 4\), this model's float64"),
        (net, {"lr": 0.2}, r"has lr = 0.1 where this call has 0.2; allowed: the same"),
        (net, {"seed": 6}, r"has seed = 5 where this call has 6"),
        (net, {"noise": rsbounds.Gaussian(0.25)}, r"noise.sigma = 0.5 where this call has 0.25"),
        (net, {"loss_options": {"copies": 2}}, r"has loss.copies = 1 where this call has 2"),
        (net, {"smoothing": "search"}, r"smoothing.method = 'ddrs' where .* 'search'"),
        (net, {"smoothing": None}, r"has smoothing = None|smoothing.method = 'ddrs'"),
        (net, {"smoothing_options": {"draws": 9}}, r"smoothing.draws = 4 where this call has 9"),
        (net, {"data": (X.flip(0), Y.flip(0))}, r"data.digest"),
        (net, {"data": (X[:59], Y[:59])}, r"data.inputs = 60 where this call has 59"),
    ],
)  # fmt: skip
def test_a_checkpoint_of_another_training_is_refused(tmp_path, model, changes, said):
    """Also the noise of each input: by index, it would be another input's after a new order."""
    train(net(), tmp_path, stop=lambda n: True, smoothing="ddrs", smoothing_after=0)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    other = model()
    kept = weights(other)
    with pytest.raises(ValueError, match=said):
        train(other, tmp_path, **{"smoothing": "ddrs", "smoothing_after": 0, **changes})
    assert all(torch.equal(a, b) for a, b in zip(weights(other), kept, strict=True))
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


class Evil:
    def __reduce__(self):
        return print, ("run by a pickle",)


@pytest.mark.parametrize(
    ("held", "said"),
    [
        (b"torn", "cannot be read"),
        (Evil(), "cannot be read: Weights only load failed"),
        ({"weight": X}, "is no checkpoint of a training"),
        ({"kind": "rsbounds_torch training", "format": 9}, "has format 9; allowed: 1"),
        ({"kind": "rsbounds_torch training", "format": 1, "epoch": 1}, "lacks architecture, conf"),
    ],
)
def test_what_is_no_checkpoint_is_refused(tmp_path, capsys, held, said):
    path = tmp_path / "checkpoint.pt"
    if isinstance(held, bytes):
        path.write_bytes(held)
    else:
        torch.save(held, path)
    for seed in (None, 5):
        with pytest.raises(ValueError, match=said):
            train(net(), tmp_path, seed=seed)
    assert "run by" not in capsys.readouterr().out


# -- bad input -----------------------------------------------------------------------------

PIXELS = (255 * X.clamp(0, 1)).to(torch.uint8)
BAD = [
    ({"loss_options": {"copies": 0}}, r"copies is 0; allowed"),
    ({"loss": "adre-reg", "loss_options": {"weight": -1.0}}, r"weight is -1.0; allowed"),
    ({"loss": "macer", "noise": rsbounds.Uniform(1.0)}, r"allowed: .*Gaussian"),
    ({"loss_options": {"k": 1}}, r"k is not an option of gaussian; its options: copies"),
    ({"loss": "cohen"}, r"loss is 'cohen'; allowed: gaussian"),
    ({"noise": 0.5}, r"noise is 0.5; allowed: one noise law"),
    ({"noise": rsbounds.Gaussian([0.5] * 60)}, r"allowed: one noise law"),
    ({"epochs": 0}, r"epochs is 0; allowed: an integer >= 1"),
    ({"batch_size": 0}, r"batch_size is 0"),
    ({"lr": -1.0}, r"lr is -1.0; allowed: a finite number > 0"),
    ({"momentum": 1.0}, r"momentum is 1.0"),
    ({"weight_decay": -1e-4}, r"weight_decay is -0.0001; allowed: a finite number >= 0"),
    ({"schedule": "linear"}, r"schedule is 'linear'; allowed: cosine, step, constant"),
    ({"warmup": 3}, r"warmup is 3; allowed: a number from 0 to below epochs = 3"),
    ({"clip": 0.0}, r"clip is 0.0"),
    ({"autocast": "float16"}, r"autocast is 'float16' on cpu; allowed: 'bfloat16', or a GPU"),
    ({"autocast": "int8"}, r"autocast is 'int8'"),
    ({"rate": 1}, r"rate is not an option of train; its options: autocast, "),
    ({"smoothing": "fixed"}, r"smoothing is 'fixed'; allowed: search, ddrs"),
    ({"smoothing": "ancer"}, r"'ancer', which finds more than one number for an input; allowed"),
    ({"smoothing_options": {"steps": 1}}, r"without smoothing; allowed: both"),
    ({"smoothing": "ddrs", "smoothing_options": {"rate": 0}}, r"rate is 0"),
    ({"data": (X, Y.float())}, r"data has labels of type torch.float32; allowed: integers"),
    ({"data": (X, Y + 1)}, r"the label of data\[2\] is 3; allowed: 0 to 2"),
    ({"data": (X, Y - 1)}, r"the label of data\[0\] is -1; allowed: 0 to 2"),
    ({"data": (X, Y[:-1])}, r"labels of shape \(59,\); allowed: \(N, ...\) and \(N,\)"),
    ({"data": (PIXELS, Y)}, r"data: inputs have type torch.uint8 and nothing says their scale"),
    ({"data": (255 * X, Y), "input_bounds": (-2, 2)}, r"data: inputs\[0, 0\] is .* from -2 to 2"),
    ({"data": (torch.where(X > 1, torch.nan, X), Y)}, r"data: inputs\[\d+, \d+\] is nan"),
    ({"data": (X[:, :3], Y)}, r"model failed on the first input, of shape \(3,\)"),
    ({"data": list(zip(X, (Y + 1).tolist(), strict=True))}, r"label of data\[2\] is 3"),
    ({"data": list(X)}, r"data\[0\] has no label; allowed: a label for every input"),
    (
        {"data": [*zip(X, Y.tolist(), strict=True), (X[0, :3], 0)]},
        r"data\[60\] has inputs of shape \(3,\); allowed: \(4,\), that of data",
    ),
    ({"data": (X[:, 0], Y)}, r"model failed on the first input, of shape \(\)"),
    ({"data": []}, r"empty"),
    ({"data": 3}, r"data is of type int"),
    ({"validation": (X[:, :3], Y)}, r"validation has inputs of shape \(3,\); allowed: \(4,\)"),
    ({"validation": (X, Y + 1)}, r"the label of validation\[2\] is 3"),
    ({"model": net(torch.nn.Unflatten(0, (1, 1)), torch.nn.Flatten(0, 1))}, r"failed on"),
    ({"model": net(torch.nn.Softmax(1))}, r"rows that sum to 1, .*; allowed: logits"),
    ({"model": lambda x: x}, r"model has type function; allowed: a torch.nn.Module"),
    ({"model": torch.nn.Linear(4, 1)}, r"model returned \(1, 1\) for one input; allowed"),
    ({"model": torch.nn.Identity()}, r"model has no parameters to train"),
    ({"model": torch.nn.LazyLinear(3)}, r"parameters without values"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "said"), BAD, ids=[said[:30] for _, said in BAD])
@pytest.mark.filterwarnings("ignore:Lazy modules")
def test_bad_input_is_refused_before_anything_is_written(tmp_path, changes, said):
    changes = dict(changes)
    model = changes.pop("model", None) or net()
    with pytest.raises(ValueError, match=said):
        train(model, tmp_path / "run", **changes)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_a_file_and_a_board_without_a_folder_are_refused(tmp_path, monkeypatch):
    (tmp_path / "run").write_text("mine")
    with pytest.raises(ValueError, match="a file; allowed: a folder"):
        train(net(), tmp_path / "run")
    assert (tmp_path / "run").read_text() == "mine"
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ImportError, match=r"install rsbounds\[tensorboard\]"):
        train(net(), tmp_path / "new", tensorboard=True)
    assert not (tmp_path / "new").exists()


def test_the_board_gets_each_epoch_after_the_checkpoint(tmp_path, monkeypatch):
    import types

    written = []

    class Writer:
        def __init__(self, folder, purge_step):
            written.append((Path(folder).name, purge_step))

        def add_scalar(self, name, value, step):
            written.append((name, step))

        def flush(self):
            pass

        close = flush

    module = types.SimpleNamespace(SummaryWriter=Writer)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    train(net(), tmp_path, tensorboard=True, stop=lambda n: n == 2)
    assert written[0] == ("tensorboard", 1)
    written.clear()
    train(net(), tmp_path, tensorboard=True)
    assert written == [("tensorboard", 3), ("lr", 3), ("loss", 3), ("seconds", 3)]


def test_numbers_of_numpy_are_settings_too(tmp_path):
    """A checkpoint with one of them could not be read again without pickle."""
    numbers = {
        "noise": rsbounds.Gaussian(np.float64(0.5)), "epochs": np.int64(2), "lr": np.float32(0.1),
        "batch_size": np.int32(16), "clip": np.float64(1), "loss_options": {"copies": np.int8(2)},
        "seed": np.int64(5), "smoothing": "ddrs", "smoothing_options": {"rate": np.float64(0.1)},
        "input_bounds": (np.float32(-9), np.float32(9)),
    }  # fmt: skip
    one = net()
    train(one, tmp_path, **numbers)
    again = net()
    assert train(again, tmp_path, **numbers).epochs == 2
    assert same(one, again)


def test_a_loss_whose_settings_cannot_be_kept_is_refused(tmp_path):
    @dataclasses.dataclass(frozen=True)
    class Held(TrainingLoss):
        weight: torch.Tensor

        name = "held"

        def __call__(self, model, x, y, noise):
            return LOSSES["gaussian"]()(model, x, y, noise)

    with pytest.raises(ValueError, match=r"loss has the settings .*; allowed: plain values"):
        train(net(), tmp_path / "run", loss=Held(torch.ones(3)))
    assert list(tmp_path.iterdir()) == []


def test_pixels_with_their_range_train_as_their_numbers_do():
    one, other = net(), net()
    law = rsbounds.Gaussian(60.0)
    train(one, None, (PIXELS, Y), noise=law, input_bounds=(0, 255))
    train(other, None, [PIXELS.float().numpy(), Y.to(torch.uint8)], noise=law)
    assert same(one, other)


def test_modes_and_frozen_parts_are_left_as_they_were():
    model = net().eval()
    model[0].weight.requires_grad_(False)
    kept = model[0].weight.clone()
    train(model)
    assert not model.training
    assert torch.equal(model[0].weight, kept)
    assert model[1].num_batches_tracked == 3 * 4


def test_a_buffer_may_hold_infinities():
    model = net()
    model.register_buffer("mask", torch.full((2, 2), -torch.inf).triu(1))
    assert train(model).epochs == 3


def test_the_step_size_follows_its_schedule():
    step = TrainSettings(epochs=6, lr=1.0, schedule="step", warmup=1, step_epochs=2)
    rates = [step.rate(epoch * 10, 10) for epoch in range(6)]
    assert rates == pytest.approx([0.1, 1.0, 0.1, 0.1, 0.01, 0.01])
    cosine = TrainSettings(epochs=2, lr=2.0)
    assert cosine.rate(0, 8) == 2.0
    assert cosine.rate(8, 8) == pytest.approx(1.0)
    assert cosine.rate(15, 8) == pytest.approx(1 - np.cos(np.pi / 16))
    assert TrainSettings(schedule="constant", lr=0.3).rate(999, 10) == 0.3


def test_batches_differ_by_one_input_at_most():
    """A last batch of one input has no batch statistics."""
    seen = []

    class Counted(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.line = torch.nn.Linear(4, 3)

        def forward(self, x):
            seen.append(len(x))
            return self.line(x)

    train(Counted(), None, (X[:49], Y[:49]), epochs=1, batch_size=16)
    assert seen[-4:] == [13, 12, 12, 12]
