"""Full and low-rank Gaussian laws: their draws bit by bit, their regions in 40 digits."""

import base64
import copy
import json
import math
import pickle
import tracemalloc

import numpy as np
import pytest
from mpmath import mp, mpf
from scipy import stats

import rsbounds
from rsbounds.noises import (
    DiagonalGaussian,
    DiagonalUniform,
    FullGaussian,
    LowRankGaussian,
    noise_from_dict,
)
from rsbounds.streams import CounterStream, base_draws
from rsbounds.testing import assert_error_rate


def positive(d, *, spread=2.0, seed=0, batch=()):
    """Symmetric positive definite matrices with eigenvalues from 10^-spread to 1."""
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.normal(size=(*batch, d, d)))[0]
    values = 10.0 ** rng.uniform(-spread, 0.0, (*batch, d))
    values[..., 0], values[..., -1] = 10.0**-spread, 1.0
    matrix = (turn * values[..., None, :]) @ np.swapaxes(turn, -1, -2)
    return 0.5 * (matrix + np.swapaxes(matrix, -1, -2))


def factors(d, rank=3, *, seed=0, batch=()):
    """With weights of either sign: no direction loses more than two thirds of the diagonal."""
    rng = np.random.default_rng(seed)
    diagonal = rng.uniform(0.1, 1.0, (*batch, d))
    columns = 0.3 * rng.normal(size=(*batch, d, rank))
    least = (0.1 / rank) / (columns**2).sum(axis=-2)
    weights = rng.uniform(0.1, 1.0, (*batch, rank))
    weights[..., ::2] = (-0.66 * weights * least)[..., ::2]
    return {"diagonal": diagonal, "factors": columns, "weights": weights}


def dense(law):
    """The matrices of a low-rank law."""
    lead = law.batch_shape
    diagonal = law.diagonal.reshape(*lead, -1)[..., None] * np.eye(law.factors.shape[-2])
    return diagonal + law.factors * law.weights[..., None, :] @ np.swapaxes(law.factors, -1, -2)


LAWS = {
    "full": lambda d: FullGaussian(positive(d)),
    "low-rank": lambda d: LowRankGaussian(**factors(d)),
}
EACH = {
    "full": FullGaussian(positive(4, batch=(3,)), shape=(2, 2)),
    "low-rank": LowRankGaussian(
        **{
            **factors(4, batch=(3,)),
            "diagonal": factors(4, batch=(3,))["diagonal"].reshape(3, 2, 2),
        }
    ),
}


def noise(law, count, *, kind=np.float64, first=0, x=0.0, row=None):
    shape = law.event_shape or (2, 2)
    at = np.full(math.prod(shape), x, dtype=kind)
    out = np.empty((count, at.size), dtype=kind)
    CounterStream(law, shape, seed=1, role="estimate").add(out, at, 0, first, row)
    return out


def in_order(z, matrix):
    """z @ matrix as the sum from its first term to its last, one number at a time."""
    out = np.zeros((len(z), matrix.shape[1]))
    for k in range(len(matrix)):
        out += z[:, [k]] * matrix[k]
    return out


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("d", [1, 2, 7, 1029])
def test_a_product_is_the_sum_in_order_whatever_the_batch(d, kind):
    # A library's product of matrices gives other last bits for 1 row than for 64.
    full, low = LAWS["full"](d), LAWS["low-rank"](d)
    z = base_draws("normal", 19, d, seed=1, role="estimate", dtype=kind)
    wide = z.astype(np.float64)
    by_full = in_order(wide, full.matrix)
    inner = in_order(wide, low.factors)
    by_low = low.diagonal * wide
    for k in range(3):
        by_low += (inner[:, [k]] * low.weights[k]) * low.factors[:, k]
    for law, expected in ((full, by_full), (low, by_low)):
        x = np.full(d, 0.3, dtype=kind)
        # One rounding, of the sum.
        assert (noise(law, 19, kind=kind, x=0.3) == (x + expected).astype(kind)).all()
        assert (
            noise(law, 1, kind=kind, first=11, x=0.3)[0] == (x + expected)[11].astype(kind)
        ).all()
        assert (law.transform(z) == expected.astype(kind)).all()


