"""The model that is certified is the model that was meant, on any thread."""

import copy
import functools
import random
import sys
import threading
import types

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn
from torch.nn import functional as F

import rsbounds
from rsbounds_torch import SmoothedClassifier
from rsbounds_torch._modules import _HELD, find_modules

LAW = rsbounds.Gaussian(0.5)
X = torch.rand((2, 3), generator=torch.Generator().manual_seed(2))


def network(*more):
    """In train mode, with statistics that eval mode answers quite differently from."""
    net = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2), *more)
    generator = torch.Generator().manual_seed(1)
    for p in net.parameters():
        p.data.normal_(0.3, 0.5, generator=generator)
    net[1].running_mean.fill_(1.5)
    net[1].running_var.fill_(2.0)
    return net.train()


def smoothed(model, **changes):
    return SmoothedClassifier(
        model, **{"num_classes": 2, "noise": LAW, "batch_size": 64, **changes}
    )


def votes(model, n=500, **changes):
    return smoothed(model, **changes).sample_counts(X, n=n, seed=1).values.tolist()


NET = network()
ZOO = {"nets": [network()]}
HIDDEN = types.SimpleNamespace(net=network())


class Caller:
    """Calls a module that it keeps in a plain list, by a method of another name."""

    shared = network()

    def __init__(self, net):
        self.held = {"nets": [net]}

    def answer(self, batch):
        return self.held["nets"][0](batch)

    def __call__(self, batch):
        return self.answer(batch)


class Slotted:
    __slots__ = ("net",)

    def __init__(self, net):
        self.net = net

    def __call__(self, batch):
        return self.net(batch)


class OfClass:
    def __call__(self, batch):
        return self.look(batch)

    def look(self, batch):
        return Caller.shared(batch)


class Unregistered(nn.Module):
    """A module whose part `Module.modules` does not know."""

    def __init__(self, net):
        super().__init__()
        self.parts = [net]

    def forward(self, batch):
        return self.parts[0](batch)


def decorated(function):
    @functools.wraps(function)
    def inner(batch):
        return function(batch)

    return inner


@functools.lru_cache
def loaded():
    return network()


def of_default(batch, net=NET):
    return net(batch)


FORMS = {
    "closure": lambda net: lambda batch: net(batch),
    "closure over a list": lambda net: (lambda nets: lambda batch: nets[0](batch))([net]),
    "closure over a dict": lambda net: (lambda nets: lambda batch: nets["a"](batch))({"a": net}),
    "bound forward": lambda net: net.forward,
    "bound method": lambda net: Caller(net).answer,
    "partial": lambda net: functools.partial(torch.func.functional_call, net, {}),
    "partial of a bound method": lambda net: functools.partial(Caller(net).answer),
    "callable": Caller,
    "slots": Slotted,
    "decorated": lambda net: decorated(net.forward),
    "nested": lambda net: (lambda inner: lambda batch: inner(batch))(lambda batch: net(batch)),
    "unregistered": Unregistered,
    "module": lambda net: net,
    "no_grad": lambda net: torch.no_grad()(lambda batch: net(batch)),
}
PLACES = {
    "global": (lambda batch: NET(batch), lambda: NET),
    "global container": (lambda batch: ZOO["nets"][0](batch), lambda: ZOO["nets"][0]),
    "attribute of a global": (lambda batch: HIDDEN.net(batch), lambda: HIDDEN.net),
    "default": (of_default, lambda: NET),
    "class attribute": (OfClass(), lambda: Caller.shared),
}


@pytest.mark.parametrize("form", FORMS)
def test_modules_inside_callables_are_evaluated_in_eval_mode(form):
    net = network()
    expected = votes(copy.deepcopy(net).eval())
    state = copy.deepcopy(net.state_dict())
    model = FORMS[form](net)
    assert smoothed(model).modules() == ([model] if form == "module" else find_modules(model))
    assert votes(model) == expected
    assert all(module.training for module in net.modules())
    assert all((state[key] == value).all() for key, value in net.state_dict().items())
    assert not _HELD


