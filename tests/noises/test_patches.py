"""Block and band ablation against every patch on every tiny picture."""

import itertools

import numpy as np
import pytest

import rsbounds
from rsbounds.noises import BandAblation, BlockAblation, noise_from_dict, with_complement
from rsbounds.streams import CounterStream


def copies(law, x, kind=np.float64):
    x = np.asarray(x, dtype=kind)
    out = np.empty((law.cells, x.size), dtype=kind)
    CounterStream(law, x.shape, seed=1, role="estimate").add(out, x.ravel(), 0, 0)
    return out.reshape(law.cells, *x.shape)


def patch(shape, side, row, column):
    """Pixels of a patch on a picture whose edges touch."""
    rows, columns = ((np.arange(side) + at) % n for at, n in zip((row, column), shape, strict=True))
    inside = np.zeros(shape, dtype=bool)
    inside[np.ix_(rows[: shape[0]], columns[: shape[1]])] = True
    return inside


def touched(law, side):
    """Cells that a patch is seen from, by the law's own words."""
    if isinstance(law, BlockAblation):
        return min(side + law.size - 1, law.height) * min(side + law.size - 1, law.width)
    return min(side + law.size - 1, law.width)


LAWS = [
    (BlockAblation(1, 3, 4, null=-1.0), (3, 4)),
    (BlockAblation(2, 3, 4, null=-1.0), (3, 4)),
    (BlockAblation(3, 5, 4, null=-1.0), (5, 4)),
    (BandAblation(1, 5, null=-1.0), (3, 5)),
    (BandAblation(2, 7, null=-1.0), (2, 7)),
]


@pytest.mark.parametrize(("law", "shape"), LAWS)
def test_a_patch_is_seen_from_so_many_places(law, shape):
    # Wherever it is: counted on copies of a picture and of one that differs in all of the patch.
    x = np.arange(np.prod(shape), dtype=float).reshape(shape)
    seen = copies(law, x)
    for side in range(1, max(shape) + 1):
        for row, column in itertools.product(*map(range, shape)):
            other = np.where(patch(shape, side, row, column), x + 0.5, x)
            differ = (copies(law, other) != seen).any(axis=(1, 2)).sum()
            assert differ == touched(law, side), (side, row, column)


@pytest.mark.parametrize(("law", "shape"), LAWS)
def test_the_rest_is_null_and_what_is_left_is_as_it_was(law, shape):
    x = np.random.default_rng(1).random((3, *shape))
    seen = copies(law, x)
    left = (seen != -1.0).all(axis=1)
    assert (left == (seen != -1.0).any(axis=1)).all()
    kept = law.size**2 if isinstance(law, BlockAblation) else law.size * shape[0]
    assert (left.sum(axis=(1, 2)) == kept).all()
    # Every pixel is left equally often, and in no two cells the same ones are.
    assert len(np.unique(left.sum(axis=0))) == 1
    assert len({part.tobytes() for part in left}) == law.cells
    expected = np.where(left[:, None], x, -1.0)
    assert (seen == expected).all()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("law", "shape"),
    [
        (BlockAblation(1, 3, 4, null=-1.0), (3, 4)),
        (BlockAblation(2, 3, 3, null=-1.0), (3, 3)),
        (BandAblation(1, 10, null=-1.0), (1, 10)),
        (BandAblation(2, 5, null=-1.0), (2, 5)),
    ],
)
def test_no_patch_up_to_the_radius_changes_the_answer(law, shape, seed):
    # All pictures of two colours, all patches, all contents, classifiers that lean to one class.
    d = int(np.prod(shape))
    bits = np.arange(1 << d)[:, None] >> np.arange(d) & 1
    rng = np.random.default_rng(seed)
    share = rng.permutation([0.9, 0.07, 0.03])
    table = {}
    counts = np.zeros((1 << d, 3), dtype=int)
    for i, x in enumerate(bits):
        for copy in copies(law, x.reshape(shape), np.float32):
            vote = table.setdefault(copy.tobytes(), int(rng.choice(3, p=share)))
            counts[i, vote] += 1
    found = rsbounds.certify(counts, rsbounds.select_top(counts), noise=law)
    answer = counts.argmax(axis=1)
    assert (found.candidate == answer).all()
    assert found.radius.max() >= 1
    place = 1 << np.arange(d)
    for side in range(1, int(found.radius.max()) + 1):
        sure = np.flatnonzero(found.radius >= side)
        for row, column in itertools.product(*map(range, shape)):
            inside = np.flatnonzero(patch(shape, side, row, column).ravel())
            base = sure & ~int(place[inside].sum())
            for content in itertools.product((0, 1), repeat=len(inside)):
                other = base + int(np.dot(content, place[inside]))
                assert (answer[other] == answer[sure]).all(), (side, row, column)


