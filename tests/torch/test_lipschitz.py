import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn

from rsbounds_torch import lipschitz, lipschitz_upper_bound


def matrix(layer, shape):
    """The dense matrix of an affine layer."""
    size = int(np.prod(shape))
    layer = layer.double()
    with torch.no_grad():
        zero = layer(torch.zeros(1, *shape, dtype=torch.float64))
        rows = layer(torch.eye(size, dtype=torch.float64).reshape(size, *shape)) - zero
    return rows.reshape(size, -1).numpy()


def seeded(layer, seed=0):
    generator = torch.Generator().manual_seed(seed)
    for p in layer.parameters():
        p.data.normal_(0, 0.3, generator=generator)
    return layer


CONVOLUTIONS = [
    {}, {"padding": 1}, {"stride": 2, "padding": 1}, {"stride": 3}, {"stride": (1, 2)},
    {"dilation": 2, "padding": 2}, {"padding": "same"}, {"groups": 2, "padding": 1},
    {"padding": 1, "padding_mode": "circular"},
    {"padding": 1, "stride": 2, "padding_mode": "circular"},
]  # fmt: skip


@pytest.mark.parametrize("settings", CONVOLUTIONS, ids=str)
@pytest.mark.parametrize("route", ["dense", "torus"])
def test_convolutions_against_the_dense_operator(settings, route, monkeypatch):
    if route == "torus":
        monkeypatch.setattr(lipschitz, "_DENSE_ENTRIES", 0)
    layer, shape = seeded(nn.Conv2d(4, 6, 3, **settings)), (4, 10, 12)
    exact = np.linalg.svd(matrix(layer, shape), compute_uv=False)[0]
    bound = lipschitz_upper_bound(layer, shape)
    assert bound >= exact
    # On the torus the borders are lost; the figure is 1.0002 for large inputs.
    assert bound <= exact * (1.0002 if route == "dense" else 1.1)


@pytest.mark.parametrize(
    ("layer", "shape", "slack"),
    [
        (nn.Linear(30, 50), (30,), 1.0002),
        (nn.Linear(50, 1), (50,), 1.0002),
        (nn.Conv1d(3, 5, 4, stride=2, padding=1), (3, 20), 1.0002),
        (nn.AvgPool2d(2), (2, 8, 8), 1.0002),
        (nn.AvgPool2d(3, 2, 1), (2, 9, 9), 1.4),
        (nn.AdaptiveAvgPool2d(1), (3, 6, 6), 1.0002),
        (nn.AdaptiveAvgPool2d((2, 3)), (3, 6, 6), 1.0002),
        (nn.AvgPool1d(4), (2, 8), 1.0002),
    ],
    ids=str,
)
def test_linear_layers_against_their_matrix(layer, shape, slack):
    seeded(layer)
    exact = np.linalg.svd(matrix(layer, shape), compute_uv=False)[0]
    bound = lipschitz_upper_bound(layer, shape)
    assert exact <= bound * (1 + 1e-13)
    assert bound <= exact * slack


@pytest.mark.parametrize(
    "values",
    [
        np.zeros((3, 2)), np.eye(4), np.full((5, 5), 1e-200), np.full((2, 3), 1e200),
        np.diag([1.0, 1.0 - 1e-12, 0.5]), np.diag([1.0, 1e-8]), np.array([[1e-300]]),
    ],
    ids=range(7),
)  # fmt: skip
def test_spectral_norms_at_the_extremes(values):
    exact = np.linalg.norm(values / max(values.max(), 1e-300), 2) * max(values.max(), 1e-300)
    bound = lipschitz.spectral_norm_upper(values)
    assert exact * (1 - 1e-14) <= bound <= exact * 1.0002


def test_spectral_norm_of_many_is_that_of_the_largest():
    rng = np.random.default_rng(0)
    many = rng.normal(size=(300, 7, 9)) + 1j * rng.normal(size=(300, 7, 9))
    exact = np.linalg.norm(many, 2, axis=(1, 2)).max()
    assert exact <= lipschitz.spectral_norm_upper(many) <= exact * 1.0002


def slopes(layer, shape=(6, 8, 8), pairs=300):
    generator = torch.Generator().manual_seed(1)
    x = 3 * torch.randn(pairs, *shape, generator=generator, dtype=torch.float64)
    step = torch.randn(pairs, *shape, generator=generator, dtype=torch.float64) * 0.01
    with torch.no_grad():
        moved = (layer(x + step) - layer(x)).flatten(1).norm(dim=1)
    return float((moved / step.flatten(1).norm(dim=1)).max())


