"""Many components of one output: family-wise error by enumeration, Holm, and what is refused."""

import json

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

import rsbounds
from rsbounds.bounds.margin.complement import Complement
from rsbounds.certificates import components
from rsbounds.claims import Top, TopK
from rsbounds.commands import main
from rsbounds.testing import outcomes, simplex_grid
from rsbounds.testing.coverage import outcome_probabilities

LAW = rsbounds.Gaussian(0.5)
HOLM = {"family": "holm", "radius": 0.1}


def joint(components, n, steps):
    """Every outcome of n draws of so many components with two classes, and joint laws of them.

    A draw answers all components at once: one of 2^M cells. Returns the counts (C, M, 2), the
    chances of the outcomes (P, C), and the shares of class 0 (P, M).
    """
    cells = np.indices((2,) * components).reshape(components, -1).T
    table, points = outcomes(n, len(cells)), simplex_grid(len(cells), steps)
    first = (cells == 0).astype(float)
    votes = (table @ first).astype(int)
    return (
        np.stack([votes, n - votes], axis=2),
        outcome_probabilities(table, points),
        points @ first,
    )


def every_radius(counts, **options):
    """(C, M) radii of every outcome, each different one certified once."""
    distinct, back = np.unique(counts, axis=0, return_inverse=True)
    found = [rsbounds.certify_components(rows, 0, **options).radius for rows in distinct]
    return np.array(found)[back.reshape(-1)]


@pytest.mark.parametrize(("size", "n", "steps"), [(2, 10, 14), (3, 4, 5)])
@pytest.mark.parametrize("law", [LAW, rsbounds.Uniform(0.5)], ids=str)
def test_any_error_at_all_has_probability_alpha_at_most(size, n, steps, law):
    counts, chances, shares = joint(size, n, steps)
    truth = law.radius_of_pair(shares.reshape(-1), 1 - shares.reshape(-1)).reshape(shares.shape)
    for alpha, options in (
        (0.3, {}), (0.05, HOLM), (0.3, HOLM), (0.3, {"family": "holm", "tau": 0.6}),
        (0.3, {**HOLM, "method": "complement"}),
    ):  # fmt: skip
        radii = every_radius(counts, noise=law, alpha=alpha, **options)
        wrong = (radii[None] > truth[:, None] * (1 + 1e-9) + 1e-12).any(axis=2)
        assert (chances * wrong).sum(axis=1).max() <= alpha * (1 + 1e-9), options


def test_the_enumeration_would_notice_a_family_that_is_not_paid_for():
    counts, chances, shares = joint(2, 10, 20)
    truth = LAW.radius_of_pair(shares.reshape(-1), 1 - shares.reshape(-1)).reshape(shares.shape)
    each = rsbounds.certify(
        counts.reshape(-1, 2), 0, noise=LAW, alpha=0.3, method="complement"
    ).radius.reshape(-1, 2)
    wrong = (each[None] > truth[:, None] + 1e-9).any(axis=2)
    assert (chances * wrong).sum(axis=1).max() > 0.3


@pytest.mark.parametrize("seed", range(5))
def test_holm_is_that_of_statsmodels(seed):
    from scipy import stats

    rng = np.random.default_rng(seed)
    p, n, tau, alpha = rng.uniform(0.5, 1, 60), 120, 0.75, 0.05
    votes = rng.binomial(n, p)
    found = rsbounds.certify_components(
        np.column_stack([votes, n - votes]), 0, noise=LAW, alpha=alpha, family="holm", tau=tau,
        method="complement",
    )  # fmt: skip
    expected = multipletests(stats.binom.sf(votes - 1, n, tau), alpha, method="holm")[0]
    assert found.certified.tolist() == expected.tolist()
    assert 0 < expected.sum() < 60
    np.testing.assert_allclose(
        found.radius[expected], 0.5 * stats.norm.ppf(tau), rtol=1e-9
    )  # fmt: skip


def test_holm_certifies_what_bonferroni_does_and_more():
    votes = np.concatenate([np.full(200, 1990), np.arange(1400, 1500)])
    rows = np.column_stack([votes, 2000 - votes])
    each = rsbounds.certify_components(rows, 0, noise=LAW)
    holm = rsbounds.certify_components(rows, 0, noise=LAW, **{**HOLM, "radius": 0.25})
    assert (holm.certified >= (each.radius >= 0.25)).all()
    assert holm.certified.sum() > (each.radius >= 0.25).sum() >= 200
    assert set(holm.radius.tolist()) == {0.0, 0.25}
    assert (holm.margin_lower[holm.certified] <= 1.0).all()
    assert LAW.radius(holm.margin_lower[:1])[0] <= 0.25


