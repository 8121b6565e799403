"""Streams of numpy arrays: keys, cuts, rows, base draws, and laws from outside."""

import tracemalloc

import numpy as np
import pytest
from scipy import stats

import rsbounds
from rsbounds.noises import Noise
from rsbounds.streams import BASES, MAX_INDEX, VERSION, CounterStream, base_draws

LAW = rsbounds.Gaussian(0.5)


def noise(law=LAW, shape=(6,), first=0, count=9, index=0, row=None, seed=1, role="estimate", x=0.0):
    stream = CounterStream(law, shape, seed=seed, role=role)
    d = int(np.prod(shape))
    out = np.full((count, d), np.nan)
    stream.add(out, np.full(d, x), index, first, row)
    return out


class Halved(Noise):
    """Gaussian noise in two steps, and added by a rule of its own."""

    name = "halved"
    scale, norm = "probit", "l2"

    def transform(self, base):
        return base / 2


def test_the_version_is_pinned():
    # Whoever changes what a seed draws changes it here too: runs of another version do not mix.
    assert VERSION == 2
    recorded = base_draws("normal", 1, 3, seed=7, role="select", index=3, first=2)
    assert recorded[0].tolist() == [-2.196049780271743, 2.028520469261928, 0.012085462703055244]


@pytest.mark.parametrize("law", [LAW, rsbounds.Uniform(0.5), Halved()], ids=str)
def test_noise_does_not_depend_on_the_cut(law):
    whole = noise(law, count=50)
    parts = [noise(law, first=a, count=b - a) for a, b in [(0, 1), (1, 2), (2, 33), (33, 50)]]
    assert (np.vstack(parts) == whole).all()
    for other in ({"seed": 2}, {"role": "select"}, {"index": 1}, {"first": 50}):
        assert (noise(law, count=50, **other) != whole).all()
    assert (noise(law, count=50, shape=(2, 3)) == whole).all()


def test_a_law_without_a_multiplier_gets_the_same_draws():
    assert noise(Halved()).tolist() == noise().tolist()


