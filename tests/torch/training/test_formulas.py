"""Losses against slow transcriptions of the papers' formulas, and their gradients."""

import math

import pytest

torch = pytest.importorskip("torch")

from rsbounds_torch.training import (
    adre_loss,
    adre_objective,
    adre_regularizer,
    consistency_loss,
    gaussian_loss,
    macer_loss,
    smoothed_cross_entropy,
    smoothmix_loss,
    stability_loss,
)
from rsbounds_torch.training.macer import probit_margin

KINDS = [(3, 5, 4), (1, 4, 3), (4, 1, 2)]


def draw(shape, spread=2.0, seed=0):
    """Logits of which some averages are right and some wrong, and labels."""
    generator = torch.Generator().manual_seed(seed)
    _, size, classes = shape
    y = torch.randint(classes, (size,), generator=generator)
    logits = spread * torch.randn(shape, generator=generator, dtype=torch.float64)
    logits[:, ::2] += 2.0 * torch.nn.functional.one_hot(y[::2], classes)
    return logits.requires_grad_(), y


def softmax(row):
    """F of one copy, literally; probabilities as tensors of one number."""
    whole = sum(torch.exp(value) for value in row)
    return [torch.exp(value) / whole for value in row]


def averages(logits, i):
    """(8): the averaged probabilities of input i."""
    rows = [softmax(copy[i]) for copy in logits]
    return [sum(row[c] for row in rows) / len(rows) for c in range(len(rows[0]))]


def slow_gaussian(logits, y):
    terms = [-torch.log(softmax(copy[i])[y[i]]) for copy in logits for i in range(len(y))]
    return sum(terms) / len(terms)


def slow_adre(logits, y, weight, copies=None):
    """(6) to (8), one input after the other; `copies` are those of the first term."""
    total = 0.0
    for i in range(len(y)):
        g = averages(logits, i)
        rival = max((c for c in range(len(g)) if c != y[i]), key=lambda c: g[c].item())
        first = logits if copies is None else logits[:copies]
        risk = sum(-torch.log(softmax(copy[i])[y[i]]) for copy in first) / len(first)
        total = total + risk - weight * -torch.log(g[rival])
    return total / len(y)


def slow_adre_objective(logits, y, weight):
    """(12) of adre-t-certify with (8), averaged; at weight 0 that of SmoothAdv."""
    total = 0.0
    for i in range(len(y)):
        g = averages(logits, i)
        rival = max((c for c in range(len(g)) if c != y[i]), key=lambda c: g[c].item())
        total = total - torch.log(g[y[i]]) - weight * -torch.log(g[rival])
    return total / len(y)


def slow_consistency(logits, y, weight, entropy_weight):
    """Jeong and Shin 2020: KL of the average to each copy, and the average's entropy."""
    total = slow_gaussian(logits, y)
    for i in range(len(y)):
        g = averages(logits, i)
        for copy in logits:
            f = softmax(copy[i])
            apart = sum(g[c] * (torch.log(g[c]) - torch.log(f[c])) for c in range(len(g)))
            total = total + weight * apart / len(logits) / len(y)
        entropy = -sum(p * torch.log(p) for p in g)
        total = total + entropy_weight * entropy / len(y)
    return total


def slow_macer(logits, y, sigma, weight, gamma, beta):
    """Zhai et al. 2020, Algorithm 1, with beta in the hinge alone."""
    total = 0.0
    for i in range(len(y)):
        total = total - torch.log(averages(logits, i)[y[i]])
        z = averages(beta * logits, i)
        rival = max((c for c in range(len(z)) if c != y[i]), key=lambda c: z[c].item())
        if z[y[i]] > z[rival]:
            probit = torch.distributions.Normal(0.0, 1.0).icdf
            margin = probit(z[y[i]]) - probit(z[rival])
            if margin < gamma:
                scale = sigma if isinstance(sigma, float) else sigma[i]
                total = total + weight * scale / 2 * (gamma - margin)
    return total / len(y)


def slow_stability(clean, logits, y, weight):
    """Li et al. 2019: cross-entropy without noise, and against the prediction without noise."""
    total = 0.0
    for i in range(len(y)):
        f = softmax(clean[i])
        total = total - torch.log(f[y[i]])
        for copy in logits:
            noisy = softmax(copy[i])
            apart = -sum(f[c] * torch.log(noisy[c]) for c in range(len(f)))
            total = total + weight * apart / len(logits)
    return total / len(y)


