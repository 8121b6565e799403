import numpy as np
import pytest
from mpmath import mp, mpf
from scipy import stats

from rsbounds.streams import _philox

ADD = {np.float32: _philox.add_noise32, np.float64: _philox.add_noise64}


mp.dps = 50


def words(counter, key, count=1):
    w = np.empty((4, count), np.uint32)
    _philox.philox_words(w, count, *counter, np.array(key, np.uint32))
    return w


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    # Known answers of Random123 (kat_vectors, philox4x32 10).
    [
        ((0, 0, 0, 0), (0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
)
def test_words_are_those_of_philox(counter, key, expected):
    assert " ".join(f"{v:08x}" for v in words(counter, key)[:, 0]) == expected


def test_gaussians_are_box_muller_of_the_words():
    # Against the same formula in float64, extremes of the words included.
    count = 512
    w = words((0, 1, 2, 3), (4, 5), count)
    w[:, :6] = [0, 1, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1]
    z, f = np.empty((4, count), np.float32), np.empty(count, np.float32)
    _philox.normals32(w, z, f, f.view(np.int32), count)
    for p in (0, 2):
        radius = np.sqrt(-2 * np.log(((w[p] >> 1) + 0.5) / 2**31))
        signed = w[p + 1].astype(np.int32).astype(float)
        angle = signed / 2**31 * np.pi / 4 + (w[p + 1] & 3) * np.pi / 2
        # Near u = 1 the radius is about 1e-4 and float32 has few digits left of log u.
        np.testing.assert_allclose(z[p], radius * np.cos(angle), rtol=0, atol=3e-4)
        np.testing.assert_allclose(z[p + 1], radius * np.sin(angle), rtol=0, atol=3e-4)
        usual = radius > 0.05
        error = np.hypot(z[p] - radius * np.cos(angle), z[p + 1] - radius * np.sin(angle))
        assert (error[usual] < 4e-6).all()
    assert np.abs(z).max() < 6.7


def test_float64_normals_are_box_muller_of_52_bits():
    count = 512
    w = words((0, 1, 2, 3), (4, 5), count)
    w[:, :6] = [0, 1, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1]
    z, f = np.empty((2, count)), np.empty(count)
    _philox.normals64(w, z, f, f.view(np.int64), count)
    high, low = ((w[p].astype(object) * 2**32 + w[p + 1]) >> 12 for p in (0, 2))
    for i in range(count):
        # In 50 digits: log1p near u = 1 and small angles keep their relative accuracy.
        u = (mpf(int(high[i])) + mpf(1) / 2) / 2**52
        angle = (mpf(int(low[i])) - 2**51 + mpf(1) / 2) / 2**51 * mp.pi / 4
        angle += int(w[3, i] & 3) * mp.pi / 2
        radius = mp.sqrt(-2 * mp.log(u))
        assert abs(z[0, i] - radius * mp.cos(angle)) < mpf(8e-16) * (radius + mpf(1) / 2)
        assert abs(z[1, i] - radius * mp.sin(angle)) < mpf(8e-16) * (radius + mpf(1) / 2)
    assert np.abs(z).max() < 8.58


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("law", [_philox.NORMAL, _philox.UNIFORM])
def test_moments_and_tails(law, kind):
    # 2^21 numbers; each figure within 6 standard deviations of its own.
    out = np.empty((2048, 1024), kind)
    zero, one = np.zeros(1024, kind), np.ones(1, kind)
    ADD[kind](out, zero, law, one, 0, 3, _philox.stream_key(11, 0))
    z = out.astype(np.float64).ravel()
    normal = law == _philox.NORMAL
    moments = {1: 0, 2: 1, 3: 0, 4: 3} if normal else {1: 0, 2: 1 / 3, 3: 0, 4: 1 / 5}
    for power, mean in moments.items():
        sample = z**power
        assert abs(sample.mean() - mean) < 6 * sample.std() / z.size**0.5
    reference = stats.norm if normal else stats.uniform(-1, 2)
    for cut in (1.0, 2.0, 3.0, 4.0) if normal else (0.5, 0.9, 0.999):
        p = 2 * reference.sf(cut)
        count = (np.abs(z) > cut).sum()
        assert abs(count - z.size * p) < 6 * (z.size * p) ** 0.5 + 1
    for shift in (1, 2, 256, 512, 1024):  # neighbours, lanes, draws
        product = z[:-shift] * z[shift:]
        assert abs(product.mean()) < 6 * product.std() / product.size**0.5
    if not normal:
        assert np.abs(z).max() < 1
    # Kolmogorov and Smirnov on 2^17 of them: a right generator fails with probability 1e-6.
    assert stats.kstest(z[::16], reference.cdf).pvalue > 1e-6


def test_float64_noise_is_not_on_a_float32_grid():
    # Float64 models got float32 numbers, which they can tell from x + noise.
    out = np.empty((512, 64))
    for law in (_philox.NORMAL, _philox.UNIFORM):
        _philox.add_noise64(out, np.zeros(64), law, np.ones(1), 0, 0, _philox.stream_key(1, 0))
        assert (out.astype(np.float32) == out).mean() < 1e-3
        # Between 1/2 and 1, the bit of 2^-52 is as often set as not.
        size = np.abs(out)
        bits = (size[(size > 0.5) & (size < 1)] * 2.0**52).astype(np.int64) & 1
        assert abs(bits.mean() - 0.5) < 6 * 0.5 / bits.size**0.5


@pytest.mark.parametrize("width", [1, 2, 3, 4, 5, 783, 4097])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_every_draw_has_its_own_counters(width, kind):
    key = _philox.stream_key(1, 0)
    x = np.linspace(0, 1, width).astype(kind)

    def noise(first, rows, index=0, key=key, factor=(0.5,)):
        out = np.full((rows, width), np.nan, kind)
        ADD[kind](out, x, _philox.NORMAL, np.array(factor, kind), first, index, key)
        assert np.isfinite(out).all()
        return out

    whole = noise(0, 7)
    assert (np.vstack([noise(0, 3), noise(3, 4)]) == whole).all()
    assert len(np.unique(whole[:, 0])) == 7
    for other in (
        noise(7, 7),
        noise(2**32, 7),
        noise(0, 7, index=1),
        noise(0, 7, key=_philox.stream_key(2, 0)),
        noise(0, 7, key=_philox.stream_key(1, 1)),
    ):
        assert (other != whole).mean() > 0.99
    # One factor for each number: the same kernel, the same bits.
    assert (noise(0, 7, factor=np.full(width, 0.5)) == whole).all()
    factors = np.linspace(0.5, 2.0, width)
    pure = np.empty((7, width), kind)
    ADD[kind](pure, 0 * x, _philox.NORMAL, np.ones(1, kind), 0, 0, key)
    assert (noise(0, 7, factor=factors) == x + pure * factors.astype(kind)).all()


def test_float32_noise_of_version_1_is_unchanged():
    # Recorded with the first release (stream version 1) on a CPU: stores of that time resume.
    out = np.empty((1, 5), np.float32)
    _philox.add_noise32(
        out, np.zeros(5, np.float32), _philox.NORMAL, np.ones(1, np.float32), 2, 3,
        _philox.stream_key(7, 1),
    )  # fmt: skip
    assert out[0].tolist() == [
        1.2580353021621704,
        0.926892101764679,
        1.8000355958938599,
        -1.9412336349487305,
        -1.1778007745742798,
    ]
