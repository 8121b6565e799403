"""Pictures of regions: what is drawn is what the regions are."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb

import rsbounds.report.regions as module
from rsbounds.noises import LowRankGaussian
from rsbounds.regions import Ball, CrossPolytope, Ellipsoid, LowRankEllipsoid
from rsbounds.report import plot_axes, plot_regions

TURN = np.array([[0.8, -0.6], [0.6, 0.8]])
REGIONS = {
    "isotropic": Ball([0.5], norm="l2"),
    "axes": Ellipsoid([1.0], axes=[0.5, 0.75]),
    "full": Ellipsoid([1.0], axes=[2.0, 0.5], rotation=TURN),
    "l1": CrossPolytope([1.0], axes=[0.5, 0.75]),
    "low rank": LowRankEllipsoid(
        [1.0], diagonal=[0.5, 0.5], factors=[[1.0], [0.5]], weights=[-0.3]
    ),
}


def three_classes(points):
    across = points @ TURN[:, 1]
    return np.where(across > 0.8, 1, np.where(across < -0.8, 2, 0))


@pytest.fixture
def drawn(monkeypatch):
    """The figure that would be written."""
    kept = []
    monkeypatch.setattr(module, "save", lambda figure, target: kept.append(figure) or target)
    return kept


def test_lines_are_the_edges_of_the_regions(drawn, tmp_path):
    centre = np.array([0.2, 0.1])
    plot_regions(REGIONS, centre, path=tmp_path / "r.png", classify=three_classes)
    (axes,) = drawn[0].axes
    *lines, cross = axes.get_lines()
    assert [line.get_label() for line in lines] == list(REGIONS)
    assert np.concatenate(cross.get_data()).tolist() == centre.tolist()
    for line, region in zip(lines, REGIONS.values(), strict=True):
        edge = np.transpose(line.get_data()) - centre
        many = region[[0] * len(edge)]
        assert many.contains(edge * (1 - 1e-9)).all()
        assert not many.contains(edge * (1 + 1e-9)).any()
        assert (edge[0] == edge[-1]).all()
    # The ground has the classes where the axes say.
    (image,) = axes.get_images()
    left, right, bottom, top = image.get_extent()
    colours = np.asarray(image.get_array())
    rows, columns = colours.shape[:2]
    for row, column in np.random.default_rng(0).integers(0, rows, (200, 2)):
        at = [left + (column + 0.5) / columns * (right - left),
              bottom + (row + 0.5) / rows * (top - bottom)]  # fmt: skip
        name = module._GROUND[int(three_classes(np.array([at]))[0])]
        assert colours[row, column].tolist() == (0.35 + 0.65 * np.array(to_rgb(name))).tolist()
    assert right - left == pytest.approx(2 * 1.3 * max(
        np.abs(np.transpose(line.get_data()) - centre).max() for line in lines))  # fmt: skip


def test_a_plane_through_a_larger_space(drawn, tmp_path):
    law = LowRankGaussian(np.full(5, 0.3), np.eye(5)[:, :1])
    centre = np.arange(5.0)
    seen = []

    def classify(points):
        seen.append(points)
        return (points[:, 3] > 3).astype(int)

    arguments = {"plane": (3, 0), "reach": 2.0, "resolution": 10, "classify": classify}
    plot_regions({"a": law.region([1.0])}, centre, path=tmp_path / "r.svg", **arguments)
    (points,) = seen
    assert points.shape == (100, 5)
    assert (points[:, [1, 2, 4]] == centre[[1, 2, 4]]).all()
    assert abs(points[:, [3, 0]] - centre[[3, 0]]).max() == pytest.approx(1.8)
    line = np.transpose(drawn[0].axes[0].get_lines()[0].get_data()) - centre[[3, 0]]
    assert line.max(axis=0) == pytest.approx(0.5 * np.array([0.3, 1.3]), rel=1e-3)


def test_files_are_written_once(tmp_path):
    file = plot_regions(REGIONS, [0.0, 0.0], path=tmp_path / "r.png", title="a title")
    assert file.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="which is there already"):
        plot_regions(REGIONS, [0.0, 0.0], path=file)
    images = np.zeros((2, 3, 4, 4))
    region = Ball([1.0, 0.0], norm="l2", dimension=48)
    plot_axes(images, region, path=file, channels="first", names=["a", 7], title="t", force=True)
    with pytest.raises(ValueError, match=r"allowed endings: \.png, \.svg, \.pdf"):
        plot_axes(images, region, path=tmp_path / "r.txt", channels="first")
    assert [path.name for path in tmp_path.iterdir()] == ["r.png"]


@pytest.mark.parametrize("channels", [None, "first", "last"])
def test_panels_show_each_pixels_reach(drawn, tmp_path, channels):
    shape = {None: (2, 3, 4), "first": (2, 2, 3, 4), "last": (2, 3, 4, 2)}[channels]
    images = np.random.default_rng(0).random(shape)
    widths = np.random.default_rng(1).uniform(0.1, 1.0, shape)
    region = Ellipsoid([0.5, 2.0], axes=widths.reshape(2, -1))
    plot_axes(images, region, path=tmp_path / "a.png", channels=channels)
    lower = [axes for axes in drawn[0].axes if "inscribed" in axes.get_xlabel()]
    axis = {None: None, "first": 0, "last": 2}[channels]
    scales = set()
    for i, (axes, radius) in enumerate(zip(lower, (0.5, 2.0), strict=True)):
        (image,) = axes.get_images()
        expected = radius * (widths[i] if axis is None else widths[i].max(axis=axis))
        np.testing.assert_allclose(image.get_array(), expected, rtol=1e-12)
        scales.add(image.get_clim())
        assert float(axes.get_xlabel().split()[-1]) <= radius * widths[i].min()
    assert len(scales) == 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: plot_regions({}, [0, 0], path=p), "regions is empty"),
        (lambda p: plot_regions(REGIONS, [0, np.nan], path=p), "centre is"),
        (lambda p: plot_regions(REGIONS, [0, 0, 0], path=p), "dimension 2; allowed: one, of dim"),
        (lambda p: plot_regions({"a": Ball([1, 2], norm="l2")}, [0, 0], path=p), "holds 2 regions"),
        (lambda p: plot_regions(REGIONS, [0, 0], path=p, reach=0.0), "reach is 0.0"),
        (
            lambda p: plot_regions(REGIONS, [0, 0], path=p, classify=lambda x: x),
            "classify returned",
        ),
        (lambda p: plot_axes(np.zeros((2, 4)), REGIONS["axes"], path=p), r"shape \(2, 4\)"),
        (lambda p: plot_axes(np.zeros((1, 1, 3)), REGIONS["axes"], path=p), "of dimension 2"),
        (
            lambda p: plot_axes(np.zeros((1, 1, 2)), REGIONS["axes"], path=p, names="ab"),
            "names has",
        ),
        (lambda p: plot_axes(np.zeros((1, 1, 2)), REGIONS["axes"], path=p, channels=1), "channels"),
    ],
)
def test_bad_arguments_are_named(call, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        call(tmp_path / "r.png")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ending", ["svg", "pdf", "png"])
def test_the_same_picture_is_the_same_bytes(tmp_path, monkeypatch, ending):
    # Dates, and names of clipping paths drawn at random, made each file another one.
    from rsbounds.report._drawing import new_figure, save

    made = []
    for time in ("1000000000", "1500000000"):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", time)
        figure = new_figure(2, 2)
        figure.subplots().plot([0, 1], [0, 2])
        made.append(save(figure, tmp_path / f"{time}.{ending}").read_bytes())
    assert made[0] == made[1]
