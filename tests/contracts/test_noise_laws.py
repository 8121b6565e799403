"""Every registered law keeps the contract; a new one is tested without new code."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pytest

import rsbounds
from rsbounds.noises import NOISES, Noise, namespace, noise_from_dict
from rsbounds.testing.contracts import NOISE_CHECKS

LAWS = [
    pytest.param(NOISES[name](**options), id=f"{name}-{i}")
    for name in NOISES
    for i, options in enumerate(NOISES[name].variants)
]


def test_every_registered_law_is_checked():
    assert {param.values[0].name for param in LAWS} == set(NOISES)


@pytest.mark.parametrize("check", NOISE_CHECKS)
@pytest.mark.parametrize("law", LAWS)
def test_every_law_keeps_the_contract(law, check):
    NOISE_CHECKS[check](law)


# What a third party writes for a law of its own: one class, and one line to register it.


@dataclasses.dataclass(frozen=True)
class Laplace(Noise):
    """Teng et al. 2020: l1, and a curve that is no margin scale."""

    width: float

    name: ClassVar[str] = "laplace-elsewhere"
    norm: ClassVar[str] = "l1"
    curve_only: ClassVar[bool] = True
    variants: ClassVar[tuple[Mapping[str, Any], ...]] = ({"width": 0.5},)
    base = "uniform"

    def transform(self, base, *, width=None):
        library = namespace(base)
        scale = self.width if width is None else width
        return -scale * library.sign(base) * library.log1p(-abs(base))

    def log_density(self, delta):
        return -np.abs(np.asarray(delta)).sum(axis=-1) / self.width

    def roc(self, r, b):
        e, b = np.exp(-np.asarray(r, dtype=float) / self.width), np.asarray(b, dtype=float)
        with np.errstate(divide="ignore"):
            middle = 1 - e / (4 * b)
        return np.where(b <= e / 2, b / e, np.where(b <= 0.5, middle, 1 - e * (1 - b)))


@pytest.fixture
def registered():
    NOISES.register(Laplace.name, Laplace)
    yield Laplace(0.5)
    del NOISES._loaded[Laplace.name]


@pytest.mark.parametrize("check", NOISE_CHECKS)
def test_a_third_partys_law_goes_through_the_same_checks(check, registered):
    NOISE_CHECKS[check](registered)


def test_a_third_partys_law_goes_all_the_way(registered, tmp_path):
    # Sampled, certified, stored and bounded again; the classifier is a half-space, whose l1
    # radius along its axis is |x_0|. At alpha 1e-6 a right library fails once in a million.
    x = np.array([[0.4, 0.0], [-0.3, 0.2], [0.01, 0.1]])
    arguments = {"noise": registered, "num_classes": 2, "alpha": 1e-6}
    found = rsbounds.certify_dataset(
        lambda batch: (batch[:, 0] > 0).astype(int), x, [1, 0, 1], n=4000, seed=3,
        method="bonferroni", store=tmp_path / "run.sqlite", progress=False, **arguments,
    )  # fmt: skip
    assert found.norm == "l1"
    assert found.noise == "laplace-elsewhere(width=0.5)"
    assert (found.radius <= np.abs(x[:, 0])).all()
    assert (found.radius[:2] > 0.7 * np.abs(x[:2, 0])).all()
    assert found.abstained.tolist() == [False, False, True]
    with rsbounds.RunStore(tmp_path / "run.sqlite") as store:
        again = rsbounds.rebound(store, method="runner-up", alpha=1e-3)
        same = rsbounds.rebound(store)
    assert (same.radius == found.radius).all()
    assert (again.radius[:2] > found.radius[:2]).all()
    counts = rsbounds.sample_counts(
        lambda b: (b[:, 0] > 0).astype(int), x, noise=registered, n=4000, num_classes=2, seed=3
    )
    direct = rsbounds.certify(counts, [1, 0, 1], noise=registered, alpha=1e-6, method="bonferroni")
    assert (direct.radius[:2] == found.radius[:2]).all()


def test_a_margin_alone_gives_the_radius_of_its_hardest_pair(registered):
    # Of Laplace noise that is -width log(1 - margin).
    counts = [900, 60, 40]
    pair = rsbounds.certify(counts, 0, noise=registered)
    assert pair.method == "runner-up"
    margin = rsbounds.certify(counts, 0, noise=registered, method="exact")
    assert margin.radius == pytest.approx(-0.5 * np.log1p(-margin.margin_lower), rel=1e-9)
    assert (margin.radius > 0.6).all()
    with pytest.raises(ValueError, match="known by its curve; allowed: laws with"):
        rsbounds.Decide(0.1, 0, noise=registered)


def test_what_rests_on_margins_takes_a_law_known_by_its_curve(registered):
    # What is one number for each look, or for scores, is the margin.
    counts = np.array([900, 60, 40])
    run = rsbounds.MarginSequence(0, noise=registered, n_target=1000)
    run.update(counts)
    adaptive = rsbounds.Adaptive(0, noise=registered, looks=(1000, 10_000))
    adaptive.update(counts)
    assert adaptive.active.all(), "a look at ten times the draws gains more than a little"
    scores = np.repeat(np.eye(3), counts, axis=0)
    soft = rsbounds.certify_soft(scores, 0, noise=registered, method="hoeffding")
    most = -0.5 * np.log1p(-0.84)
    for radius in (run.radius, adaptive.certificates().radius, soft.radius):
        assert 0.6 * most < radius[0] < most
    compared = rsbounds.compare(counts, 0, noise=registered)
    assert compared.limit is None
    assert "not a bound" not in str(compared)


def broken(**changes):
    return type("Broken", (Laplace,), changes)(0.5)


@pytest.mark.parametrize(
    ("law", "check"),
    [
        (lambda: broken(roc=lambda self, r, b: Laplace.roc(self, 1.1 * r, b)), "neyman"),
        (lambda: broken(roc=lambda self, r, b: Laplace.roc(self, 0.9 * r, b)), "plane"),
        (lambda: broken(roc=lambda self, r, b: Laplace.roc(self, 0.9 * r, b)), "flips"),
        (lambda: broken(roc=lambda self, r, b: np.asarray(b) ** 2), "is a curve"),
        (lambda: broken(roc=lambda self, r, b: Laplace.roc(self, r**2, b)), "two steps"),
        (lambda: broken(transform=lambda self, z: 1.2 * Laplace.transform(self, z)), "density"),
        (lambda: broken(multiplier=lambda self: 2.0), "multiplier"),
        (lambda: broken(base="cauchy"), "declares"),
        (lambda: broken(), "plain values"),
    ],
)
def test_a_broken_law_is_caught(law, check, registered):
    (name,) = [n for n in NOISE_CHECKS if check in n]
    with pytest.raises((AssertionError, ValueError)):
        NOISE_CHECKS[name](law())


def test_a_law_that_overrides_what_streams_do_not_call_is_refused():
    with pytest.raises(TypeError, match="Twice overrides sample, which streams do not call"):
        type("Twice", (rsbounds.Gaussian,), {"sample": lambda self, rng, shape, dtype: 0})


def test_other_noise_than_the_parents_does_not_keep_its_multiplier():
    class Twice(rsbounds.Gaussian):
        def transform(self, base):
            return 2 * base

    assert Twice(0.5).multiplier() is None
    with pytest.raises(ValueError, match="Twice, not registered as 'gaussian'"):
        Twice(0.5).to_dict()
    assert Twice(0.5) != rsbounds.Gaussian(0.5)


def test_arrays_that_are_no_arrays_are_refused():
    for values in ({"float64": "AAAA", "shape": [1]}, {"float64": 3}, {"shape": [2]}):
        with pytest.raises(ValueError, match="noise has sigma that is no array"):
            noise_from_dict({"name": "gaussian", "sigma": values})