def test_the_memory_of_a_law_in_several_steps_does_not_grow_with_the_batch():
    # Base draws, their noise and its sum with the input, 200 x 20,000 numbers: 32 MB each.
    d = 20_000
    stream = CounterStream(Halved(), (d,), seed=1, role="estimate")
    out = np.empty((200, d))
    tracemalloc.start()
    stream.add(out, np.zeros(d), 0, 0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6
    # And the parts that it is made in do not show.
    assert (out[[0, 15, 16, 199]] == noise(shape=(d,), count=200)[[0, 15, 16, 199]]).all()


def test_any_whole_number_is_a_seed():
    seeds = [0, 1, 2**31, 2**32, 2**63, 2**64, 2**64 + 1, 2**128 + 1, 10**60]
    found = [noise(seed=seed, count=2)[0, 0] for seed in seeds]
    assert len(set(found)) == len(seeds)
    for bad in (-1, 1.0, True, "1"):
        with pytest.raises(ValueError, match="seed is"):
            noise(seed=bad)


def test_each_input_has_its_own_law():
    law = rsbounds.Gaussian([0.25, 2.0])
    for row, sigma in enumerate((0.25, 2.0)):
        assert (noise(law, row=row) == noise(rsbounds.Gaussian(sigma))).all()
    for row in (None, -1, 2):
        with pytest.raises(ValueError, match=f"row is {row}; allowed: 0 to 1"):
            noise(law, row=row)


def test_axes_have_the_shape_of_the_input():
    class Axes(Noise):
        name, norm = "axes", "scaled l2"

        def multiplier(self):
            return np.arange(1.0, 7.0).reshape(2, 3)

    unit = noise(rsbounds.Gaussian(1.0))
    assert (noise(Axes(), shape=(2, 3)) == unit * np.arange(1, 7)).all()
    with pytest.raises(ValueError, match=r"parameters of shape \(2, 3\); allowed: the input's"):
        noise(Axes(), shape=(3, 2))


def test_a_parameter_that_float32_cannot_hold_is_refused():
    # The noise would be zero, or NaN, and the certificate would not be about it.
    for sigma in (1e-60, 1e60):
        stream = CounterStream(rsbounds.Gaussian(sigma), (2,), seed=1, role="estimate")
        with pytest.raises(ValueError, match=r"noise has the parameter 1e[+-]60; allowed"):
            stream.add(np.empty((1, 2), np.float32), np.zeros(2, np.float32), 0, 0)
        stream.add(np.empty((1, 2)), np.zeros(2), 0, 0)


def test_read_only_inputs_are_not_compiled_for_anew():
    from rsbounds.streams import _philox

    noise()
    known = len(_philox.add_noise64.signatures)
    x = np.zeros(6)
    x.flags.writeable = False
    CounterStream(LAW, (6,), seed=1, role="estimate").add(np.empty((1, 6)), x, 0, 0)
    assert len(_philox.add_noise64.signatures) == known


def test_a_law_of_another_shape_is_refused():
    class Short(Noise):
        name, norm = "short", "l2"

        def transform(self, base):
            return base[:, :3]

    with pytest.raises(ValueError, match="could not be broadcast"):
        noise(Short())

    class Other(Short):
        def perturb(self, x, base):
            return base[:, :3]

    with pytest.raises(ValueError, match=r"gave shape \(9, 3\) for 9 draws"):
        noise(Other())


def test_a_law_that_hides_pixels():
    # Not additive: keep each pixel with probability 1/4, from the bits.
    class Hide(Noise):
        name, norm = "hide", "l0"
        base = "bits"

        def perturb(self, x, base):
            return np.where(base < 2**30, x, -1.0)

    seen = noise(Hide(), count=4000, x=0.5)
    assert set(np.unique(seen)) == {-1.0, 0.5}
    kept = (seen == 0.5).sum()
    assert stats.binomtest(int(kept), seen.size, 0.25).pvalue > 1e-6


def test_a_law_that_is_enumerated():
    class Shift(Noise):
        name, norm = "shift", "l0"
        base = "draw"

        cells = 4

        def perturb(self, x, base):
            return np.stack([np.roll(x, int(j)) for j in base[:, 0]])

    stream = CounterStream(Shift(), (4,), seed=1, role="estimate")
    out = np.empty((2, 4))
    stream.add(out, np.arange(4.0), 0, 2)
    assert out.tolist() == [[2, 3, 0, 1], [1, 2, 3, 0]]


@pytest.mark.parametrize("base", BASES)
def test_base_draws(base):
    size = 1 if base == "draw" else 1000
    whole = base_draws(base, 300, size, seed=3, role="estimate", index=MAX_INDEX, first=5)
    again = base_draws(base, 10, size, seed=3, role="estimate", index=MAX_INDEX, first=25)
    assert (whole[20:30] == again).all()
    if base == "draw":
        assert whole[:, 0].tolist() == list(range(5, 305))
        return
    assert len(np.unique(whole)) > 0.9 * whole.size
    if base == "bits":
        assert whole.dtype == np.int64
        shares = np.bincount((whole >> 24).ravel(), minlength=256)
        assert stats.chisquare(shares).pvalue > 1e-6
        low = np.bincount((whole & 255).ravel(), minlength=256)
        assert stats.chisquare(low).pvalue > 1e-6
    else:
        law = stats.norm if base == "normal" else stats.uniform(-1, 2)
        assert stats.kstest(whole.ravel()[:100_000], law.cdf).pvalue > 1e-6
        narrow = base_draws(base, 3, 5, seed=3, role="estimate", dtype=np.float32)
        assert narrow.dtype == np.float32


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"base": "cauchy"}, "base is 'cauchy'; allowed: normal, uniform, bits, draw"),
        ({"role": "both"}, "role is 'both'"),
        ({"index": 2**32}, "index is 4294967296"),
        ({"first": -1}, "first is -1"),
        ({"dtype": np.float16}, "dtype is .*float16"),
    ],
)
def test_bad_arguments_are_named(change, message):
    given = {"base": "normal", "count": 1, "size": 1, "seed": 1, "role": "estimate", **change}
    with pytest.raises(ValueError, match=message):
        base_draws(given.pop("base"), given.pop("count"), given.pop("size"), **given)
