import copy

import numpy as np
import pytest
from scipy.special import ndtr

torch = pytest.importorskip("torch")

import rsbounds
from rsbounds.testing import assert_error_rate
from rsbounds_torch import SmoothedClassifier
from rsbounds_torch.maps import sparsemax

LAW = rsbounds.Gaussian(0.5)


def linear(weight, bias=None, kind=torch.float32):
    weight = torch.as_tensor(weight, dtype=kind)
    layer = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, dtype=kind)
    layer.weight.data = weight
    if bias is not None:
        layer.bias.data = torch.as_tensor(bias, dtype=kind)
    return layer


HALF = linear([[-1.0, 0.0], [1.0, 0.0]])


def smoothed(model=HALF, **changes):
    arguments = {"num_classes": 2, "noise": LAW, "batch_size": 256, **changes}
    return SmoothedClassifier(model, **arguments)


class Small(torch.nn.Module):
    """Has modes, buffers and its own random numbers."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(5)
        self.conv = torch.nn.Conv2d(1, 4, 3)
        self.norm = torch.nn.BatchNorm2d(4)
        self.drop = torch.nn.Dropout(0.5)
        self.last = torch.nn.Linear(4 * 36, 3)
        for p in self.parameters():
            p.data.normal_(0, 0.3, generator=generator)

    def forward(self, x):
        return self.last(self.drop(torch.relu(self.norm(self.conv(x)))).flatten(1))


IMAGES = torch.rand((3, 1, 8, 8), generator=torch.Generator().manual_seed(1))


# -- what is drawn ------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [1, 7, 64, 333, 4096, "auto"])
def test_draws_do_not_depend_on_the_batch_size(batch_size):
    seen = []

    def record(batch):
        seen.append(batch.clone())
        return batch[:, :2]

    x = torch.tensor([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]])
    parts = []
    for size in (256, batch_size):
        classifier = smoothed(record, input_shape=(3,), batch_size=size)
        # The model is probed and timed once, and its batches compared.
        classifier.sample_counts(x, n=150)
        seen.clear()
        parts.append((classifier.sample_counts(x, n=150, seed=3), torch.cat(seen)))
    (reference, first), (counts, again) = parts
    assert (again == first).all()
    assert (counts.values == reference.values).all()


def test_votes_that_differ_by_batch_size_are_few():
    # At most 1e-4 of the votes. Here 3 x 10,000 votes of a network whose
    # smoothed probabilities are spread out.
    tables = [
        smoothed(Small(), num_classes=3, batch_size=size)
        .sample_counts(IMAGES, n=10_000, seed=4).values
        for size in (64, 1000)
    ]  # fmt: skip
    assert (tables[0] > 250).sum() > 4, "the network always answers the same"
    for table in tables[1:]:
        assert np.abs(table - tables[0]).sum() / 2 <= 3


def test_counts_do_not_depend_on_company_or_index_form():
    whole = smoothed(Small(), num_classes=3).sample_counts(IMAGES, n=300, seed=1, index=5)
    for row, image in enumerate(IMAGES):
        alone = smoothed(Small(), num_classes=3).sample_counts(
            image, n=300, seed=1, index=[5 + row]
        )
        assert np.abs(alone.values[0] - whole.values[row]).sum() <= 2
    fewer = smoothed().sample_counts([[0.2, 0.0]], n=100, seed=1)
    more = smoothed().sample_counts([[0.2, 0.0]], n=200, seed=1)
    rest = smoothed().sample_counts([[0.2, 0.0]], n=200, seed=1, draws=(100, 200))
    assert (fewer.values + rest.values == more.values).all()


def test_roles_and_seeds_are_separate_and_recorded():
    x = [[0.1, 0.0]]
    base = smoothed().sample_counts(x, n=1000, seed=1)
    assert base.role == "estimate"
    assert base.seed == 1
    assert (smoothed().sample_counts(x, n=1000, seed=1, role="select").values != base.values).any()
    assert (smoothed().sample_counts(x, n=1000, seed=2).values != base.values).any()
    fresh = smoothed().sample_counts(x, n=1000)
    assert (smoothed().sample_counts(x, n=1000, seed=fresh.seed).values == fresh.values).all()


# -- what is left as found ----------------------------------------------------------------


def test_model_modes_gradients_and_random_state_are_left_as_found():
    model = Small().train()
    model.norm.eval()
    model.conv.weight.requires_grad_(False)
    before = copy.deepcopy(model.state_dict())
    inputs = IMAGES.clone().requires_grad_(True)
    kept = inputs.detach().clone()
    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002
    state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    classifier = smoothed(model, num_classes=3, batch_size="auto")
    classifier.certify(inputs, n=200, n0=20, seed=1)
    classifier.sample_scores(inputs, n=20)
    assert (torch.get_rng_state() == state).all()
    assert (np.random.get_state()[1] == numpy_state).all()  # noqa: NPY002
    assert torch.is_grad_enabled()
    assert model.training
    assert model.drop.training
    assert not model.norm.training
    assert [p.requires_grad for p in model.parameters()] == [False] + [True] * 5
    assert all((before[k] == v).all() for k, v in model.state_dict().items())
    assert (inputs.detach() == kept).all()
    assert inputs.grad is None
    # Nothing was made under inference_mode: the model can be trained on.
    model(inputs).sum().backward()


def test_modes_come_back_after_an_error():
    class Fails(Small):
        def forward(self, x):
            if len(x) > 3:
                raise KeyError("later")
            return super().forward(x)

    model = Fails().train()
    state = torch.get_rng_state()
    with pytest.raises(KeyError):
        smoothed(model, num_classes=3).sample_counts(IMAGES, n=100)
    assert model.training
    assert model.drop.training
    assert (torch.get_rng_state() == state).all()


# -- known answers ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_smoothed_probabilities_of_half_spaces(kind):
    # P(w.(x + noise) > 0) = Phi(w.x / (sigma |w|)).
    model = linear([[-3.0, -4.0], [3.0, 4.0]], [0.5, -0.5], kind)
    x = np.array([[0.3, 0.1], [-0.2, 0.4], [0.0, 0.0], [0.9, 0.2]])
    p = ndtr((2 * x @ [3.0, 4.0] - 1.0) / (2 * 5 * 0.5))
    counts = smoothed(model).sample_counts(x, n=20_000, seed=2)
    error = counts.values[:, 1] - 20_000 * p
    assert (np.abs(error) < 6 * np.sqrt(20_000 * p * (1 - p))).all()


def _coverage(model, inputs, radius, answer, law, seeds, alpha=0.05, n=300):
    """Wrong certificates over many seeds; the smoothed answer's true radius is given."""
    classifier = SmoothedClassifier(model, num_classes=len(answer), noise=law, batch_size=4096)
    wrong, trials, certified = 0, 0, 0
    for seed in range(seeds):
        result = classifier.certify(inputs, n=n, n0=30, alpha=alpha, seed=seed)
        bad = (result.top != answer_of(model, inputs)) | (result.radius > radius * (1 + 1e-9))
        wrong += int((bad & ~result.abstained).sum())
        certified += int((~result.abstained).sum())
        trials += len(result)
    assert certified > trials / 2
    assert wrong > 0, "the bound is so loose that this test cannot fail"
    assert_error_rate(wrong, trials, alpha, false_alarm=1e-9)