def test_a_multiple_of_the_identity_is_the_isotropic_law():
    plain = noise(DiagonalGaussian(np.full(6, 0.3)), 50)
    assert (noise(FullGaussian(0.3 * np.eye(6)), 50) == plain).all()
    assert (noise(LowRankGaussian(np.full(6, 0.3), np.zeros((6, 1))), 50) == plain).all()
    radius = rsbounds.Gaussian(0.3).region([1.0]).radius
    for law in (FullGaussian(0.3 * np.eye(6)), LowRankGaussian(np.full(6, 0.3), np.zeros((6, 2)))):
        inscribed = law.region([1.0]).inscribed_radius()
        assert (inscribed <= radius).all()
        assert inscribed == pytest.approx(radius, rel=1e-10)


def test_low_rank_is_the_full_law_of_its_matrix():
    low = LAWS["low-rank"](9)
    assert (low.weights < 0).tolist() == [True, False, True]
    full = FullGaussian(dense(low))
    np.testing.assert_allclose(noise(low, 40), noise(full, 40), rtol=0, atol=1e-14)
    points = noise(low, 40) * 0.3
    np.testing.assert_allclose(low.log_density(points), full.log_density(points), rtol=1e-9)
    for name in ("log_volume", "proxy_radius", "inscribed_radius"):
        ours, theirs = (getattr(law.region([0.8]), name)() for law in (low, full))
        np.testing.assert_allclose(ours, theirs, rtol=1e-8)


@pytest.mark.parametrize("law", LAWS)
def test_draws_follow_the_law(law):
    # In the law's own coordinates they are independent standard normal numbers; 60,000 of them.
    one = LAWS[law](6)
    matrix = one.matrix if law == "full" else dense(one)
    own = np.linalg.solve(matrix, noise(one, 10_000).T)
    assert stats.kstest(own.ravel(), stats.norm.cdf).pvalue > 1e-6
    assert abs(np.cov(own) - np.eye(6)).max() < 6 * math.sqrt(2 / 10_000)
    # And the density is that of N(0, C C^T), whose logarithm differs by a constant.
    points = noise(one, 5)
    other = stats.multivariate_normal(np.zeros(6), matrix @ matrix).logpdf(points)
    np.testing.assert_allclose(np.diff(one.log_density(points)), np.diff(other), rtol=1e-7)


@pytest.mark.parametrize("spread", [0.5, 3.0, 6.0])
def test_the_region_is_inside_what_the_sampled_matrix_certifies(spread):
    # Up to a condition of 1e6, where the axes of a float32 copy of C would be off by a tenth.
    for seed in range(3):
        law = FullGaussian(positive(8, spread=spread, seed=seed))
        region = law.region([2.0])
        with mp.workdps(40):
            matrix = mp.matrix(law.matrix.tolist())
            smallest = min(mp.eigsy(matrix, eigvals_only=True))
            assert mpf(float(region.inscribed_radius()[0])) <= smallest
            assert float(region.inscribed_radius()[0]) >= float(smallest) * (1 - 1e-6)
            volume = float(mp.log(mp.det(matrix)))
            assert volume - 1e-5 < 8 * math.log(region.proxy_radius()[0]) <= volume
            # On the boundary in every direction of the axes and between them.
            for unit in np.vstack([np.eye(8), np.random.default_rng(seed).normal(size=(4, 8))]):
                at = region.rotation[0] @ (region.axes[0] * unit / np.linalg.norm(unit))
                gauge = mp.norm(mp.lu_solve(matrix, mp.matrix(at.tolist())))
                assert gauge <= mpf(1) + mpf("1e-12")
                inside = float(gauge * (1 + mpf("1e-4")))
                for radius, expected in ((float(gauge), False), (inside, True)):
                    held = law.region([2.0 * radius]).contains([at])[0]
                    assert held == expected or not held


