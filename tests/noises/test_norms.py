"""Gaussian noise certified in other norms: radii, what is refused, and what is kept apart."""

import json

import numpy as np
import pytest
from mpmath import mp, mpf

import rsbounds
from rsbounds.commands import main
from rsbounds.noises import distances, noise_from_dict
from rsbounds.testing import assert_error_rate

A = np.array([1.0, -0.5, 0.2])
DUAL = {"l2": np.linalg.norm(A), "linf": np.abs(A).sum(), "l1": np.abs(A).max()}


def law_in(norm, sigma=0.3, **more):
    return rsbounds.Gaussian(sigma, norm=norm, dimension=3 if norm == "linf" else None, **more)


def vote(batch):
    return (batch @ A > 0).astype(int)


@pytest.mark.parametrize("dimension", [1, 3, 784, 150_528])
def test_the_ball_inside_of_the_ball_is_rounded_down(dimension):
    law = rsbounds.Gaussian(0.25, norm="linf", dimension=dimension)
    for margin in (1e-9, 0.3, 1.0, 7.0):
        exact = mpf(0.25) / 2 * mpf(margin) / mp.sqrt(dimension)
        assert 0 <= exact - mpf(float(law.radius(margin))) <= 1e-14 * exact
        assert rsbounds.Gaussian(0.25, norm="l1").radius(margin) == rsbounds.Gaussian(0.25).radius(
            margin
        )


@pytest.mark.parametrize("lattice", [None, 1 / 255])
@pytest.mark.parametrize("norm", ["l2", "linf", "l1"])
def test_certified_radii_keep_within_the_class(norm, lattice):
    # A half-space a x > 0: the distance to its edge is |a x| over the dual norm of a. Inputs are
    # off the lattice. 300 inputs at alpha 0.05; a right library fails with probability 1e-9.
    law = law_in(norm, lattice=lattice)
    x = np.random.default_rng(5).uniform(-0.6, 0.6, (300, 3))
    arguments = {"noise": law, "num_classes": 2, "seed": 4}
    select = rsbounds.sample_counts(vote, x, n=50, role="select", **arguments)
    estimate = rsbounds.sample_counts(vote, x, n=400, **arguments)
    found = rsbounds.certify(estimate, rsbounds.select_top(select), noise=law, alpha=0.05)
    wrong = ~found.abstained & (
        (found.top != vote(x)) | (found.radius > np.abs(x @ A) / DUAL[norm])
    )
    assert_error_rate(int(wrong.sum()), 300, 0.05, false_alarm=1e-9)
    assert found.norm == norm
    assert f"mean {norm} radius" in str(found)
    assert found.certified.mean() > 0.5
    # The same draws, whatever the norm: counts serve all of them.
    plain = rsbounds.sample_counts(
        vote, x, n=400, noise=law_in("l2", lattice=lattice), num_classes=2, seed=4
    )
    assert (plain.values == estimate.values).all()


def test_the_l_inf_radius_is_attained_by_the_classifier_along_the_diagonal():
    # 1[x_1 + ... + x_d > 0] at a point of distance t: p_A = Phi(t sqrt(d) / sigma).
    d, sigma, t = 10, 0.5, 0.2
    p = float(mp.ncdf(mpf(t) * mp.sqrt(d) / mpf(sigma)))
    law = rsbounds.Gaussian(sigma, norm="linf", dimension=d)
    assert float(law.radius_of_pair(p, 1 - p)) == pytest.approx(t, rel=1e-9)


def test_sequential_rules_and_regions_are_in_the_norm():
    law = law_in("linf")
    radius = 0.1
    test = rsbounds.Decide(radius, 0, noise=law)
    while test.active.any():
        test.update([95, 4, 1])
    done = test.certificates()
    assert done.norm == "linf"
    assert done.radius == pytest.approx([radius], rel=1e-13)
    ball = law.region([2.0])
    edge = float(ball.radius[0])
    assert ball.contains([[edge * 0.999] * 3])[0]
    assert not ball.contains([[edge * 1.001, 0.0, 0.0]])[0]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"norm": "linf"}, "dimension is not given, and norm is 'linf'; allowed: how many numbers"),
        ({"norm": "linf", "dimension": 0}, "dimension is 0"),
        ({"norm": "linf", "dimension": 2.5}, "dimension is 2.5"),
        ({"norm": "linf", "dimension": True}, "dimension is True"),
        ({"norm": "l1", "dimension": 3}, "dimension is 3, and norm is 'l1'; allowed: with norm="),
        ({"dimension": 3}, "dimension is 3, and norm is 'l2'"),
        ({"norm": "l0"}, "norm is 'l0'; allowed: l2, linf, l1"),
        ({"norm": None}, "norm is None"),
    ],
)
def test_norms_that_cannot_be_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        rsbounds.Gaussian(0.25, **given)


