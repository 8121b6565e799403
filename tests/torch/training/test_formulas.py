"""Losses against slow transcriptions of the papers' formulas, and their gradients."""

import math

import pytest

torch = pytest.importorskip("torch")

from rsbounds_torch.training import (
    adre_loss,
    adre_objective,
    adre_regularizer,
    gaussian_loss,
    smoothed_cross_entropy,
)

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


@each_loss
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
    fast, _ = LOSS_PAIRS[name]
    logits, y = torch.zeros(2, 4, 3), torch.tensor([0, 1, 2, 0])
    with pytest.raises(ValueError, match=said):
        fast(*change(logits, y))


def test_the_strongest_wrong_class_follows_the_average_not_the_copies():
    # Class 1 wins two copies by little, class 2 one by far; the averages decide, (8).
    p = torch.tensor([[[0.5, 0.3, 0.2]], [[0.5, 0.3, 0.2]], [[0.3, 0.0, 0.7]]]).double()
    found = adre_regularizer((p + 1e-300).log(), torch.tensor([0]))
    assert found.neg().exp().item() == pytest.approx(1.1 / 3)
    with pytest.raises(ValueError, match=r"weight is -0.1; allowed: a finite number >= 0"):
        adre_loss(p.log(), torch.tensor([0]), weight=-0.1)
