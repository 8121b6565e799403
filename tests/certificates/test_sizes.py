"""Inscribed and proxy radii beside the radius, from the law to every form of the certificates."""

import dataclasses
import json

import numpy as np
import pytest

import rsbounds
from rsbounds.__main__ import main
from rsbounds.noises import DiagonalGaussian, DiagonalUniform, FullGaussian, LowRankGaussian, Noise

COUNTS = np.array([[990, 8, 2], [10, 985, 5], [400, 350, 250]])
TOP = [0, 1, 0]
MATRIX = np.array([[0.5, 0.3], [0.3, 0.5]])
SCALED = [
    DiagonalGaussian([0.2, 0.8]),
    DiagonalUniform([0.2, 0.8]),
    FullGaussian(MATRIX),
    LowRankGaussian([0.2, 0.2], np.sqrt([[0.6], [0.0]])),
    LowRankGaussian([0.8, 0.8], [[0.5, 0.0], [0.0, 0.5]], weights=[-2.4, 0.0]),
    # More laws than are turned into regions at a time.
    DiagonalGaussian(np.tile([0.2, 0.8], (3, 1)), batched=True),
    FullGaussian(np.stack([MATRIX] * 3)),
]


@pytest.mark.parametrize("law", SCALED, ids=str)
def test_every_law_of_these_axes_has_their_sizes(law):
    # Semi-axes of 0.2 and 0.8: the smaller one is inscribed, the proxy radius is that of 0.4.
    found = rsbounds.certify(COUNTS, TOP, noise=law)
    for name, axis in (("inscribed_radius", 0.2), ("proxy_radius", 0.4)):
        size = getattr(found, name)
        assert (size <= axis * found.radius * (1 + 1e-15)).all()
        assert size == pytest.approx(axis * found.radius, rel=1e-9)
        assert not size.flags.writeable
    region = law.region(found.margin_lower)
    assert (region.inscribed_radius() == found.inscribed_radius).all()
    assert (region.proxy_radius() == found.proxy_radius).all()
    assert found.abstained.tolist() == [False, False, True]
    assert found.proxy_radius[2] == found.inscribed_radius[2] == 0


@pytest.mark.parametrize(
    "law", [rsbounds.Gaussian(0.5), rsbounds.Uniform([1.0, 2.0, 3.0]),
            rsbounds.Lipschitz(1.0, FullGaussian(MATRIX))], ids=str,
)  # fmt: skip
def test_of_a_ball_they_are_its_radius(law):
    found = rsbounds.certify(COUNTS, TOP, noise=law)
    assert (found.inscribed_radius == found.radius).all()
    assert (found.proxy_radius == found.radius).all()
    other = dataclasses.replace(found, radius=0.5 * found.radius)
    assert (other.inscribed_radius == other.radius).all()
    assert "inscribed" not in str(found) + str(found[0])


class Shapeless(Noise):
    """Says neither its region nor its dimension."""

    name, norm, scale = "shapeless", "scaled l2", "probit"
    radius_per_margin = 0.5

    def multiplier(self, **parameters):
        return 1.0


def test_where_nobody_says_the_shape_nothing_is_invented(tmp_path):
    found = rsbounds.certify(COUNTS, TOP, noise=Shapeless())
    assert (found.radius[:2] > 0).all()
    assert np.isnan(found.inscribed_radius).all()
    assert found[0].proxy_radius is None
    assert next(found.records())["inscribed_radius"] is None
    assert found.mean_radii()["proxy_radius"] is None
    assert str(found).splitlines()[2].split()[3:5] == ["-", "-"]
    assert "inscribed" not in str(found).splitlines()[-2]
    for ending in ("tsv", "jsonl"):
        file = tmp_path / f"c.{ending}"
        found.write(file)
        assert np.isnan(rsbounds.Certificates.read(file).inscribed_radius).all()


@pytest.mark.parametrize("ending", ["tsv", "jsonl"])
def test_files_carry_them(ending, tmp_path):
    found = rsbounds.certify(COUNTS, TOP, noise=SCALED[2])
    file = tmp_path / f"c.{ending}"
    found.write(file)
    again = rsbounds.Certificates.read(file)
    assert (again.inscribed_radius == found.inscribed_radius).all()
    assert (again.proxy_radius == found.proxy_radius).all()
    assert again[1] == found[1]


def test_files_of_earlier_versions_have_none(tmp_path):
    from rsbounds import _tables

    for law, expected in ((rsbounds.Gaussian(0.5), "radius"), (SCALED[0], None)):
        found = rsbounds.certify(COUNTS, TOP, noise=law)
        names = [n for n in found._columns() if n not in ("inscribed_radius", "proxy_radius")]
        rows = [{name: row[name] for name in names} for row in found.records()]
        _tables.write(tmp_path / "c.tsv", found.header(), names, rows, tsv=True, force=True)
        again = rsbounds.Certificates.read(tmp_path / "c.tsv")
        assert (again.radius == found.radius).all()
        known = np.full(3, np.nan) if expected is None else found.radius
        np.testing.assert_array_equal(again.proxy_radius, known)


def test_tables_and_frames_show_them():
    pandas = pytest.importorskip("pandas")
    found = rsbounds.certify(COUNTS, TOP, noise=SCALED[2])
    lines = str(found).splitlines()
    assert lines[0].split() == ["input", "class", "radius", "inscribed", "proxy", "margin", "n"]
    assert lines[4].split()[2:5] == ["abstained", "-", "-"]
    means = found.mean_radii()
    assert f"inscribed l2 radius {means['inscribed_radius']:.3f}" in lines[5]
    assert f"proxy l2 radius {means['proxy_radius']:.3f}" in lines[5]
    assert "inscribed l2 radius 0.4041" in str(found[0])
    frame = found.to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert frame["proxy_radius"].tolist() == found.proxy_radius.tolist()
    assert (found[1:].inscribed_radius == found.inscribed_radius[1:]).all()


def test_json_on_the_command_line_has_them(tmp_path, capsys):
    table = tmp_path / "counts.tsv"
    table.write_text("990\t8\t2\n400\t350\t250\n")
    assert main(["certify", str(table), "--top", "0", "--sigma", "0.5", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["summary"]["mean_inscribed_radius"] == said["summary"]["mean_radius"] > 0
    assert said["rows"][0]["proxy_radius"] == said["rows"][0]["radius"]


@pytest.mark.parametrize("size", [np.inf, -1.0, [0.1, 0.1, 0.1]])
def test_sizes_that_cannot_be_are_refused(size):
    found = rsbounds.certify(COUNTS, TOP, noise=SCALED[2])
    with pytest.raises(ValueError, match="proxy_radius is"):
        dataclasses.replace(found, proxy_radius=np.broadcast_to(size, 3))


def test_adaptive_and_decided_certificates_have_them():
    law = FullGaussian(np.stack([MATRIX] * 3))
    test = rsbounds.Decide([0.5, 0.5, 0.5], TOP, noise=law)
    test.update(COUNTS)
    run = rsbounds.Adaptive(TOP, noise=law, looks=(1000,))
    run.update(COUNTS)
    for found in (test.certificates(), run.certificates()):
        assert (found.radius[:2] > 0).all()
        assert found.inscribed_radius == pytest.approx(0.2 * found.radius, rel=1e-9)