def test_inputs_of_another_size_are_refused():
    # In more dimensions the radius would be too large.
    law = law_in("linf")
    x = np.zeros((2, 4))
    with pytest.raises(ValueError, match=r"inputs have 4 numbers with noise gaussian.*allowed: 3"):
        rsbounds.sample_counts(vote, x, noise=law, n=10, num_classes=2)
    with pytest.raises(ValueError, match="inputs have 4 numbers"):
        rsbounds.sample_counts(vote, x, noise=rsbounds.Lipschitz(1.0, law), n=10, num_classes=2)
    torch = pytest.importorskip("torch")
    import rsbounds_torch

    classifier = rsbounds_torch.SmoothedClassifier(torch.nn.Linear(4, 2), num_classes=2, noise=law)
    with pytest.raises(ValueError, match="inputs have 4 numbers"):
        classifier.certify(torch.zeros(1, 4), n=10)


def test_a_law_is_known_with_its_norm_and_without_one_as_before():
    law = law_in("linf", lattice=1 / 255)
    assert str(law) == "gaussian(sigma=0.3, lattice=1/255, norm=linf, dimension=3)"
    assert noise_from_dict(json.loads(json.dumps(law.to_dict()))) == law
    assert law.scaled(2.0) == law_in("linf", 0.6, lattice=1 / 255)
    assert law.in_floats() == law_in("linf")
    assert rsbounds.Gaussian(0.3, norm="l2").to_dict() == {"name": "gaussian", "sigma": 0.3}
    assert law_in("l1") != law_in("l2")


def test_a_store_of_one_norm_is_not_gone_on_with_in_another(tmp_path):
    x, store = np.array([[0.9, 0.1, 0.0], [0.0, 0.5, 0.1]]), tmp_path / "run.sqlite"

    def run(norm):
        return rsbounds.certify_dataset(
            vote, x, [1, 0], n=500, noise=law_in(norm), num_classes=2, store=store, seed=3,
            progress=False,
        )  # fmt: skip

    found = run("linf")
    with pytest.raises(ValueError, match="noise"):
        run("l2")
    with rsbounds.RunStore(store) as held:
        again = rsbounds.rebound(held)
    assert (again.norm, again.radius.tolist()) == ("linf", found.radius.tolist())
    found.write(tmp_path / "rows.tsv")
    back = rsbounds.Certificates.read(tmp_path / "rows.tsv")
    assert (back.norm, back.law) == ("linf", law_in("linf").on_lattice().to_dict())


def test_the_command_line_asks_for_the_dimension(tmp_path, capsys):
    file = tmp_path / "counts.csv"
    file.write_text("class_0,class_1,label\n900,100,0\n")
    arguments = ["certify", str(file), "--top", "label", "--sigma", "0.5", "--norm", "linf"]
    assert main(arguments) == 2
    assert "dimension is not given, and norm is 'linf'" in capsys.readouterr().err
    assert main([*arguments, "--dimension", "784", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)["summary"]
    assert said["norm"] == "linf"
    assert said["noise"] == "gaussian(sigma=0.5, norm=linf, dimension=784)"
    assert main([*arguments, "--dimension", "78.5"]) == 2
    assert "dimension is 78.5" in capsys.readouterr().err
    assert main([*arguments[:-1], "l7", "--json"]) == 2
    assert "norm is 'l7'; allowed: l2, linf, l1" in capsys.readouterr().err


def test_distances_in_the_largest_coordinate_are_rounded_up():
    x = np.array([[0.5, 0.2, 1.0]])
    away = float(distances(x, 1 / 256, "linf")[0])
    assert 0.2 * 256 - 51 <= away * 256 <= (0.2 * 256 - 51) * (1 + 1e-6) + 1e-5
    assert away <= float(distances(x, 1 / 256, "l2")[0])