def test_float32_models_are_sampled_with_the_float64_matrix():
    # The axes of a float32 copy of this matrix are others: its smallest is off by more than a
    # tenth, so that a region made of the float64 matrix would not be what was sampled.
    law = FullGaussian(positive(8, spread=6.5, seed=1))
    narrow = np.linalg.eigvalsh(law.matrix.astype(np.float32).astype(np.float64))[0]
    assert abs(narrow / np.linalg.eigvalsh(law.matrix)[0] - 1) > 0.01
    unit = np.eye(8, dtype=np.float32)
    assert (law.perturb(np.zeros(8, np.float32), unit) == law.matrix).all()
    low = LowRankGaussian([0.1, 1 / 3], [[1e-3], [2 / 3]])
    wide = low.perturb(np.zeros(2, np.float32), np.eye(2, dtype=np.float32))
    assert (wide == low.perturb(np.zeros(2), np.eye(2))).all()


@pytest.mark.parametrize("kind", EACH)
def test_each_input_has_its_own_matrix(kind):
    law = EACH[kind]
    assert (law.batch_shape, law.event_shape) == ((3,), (2, 2))
    for i in range(3):
        assert (noise(law, 7, row=i) == noise(law[i], 7)).all()
    whole = law.region([0.5, 1.0, 2.0])
    assert len(law[[2, 0]]) == 2
    for i, margin in enumerate((0.5, 1.0, 2.0)):
        for one in (law[i], law[[i]], noise_from_dict(law[i].to_dict())):
            region = one.region([margin])
            for name in ("semi_axes", "log_volume", "inscribed_radius"):
                assert (getattr(region, name)()[0] == getattr(whole, name)()[i]).all()
    with pytest.raises(ValueError, match="parameters for 3 inputs; allowed: one set, or one"):
        law.region([0.5])
    mixed = law.where([True, False, True], law.scaled([2.0, 2.0, 2.0]))
    assert mixed[0] == law[0]
    assert mixed[1] == law[1].scaled(2.0)


@pytest.mark.parametrize(
    "law",
    [
        EACH["full"][0],
        EACH["low-rank"][0],
        DiagonalGaussian([[0.2, 0.8], [1.0, 0.1]]),
        DiagonalUniform([[0.2, 0.8], [1.0, 0.1]]),
        rsbounds.Gaussian(0.3),
        rsbounds.Uniform(0.3),
    ],
    ids=str,
)
def test_a_law_times_a_number_is_its_noise_times_the_number(law):
    np.testing.assert_allclose(noise(law.scaled(2.0), 9), 2 * noise(law, 9), rtol=1e-14)
    each = law.scaled([1.0, 4.0])
    assert each.batch_shape == (2,)
    np.testing.assert_allclose(noise(each, 9, row=1), 4 * noise(law, 9), rtol=1e-14)
    again = each.scaled([0.5, 2.0])
    np.testing.assert_allclose(noise(again, 9, row=1), 8 * noise(law, 9), rtol=1e-14)
    for bad, message in (
        (-1.0, "factor\\[\\] is -1.0; allowed: finite numbers > 0"),
        (np.ones((2, 2)), r"factor has shape \(2, 2\); allowed: a number, or one for each input"),
    ):
        with pytest.raises(ValueError, match=message):
            law.scaled(bad)
    with pytest.raises(ValueError, match=r"shape \(3,\); allowed: a number, or one for each of 2"):
        each.scaled(np.ones(3))


@pytest.mark.parametrize("kind", EACH)
def test_plain_values_are_lossless_and_short(kind):
    law = EACH[kind]
    values = json.loads(json.dumps(law.to_dict()))
    assert values == law.to_dict()
    assert noise_from_dict(values) == law
    for again in (pickle.loads(pickle.dumps(law)), copy.deepcopy(law)):
        assert again == law
        assert (noise(again, 5, row=1) == noise(law, 5, row=1)).all()
    # Half of a symmetric matrix, in base64 of float64: 5.34 bytes for each of its numbers.
    wide = FullGaussian(positive(60))
    assert len(json.dumps(wide.to_dict())) < 5.6 * 60**2
    for damage in ({"shape": [5, 5]}, {"float64": "AAAA"}, {"shape": []}):
        plain = wide.to_dict()
        plain["matrix"] = {**plain["matrix"], **damage}
        with pytest.raises(ValueError, match="noise has matrix that is no array"):
            noise_from_dict(plain)


