"""Noise on bits: its curves against complete enumeration, its radii, and what certifies."""

import itertools
import json
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

import rsbounds
from rsbounds.commands import main
from rsbounds.noises import BitFlips, noise_from_dict
from rsbounds.streams import CounterStream
from rsbounds.testing import assert_error_rate

LAWS = [BitFlips(0.01, 0.6), BitFlips(0.2, 0.4), BitFlips(0.25, 0.25), BitFlips(0.0, 0.5)]
WORDS = 1 << 32


def chance(law, x, y):
    """P(y is drawn at x), as a fraction."""
    add, delete = (Fraction(round(p * WORDS), WORDS) for p in (law.p_add, law.p_delete))
    total = Fraction(1)
    for a, b in zip(x, y, strict=True):
        flips = delete if a else add
        total *= flips if a != b else 1 - flips
    return total


def most(law, x, other, level):
    """Largest probability at ``other`` of a randomised set that has ``level`` at x, exactly."""
    outcomes = []
    for y in itertools.product((0, 1), repeat=len(x)):
        here, there = chance(law, x, y), chance(law, other, y)
        if here or there:
            outcomes.append((here, there))
    # By likelihood ratio, without a division.
    outcomes.sort(key=lambda p: (p[0] > 0, -(p[1] / p[0]) if p[0] else 0))
    left, total = Fraction(level), Fraction(0)
    for here, there in outcomes:
        part = Fraction(1) if here <= left else left / here
        total, left = total + part * there, left - part * here
    return total


def moved(additions, deletions, same=1):
    """Two inputs that differ so, with bits that do not differ besides."""
    x = (0,) * additions + (1,) * deletions + (0, 1) * same
    other = (1,) * additions + (0,) * deletions + (0, 1) * same
    return x, other


@pytest.mark.parametrize("law", LAWS, ids=str)
@pytest.mark.parametrize("move", [(1, 0), (0, 1), (2, 1), (1, 3), (4, 0), (0, 4), (2, 2)])
def test_curves_are_those_of_complete_enumeration(law, move):
    x, other = moved(*move)
    for level in (0.0, 1e-6, 0.003, 0.01, 0.1, 0.3, 0.5, 0.77, 0.97, 1 - 1e-6, 1.0):
        exact = most(law, x, other, level)
        got = Fraction(float(law.curve(*move, level)))
        assert 0 <= got - exact <= Fraction(1, 10**11), level


def exact_radius(law, p_a, p_b, largest=6):
    for flips in range(1, largest + 1):
        for deletions in range(flips + 1):
            x, other = moved(flips - deletions, deletions, same=0)
            lost = most(law, x, other, 1 - Fraction(p_a)) + most(law, x, other, Fraction(p_b))
            if lost >= 1:
                return flips - 1
    return largest


@pytest.mark.parametrize("law", LAWS, ids=str)
def test_radii_are_the_most_flips_that_no_curve_takes(law):
    rng = np.random.default_rng(3)
    low = np.concatenate([rng.uniform(0.3, 1.0, 15), 1 - 10 ** rng.uniform(-4, -1, 15)])
    high = (1 - low) * rng.uniform(0.01, 1.0, 30)
    got = law.radius_of_pair(low, high)
    for i in range(30):
        assert min(got[i], 6) == exact_radius(law, low[i], high[i]), (low[i], high[i])
    # What is never added at random is seen at once where it was added.
    assert len(set(got.tolist())) > 2 if law.p_add else not got.any()


@pytest.mark.parametrize("law", LAWS, ids=str)
def test_pairs_of_additions_and_deletions_are_maximal(law):
    p_a, p_b = 0.97, 0.02

    def keeps(additions, deletions):
        at = np.array([1 - p_a, p_b])
        return law.curve(additions, deletions, at).sum() < 1

    pairs = law.maximal_pairs(p_a, p_b)
    assert pairs
    for additions, deletions in pairs:
        assert keeps(additions, deletions)
        assert not keeps(additions + 1, deletions)
        assert not keeps(additions, deletions + 1)
        assert law.deletions(p_a, p_b, additions=additions) == deletions
    assert law.deletions([p_a, 0.5], [p_b, 0.5], additions=0).tolist() == [pairs[0][1], -1]
    # Any so many flips are inside of every pair's reach.
    flips = int(law.radius_of_pair(p_a, p_b))

    def inside(a, d):
        return any(a <= most_a and d <= most_d for most_a, most_d in pairs)

    assert all(inside(a, flips - a) for a in range(flips + 1))
    assert not all(inside(a, flips + 1 - a) for a in range(flips + 2))