def slow_smoothmix(logits, mixed, y, fractions, weight):
    """Jeong et al. 2021: KL of mixed targets to the predictions at mixed inputs."""
    total = slow_gaussian(logits, y)
    for i in range(len(y)):
        g = averages(logits, i)
        if any(g[c] > g[y[i]] for c in range(len(g))):
            continue
        target = [(1 - fractions[i]) * p + fractions[i] / len(g) for p in g]
        for copy in mixed:
            f = softmax(copy[i])
            apart = sum(t * (torch.log(t) - torch.log(p)) for t, p in zip(target, f, strict=True))
            total = total + weight * apart / len(mixed) / len(y)
    return total


def mixing(logits):
    """Logits of mixed inputs, which hang on the same parameters, and fractions."""
    parts = torch.linspace(0.0, 0.5, logits.shape[1], dtype=torch.float64)
    # Times a power of two, so that half precision rounds nothing more.
    return 0.5 * logits.flip(2), parts


def row_sigmas(logits):
    return torch.linspace(0.25, 1.0, logits.shape[1], dtype=torch.float64)


LOSS_PAIRS = {
    "gaussian": (gaussian_loss, slow_gaussian),
    "adre": (lambda z, y: adre_loss(z, y, weight=0.3), lambda z, y: slow_adre(z, y, 0.3)),
    "adre, single draw": (
        lambda z, y: adre_loss(z, y, weight=0.3, single_draw=True),
        lambda z, y: slow_adre(z, y, 0.3, 1),
    ),
    "smoothadv's objective": (
        lambda z, y: smoothed_cross_entropy(z, y).mean(),
        lambda z, y: slow_adre_objective(z, y, 0.0),
    ),
    "adre-adv's objective": (
        lambda z, y: adre_objective(z, y, weight=0.4).mean(),
        lambda z, y: slow_adre_objective(z, y, 0.4),
    ),
    "consistency": (
        lambda z, y: consistency_loss(z, y, weight=10.0, entropy_weight=0.5),
        lambda z, y: slow_consistency(z, y, 10.0, 0.5),
    ),
    "macer": (
        lambda z, y: macer_loss(z, y, sigma=0.5, weight=12.0, gamma=1.5, beta=1.0),
        lambda z, y: slow_macer(z, y, 0.5, 12.0, 1.5, 1.0),
    ),
    "macer, a sigma per row": (
        lambda z, y: macer_loss(z, y, sigma=row_sigmas(z), weight=3.0, gamma=8.0, beta=2.0),
        lambda z, y: slow_macer(z, y, row_sigmas(z), 3.0, 8.0, 2.0),
    ),
    "stability": (
        lambda z, y: stability_loss(z[0], z, y, weight=2.0),
        lambda z, y: slow_stability(z[0], z, y, 2.0),
    ),
    "smoothmix": (
        lambda z, y: smoothmix_loss(z, mixing(z)[0], y, mixing(z)[1], weight=5.0),
        lambda z, y: slow_smoothmix(z, mixing(z)[0], y, mixing(z)[1], 5.0),
    ),
}
each_loss = pytest.mark.parametrize("name", LOSS_PAIRS)


@each_loss
@pytest.mark.parametrize("shape", KINDS, ids=str)
def test_value_and_gradient_are_the_papers(name, shape):
    fast, slow = LOSS_PAIRS[name]
    logits, y = draw(shape)
    mine, theirs = fast(logits, y), slow(logits, y)
    assert mine.item() == pytest.approx(theirs.item(), rel=1e-12)
    gradients = [torch.autograd.grad(value, logits)[0] for value in (mine, theirs)]
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-13)


@each_loss
def test_finite_differences(name):
    fast, _ = LOSS_PAIRS[name]
    logits, y = draw((3, 4, 3), seed=3)
    assert torch.autograd.gradcheck(lambda z: fast(z, y), (logits,))


@each_loss
@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float32])
def test_narrow_logits_are_widened_first(name, kind):
    # Under autocast logits come in half precision; sums of probabilities there lose digits.
    fast, _ = LOSS_PAIRS[name]
    logits, y = draw((5, 6, 4), seed=1)
    narrow = logits.detach().to(kind).requires_grad_()
    value = fast(narrow, y)
    assert value.dtype == torch.float32
    exact = fast(narrow.detach().double(), y)
    assert value.item() == pytest.approx(exact.item(), rel=1e-5)
    value.backward()
    assert bool(torch.isfinite(narrow.grad).all())