@pytest.mark.parametrize("place", PLACES)
def test_modules_that_a_function_names_are_found(place):
    model, where = PLACES[place]
    assert where().training
    expected = votes(copy.deepcopy(where()).eval())
    assert smoothed(model).modules() == [where()]
    assert votes(model) == expected
    assert where().training


def test_a_module_that_only_the_call_shows_is_evaluated_in_eval_mode():
    loaded.cache_clear()
    net = loaded()
    mean = net[1].running_mean.clone()
    expected = votes(copy.deepcopy(net).eval())
    classifier = smoothed(lambda batch: loaded()(batch))
    assert classifier.sample_counts(X, n=500, seed=1).values.tolist() == expected
    assert net.training
    assert (net[1].running_mean == mean).all()
    assert classifier.modules() == [net]


def test_modules_named_later_are_found_too():
    nets = [network().eval()]
    classifier = smoothed(lambda batch: nets[0](batch))
    expected = classifier.sample_counts(X, n=500, seed=1).values.tolist()
    nets[0] = network()
    assert classifier.sample_counts(X, n=500, seed=1).values.tolist() == expected
    assert nets[0].training


def test_preprocess_is_evaluated_in_eval_mode():
    norm = nn.BatchNorm1d(3)
    norm.running_mean.fill_(0.4)
    linear = nn.Linear(3, 2)
    expected = votes(linear, preprocess=copy.deepcopy(norm).eval())
    assert votes(linear, preprocess=norm.train()) == expected
    assert norm.training
    assert (norm.running_mean == torch.full((3,), 0.4)).all()
    assert smoothed(linear, preprocess=norm).modules() == [linear, norm]


def test_placement_is_that_of_the_modules_found():
    net = network().double()
    seen = []
    smoothed(lambda batch: (seen.append(batch.dtype), net(batch))[1]).sample_counts(X, n=5)
    assert set(seen) == {torch.float64}
    with pytest.raises(ValueError, match="device is 'meta' but the model is on cpu"):
        smoothed(lambda batch: net(batch), device="meta")
    with pytest.raises(ValueError, match="parameters without values"):
        smoothed(nn.LazyLinear(2))


def flip():
    return NET


def test_an_attribute_called_like_a_global_is_not_that_global():
    # Its weights were taken for the model's: other modes, another type, another fingerprint.
    assert smoothed(lambda batch: batch[:, :2].flip(1)).modules() == []
    assert smoothed(lambda batch: batch[:, :2] + 0 * flip()[0].weight.mean()).modules() == [NET]


def test_shared_weights_and_parts_are_found_once():
    net = network()
    tied = nn.Sequential(net, net)
    assert find_modules(lambda b: (net, tied), [net, {"a": tied}]) == [tied]
    assert find_modules(3, None, "a", lambda b: b, torch.relu, sys) == []


# -- behaviour ------------------------------------------------------------------------------


class Own(nn.Module):
    """Draws from a generator of its own."""

    def __init__(self, scale):
        super().__init__()
        self.scale, self.rng = scale, np.random.default_rng(0)

    def forward(self, batch):
        return batch[:, :2] + self.scale * torch.from_numpy(
            self.rng.normal(size=(len(batch), 2)).astype(np.float32)
        )


class Mode(nn.Module):
    """Puts itself in training mode."""

    def __init__(self):
        super().__init__()
        self.net = network()

    def forward(self, batch):
        self.net.train()
        return self.net(batch)


class Remembers(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(2))

    def forward(self, batch):
        self.mean += 1e-9 * batch[:, :2].mean(0)
        return batch[:, :2] - self.mean


def sometimes(batch):
    """Draws only where a noisy input is far out, as the probe's first rows are not."""
    if len(batch) > 20 and batch.max() > 1.5:
        return batch[:, :2] + torch.randn(len(batch), 2)
    return batch[:, :2]