@pytest.mark.parametrize("kind", EACH)
def test_a_run_keeps_a_matrix_for_each_input(kind, tmp_path):
    law = EACH[kind]
    x = np.random.default_rng(0).normal(size=(3, 2, 2))

    def vote(batch):
        return (batch.sum(axis=(1, 2)) > 0).astype(int)

    path = tmp_path / "run.sqlite"
    found = rsbounds.certify_dataset(
        vote, x, [0, 1, 1], noise=law, n=400, num_classes=2, seed=3, store=path, progress=False
    )
    counts = rsbounds.sample_counts(vote, x, noise=law, n=400, num_classes=2, seed=3)
    with rsbounds.RunStore(path) as store:
        rows = list(store.rows())
        for row in rows:
            assert noise_from_dict(row.law) == law[row.index]
            assert (row.estimate == counts.values[row.index]).all()
        again = rsbounds.rebound(store)
        assert (again.radius == found.radius).all()
        assert (again.inscribed_radius == found.inscribed_radius).all()
        from rsbounds.runs.export import export_rows

        export_rows(store, again, tmp_path / "rows.jsonl")
        export_rows(store, again, tmp_path / "rows.tsv")
    lines = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    table = [line.split("\t") for line in (tmp_path / "rows.tsv").read_text().splitlines()]
    for i, line in enumerate(lines):
        assert noise_from_dict(line["law"]) == law[i]
        assert line["inscribed_radius"] == again.inscribed_radius[i]
        assert noise_from_dict(json.loads(table[i + 1][table[0].index("law")])) == law[i]
    direct = rsbounds.certify(counts, [r.top for r in rows], noise=law)
    direct.write(tmp_path / "certificates.tsv")
    assert noise_from_dict(rsbounds.Certificates.read(tmp_path / "certificates.tsv").law) == law


def test_a_law_written_without_weights_is_read():
    # As runs kept them before there were weights: the same law, and the same record of it.
    given = {"diagonal": [0.5, 0.25], "factors": [[0.5], [0.125]]}
    law = LowRankGaussian(**given)
    assert set(law.to_dict()) == {"name", "diagonal", "factors"}
    assert noise_from_dict(law.to_dict()) == law == LowRankGaussian(**given, weights=[1.0])
    assert law.weights.tolist() == [1.0]
    other = LowRankGaussian(**given, weights=[-0.5])
    assert set(other.to_dict()) == {"name", "diagonal", "factors", "weights"}
    assert other != law
    assert noise_from_dict(other.to_dict()).weights.tolist() == [-0.5]
    with pytest.raises(ValueError, match="weights hold -9, with which"):
        noise_from_dict({**law.to_dict(), "weights": plain_array([-9.0])})
    # One set of weights serves every input.
    many = LowRankGaussian(np.full((2, 2), 0.5), np.full((2, 2, 1), 0.5), [-0.5])
    assert many.weights.tolist() == [[-0.5], [-0.5]]
    assert many[1] == LowRankGaussian([0.5, 0.5], [[0.5], [0.5]], [-0.5])


def plain_array(values):
    return LowRankGaussian([1.0] * len(values), np.eye(len(values))).to_dict()["diagonal"] | {
        "float64": base64.b64encode(np.array(values).tobytes()).decode()
    }