EXTREMES = {
    "right": lambda y, hot: 1e4 * hot,
    "wrong": lambda y, hot: -1e4 * hot,
    "one each": lambda y, hot: 1e4 * torch.nn.functional.one_hot((y + 1) % hot.shape[1]),
    "right beyond all measure": lambda y, hot: 1e30 * hot,
    "wrong beyond all measure": lambda y, hot: -1e30 * hot,
    "equal": lambda y, hot: 0.0 * hot,
    "equal and large": lambda y, hot: 0.0 * hot + 1e4,
    "equal and low": lambda y, hot: 0.0 * hot - 1e4,
}


@each_loss
@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_extreme_logits_give_finite_numbers(name, classes, kind):
    fast, _ = LOSS_PAIRS[name]
    y = torch.arange(10) % classes
    hot = torch.nn.functional.one_hot(y, classes).to(kind)
    for what, made in EXTREMES.items():
        one = made(y, hot).to(kind)
        # Copies that agree, and one that says the opposite.
        for copies in (one[None], torch.stack([one, one]), torch.stack([one, -one])):
            logits = copies.clone().requires_grad_()
            value = fast(logits, y)
            value.backward()
            assert bool(torch.isfinite(value)), what
            assert bool(torch.isfinite(logits.grad).all()), what


@each_loss
def test_a_logit_that_is_no_number_makes_the_loss_none(name):
    # A hinge or a choice of rows would drop it: the loss would be a number and the step be made.
    fast, _ = LOSS_PAIRS[name]
    for bad in (math.nan, math.inf):
        for place in ((0, 0, 0), (2, 3, 1), (1, 5, 2)):
            logits, y = draw((3, 6, 3), seed=2)
            spoilt = logits.detach().clone()
            spoilt[place] = bad
            assert math.isnan(fast(spoilt, y).item()), (bad, place)


ZEROS = torch.zeros(2, 4, 3)
BY_THEMSELVES = {
    "gaussian": gaussian_loss,
    "adre": lambda z, y: adre_loss(z, y, weight=0.3, single_draw=True),
    "adre's term": adre_regularizer,
    "smoothadv's objective": smoothed_cross_entropy,
    "adre-adv's objective": lambda z, y: adre_objective(z, y, weight=0.1),
    "macer": lambda z, y: macer_loss(z, y, sigma=0.5, weight=1.0, gamma=8.0, beta=16.0),
    "consistency": lambda z, y: consistency_loss(z, y, weight=1.0, entropy_weight=1.0),
    "stability": lambda z, y: stability_loss(ZEROS[0], z, y, weight=1.0),
    "smoothmix": lambda z, y: smoothmix_loss(z, ZEROS, y, torch.zeros(4), weight=1.0),
    "smoothmix, mixed": lambda z, y: smoothmix_loss(ZEROS, z, y, torch.zeros(4), weight=1.0),
}


@pytest.mark.parametrize("name", BY_THEMSELVES)
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda z, y: (z, y + 1), r"y\[\d\] is 3; allowed: 0 to 2"),
        (lambda z, y: (z, y - 1), r"y\[\d\] is -1; allowed: 0 to 2"),
        (lambda z, y: (z, y[:-1]), r"y has shape \(3,\)"),
        (lambda z, y: (z, y.float()), r"type torch.float32; allowed: \(4,\) labels"),
        (lambda z, y: (z[0], y), r"logits have shape \(4, 3\); allowed: \(copies, inputs"),
        (lambda z, y: (z[:, :, :1], 0 * y), "at least 2 classes"),
        (lambda z, y: (z[:0], y), r"logits have shape \(0, 4, 3\)"),
        (lambda z, y: (z.long(), y), "logits have type torch.int64"),
        (lambda z, y: (z.tolist(), y), "logits have type list"),
    ],
)
def test_bad_logits_and_labels(name, change, said):
    with pytest.raises(ValueError, match=said):
        BY_THEMSELVES[name](*change(ZEROS, torch.tensor([0, 1, 2, 0])))