RANDOM = {
    "dropout of the function": lambda b: F.dropout(b[:, :2], 1e-3),
    "dropout made in the call": lambda b: nn.Dropout(1e-3)(b)[:, :2],
    "small noise": lambda b: b[:, :2] + 1e-30 * torch.randn(len(b), 2),
    "numpy": lambda b: b[:, :2] + 1e-30 * np.random.normal(),  # noqa: NPY002
    "python": lambda b: b[:, :2] + 1e-30 * random.random(),
    "own generator": Own(1e-2),
    "sometimes": sometimes,
}
BATCHES = {
    "batch statistics": lambda b: b[:, :2] - b[:, :2].mean(0),
    "faint batch statistics": lambda b: b[:, :2] - 1e-3 * b[:, :2].mean(0),
    "batch norm without statistics": nn.Sequential(
        nn.BatchNorm1d(3, track_running_stats=False), nn.Linear(3, 2)
    ),
    "functional batch norm": lambda b: F.batch_norm(b, None, None, training=True)[:, :2],
    "softmax over the batch": lambda b: b[:, :2].softmax(0),
    "place in the batch": lambda b: b[:, :2] + 0.5 * torch.arange(len(b))[:, None] % 2,
    "number in the batch": lambda b: b[:, :2] + torch.tensor([1.0 / len(b), 0.0]),
    "range of the batch": lambda b: torch.round(b[:, :2] / b.abs().max() * 50),
}  # fmt: skip


@pytest.mark.parametrize("model", RANDOM)
def test_random_models_are_refused_and_nothing_is_drawn(model):
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    with pytest.raises(ValueError, match=r"model (draws|answers the same) .* stochastic=True"):
        smoothed(RANDOM[model]).sample_counts(X, n=300, seed=1)
    assert (torch.get_rng_state() == before[0]).all()
    assert (np.random.get_state()[1] == before[1]).all()  # noqa: NPY002
    assert random.getstate() == before[2]


@pytest.mark.parametrize("model", BATCHES)
def test_models_that_depend_on_the_batch_are_refused(model):
    with pytest.raises(ValueError, match=r"depends on its batch .* batch_size=1"):
        smoothed(BATCHES[model]).sample_counts(X, n=300, seed=1)
    with pytest.raises(ValueError, match=r"depends on its batch .* batch_size=1"):
        smoothed(BATCHES[model], input_shape=(3,)).sample_counts(X[0], n=300, seed=1)
    if "norm" not in model:
        smoothed(BATCHES[model], batch_size=1).sample_counts(X, n=10, seed=1)


def test_the_refusal_names_the_layer():
    with pytest.raises(ValueError, match="BatchNorm1d '0' normalises by batch statistics"):
        votes(BATCHES["batch norm without statistics"])


def test_models_that_change_themselves_are_refused():
    model = Mode()
    model.eval()
    mean = model.net[1].running_mean.clone()
    with pytest.raises(ValueError, match=r"in training mode|depends on its batch"):
        votes(model)
    assert not any(module.training for module in model.modules())
    assert (model.net[1].running_mean - mean).abs().max() < 1
    remembers = Remembers()
    with pytest.raises(ValueError, match="model changes its own mean while it is evaluated"):
        votes(remembers)


def test_a_model_switched_by_another_hand_is_refused():
    net = nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.5))
    classifier = smoothed(net)
    classifier.sample_counts(X, n=100, seed=1)
    net[0].register_forward_hook(lambda *_: net.train() and None)
    with pytest.raises(ValueError, match=r"draws random numbers|put in training mode"):
        classifier.sample_counts(X, n=100, seed=1)


def test_a_model_that_is_refused_at_once_is_left_as_it_was():
    net = network()
    state = copy.deepcopy(net.state_dict())
    with pytest.raises(ValueError, match="put in training mode while it is evaluated"):
        smoothed(lambda batch: net.train()(batch)).sample_counts(X, n=100, seed=1)
    assert all((state[key] == value).all() for key, value in net.state_dict().items())


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(nn.Linear(3, 8), nn.LayerNorm(8), nn.Dropout(0.5), nn.Linear(8, 2)),
        lambda b: torch.where(b[:, :2] > 0.9, torch.nan, b[:, :2]),
        lambda b: F.one_hot((b[:, 0] > 0.5).long(), 2),
        lambda b: b[:, :2] / 0.0,
        lambda b: torch.zeros(len(b), 2),
    ],
)
def test_models_that_answer_each_row_are_not_refused(model):
    smoothed(model).sample_counts(X, n=100, seed=1)