@pytest.mark.parametrize("wins_ties", [True, False])
@pytest.mark.parametrize("side", [1, 2, 3])
@pytest.mark.parametrize("law", [BlockAblation(2, 9, 9, null=-1.0), BandAblation(2, 13, null=-1.0)])
def test_the_worst_classifier_loses_one_step_further(law, side, wins_ties):
    # Every cell that sees the patch votes for the class before and for the rival after; with a lead
    # of one vote less than the radius takes, the answer is gone.
    own, rival = (0, 1) if wins_ties else (1, 0)
    moved = touched(law, side)
    needed = 2 * moved + 1 - wins_ties
    for lead, kept in ((needed, True), (needed - 1, False)):
        others = law.cells - lead - 2 * ((law.cells - lead) // 2)
        counts = np.zeros(3, dtype=int)
        counts[own] = (law.cells - others + lead) // 2
        counts[rival] = law.cells - others - counts[own]
        # A third class takes an odd vote.
        counts[2] = others
        assert counts[own] - counts[rival] == lead
        assert counts[own] >= moved
        radius = rsbounds.certify(counts, own, noise=law).radius[0]
        assert (radius >= side) == kept
        after = counts.copy()
        after[own] -= moved
        after[rival] += moved
        assert (after.argmax() == own) == kept


def test_radii_follow_from_the_share_where_votes_are_not_at_hand():
    law = BandAblation(3, 50, null=-1.0)
    margins = np.array([-0.1, 0.0, 0.11, 0.12, 0.121, 0.16, 0.1601, 1.0])
    # 2 (m + 2) / 50 < margin: 0.12 is exactly m = 1.
    assert law.radius(margins).tolist() == [0, 0, 0, 0, 1, 1, 2, 22]
    assert law.radius_of_pair(0.8, 0.2) == 12
    assert law.roc([0, 1, 1.9, 2, 60], 0.1).round(12).tolist() == [0.1, 0.16, 0.16, 0.18, 1.0]


def test_a_run_of_patches(tmp_path):
    law = BandAblation(2, 6, null=-1.0)
    x = np.random.default_rng(0).random((4, 3, 5, 6)).astype(np.float32)

    def classifier(batch):
        seen = batch[:, 0] >= 0
        return (np.where(seen, batch[:, 0], 0).sum(axis=(1, 2)) > 0.45 * seen.sum((1, 2))).astype(
            int
        )

    found = rsbounds.certify_dataset(
        classifier, x, noise=law, num_classes=2, store=tmp_path / "s.sqlite"
    )
    assert (found.norm, found.alpha) == ("patch", 0.0)
    with rsbounds.RunStore(tmp_path / "s.sqlite") as store:
        assert (rsbounds.rebound(store).radius == found.radius).all()
    counts = rsbounds.sample_counts(classifier, x, noise=law, num_classes=2)
    direct = rsbounds.certify(counts, rsbounds.select_top(counts), noise=law)
    assert (direct.radius == found.radius).all()
    found.write(tmp_path / "c.tsv")
    assert (rsbounds.Certificates.read(tmp_path / "c.tsv").radius == found.radius).all()
    assert noise_from_dict(law.to_dict()) == law


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BlockAblation(0, 4, 4), "size is 0; allowed: an integer from 1 to 4"),
        (lambda: BlockAblation(5, 4, 9), "size is 5; allowed: an integer from 1 to 4"),
        (lambda: BlockAblation(2, 10**4, 10**4), "up to 16777216 pixels"),
        (lambda: BlockAblation(2, 4, 4, null=np.nan), "null is nan; allowed: a finite number"),
        (lambda: BandAblation(2, 4, null=np.inf), "null is inf"),
        (lambda: BandAblation(5, 4), "size is 5; allowed: an integer from 1 to 4"),
        (lambda: BandAblation(2, 0), "width is 0"),
    ],
)
def test_bad_parameters_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def any_class(batch):
    return np.zeros(len(batch), dtype=int)


@pytest.mark.parametrize(
    ("law", "shape", "message"),
    [
        (
            BlockAblation(2, 4, 5),
            (1, 5, 4),
            r"inputs have shape \(5, 4\); allowed with noise block",
        ),
        (BlockAblation(2, 4, 5), (1, 20), r"inputs have shape \(20,\)"),
        (BlockAblation(2, 4, 5), (1, 1, 1, 4, 5), r"inputs have shape \(1, 1, 4, 5\)"),
        (BandAblation(2, 4), (1, 4, 5), "the last side 4"),
        (BandAblation(2, 4), (1, 1, 1, 4, 4), "the last side 4"),
    ],
)
def test_inputs_of_another_shape_are_refused(law, shape, message):
    with pytest.raises(ValueError, match=message):
        rsbounds.sample_counts(any_class, np.ones(shape), noise=law, num_classes=2)


def test_an_input_that_looks_ablated_is_refused():
    # A black pixel would be taken for one that is hidden.
    x = np.ones((1, 3, 4, 4))
    x[0, :, 1, 2] = 0.0
    law = BlockAblation(2, 4, 4)
    arguments = {"noise": law, "num_classes": 2}
    with pytest.raises(ValueError, match="inputs hold 0 in all 3 channels of pixel 6, as an abl"):
        rsbounds.sample_counts(any_class, x, **arguments)
    x[0, 0, 1, 2] = 0.1
    assert rsbounds.sample_counts(any_class, x, **arguments).n.tolist() == [16]
    x[0, 0, 1, 2] = 0.0
    counts = rsbounds.sample_counts(any_class, with_complement(x), **arguments)
    assert counts.n.tolist() == [16]


def test_complements():
    x = np.random.default_rng(0).random((2, 3, 4, 5))
    both = with_complement(x)
    assert both.shape == (2, 6, 4, 5)
    assert (both[:, :3] == x).all()
    assert (both[:, 3:] == 1 - x).all()
    assert with_complement(x[0]).shape == (3, 2, 4, 5)
    with pytest.raises(ValueError, match=r"outside \[0, 1\]; allowed: pixels from 0 to 1"):
        with_complement(255 * x)
    with pytest.raises(ValueError, match=r"outside \[0, 1\]"):
        with_complement(x * np.nan)
    with pytest.raises(ValueError, match=r"inputs have shape \(\)"):
        with_complement([[0.1]])