Y = torch.tensor([0, 1, 2, 0])
HINGE = {"sigma": 0.5, "weight": 1.0, "gamma": 8.0, "beta": 16.0}


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: adre_loss(ZEROS, Y, weight=-0.1), "weight is -0.1; allowed: a finite number >= 0"),
        (lambda: adre_objective(ZEROS, Y, weight=-1), "weight is -1"),
        (lambda: consistency_loss(ZEROS, Y, weight=-1, entropy_weight=0), "weight is -1"),
        (lambda: consistency_loss(ZEROS, Y, weight=0, entropy_weight=-1), "entropy_weight is -1"),
        (lambda: macer_loss(ZEROS, Y, **{**HINGE, "beta": 0.0}), "beta is 0.0; allowed"),
        (lambda: macer_loss(ZEROS, Y, **{**HINGE, "gamma": -1}), "gamma is -1; allowed"),
        (lambda: macer_loss(ZEROS, Y, **{**HINGE, "weight": -1}), "weight is -1; allowed"),
        (lambda: macer_loss(ZEROS, Y, **{**HINGE, "sigma": 0.0}), "sigma is 0.0; allowed: finite"),
        (
            lambda: macer_loss(ZEROS, Y, **{**HINGE, "sigma": torch.ones(3)}),
            r"sigma has shape \(3,\); allowed: a number, or 4",
        ),
        (
            lambda: stability_loss(ZEROS, ZEROS, Y, weight=1.0),
            r"clean_logits have shape \(2, 4, 3\); allowed: \(4, 3\)",
        ),
        (lambda: stability_loss(ZEROS[0], ZEROS, Y, weight=-1), "weight is -1"),
        (
            lambda: smoothmix_loss(ZEROS, ZEROS[:1], Y, torch.zeros(4), weight=1.0),
            r"mixed_logits have shape \(1, 4, 3\); allowed: \(2, 4, 3\)",
        ),
        (
            lambda: smoothmix_loss(ZEROS, ZEROS, Y, torch.full((4,), 1.1), weight=1.0),
            "allowed: 4 numbers from 0 to 1",
        ),
        (
            lambda: smoothmix_loss(ZEROS, ZEROS, Y, torch.zeros(3), weight=1.0),
            "allowed: 4 numbers from 0 to 1",
        ),
    ],
)
def test_bad_settings_of_functions(call, said):
    with pytest.raises(ValueError, match=said):
        call()


def test_the_strongest_wrong_class_follows_the_average_not_the_copies():
    # Class 1 wins two copies by little, class 2 one by far; the averages decide, (8).
    p = torch.tensor([[[0.5, 0.3, 0.2]], [[0.5, 0.3, 0.2]], [[0.3, 0.0, 0.7]]]).double()
    found = adre_regularizer((p + 1e-300).log(), torch.tensor([0]))
    assert found.neg().exp().item() == pytest.approx(1.1 / 3)


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_the_margin_of_macer_against_fifty_digits(kind):
    # Above 1 - 1e-8 float32 has no probability but 1, whose probit is infinite; published code
    # drops such inputs, and those that are nearly so get rounded gradients.
    mpmath = pytest.importorskip("mpmath")
    rows = [
        [2.0, 0.0, -1.0],
        [30.0, 0.0, 1.0],
        [0.5, 0.0, 0.4],
        [60.0, -3.0, 1.0],
        [-2.0, 3.0, 9.0],
    ]
    logits = torch.tensor(rows, dtype=kind).requires_grad_()
    found = probit_margin(torch.log_softmax(logits, 1), torch.zeros(5, dtype=torch.int64))
    (gradients,) = torch.autograd.grad(found.sum(), logits)
    with mpmath.workdps(50):

        def margin(*row):
            e = [mpmath.exp(value) for value in row]
            rest = max(e[1:]) / sum(e)

            def probit(q):  # of small q, by its inverse
                return mpmath.findroot(lambda z: mpmath.log(mpmath.ncdf(z) / q), -3.0)

            own, others = e[0] / sum(e), sum(e[1:]) / sum(e)
            upper = -probit(others) if own > others else probit(own)
            lower = probit(rest) if 2 * rest < 1 else -probit(1 - rest)
            return upper - lower

        for row, value, gradient in zip(rows, found.tolist(), gradients.tolist(), strict=True):
            tolerance = 3e-6 if kind == torch.float32 else 1e-12
            assert value == pytest.approx(float(margin(*row)), rel=tolerance)
            for j in range(3):
                order = tuple(int(i == j) for i in range(3))
                slope = float(mpmath.diff(margin, row, order))
                assert gradient[j] == pytest.approx(slope, rel=20 * tolerance, abs=tolerance)