@pytest.mark.parametrize(
    "layer",
    [
        nn.ReLU(), nn.LeakyReLU(2.0), nn.ELU(1.5), nn.SELU(), nn.GELU(), nn.GELU("tanh"),
        nn.SiLU(), nn.Sigmoid(), nn.Tanh(), nn.Softplus(), nn.Hardtanh(), nn.MaxPool2d(2),
        nn.MaxPool2d(3, 1), nn.AdaptiveMaxPool2d(2), nn.Softmax(1), nn.PReLU(init=-1.5),
        nn.BatchNorm2d(6), nn.Dropout(0.5), nn.Flatten(), nn.LogSigmoid(), nn.Softsign(),
    ],
    ids=str,
)  # fmt: skip
def test_other_layers_do_not_move_faster_than_their_bound(layer):
    layer = layer.double().eval()
    if isinstance(layer, nn.BatchNorm2d):
        layer.running_var.uniform_(0.2, 3)
        layer.weight.data.uniform_(-2, 2)
    assert slopes(layer) <= lipschitz_upper_bound(layer, (6, 8, 8)) * (1 + 1e-9)


@pytest.mark.parametrize("kind", [nn.GELU, nn.SiLU, nn.SELU])
def test_largest_slopes_of_smooth_activations(kind):
    x = torch.linspace(-10, 10, 400_001, dtype=torch.float64, requires_grad=True)
    kind()(x).sum().backward()
    steepest = float(x.grad.abs().max())
    assert steepest <= lipschitz_upper_bound(kind()) <= steepest * 1.001


def network():
    return nn.Sequential(
        nn.Conv2d(1, 4, 5, padding=2), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
        nn.Sequential(nn.Conv2d(4, 8, 3, stride=2), nn.GELU()),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 16), nn.Tanh(), nn.Linear(16, 5),
    )  # fmt: skip


def test_a_network_is_bounded_by_the_product_of_its_layers():
    model = seeded(network()).eval()
    bound = lipschitz_upper_bound(model, (1, 18, 18))
    assert slopes(model.double(), (1, 18, 18)) <= bound < 1e4
    parts = 1.0
    shape = (1, 18, 18)
    for layer in model:
        parts *= lipschitz_upper_bound(layer, shape)
        shape = tuple(layer(torch.zeros(1, *shape, dtype=torch.float64)).shape[1:])
    assert bound == pytest.approx(parts, rel=1e-12)


def test_parametrized_weights_count_as_they_are_used():
    layer = nn.utils.parametrizations.spectral_norm(nn.Linear(8, 8)).eval()
    state = {k: v.clone() for k, v in layer.state_dict().items()}
    bound = lipschitz_upper_bound(layer)
    with torch.no_grad():
        exact = np.linalg.norm(layer.weight.double().numpy(), 2)
    assert exact <= bound <= exact * 1.0002
    assert all((state[k] == v).all() for k, v in layer.state_dict().items())


class Own(nn.Linear):
    def forward(self, x):
        return 10 * super().forward(x)


def hooked():
    layer = nn.Linear(2, 2)
    layer.register_forward_hook(lambda module, given, out: 10 * out)
    return layer


def infinite():
    layer = nn.Linear(2, 2)
    layer.weight.data[0, 0] = float("inf")
    return layer


@pytest.mark.parametrize(
    ("model", "shape", "message"),
    [
        (nn.Sequential(nn.ReLU(), nn.LayerNorm(4)), (4,), r"model\.1 is LayerNorm.*no bound here"),
        (nn.Sequential(Own(2, 2)), (2,), r"model\.0 is Own.*no bound here"),
        (nn.Sequential(hooked()), (2,), r"model\.0 is Linear.*with forward hooks"),
        (infinite(), (2,), "NaN or infinity"),
        (nn.Conv2d(1, 1, 3), None, r"input_shape"),
        (nn.Conv2d(1, 1, 3), (2, 8, 8), "allowed: 1 channels"),
        (nn.Conv2d(1, 1, 3), (1, 2, 2), "smaller than its kernel"),
        (nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect"), (1, 8, 8), "padding_mode"),
        (nn.Linear(2, 2), (3,), r"inputs of shape \(3,\)"),
        (nn.BatchNorm1d(3, track_running_stats=False), (3,), "no running statistics"),
        (nn.MaxPool2d(2, ceil_mode=True), (1, 5, 5), "ceil_mode"),
        (nn.MaxPool2d(2, dilation=2), (1, 5, 5), "dilation"),
        (nn.AvgPool2d(2, padding=1, count_include_pad=False), (1, 4, 4), "count_include_pad"),
        (nn.AdaptiveAvgPool2d(3), (1, 4, 4), "sizes that divide"),
        (nn.Softmax(0), (4,), "dim 0"),
        (nn.Flatten(0), (4,), "start_dim 0"),
        (nn.ReLU(), (0,), "input_shape is 0"),
        (lambda x: x, (4,), "model is <function"),
    ],
    ids=range(18),
)
def test_what_is_not_known_is_refused(model, shape, message):
    with pytest.raises(ValueError, match=message):
        lipschitz_upper_bound(model, shape)