def test_many_flips_are_counted_too():
    # 0.4 either way: of r bits that differ, sqrt(r) 0.2 / 0.49 standard deviations.
    law = BitFlips(0.4, 0.4)
    b = float(stats.norm.sf(3.0))
    assert law.radius_of_pair(1 - b, b) == pytest.approx((3.0 * 0.49 / 0.2) ** 2, rel=0.05)
    tail = stats.binom.sf(np.arange(199, -2, -1), 200, 0.4)
    other = stats.binom.sf(np.arange(199, -2, -1), 200, 0.6)
    for b in (1e-9, 1e-3, 0.2, 0.7):
        assert law.curve(0, 200, b) == pytest.approx(np.interp(b, tail, other), rel=1e-7)
    # The end is said, not guessed.
    assert law.radius_of_pair(1.0, 0.0) == 1024
    assert law.curve(1000, 25, 0.1) == 1.0
    assert law.roc(np.inf, 0.1) == 1.0


def test_the_margin_of_a_pair_gives_no_more_than_the_pair():
    law = BitFlips(0.1, 0.4)
    rng = np.random.default_rng(0)
    low = rng.uniform(0.4, 1.0, 50)
    high = (1 - low) * rng.uniform(0.0, 1.0, 50)
    assert (law.radius(low - high) <= law.radius_of_pair(low, high)).all()


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_bits_are_flipped_as_often_as_is_said(kind):
    # All outcomes of three bits: chi-square at 1e-6.
    law = BitFlips(0.2, 0.4)
    x = np.array([0, 1, 1], dtype=kind)
    out = np.empty((200_000, 3), dtype=kind)
    CounterStream(law, (3,), seed=11, role="estimate").add(out, x, 0, 0)
    assert set(np.unique(out)) == {0.0, 1.0}
    seen = np.bincount((out @ [4, 2, 1]).astype(int), minlength=8)
    expected = [float(chance(law, (0, 1, 1), y)) for y in itertools.product((0, 1), repeat=3)]
    assert stats.chisquare(seen, 200_000 * np.array(expected)).pvalue > 1e-6


def test_what_never_happens_does_not():
    law, x = BitFlips(0.0, 0.5), np.array([0.0, 1.0])
    out = np.empty((10_000, 2))
    CounterStream(law, (2,), seed=1, role="estimate").add(out, x, 0, 0)
    assert not out[:, 0].any()
    assert 4500 < out[:, 1].sum() < 5500


def test_tensors_get_the_bits_of_arrays():
    torch = pytest.importorskip("torch")
    from rsbounds_torch.streams import noise_stream

    law, x = BitFlips(0.2, 0.4), np.array([0, 1, 1, 0, 1], dtype=np.float32)
    out = np.empty((50, 5), dtype=np.float32)
    CounterStream(law, (5,), seed=3, role="estimate").add(out, x, 2, 0)
    made = torch.empty(50, 5)
    stream = noise_stream(law, (5,), seed=3, role="estimate", device=torch.device("cpu"))
    stream.add(made, torch.from_numpy(x), 2, 0)
    assert (made.numpy() == out).all()
    words = torch.randint(0, WORDS, (50, 5), dtype=torch.int64)
    assert (law.perturb(torch.from_numpy(x), words).numpy() == law.perturb(x, words.numpy())).all()