def test_threads_that_draw_do_not_make_a_model_random():
    stop = threading.Event()

    def draw():
        while not stop.is_set():
            torch.rand(10)
            np.random.random()  # noqa: NPY002

    other = threading.Thread(target=draw)
    other.start()
    try:
        votes(network(), n=3000)
    finally:
        stop.set()
        other.join()


# -- models that are meant to be random --------------------------------------------------------


def noisy(batch):
    pick = random.random() + np.random.random()  # noqa: NPY002
    return batch[:, :2] + torch.randn(len(batch), 2) + 0.1 * pick


@pytest.mark.parametrize("batch_size", [1, 7, "auto"])
def test_counts_of_a_stochastic_model_do_not_depend_on_the_batch_size(batch_size):
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    reference = smoothed(noisy, stochastic=True).sample_counts(X, n=200, seed=1)
    counts = smoothed(noisy, stochastic=True, batch_size=batch_size).sample_counts(X, n=200, seed=1)
    assert (counts.values == reference.values).all()
    alone = smoothed(noisy, stochastic=True).sample_counts(X[1], n=200, seed=1, index=1)
    assert (alone.values[0] == reference.values[1]).all()
    parts = [
        smoothed(noisy, stochastic=True).sample_counts(X, n=200, seed=1, draws=draws).values
        for draws in ((0, 50), (50, 200))
    ]
    assert (sum(parts) == reference.values).all()
    other = smoothed(noisy, stochastic=True).sample_counts(X, n=200, seed=1, role="select")
    assert (other.values != reference.values).any()
    assert (torch.get_rng_state() == before[0]).all()
    assert (np.random.get_state()[1] == before[1]).all()  # noqa: NPY002
    assert random.getstate() == before[2]


def test_a_stochastic_model_is_what_it_should_be():
    # P(x_0 + e_0 > x_1 + e_1): the noise of the input and of the model add.
    from scipy.special import ndtr

    x = torch.tensor([[0.4, 0.0, 0.0]])
    got = smoothed(noisy, stochastic=True).sample_counts(x, n=4000, seed=3).values[0, 0]
    p = ndtr(0.4 / (2 * (0.25 + 1.0)) ** 0.5)
    assert abs(got - 4000 * p) < 6 * (4000 * p * (1 - p)) ** 0.5


def test_dropout_that_stays_on_is_allowed_where_it_is_meant():
    class MonteCarlo(nn.Module):
        def __init__(self):
            super().__init__()
            self.drop, self.last = nn.Dropout(0.3), nn.Linear(3, 2)

        def forward(self, batch):
            self.drop.train()
            return self.last(self.drop(batch))

    model = MonteCarlo().eval()
    assert votes(model, stochastic=True) == votes(model, stochastic=True, batch_size=3)
    assert not model.drop.training


def test_random_numbers_that_no_seed_reaches_are_refused():
    with pytest.raises(ValueError, match="from a generator of its own"):
        smoothed(Own(0.5), stochastic=True).sample_counts(X, n=10)


# -- threads -----------------------------------------------------------------------------------


def together(*calls):
    """Run on threads of their own; their results in order."""
    results, barrier = [None] * len(calls), threading.Barrier(len(calls))

    def run(i):
        barrier.wait()
        results[i] = calls[i]()

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_threads_that_share_a_module_do_not_switch_it_for_each_other():
    net = network(nn.Dropout(0.5))
    expected = votes(copy.deepcopy(net).eval(), n=3000)
    state = copy.deepcopy(net.state_dict())
    one, two = smoothed(net), smoothed(lambda batch: net(batch))

    def short(classifier):
        return lambda: [classifier.sample_counts(X, n=50, seed=1).values for _ in range(20)]

    def long(classifier):
        return lambda: classifier.sample_counts(X, n=3000, seed=1).values.tolist()

    for _ in range(2):
        results = together(long(one), long(two), short(one), short(two))
        assert results[0] == results[1] == expected
    assert all(module.training for module in net.modules())
    assert all((state[key] == value).all() for key, value in net.state_dict().items())
    assert not _HELD