def test_holm_under_a_law_with_steps_claims_no_margin_that_was_not_needed():
    law = rsbounds.noises.Ablation(keep=3, pixels=40)
    row = np.array([[700, 200, 100]])
    plain = rsbounds.certify(row, 0, noise=law, method="runner-up")
    for radius in (1.0, float(plain.radius[0])):
        found = rsbounds.certify_components(row, 0, noise=law, family="holm", radius=radius)
        assert found.radius.tolist() == [radius]
        assert 0 < found.margin_lower[0] <= plain.margin_lower[0]


def test_bonferroni_is_certify_at_a_share_whatever_is_alike():
    rng = np.random.default_rng(1)
    rows = np.vstack([rng.multinomial(n, [0.7, 0.2, 0.1], size=60) for n in (50, 80)])
    top = rng.integers(0, 3, len(rows))
    for method in ("runner-up", "complement", "exact"):
        found = rsbounds.certify_components(rows, top, noise=LAW, method=method)
        plain = rsbounds.certify(
            rows, top, noise=LAW, method=method, alpha=0.001 / len(rows) * (1 - 1e-15)
        )
        assert (found.radius == plain.radius).all()
        assert (found.margin_lower == plain.margin_lower).all()


def test_a_family_of_one_is_the_plain_case():
    for row in ([95, 5], [60, 40]):
        plain = rsbounds.certify(row, 0, noise=LAW, method="runner-up")
        alone = rsbounds.certify_components(row, 0, noise=LAW)
        assert (alone.radius == plain.radius).all()
        reached = rsbounds.certify_components(row, 0, noise=LAW, family="holm", radius=0.3)
        assert reached.certified[0] == (plain.radius[0] >= 0.3)


def test_noise_on_a_lattice_is_paid_once_and_reduces_the_radius():
    law = rsbounds.Gaussian(0.5, lattice=1 / 512)
    offset = {"l2": np.array([0.2, 0.0]), "l1": np.array([0.3, 0.0])}
    values = np.array([[990, 10], [990, 10]])
    counts = rsbounds.Counts(values, "estimate", 0, lattice=1 / 512, offset=offset)
    found = rsbounds.certify_components(counts, 0, noise=law)
    assert found.radius[1] - found.radius[0] == pytest.approx(0.2)
    assert found.details["offset"] == 0.2
    edge = float(found.radius[0]) + 0.1
    holm = rsbounds.certify_components(counts, 0, noise=law, family="holm", radius=edge)
    assert holm.certified.tolist() == [False, True]


def test_long_tables_of_small_types_and_a_chain_of_steps(monkeypatch):
    rng = np.random.default_rng(2)
    rows = rng.multinomial(100, rng.dirichlet(np.full(20, 0.05), size=2000)).astype(np.uint8)
    top = rows.argmax(axis=1)
    found = rsbounds.certify_components(rows, top, noise=LAW, **HOLM)
    wide = rsbounds.certify_components(rows.astype(float), top, noise=LAW, **HOLM)
    assert (found.radius == wide.radius).all()
    assert found.n.tolist() == [100] * len(rows)
    # Ended early it certifies no more.
    monkeypatch.setattr(components, "_STEPS", 1)
    early = rsbounds.certify_components(rows, top, noise=LAW, **HOLM)
    assert (early.certified <= found.certified).all()
    assert (
        early.certified >= (rsbounds.certify_components(rows, top, noise=LAW).radius >= 0.1)
    ).all()


def test_what_rows_say_is_kept(tmp_path):
    found = rsbounds.certify_components([[99, 1], [60, 40]], 0, noise=LAW, **HOLM)
    assert "all rows together (holm)" in str(found)
    for name in ("rows.tsv", "rows.jsonl"):
        found.write(tmp_path / name)
        assert rsbounds.Certificates.read(tmp_path / name).family == "holm"
    text = (tmp_path / "rows.tsv").read_text()
    assert '# family: "holm"' in text