def answer_of(model, inputs):
    with torch.no_grad():
        return model(torch.as_tensor(inputs, dtype=torch.float32)).argmax(1).numpy()


def test_certificates_of_a_half_space_cover_its_l2_radius():
    # 40 seeds x 50 inputs at alpha 0.05; a correct library fails with probability 1e-9. The
    # smoothed answer of a half-space is the answer itself, its radius the distance.
    x = np.random.default_rng(0).uniform(-0.7, 0.7, (50, 2))
    model = linear([[-3.0, -4.0], [3.0, 4.0]])
    distance = np.abs(x @ [3.0, 4.0]) / 5
    _coverage(model, x, distance, [0, 1], LAW, 40)


def test_certificates_of_a_half_space_cover_its_l1_radius():
    # Uniform noise, w = (1, 0): the answer changes where x_0 changes sign, at l1 distance |x_0|.
    x = np.random.default_rng(1).uniform(-0.3, 0.3, (50, 2))
    _coverage(HALF, x, np.abs(x[:, 0]), [0, 1], rsbounds.Uniform(0.5), 40)


def test_certificates_of_three_sectors_cover_their_l2_radius():
    # Three half-planes through 0 at 120 degrees: by symmetry the smoothed answer changes where
    # the answer does, on the bisectors, at distance (w_A - w_c).x / |w_A - w_c|.
    angles = np.arange(3) * 2 * np.pi / 3
    weight = np.column_stack([np.cos(angles), np.sin(angles)])
    x = np.random.default_rng(2).uniform(-0.8, 0.8, (50, 2))
    scores = np.sort(x @ weight.T, axis=1)
    distance = (scores[:, 2] - scores[:, 1]) / 3**0.5
    _coverage(linear(weight), x, distance, [0, 1, 2], LAW, 40)


