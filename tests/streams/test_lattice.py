"""Noise on a lattice: the kernel against whole numbers of Python, and the law of its draws."""

import numpy as np
import pytest
from scipy import stats

import rsbounds
from rsbounds.streams import CounterStream, base_draws
from rsbounds.streams._base import stream_key
from rsbounds.streams._cells import FURTHER
from rsbounds.streams._philox import philox_words

# 2^16 columns: 16 bits of a word are compared first, and 1 number in 65,536 needs further bits.
FINE = rsbounds.Gaussian(1.0, lattice=1 / 2040)
COARSE = rsbounds.Gaussian(0.25, lattice=1 / 255)


def integers(law, draws, width, *, first=0, index=0, seed=1, role="estimate"):
    out = np.empty((draws, width))
    CounterStream(law, (width,), seed=seed, role=role).add(out, np.zeros(width), index, first)
    cells = np.rint(out / law.spacing).astype(np.int64)
    assert (out == cells * law.spacing).all()
    return cells


@pytest.mark.parametrize("law", [FINE, COARSE, rsbounds.Uniform(0.5, lattice="auto")], ids=str)
def test_draws_are_those_of_whole_numbers(law):
    table, first = law.table(), 2**33 + 1
    where = {"seed": 5, "role": "select", "index": 9, "first": first}
    found = integers(law, 40, 5001, **where)
    words = base_draws("bits", 40, 5001, **where)
    below = 32 - table.bits
    column, part = words >> below, words & ((1 << below) - 1)
    held = table.packed[column].astype(np.int64)
    alias = held & ((1 << table.bits) - 1)
    expected = np.where(part < held >> table.bits, column, alias)
    for row, number in np.argwhere(part == held >> table.bits).tolist():
        more = np.empty((4, 1), np.uint32)
        high = (first + row) >> 32 | FURTHER
        philox_words(more, 1, number, (first + row) & 0xFFFFFFFF, 9, high, stream_key(5, "select"))
        bits = sum(int(word) << 32 * (3 - i) for i, word in enumerate(more[:, 0]))
        limit = table.rest[column[row, number]].tolist()
        if bits < limit[0] << 64 | limit[1]:
            expected[row, number] = column[row, number]
    assert (found == expected - table.reach).all()


def test_some_draws_do_need_further_bits():
    # Else the test above would say nothing about them; both answers of theirs occur.
    table = FINE.table()
    words = base_draws("bits", 40, 5001, seed=5, role="select", index=9, first=2**33 + 1)
    column = words >> 16
    equal = (words & 0xFFFF) == table.packed[column] >> np.uint32(16)
    found = integers(FINE, 40, 5001, seed=5, role="select", index=9, first=2**33 + 1)
    kept = (found + table.reach == column)[equal]
    assert 0 < kept.sum() < kept.size


def test_the_draws_are_pinned():
    # Whoever changes what a seed draws changes the version of the streams too.
    assert integers(COARSE, 2, 4, first=3, index=2, seed=7).tolist() == [
        [-50, -35, 7, 16],
        [22, 73, 68, -97],
    ]


@pytest.mark.parametrize("law", [COARSE, rsbounds.Uniform(0.5, lattice=1 / 64)], ids=str)
def test_draws_follow_their_cells(law):
    # 4e6 draws; a sampler that follows the law fails with probability 1e-6.
    table = law.table()
    counts = np.bincount(integers(law, 400, 10_000).ravel() + table.reach)
    k = np.arange(-table.reach, table.reach + 1)
    if isinstance(law, rsbounds.Gaussian):
        edges = (np.append(k, k[-1] + 1) - 0.5) * law.spacing / law.sigma
        share = np.diff(stats.norm.cdf(edges))
    else:
        edges = np.clip((np.append(k, k[-1] + 1) - 0.5) * law.spacing, -0.5, 0.5)
        share = np.diff(edges)
    expected = share * counts.sum()
    rare = expected < 20
    seen = np.append(counts[~rare[: len(counts)]], counts[rare[: len(counts)]].sum())
    wanted = np.append(expected[~rare], expected[rare].sum())
    if wanted[-1] < 5:
        seen, wanted = seen[:-1], wanted[:-1] * (seen[:-1].sum() / wanted[:-1].sum())
    assert stats.chisquare(seen, wanted).pvalue > 1e-6


def test_an_input_is_known_by_its_lattice_point_alone():
    # The hole that this closes: nothing of x but its cell is left in a noisy copy.
    stream = CounterStream(COARSE, (50,), seed=1, role="estimate")
    for kind in (np.float32, np.float64):
        copies = []
        for shift in (-0.49, 0.0, 0.3):
            out = np.empty((20, 50), kind)
            stream.add(out, ((np.arange(50) + shift) / 255).astype(kind), 0, 0)
            copies.append(out)
        assert (copies[0] == copies[1]).all()
        assert (copies[0] == copies[2]).all()


def test_each_input_has_a_table_of_its_own():
    law = rsbounds.Gaussian([0.25, 0.5], lattice=1 / 255)
    for row, sigma in enumerate((0.25, 0.5)):
        out, one = np.empty((9, 6)), np.empty((9, 6))
        CounterStream(law, (6,), seed=1, role="estimate").add(out, np.zeros(6), 0, 0, row)
        alone = rsbounds.Gaussian(sigma, lattice=1 / 255)
        CounterStream(alone, (6,), seed=1, role="estimate").add(one, np.zeros(6), 0, 0)
        assert (out == one).all()


def test_inputs_beyond_the_integers_of_float32_are_refused():
    stream = CounterStream(COARSE, (2,), seed=1, role="estimate")
    x = np.array([0.0, 1e6], np.float32)
    with pytest.raises(ValueError, match=r"inputs hold 1e.06 with noise on a lattice"):
        stream.add(np.empty((1, 2), np.float32), x, 0, 0)
    stream.add(np.empty((1, 2)), x.astype(np.float64), 0, 0)