def test_a_run_of_large_matrices_is_known_by_a_hash(tmp_path):
    # A database takes no value of 1e9 bytes; matrices of 784 x 784 for 300 inputs are more.
    law = FullGaussian(positive(300, spread=1.0, batch=(3,)))
    x = np.random.default_rng(0).normal(size=(3, 300)).astype(np.float32)
    path = tmp_path / "run.sqlite"

    def run(noise):
        return rsbounds.certify_dataset(
            lambda batch: (batch[:, 0] > 0).astype(int), x, None, noise=noise, n=20, n0=5,
            num_classes=2, seed=3, store=path, progress=False,
        )  # fmt: skip

    found = run(law)
    with rsbounds.RunStore(path) as store:
        assert len(json.dumps(store.config)) < 1000
        assert [noise_from_dict(row.law) for row in store.rows()] == [law[i] for i in range(3)]
        assert (rsbounds.rebound(store).radius == found.radius).all()
    assert (run(law).radius == found.radius).all()
    with pytest.raises(ValueError, match=r"was made with noise = .*full-gaussian"):
        run(law.scaled(1.001))
    # The same law for all is kept once, as it is.
    one = rsbounds.runs.RunPlan(noise=law[0], num_classes=2, inputs=3, n=20, seed=3)
    assert noise_from_dict(one.config()["noise"]) == law[0]


@pytest.mark.parametrize("kind", EACH)
def test_certified_ellipsoids_keep_out_of_the_other_class(kind):
    # A half-space w x > 0 and a matrix of its own at each input: the distance to the boundary
    # in the law's coordinates is |w x| / ||C w||. A right library fails with probability 1e-9.
    rng = np.random.default_rng(5)
    w, x = np.array([1.0, -0.5, 0.2]), rng.uniform(-0.6, 0.6, (300, 3))
    if kind == "full":
        law = FullGaussian(positive(3, spread=1.0, batch=(300,)))
        matrix = law.matrix
    else:
        law = LowRankGaussian(**factors(3, 2, batch=(300,)))
        matrix = dense(law)

    def vote(batch):
        return (batch @ w > 0).astype(int)

    arguments = {"noise": law, "num_classes": 2, "seed": 4}
    select = rsbounds.sample_counts(vote, x, n=50, role="select", **arguments)
    estimate = rsbounds.sample_counts(vote, x, n=400, **arguments)
    found = rsbounds.certify(estimate, rsbounds.select_top(select), noise=law, alpha=0.05)
    truth = np.abs(x @ w) / np.linalg.norm(matrix @ w, axis=1)
    wrong = (~found.abstained) & ((found.top != vote(x)) | (found.radius > truth))
    assert_error_rate(int(wrong.sum()), 300, 0.05, false_alarm=1e-9)
    assert wrong.sum() > 0, "the bound is so loose that this test cannot fail"