def test_predict_is_the_answer_or_abstains():
    x = np.array([[0.5, 0.0], [-0.5, 0.2], [0.0, 0.0]])
    answers = smoothed().predict(x, n=1000, seed=1)
    assert answers.top[:2].tolist() == [1, 0]
    assert answers.abstained.tolist() == [False, False, True]


# -- NaN ----------------------------------------------------------------------------------


def brittle(batch):
    """NaN far to the right."""
    logits = torch.stack([-batch[:, 0], batch[:, 0]], 1)
    return torch.where(batch[:, :1] > 1.5, float("nan"), logits)


def test_nan_is_counted_and_the_input_abstains():
    x = [[0.9, 0.0], [-0.9, 0.0], [9.0, 0.0]]
    counts = smoothed(brittle).sample_counts(x, n=1000, seed=1)
    p = 1000 * ndtr(-1.2)
    assert abs(counts.invalid[0] - p) < 6 * p**0.5
    assert counts.invalid[1:].tolist() == [0, 1000]
    assert counts.n.tolist() == [1000] * 3
    with pytest.warns(RuntimeWarning, match=r"NaN on 2 of 3 inputs \(0, 2\); they abstain"):
        result = smoothed(brittle).certify(x, n=1000, seed=1)
    assert result.abstained.tolist() == [True, False, True]
    assert result.radius[[0, 2]].tolist() == [0, 0]
    assert result.n.tolist() == [1000] * 3
    with pytest.warns(RuntimeWarning, match="they abstain"):
        answers = smoothed(brittle).predict(x, n=1000, seed=1)
    assert answers.abstained.tolist() == [True, False, True]
    with pytest.raises(ValueError, match=r"model returned NaN on \d+ of 100 draws of inputs\[0\]"):
        smoothed(brittle).sample_scores(x, n=100, seed=1)


# -- scores -------------------------------------------------------------------------------


def test_scores_are_those_of_the_votes():
    x = IMAGES[:2]
    classifier = smoothed(Small(), num_classes=3, batch_size=50)
    counts = classifier.sample_counts(x, n=120, seed=1)
    for name in ("softmax", "sparsemax", "hardmax"):
        scores = classifier.sample_scores(x, n=120, map=name, seed=1)
        assert scores.values.shape == (2, 120, 3)
        assert scores.support == (0.0, 1.0)
        np.testing.assert_allclose(scores.values.sum(axis=2), 1.0, atol=1e-12)
        votes = scores.values.argmax(axis=2)
        table = [np.bincount(row, minlength=3) for row in votes]
        assert np.abs(np.array(table) - counts.values).sum() <= 2
        one = classifier.sample_scores(x[1], n=120, map=name, seed=1, index=1)
        np.testing.assert_allclose(one.values, scores.values[1], atol=1e-5)
    assert (classifier.sample_scores(x, n=5, map="hardmax").values.max(axis=2) == 1).all()


