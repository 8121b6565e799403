"""The generator: base draws on the CPU, keyed draw by draw and written straight into the batch.

Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3") maps a key
and a counter to 128 random bits. The counter is (position in the input, draw, input index), so
every draw of every input is its own stream, no two streams share a counter, and any draw can be
had without those before it. Half of the words become radii and half angles (Box and Muller
1958). Only IEEE additions, multiplications, divisions and square roots are used, without
contraction, so that every machine gets the same bits.

float32 inputs get numbers with 24 significant bits from one word each; float64 inputs get
numbers with 53, from two. The counters are the same: the two are not independent of each other.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rsbounds._kernels import kernel

_u32, _u64, _i32, _i64, _f32 = np.uint32, np.uint64, np.int32, np.int64, np.float32

#: Counters per pass: the scratch space stays in the first-level cache.
_CHUNK = 512
NORMAL, UNIFORM = 0, 1

_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint32(0x9E3779B9), np.uint32(0xBB67AE85)
_SHIFT = np.uint64(32)
_LOW = 0xFFFFFFFF

#: The float64 whose last 52 bits are a whole number k is 2^52 + k.
_TWO52_BITS, _TWO52 = np.int64(0x4330000000000000), 2.0**52
_SQRT_HALF_BITS = np.int64(0x3FE6A09E667F3BCD)


@kernel
def philox_words(w: Any, count: int, first: int, c1: int, c2: int, c3: int, key: Any) -> None:
    """Words of the counters (first + i, c1, c2, c3), one column of ``w`` each."""
    for i in range(count):
        a, b, c, d = _u32(first + i), _u32(c1), _u32(c2), _u32(c3)
        x, y = _u32(key[0]), _u32(key[1])
        for _ in range(10):
            p = _M0 * _u64(a)
            s = _M1 * _u64(c)
            a = _u32(_u32(s >> _SHIFT) ^ b ^ x)
            c = _u32(_u32(p >> _SHIFT) ^ d ^ y)
            b = _u32(s)
            d = _u32(p)
            x = _u32(x + _W0)
            y = _u32(y + _W1)
        w[0, i] = a
        w[1, i] = b
        w[2, i] = c
        w[3, i] = d


@kernel
def normals32(w: Any, z: Any, f: Any, bits: Any, count: int) -> None:
    """Standard normal numbers from words; ``bits`` is ``f`` seen as integers."""
    for p in range(0, 4, 2):
        for i in range(count):
            # 31 bits and a half: never zero, and the tail reaches 6.66 standard deviations.
            f[i] = _f32(_i32(w[p, i] >> _u32(1))) + _f32(0.5)
        for i in range(count):
            # f = 2^e m with m in [sqrt(1/2), sqrt(2)).
            e = _i32(_i32(bits[i] - _i32(0x3F3504F3)) >> _i32(23))
            bits[i] = _i32(bits[i] - _i32(e << _i32(23)))
            z[p, i] = _f32(e - 31)
        for i in range(count):
            # log(1 + m), sine and cosine by the minimax polynomials of Moshier's Cephes library.
            m = f[i] - _f32(1.0)
            t = _f32(7.0376836292e-2)
            t = t * m + _f32(-1.1514610310e-1)
            t = t * m + _f32(1.1676998740e-1)
            t = t * m + _f32(-1.2420140846e-1)
            t = t * m + _f32(1.4249322787e-1)
            t = t * m + _f32(-1.6668057665e-1)
            t = t * m + _f32(2.0000714765e-1)
            t = t * m + _f32(-2.4999993993e-1)
            t = t * m + _f32(3.3333331174e-1)
            square = m * m
            log = (t * m * square - _f32(0.5) * square) + m + z[p, i] * _f32(0.6931471805599453)
            radius = np.sqrt(max(_f32(-2.0) * log, _f32(0.0)))
            v = w[p + 1, i]
            quarter = _i32(v & _u32(3))
            # The angle: a multiple of 90 degrees from two bits, and the rest in +-45 degrees.
            angle = _f32(_i32(v)) * _f32(0.7853981633974483 / 2147483648.0)
            q = angle * angle
            sine = _f32(-1.9515295891e-4) * q + _f32(8.3321608736e-3)
            sine = (sine * q + _f32(-1.6666654611e-1)) * q * angle + angle
            cosine = _f32(2.443315711809948e-5) * q + _f32(-1.388731625493765e-3)
            cosine = cosine * q + _f32(4.166664568298827e-2)
            cosine = cosine * q * q - _f32(0.5) * q + _f32(1.0)
            odd = (quarter & _i32(1)) != 0
            first = sine if odd else cosine
            second = cosine if odd else sine
            z[p, i] = radius * first * _f32(_i32(_i32(1) - _i32(_i32(quarter + _i32(1)) & _i32(2))))
            z[p + 1, i] = radius * second * _f32(_i32(_i32(1) - _i32(quarter & _i32(2))))


@kernel
def uniforms32(w: Any, z: Any, count: int) -> None:
    """Numbers uniform on a grid of 2^23 points in (-1, 1), symmetric about 0."""
    for p in range(4):
        for i in range(count):
            odd = _i32(_i32(_i32(w[p, i] >> _u32(9)) * _i32(2)) + _i32(1 - (1 << 23)))
            z[p, i] = _f32(odd) * _f32(1.0 / (1 << 23))


@kernel
def normals64(w: Any, z: Any, f: Any, bits: Any, count: int) -> None:
    """Standard normal numbers, two from the four words of a counter."""
    for i in range(count):
        # 52 bits and a half: never zero, and the tail reaches 8.57 standard deviations.
        bits[i] = _TWO52_BITS | _i64((_u64(w[0, i]) << _u64(20)) | (_u64(w[1, i]) >> _u64(12)))
    for i in range(count):
        f[i] = f[i] - _TWO52 + 0.5
    for i in range(count):
        # f = 2^e m with m in [sqrt(1/2), sqrt(2)).
        e = (bits[i] - _SQRT_HALF_BITS) >> _i64(52)
        bits[i] = bits[i] - (e << _i64(52))
        z[0, i] = float(e - 52)
    for i in range(count):
        # log(1 + m), sine and cosine by the minimax polynomials of Sun's fdlibm.
        m = f[i] - 1.0
        s = m / (2.0 + m)
        q = s * s
        t = q * 1.479819860511658591e-01 + 1.531383769920937332e-01
        t = q * t + 1.818357216161805012e-01
        t = q * t + 2.222219843214978396e-01
        t = q * t + 2.857142874366239149e-01
        t = q * t + 3.999999999940941908e-01
        t = q * (q * t + 6.666666666666735130e-01)
        half = 0.5 * m * m
        log = z[0, i] * 0.6931471805599453 + (m - (half - s * (half + t)))
        z[0, i] = np.sqrt(max(-2.0 * log, 0.0))
    for i in range(count):
        bits[i] = _TWO52_BITS | _i64((_u64(w[2, i]) << _u64(20)) | (_u64(w[3, i]) >> _u64(12)))
    for i in range(count):
        # The angle: a multiple of 90 degrees from two bits, and the rest in +-45 degrees.
        f[i] = (f[i] - _TWO52 - 2.0**51 + 0.5) * (0.7853981633974483 / 2.0**51)
    for i in range(count):
        angle = f[i]
        q = angle * angle
        t = q * 1.58969099521155010221e-10 - 2.50507602534068634195e-08
        t = q * t + 2.75573137070700676789e-06
        t = q * t - 1.98412698298579493134e-04
        t = q * t + 8.33333333332248946124e-03
        t = q * t - 1.66666666666666324348e-01
        sine = angle + angle * q * t
        t = q * -1.13596475577881948265e-11 + 2.08757232129817482790e-09
        t = q * t - 2.75573143513906633035e-07
        t = q * t + 2.48015872894767294178e-05
        t = q * t - 1.38888888888741095749e-03
        t = q * t + 4.16666666666666019037e-02
        cosine = 1.0 - (0.5 * q - q * q * t)
        quarter = _i32(w[3, i] & _u32(3))
        odd = (quarter & _i32(1)) != 0
        first = sine if odd else cosine
        second = cosine if odd else sine
        radius = z[0, i]
        z[0, i] = radius * first * float(_i32(1) - ((quarter + _i32(1)) & _i32(2)))
        z[1, i] = radius * second * float(_i32(1) - (quarter & _i32(2)))


@kernel
def uniforms64(w: Any, z: Any, count: int) -> None:
    """Numbers uniform on a grid of 2^53 points in (-1, 1), symmetric about 0."""
    for p in range(2):
        for i in range(count):
            k = _i64((_u64(w[2 * p, i]) << _u64(21)) | (_u64(w[2 * p + 1, i]) >> _u64(11)))
            z[p, i] = float(_i64(2) * k + _i64(1) - (_i64(1) << _i64(53))) * 2.0**-53


@kernel
def _add_one(out: Any, x: Any, z: Any, scale: Any) -> None:
    for i in range(out.size):
        out[i] = x[i] + scale * z[i]


@kernel
def _add_each(out: Any, x: Any, z: Any, scale: Any) -> None:
    for i in range(out.size):
        out[i] = x[i] + scale[i] * z[i]


@kernel
def add_noise32(out: Any, x: Any, base: int, scale: Any, first: int, index: int, key: Any) -> None:
    """``out[r] = x + scale * (base draw first + r of input index)``.

    Parameters
    ----------
    out : (m, d) float32
        Written.
    x : (d,) float32
        The input.
    base : {NORMAL, UNIFORM}
        Standard normal numbers, or uniform ones on (-1, 1).
    scale : (1,) or (d,) float32
        One factor, or one for each number.
    first, index : int
        First draw, and the input's stream number below 2^32.
    key : (2,) uint32
        Key of the seed and role.
    """
    width = out.shape[1]
    columns = (width + 3) // 4
    one = scale[0]
    w = np.empty((4, _CHUNK), np.uint32)
    z = np.empty((4, _CHUNK), np.float32)
    f = np.empty(_CHUNK, np.float32)
    bits = f.view(np.int32)
    for row in range(out.shape[0]):
        draw = first + row
        for at in range(0, columns, _CHUNK):
            count = min(_CHUNK, columns - at)
            philox_words(w, count, at, draw & _LOW, index, draw >> 32, key)
            if base == 0:
                normals32(w, z, f, bits, count)
            else:
                uniforms32(w, z, count)
            for lane in range(4):
                start = lane * columns + at
                stop = min(start + count, width)
                if stop > start:
                    here = z[lane, : stop - start]
                    if scale.size == 1:
                        _add_one(out[row, start:stop], x[start:stop], here, one)
                    else:
                        _add_each(out[row, start:stop], x[start:stop], here, scale[start:stop])


@kernel
def add_noise64(out: Any, x: Any, base: int, scale: Any, first: int, index: int, key: Any) -> None:
    """As `add_noise32`, in float64: two numbers from each counter instead of four."""
    width = out.shape[1]
    columns = (width + 1) // 2
    one = scale[0]
    w = np.empty((4, _CHUNK), np.uint32)
    z = np.empty((2, _CHUNK), np.float64)
    f = np.empty(_CHUNK, np.float64)
    bits = f.view(np.int64)
    for row in range(out.shape[0]):
        draw = first + row
        for at in range(0, columns, _CHUNK):
            count = min(_CHUNK, columns - at)
            philox_words(w, count, at, draw & _LOW, index, draw >> 32, key)
            if base == 0:
                normals64(w, z, f, bits, count)
            else:
                uniforms64(w, z, count)
            for lane in range(2):
                start = lane * columns + at
                stop = min(start + count, width)
                if stop > start:
                    here = z[lane, : stop - start]
                    if scale.size == 1:
                        _add_one(out[row, start:stop], x[start:stop], here, one)
                    else:
                        _add_each(out[row, start:stop], x[start:stop], here, scale[start:stop])


@kernel
def fill_words(out: Any, first: int, index: int, key: Any) -> None:
    """``out[r]`` = the words of draw ``first + r``, one for each number, as int64."""
    width = out.shape[1]
    columns = (width + 3) // 4
    w = np.empty((4, _CHUNK), np.uint32)
    for row in range(out.shape[0]):
        draw = first + row
        for at in range(0, columns, _CHUNK):
            count = min(_CHUNK, columns - at)
            philox_words(w, count, at, draw & _LOW, index, draw >> 32, key)
            for lane in range(4):
                start = lane * columns + at
                for i in range(min(start + count, width) - start):
                    out[row, start + i] = w[lane, i]


def stream_key(seed: int, role: int) -> NDArray[np.uint32]:
    """The key of a seed and a role: two words of numpy's seed hash."""
    words = np.random.SeedSequence(seed, spawn_key=(role,)).generate_state(2, np.uint32)
    return words.astype(np.uint32)