class TestCertificates:
    """The answer 1 where 8 or more of 20 bits are ones: it turns at some number of ones."""

    law = BitFlips(0.1, 0.3)

    @staticmethod
    def vote(batch):
        return (batch.sum(axis=1) >= 8).astype(int)

    def turning(self):
        share = [
            np.convolve(
                stats.binom.pmf(np.arange(m + 1), m, 0.7),
                stats.binom.pmf(np.arange(21 - m), 20 - m, 0.1),
            )[8:].sum()
            for m in range(21)
        ]
        return int(np.argmax(np.array(share) > 0.5))

    def test_radii_keep_within_the_class(self):
        # 400 inputs at alpha 0.05; a right library fails with probability 1e-9.
        ones = np.arange(400) % 21
        x = (np.arange(20) < ones[:, None]).astype(float)
        arguments = {"noise": self.law, "num_classes": 2, "seed": 4}
        select = rsbounds.sample_counts(self.vote, x, n=50, role="select", **arguments)
        estimate = rsbounds.sample_counts(self.vote, x, n=300, **arguments)
        turn = self.turning()
        truth = np.where(ones >= turn, ones - turn, turn - 1 - ones)
        for method in (None, "exact"):
            found = rsbounds.certify(
                estimate, rsbounds.select_top(select), noise=self.law, alpha=0.05, method=method
            )
            right = found.top == (ones >= turn)
            wrong = ~found.abstained & (~right | (found.radius > truth))
            assert_error_rate(int(wrong.sum()), 400, 0.05, false_alarm=1e-9)
            assert found.norm == "l0"
            assert found.radius.max() >= 2

    def test_a_store_keeps_the_law_and_bounds_its_rows_again(self, tmp_path):
        x = np.array([[1.0] * 18 + [0.0] * 2, [0.0] * 20])

        def run(noise, **more):
            return rsbounds.certify_dataset(
                self.vote, x, [1, 0], n=500, seed=3, noise=noise, num_classes=2,
                store=tmp_path / "run.sqlite", progress=False, **more,
            )  # fmt: skip

        found = run(self.law)
        assert (found.radius >= 1).all()
        assert noise_from_dict(json.loads(json.dumps(found.law))) == self.law
        with rsbounds.RunStore(tmp_path / "run.sqlite") as store:
            assert (rsbounds.rebound(store).radius == found.radius).all()
        with pytest.raises(ValueError, match="noise"):
            run(BitFlips(0.1, 0.2))
        decided = rsbounds.certify_dataset(
            self.vote, x, [1, 0], n=500, seed=3, noise=self.law, num_classes=2, decide=[1, 2],
            store=tmp_path / "decide.sqlite", progress=False,
        )  # fmt: skip
        assert decided.radius.tolist() == [1.0, 1.0]

    def test_the_command_line_knows_its_probabilities(self, tmp_path, capsys):
        file = tmp_path / "counts.csv"
        file.write_text("class_0,class_1,label\n9990,10,0\n")
        law = ["--p-add", "0.01", "--p-delete", "0.6"]
        assert main(["certify", str(file), "--top", "label", "--json", *law]) == 0
        said = json.loads(capsys.readouterr().out)
        assert said["summary"]["noise"] == "bit-flips(p_add=0.01, p_delete=0.6)"
        assert said["summary"]["norm"] == "l0"
        assert main(["certify", str(file), "--top", "label", "--p-add", "0.1"]) == 2
        assert "--p-add is given together; allowed" in capsys.readouterr().err

    def test_there_is_no_ball_of_numbers(self):
        with pytest.raises(ValueError, match="norm is 'l0'"):
            self.law.region([0.9])


@pytest.mark.parametrize(
    ("p_add", "p_delete", "message"),
    [
        (0, 0, "not both 0"),
        (0.5, 0.5, "below 1 together"),
        (0.9, 0.2, "below 1 together"),
        (-0.1, 0.2, "p_add is -0.1"),
        (0.1, 1.0, "p_delete is 1.0"),
        (0.1, float("nan"), "p_delete is nan"),
        (1e-12, 0.1, "p_add is 1e-12; allowed: 0, or a number from 2\\^-32"),
        ("0.1", 0.1, "p_add is '0.1'"),
        ([0.1, 0.2], 0.1, "p_add is"),
    ],
)
def test_probabilities_that_cannot_be_are_refused(p_add, p_delete, message):
    with pytest.raises(ValueError, match=message):
        BitFlips(p_add, p_delete)


@pytest.mark.parametrize("bad", [0.5, 2.0, -1.0, float("nan")])
def test_inputs_that_are_no_bits_are_refused(bad):
    for kind in (np.float32, np.float64):
        x = np.array([[0.0, 1.0, bad]], dtype=kind)
        with pytest.raises(ValueError, match=r"allowed: zeros and ones|nan|NaN"):
            rsbounds.sample_counts(
                lambda batch: np.zeros(len(batch), int), x, noise=LAWS[0], n=5, num_classes=2
            )


def test_bounds_that_are_no_probabilities_are_refused():
    for call in (LAWS[0].radius_of_pair, LAWS[0].deletions):
        with pytest.raises(ValueError, match=r"p_b is .*; allowed: probabilities from 0 to 1"):
            call(0.5, 1.5)
    with pytest.raises(ValueError, match="additions is -1"):
        LAWS[0].deletions(0.9, 0.1, additions=-1)
    with pytest.raises(ValueError, match=r"deletions is 0\.5"):
        LAWS[0].curve(1, 0.5, 0.1)