def test_the_size_of_a_photograph_needs_no_matrix():
    d, rank = 150_528, 16
    shape = (3, 224, 224)
    part = np.random.default_rng(0).normal(size=(2, d, rank)) / math.sqrt(d)
    tracemalloc.start()
    law = LowRankGaussian(np.full((2, *shape), 0.25), part, np.repeat([-0.1, 1.0], 8))
    drawn = noise(law, 2, row=1, kind=np.float32)
    region = law.region([1.0, 2.0])
    proxy = region.proxy_radius()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.isfinite(drawn).all()
    assert (proxy > 0.25 * np.array([0.5, 1.0])).all()
    # A few copies of the 2 x 19 MB of the factors; the matrix has 181 GB.
    assert peak < 300e6


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: FullGaussian([[1.0, 2.0], [2.0, 1.0]]), r"matrix \(trace 2\) is not positive"),
        (lambda: FullGaussian([[1.0, 1.0], [1.0, 1.0]]), "not positive definite with all"),
        (lambda: FullGaussian(np.diag([1.0, 1e-14])), "not positive definite with all"),
        (lambda: FullGaussian(-np.eye(2)), "not positive definite"),
        (lambda: FullGaussian(1e200 * np.eye(2)), r"matrix has the trace 2e\+200; allowed: 1e-130"),
        (lambda: FullGaussian(np.stack([np.eye(2), -np.eye(2)])), r"matrix\[1\] \(trace -2\)"),
        (lambda: FullGaussian([[1.0, 0.1], [0.2, 1.0]]), "its transpose by up to 0.1; allowed: a"),
        (lambda: FullGaussian([[1.0, np.nan], [np.nan, 1.0]]), r"matrix\[0, 1\] is nan"),
        (lambda: FullGaussian([1.0, 2.0]), "allowed: finite numbers in 2 or 3 dimensions"),
        (lambda: FullGaussian(np.ones((2, 3))), r"matrix has shape \(2, 3\); allowed: \(d, d\)"),
        (lambda: FullGaussian(np.eye(4), shape=(3,)), r"shape is \(3,\); allowed: the input's, of"),
        (lambda: FullGaussian(np.eye(4), shape=4), "shape is 4; allowed"),
        (lambda: FullGaussian(np.eye(4), shape=(2, 2.0)), "shape is 2.0"),
        (lambda: LowRankGaussian([1.0, 0.0], [[1.0], [1.0]]), r"diagonal\[1\] is 0.0"),
        (lambda: LowRankGaussian([1.0, 1e-80], [[1.0], [1.0]]), "diagonal holds 1e-80"),
        (lambda: LowRankGaussian([1.0], [[1.0], [1.0]]), r"factors have shape \(2, 1\) beside"),
        (lambda: LowRankGaussian([1.0], np.ones((1, 1, 1))), "factors have shape"),
        (lambda: LowRankGaussian(0.5, [[1.0]]), "factors have shape"),
        (lambda: LowRankGaussian([1.0], [[np.inf]]), r"factors\[0, 0\] is inf"),
        (lambda: LowRankGaussian([1.0], [[1.0]], [np.nan]), r"weights\[0\] is nan"),
        (lambda: LowRankGaussian([1.0], [[1.0]], 1.0), "weights is 1.0; allowed: finite numbers"),
        (lambda: LowRankGaussian([1.0], [[1.0]], [[1.0]]), "allowed: finite numbers in 1 dimen"),
        (lambda: LowRankGaussian([1.0], [[1.0]], [1.0, 2.0]), r"weights have shape \(2,\) beside"),
        (lambda: LowRankGaussian([[1.0]], [[[1.0]]], [[1.0], [1.0]]), r"one for each column, or"),
        (lambda: LowRankGaussian([1.0], [[1.0]], [-1.0]), "weights hold -1, with which the matrix"),
        (lambda: LowRankGaussian(np.ones((2, 1)), np.ones((2, 1, 1)), [[0.5], [-2.0]]), "hold -2,"),
    ],
)
def test_bad_parameters_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize("law", LAWS)
def test_inputs_of_another_shape_are_refused(law):
    one = LAWS[law](4)
    stream = CounterStream(one, (2, 2), seed=1, role="estimate")
    with pytest.raises(ValueError, match=r"for inputs of shape \(4,\), these have \(2, 2\)"):
        stream.add(np.empty((3, 4)), np.zeros(4), 0, 0)


@pytest.mark.parametrize("law", LAWS)
def test_draws_and_parameters_of_other_shapes_are_refused(law):
    # The kernels check no bounds: they would read what is beside the arrays.
    one = LAWS[law](4)
    for draws in (np.zeros((3, 5)), np.zeros(4), np.zeros((4, 3))):
        with pytest.raises(ValueError, match="base draws have shape"):
            one.transform(draws)
    with pytest.raises(ValueError, match="base draws have shape"):
        one.sample(np.random.default_rng(0), (3, 2), np.float32)
    with pytest.raises(TypeError, match="has no parameter 'sigma'"):
        one.transform(np.zeros((3, 4)), sigma=2.0)
    name = "matrix" if law == "full" else "factors"
    with pytest.raises(ValueError, match="for draws of 4 numbers"):
        one.transform(np.zeros((3, 4)), **{name: np.eye(3)})


def test_a_shape_of_one_dimension_need_not_be_said():
    assert FullGaussian(np.eye(4)) == FullGaussian(np.eye(4), shape=[4])
    assert FullGaussian(np.eye(4)) != FullGaussian(np.eye(4), shape=(2, 2))


def test_rounding_in_float32_is_no_asymmetry():
    matrix = positive(6).astype(np.float32).astype(np.float64)
    matrix[0, 1] = np.nextafter(np.float32(matrix[0, 1]), np.float32(2))
    law = FullGaussian(matrix)
    assert law.matrix[0, 1] == law.matrix[1, 0] == 0.5 * (matrix[0, 1] + matrix[1, 0])
    assert not law.matrix.flags.writeable