def test_threads_with_stochastic_models_keep_their_draws_apart():
    state = torch.get_rng_state()
    alone = votes(noisy, n=200, stochastic=True)
    classifier = smoothed(noisy, stochastic=True)
    calls = [lambda: classifier.sample_counts(X, n=200, seed=1).values.tolist()] * 3
    assert together(*calls) == [alone] * 3
    assert (torch.get_rng_state() == state).all()


def test_modes_come_back_after_an_error_with_a_train_method_of_its_own():
    class Merges(nn.Linear):
        merged = False

        def train(self, mode=True):
            super().train(mode)
            self.merged = not mode
            return self

        def forward(self, batch):
            assert self.merged
            if len(batch) == 100:
                raise KeyError("later")
            return super().forward(batch)

    model = nn.Sequential(Merges(3, 3), nn.Linear(3, 2).eval())
    with pytest.raises(KeyError):
        votes(model, batch_size=100)
    assert [module.training for module in model.modules()] == [True, True, False]
    assert not model[0].merged
    assert not _HELD


# -- other kinds of model ---------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torchscript_frozen_or_not():
    net = network()
    expected = votes(copy.deepcopy(net).eval())
    script = torch.jit.script(net)
    assert votes(script) == expected
    assert script.training
    frozen = torch.jit.freeze(torch.jit.script(copy.deepcopy(net).eval()))
    assert votes(frozen) == expected
    assert votes(lambda batch: frozen(batch)) == expected


def test_exported_programs():
    net = network()
    batch = torch.export.Dim("batch")
    expected = votes(copy.deepcopy(net).eval())
    x = torch.zeros(2, 3)
    program = torch.export.export(copy.deepcopy(net).eval(), (x,), dynamic_shapes=({0: batch},))
    with pytest.raises(ValueError, match=r"model is an ExportedProgram; allowed: its module"):
        votes(program)
    assert votes(program.module()) == expected
    assert votes(nn.Sequential(program.module(), nn.Identity())) == expected
    fixed = torch.export.export(copy.deepcopy(net).eval(), (x,)).module()
    with pytest.raises(ValueError, match=r"any batch size .an exported program needs a dynamic"):
        votes(fixed)
    training = torch.export.export(net, (x,), dynamic_shapes=({0: batch},)).module()
    with pytest.raises(ValueError, match=r"depends on its batch|changes its own"):
        votes(training)


@pytest.mark.parametrize("kind", ["votes", "scores"])
def test_a_model_that_minds_a_crowd_is_refused(kind):
    """Four rows were compared: a model that depends on its batch from five rows on passed."""

    def crowd(batch):
        answers = torch.stack([-batch[:, 0], batch[:, 0]], 1)
        return answers - answers.mean(0) if len(batch) > 4 else answers

    def call(model, size, n):
        classifier = SmoothedClassifier(
            model, num_classes=2, noise=rsbounds.Gaussian(0.3), batch_size=size
        )
        x = torch.tensor([[0.9, 0.0]])
        if kind == "votes":
            return classifier.certify(x, n=n, n0=4, seed=1)
        return classifier.certify_soft(x, n=n, n0=4, seed=1)

    with pytest.raises(ValueError, match=r"in a batch of 64 and of 4: it depends on its batch"):
        call(crowd, 64, 300)
    # Where no batch is that large, the model is what it says.
    assert call(crowd, 4, 300).certified.all()
    calls = []

    def counted(batch):
        calls.append(len(batch))
        return torch.stack([-batch[:, 0], batch[:, 0]], 1)

    assert call(counted, 64, 6400).certified.all()
    assert calls.count(4) <= 8, "a large batch is compared once"