BAD = [
    ({"family": "hochberg"}, "family is 'hochberg'; allowed: bonferroni, holm"),
    ({"family": "holm"}, "radius is None and tau is None; allowed with family 'holm': one"),
    ({"family": "holm", "radius": 0.1, "tau": 0.7}, "allowed with family 'holm': one of them"),
    ({"radius": 0.1}, "given with family 'bonferroni'"),
    ({"tau": 0.6}, "given with family 'bonferroni'"),
    ({"family": "holm", "radius": 0.0}, "radius is 0.0"),
    ({"family": "holm", "radius": np.inf}, "radius is inf"),
    ({"family": "holm", "radius": np.nan}, "radius is nan"),
    ({"family": "holm", "tau": 0.5}, "tau is 0.5"),
    ({"family": "holm", "tau": 1.0}, "tau is 1.0"),
    ({**HOLM, "method": "exact"}, "allowed with family 'holm': runner-up with a number"),
    ({**HOLM, "split": "optimal"}, "allowed with family 'holm': runner-up with a number"),
    ({"noise": None}, "noise is None; allowed: the law of one input"),
    ({"noise": rsbounds.Gaussian([0.1, 0.2])}, "allowed: the law of one input"),
    ({"alpha": 0}, "alpha is 0"),
    ({"alpha": 1e-300}, "alpha leaves"),
    ({"alpha": np.array([0.1, 0.1])}, "alpha is array"),
    ({"top": 2}, r"top\[0\] is 2"),
    ({"top": [0, 1, 0]}, "top has 3 entries"),
    ({"top": TopK(np.array([0, 0]), 2)}, "claim of|every class is"),
    ({"counts": [[5, 5], [0, 0]]}, "row 1 sums to 0"),
    ({"counts": [[5, 5], [1, -1]]}, r"counts\[1, 1\] is -1"),
    ({"counts": np.ones((2, 2, 2))}, "shape"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "message"), BAD)
def test_bad_input_is_named(change, message):
    given = {"counts": [[90, 10], [80, 20]], "top": 0, "noise": LAW, **change}
    with pytest.raises(ValueError, match=message):
        rsbounds.certify_components(given.pop("counts"), given.pop("top"), **given)


def test_counts_are_not_used_twice():
    rows = np.array([[50, 30, 20], [10, 50, 40]])
    for again in (rsbounds.select_top(rows), rsbounds.select_top(rows.copy()), Top([0, 1], rows)):
        with pytest.raises(ValueError, match=r"selection|selected"):
            rsbounds.certify_components(rows, again, noise=LAW)


def test_a_method_that_only_has_the_name_of_one_is_not_trusted_to_be_like_it():
    class Mine(Complement):
        name = "mine"

    with pytest.raises(ValueError, match="allowed with family 'holm'"):
        rsbounds.certify_components([[9, 1]], 0, noise=LAW, method=Mine(), **HOLM)


def test_the_command_line_says_what_the_library_says(tmp_path, capsys):
    file = tmp_path / "pixels.npz"
    counts, select = np.array([[95, 3, 2], [10, 60, 30]]), np.array([[9, 1, 0], [0, 8, 2]])
    np.savez(file, counts=counts, select=select)
    words = ["components", str(file), "--sigma", "0.5", "--json"]
    assert main(words) == 0
    said = json.loads(capsys.readouterr().out)
    expected = rsbounds.certify_components(counts, rsbounds.select_top(select), noise=LAW)
    assert [row["radius"] for row in said["rows"]] == expected.radius.tolist()
    assert said["summary"]["family"] == "bonferroni"
    assert main([*words, "--family", "holm", "--tau", "0.75"]) == 0
    said = json.loads(capsys.readouterr().out)["summary"]
    assert (said["family"], said["certified"]) == ("holm", 1)
    assert main([*words, "--family", "holm"]) == 2
    assert "one of them" in capsys.readouterr().err


def test_a_map_of_certified_components(tmp_path):
    from matplotlib.image import imread

    found = rsbounds.certify_components(
        [[99, 1], [60, 40], [2, 98], [1, 99], [99, 1], [98, 2]], [0, 0, 1, 1, 0, 0], noise=LAW
    )
    file = rsbounds.plot_components(found, (2, 3), path=tmp_path / "map.png", title="mine")
    assert imread(file).shape[2] == 4
    nothing = rsbounds.certify_components([[1, 1]], 0, noise=LAW)
    rsbounds.plot_components(nothing, (1, 1), path=tmp_path / "none.png")
    for shape in ((3, 3), (6,), (2, -3), (1, 2, 3), (2.0, 3.0)):
        with pytest.raises(ValueError, match="shape is"):
            rsbounds.plot_components(found, shape, path=tmp_path / "bad.png")
    with pytest.raises(ValueError, match="path"):
        rsbounds.plot_components(found, (2, 3), path=file)