def test_maps():
    z = torch.randn(200, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    p = sparsemax(3 * z)
    assert torch.allclose(p.sum(1), torch.ones(200, dtype=torch.float64))
    # The projection: z - p is constant on the support and no smaller elsewhere.
    gap = 3 * z - p
    support = torch.where(p > 0, gap, torch.nan)
    assert (support.nan_to_num(-torch.inf).amax(1) - support.nan_to_num(torch.inf).amin(1)
            < 1e-12).all()  # fmt: skip
    assert (torch.where(p > 0, -torch.inf, gap).amax(1)
            <= support.nan_to_num(-torch.inf).amax(1) + 1e-12).all()  # fmt: skip
    x = [[0.3, 0.0]]
    own = smoothed().sample_scores(x, n=10, map=lambda t: torch.softmax(t, 1), seed=1)
    soft = smoothed().sample_scores(x, n=10, seed=1)
    assert (own.values == soft.values).all()
    flat = smoothed().sample_scores(x, n=10, temperature=1e6, seed=1)
    assert np.abs(flat.values - 0.5).max() < 1e-5
    probabilities = smoothed(lambda b: torch.softmax(HALF(b), 1))
    same = probabilities.sample_scores(x, n=10, map=None, seed=1)
    np.testing.assert_allclose(same.values, soft.values, atol=1e-6)
    with pytest.raises(ValueError, match=r"map returned .* allowed: scores in \[0, 1\]"):
        smoothed().sample_scores(x, n=100, map=None)
    with pytest.raises(ValueError, match="map returned"):
        smoothed().sample_scores(x, n=100, map=lambda t: t[:, :1])
    with pytest.raises(ValueError, match="map is 'argmax'"):
        smoothed().sample_scores(x, n=100, map="argmax")
    with pytest.raises(ValueError, match="temperature is 0"):
        smoothed().sample_scores(x, n=100, temperature=0)


def test_certify_soft():
    x = [[0.9, 0.0], [-0.4, 0.0], [9.0, 0.0]]
    steep = linear([[-4.0, 0.0], [4.0, 0.0]])
    result = smoothed(steep).certify_soft(x, n=1000, seed=1, index=4)
    assert result.top.tolist() == [1, 0, 1]
    assert (result.radius > 0).all()
    assert (result.radius < np.abs(np.array(x)[:, 0])).all()
    assert result.index.tolist() == [4, 5, 6]
    with pytest.warns(RuntimeWarning, match=r"NaN on 2 of 3 inputs \(0, 2\)"):
        result = smoothed(brittle).certify_soft(x, n=1000, seed=1)
    assert result.abstained[[0, 2]].all()
    assert (result.radius[[0, 2]] == 0).all()


def test_predict_invents_no_votes_for_rows_with_nan():
    # Such a row got one made-up vote per class, and class 0 for a candidate.
    x = [[0.9, 0.0], [-0.9, 0.0], [9.0, 0.0]]
    with pytest.warns(RuntimeWarning, match=r"NaN on 2 of 3 inputs \(0, 2\)"):
        answers = smoothed(brittle).predict(x, seed=1)
    assert answers.candidate.tolist() == [rsbounds.NO_CLASS, 0, rsbounds.NO_CLASS]
    assert answers.abstained.tolist() == [True, False, True]
    assert answers.p_value[[0, 2]].tolist() == [1.0, 1.0]
    with pytest.warns(RuntimeWarning, match="NaN on 1 of 1 inputs"):
        assert smoothed(brittle).predict(x[:1], seed=1).top.tolist() == [rsbounds.NO_CLASS]


def test_decide_and_adaptive():
    x = [[0.9, 0.0], [0.2, 0.0], [-1.2, 0.0]]
    test = smoothed().decide(x, 0.5, seed=1, alpha=0.001)
    assert test.status.tolist() == ["yes", "no", "yes"]
    other = smoothed(batch_size=33).decide(x, 0.5, seed=1, alpha=0.001)
    assert (other.n == test.n).all()
    undecided = smoothed().decide([[0.5, 0.0]], 0.5, seed=1, limit=1000)
    assert undecided.n.tolist() == [1000]
    run = smoothed().adaptive(x, looks=(100, 1000, 10_000), seed=1)
    found = run.certificates()
    assert found.top.tolist() == [1, 1, 0]
    assert (found.radius < np.abs(np.array(x)[:, 0])).all()


def test_nan_draws_of_decide_and_adaptive_abstain_as_in_certify():
    # They were counted against the class, and "no" was said of another classifier.
    x = [[0.9, 0.0], [-0.9, 0.0], [9.0, 0.0]]
    with pytest.warns(RuntimeWarning, match=r"NaN on 2 of 3 inputs \(0, 2\); they abstain"):
        test = smoothed(brittle).decide(x, 0.7, seed=1)
    assert test.status.tolist() == ["undecided", "yes", "undecided"]
    assert test.n[2] == 0
    assert test.certificates().abstained.tolist() == [True, False, True]
    with pytest.warns(RuntimeWarning, match=r"NaN on 2 of 3 inputs \(0, 2\); they abstain"):
        run = smoothed(brittle).adaptive(x, looks=(100, 1000), seed=1)
    assert run.certificates().abstained.tolist() == [True, False, True]
    # One that shows its NaN only after the selection sample: the draws taken are counted.
    late = smoothed(lambda b: torch.where(b[:, :1] > 2.4, float("nan"), HALF(b)))
    with pytest.warns(RuntimeWarning, match="NaN on 1 of 1 inputs"):
        run = late.adaptive([[0.9, 0.0]], n0=5, looks=(3000, 6000), seed=1)
    assert run.n.tolist() == [3000]
    late = late.under(rsbounds.Gaussian(0.5))
    with pytest.warns(RuntimeWarning, match="NaN on 1 of 1 inputs"):
        test = late.decide([[0.9, 0.0]], 0.88, n0=5, seed=1)
    assert test.n[0] > 100
    assert test.status.tolist() == ["undecided"]


# -- one input or a batch, types, settings ------------------------------------------------


def test_one_input_or_a_batch():
    for one in (IMAGES[0], IMAGES[0].numpy(), IMAGES[0].double()):
        classifier = smoothed(Small(), num_classes=3)
        assert classifier.sample_counts(one, n=10).values.shape == (1, 3)
        assert classifier.sample_counts(one[None], n=10).values.shape == (1, 3)
        assert classifier.sample_counts(IMAGES, n=10).values.shape == (3, 3)
    assert len(smoothed().certify([0.9, 0.0], n=100)) == 1
    assert len(smoothed().certify([[0.9, 0.0]] * 2, n=100)) == 2
    fixed = smoothed(lambda b: b.flatten(1)[:, :2], input_shape=(2, 2))
    assert len(fixed.sample_counts(np.zeros((2, 2)), n=5)) == 1
    assert len(fixed.sample_counts(np.zeros((2, 2, 2)), n=5)) == 2
    with pytest.raises(ValueError, match=r"inputs have shape \(3, 3\); allowed: \(2, 2\) or"):
        fixed.sample_counts(np.zeros((3, 3)), n=5)


def test_noise_comes_before_preprocess_in_raw_units():
    seen = []

    def preprocess(batch):
        seen.append(batch.clone())
        return (batch - 100) / 50

    classifier = smoothed(
        preprocess=preprocess, noise=rsbounds.Gaussian(10.0), input_bounds=(0, 255)
    )
    x = np.array([[120, 80]], dtype=np.uint8)
    counts = classifier.sample_counts(x, n=4000, seed=1)
    raw = torch.cat([batch for batch in seen if len(batch) > 4])
    assert abs(raw.mean(0) - torch.tensor([120.0, 80.0])).max() < 1
    assert abs(raw.std(0) - 10).max() < 1
    assert abs(counts.values[0, 1] - 4000 * ndtr(2)) < 6 * (4000 * 0.023) ** 0.5


@pytest.mark.parametrize("kind", [torch.float64, torch.bfloat16])
def test_models_of_other_types(kind):
    model = linear([[-1.0, 0.0], [1.0, 0.0]], kind=kind)
    counts = smoothed(model).sample_counts([[0.5, 0.0]], n=2000, seed=1)
    assert abs(counts.values[0, 1] - 2000 * ndtr(1)) < 6 * (2000 * 0.16 * 0.84) ** 0.5


def test_autocast():
    plain = smoothed().sample_counts([[0.5, 0.0]], n=2000, seed=1)
    cast = smoothed(autocast=torch.bfloat16).sample_counts([[0.5, 0.0]], n=2000, seed=1)
    assert np.abs(plain.values - cast.values).max() < 40


def test_integers_and_pictures_without_a_scale_are_refused():
    # 0..255 was certified with sigma 0.5 in silence.
    pixels = torch.tensor([[200, 10]], dtype=torch.uint8)
    for x in (pixels, pixels.numpy(), pixels.numpy().astype(np.uint16), pixels.long(), [[200, 10]]):
        with pytest.raises(ValueError, match=r"int.* and nothing says their scale.*\(0, 255\)"):
            smoothed().certify(x, n=10)
        smoothed(input_bounds=(0, 255)).certify(x, n=10)
    smoothed().certify(pixels > 100, n=10)
    smoothed().certify(torch.tensor([[0.5, 0.25]], dtype=torch.bfloat16), n=10)
    image = pytest.importorskip("PIL.Image")
    with pytest.raises(ValueError, match="inputs is a picture"):
        smoothed(input_bounds=(0, 255)).certify(image.new("L", (2, 1)), n=10)


class Clock:
    """Time that passes only where the model takes it."""

    now = 0.0

    def perf_counter(self):
        return self.now

    thread_time = perf_counter


@pytest.mark.parametrize("busy", [1.0, 10.0])
@pytest.mark.parametrize("cost", [1e-5, 1e-3, 0.05, 0.4])
def test_automatic_batch_size_keeps_to_its_time(monkeypatch, cost, busy):
    # Three seconds on the clock, whatever else the machine does: it took 20.
    from rsbounds_torch import _batch_size

    clock = Clock()

    def model(batch):
        # Every fourth pass is interrupted.
        clock.passes += 1
        clock.now += (0.003 + cost * len(batch)) * (busy if clock.passes % 4 == 0 else 1.0)
        return batch[:, :2]

    clock.passes = 0
    monkeypatch.setattr(_batch_size, "time", clock)
    classifier = smoothed(model, batch_size="auto", input_shape=(2,))
    classifier.sample_counts(np.zeros((1, 2)), n=1)
    clock.now, first = 0.0, clock.passes
    classifier._sizes.clear()
    size = classifier._size(torch.zeros((1, 2)))
    assert clock.now <= 3.0
    assert clock.passes > first
    assert 0.003 / size + cost < 1.2 * cost, "far from the best size"


def test_padded_batches_give_the_same_counts():
    # compile=True fills the last batch up, so that no second size is compiled; the compiler
    # itself is not run here.
    classifier = smoothed(batch_size=64)
    classifier._evaluation.padded = True
    sizes = []
    classifier._evaluation._call = lambda batch: (sizes.append(len(batch)), HALF(batch))[1]
    counts = classifier.sample_counts([[0.2, 0.0], [0.1, 0.0]], n=150, seed=1)
    assert set(sizes) == {64}
    assert (counts.values == smoothed().sample_counts([[0.2, 0.0], [0.1, 0.0]], n=150, seed=1)
            .values).all()  # fmt: skip


def test_automatic_batch_size_is_remembered_per_shape():
    classifier = smoothed(lambda b: b.flatten(1)[:, :2], batch_size="auto")
    classifier.sample_counts(np.zeros((1, 4)), n=10)
    classifier.sample_counts(np.zeros((1, 4)), n=10)
    classifier.sample_counts(np.zeros((1, 3, 3)), n=10)
    assert [shape for shape, _ in classifier._sizes] == [(4,), (3, 3)]
    assert all(size >= 1 for size in classifier._sizes.values())


# -- bad input ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": 3}, "model is 3"),
        ({"num_classes": 1}, "num_classes is 1"),
        ({"noise": 0.5}, "noise is 0.5"),
        ({"batch_size": 0}, "batch_size is 0; allowed: .* or 'auto'"),
        ({"batch_size": "big"}, "batch_size is 'big'"),
        ({"preprocess": 1}, "preprocess is 1"),
        ({"input_bounds": (1, 0)}, r"input_bounds is \(1, 0\)"),
        ({"input_bounds": 1}, "input_bounds is 1"),
        ({"device": "nowhere"}, "device is 'nowhere'"),
        ({"device": "meta"}, "device is 'meta' but the model is on cpu"),
        ({"autocast": torch.int8}, "autocast is torch.int8"),
        ({"input_shape": (0,)}, "input_shape is 0"),
    ],
)
def test_bad_settings_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        smoothed(**{"model": HALF, **change})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n": 0}, "n is 0"),
        ({"n": 1.5}, "n is 1.5"),
        ({"role": "both"}, "role is 'both'"),
        ({"seed": -1}, "seed is -1"),
        ({"index": -1}, "index is -1"),
        ({"index": [1, 2]}, "index has 2 entries; allowed: 1"),
        ({"index": 2**32}, "index is 4294967296"),
        ({"draws": (5, 5)}, r"draws is \(5, 5\); allowed: \(first, stop\)"),
        ({"draws": (0, 101)}, r"draws is \(0, 101\)"),
        ({"inputs": [[np.nan, 0]]}, r"inputs\[0, 0\] is nan"),
        ({"inputs": [[1.5, 0]]}, r"inputs\[0, 0\] is 1.5; allowed: numbers from -1 to 1"),
        ({"inputs": np.zeros((0, 2))}, "inputs have shape"),
        ({"inputs": torch.zeros(1, 2).to_sparse()}, "layout torch.sparse_coo; allowed: dense"),
        ({"inputs": [["a"]]}, "inputs has type list"),
        ({"inputs": [[1j, 0]]}, "inputs has type list"),
        ({"inputs": torch.zeros(1, 2, dtype=torch.complex64)}, "inputs have type torch.complex64"),
        ({"inputs": np.zeros((1, 5))}, "model failed on inputs of shape"),
    ],
)
def test_bad_arguments_are_named(change, message):
    arguments = {"inputs": [[0.5, 0.0]], "n": 100, **change}
    with pytest.raises(ValueError, match=message):
        smoothed(input_bounds=(-1, 1)).sample_counts(arguments.pop("inputs"), **arguments)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda b: b.repeat(1, 2), "model returned 4 scores per input; allowed: num_classes = 2"),
        (lambda b: b.sum(), r"model returned shape \(\)"),
        (lambda b: [b], "model returned list"),
        (lambda b: b.double() @ torch.zeros(2, 2), "model failed on inputs .* type torch.float32"),
        (lambda b: b.to("meta"), "model returned scores on meta"),
    ],
)
def test_bad_models_are_named(model, message):
    with pytest.raises(ValueError, match=message):
        smoothed(model).sample_counts([[0.5, 0.0]], n=100)


def test_bad_arguments_of_certify_are_named_before_sampling():
    def never(batch):
        raise AssertionError("the model was called")

    for change, message in (
        ({"n": 0}, "n is 0"),
        ({"n0": 0}, "n0 is 0"),
        ({"alpha": 0}, "alpha is 0"),
        ({"method": "best"}, "method is 'best'"),
        ({"nothing": 1}, "nothing is not an option"),
    ):
        with pytest.raises(ValueError, match=message):
            smoothed(never).certify([[0.5, 0.0]], **change)


def test_alpha_is_checked_once(monkeypatch):
    """It was checked by the classifier, by what certifies votes and by the bound."""
    from rsbounds import _validate

    asked, true = [], _validate.alpha

    def counted(value, name="alpha"):
        asked.append(value)
        return true(value, name)

    monkeypatch.setattr(_validate, "alpha", counted)
    smoothed().certify(torch.tensor([[1.0, 0.0]]), n=100, alpha=0.01, seed=1)
    assert asked == [0.01]
