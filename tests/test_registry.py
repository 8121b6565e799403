"""Item 17: a plug-in that said nothing counted as proven; a broken one broke every listing."""

import sys
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

import rsbounds
from rsbounds._registry import Registry
from rsbounds.bounds.margin import MARGIN_METHODS, MarginMethod
from rsbounds.bounds.mean import MEAN_METHODS, MeanMethod
from rsbounds.commands import main
from rsbounds.noises import NOISES, Noise


@dataclass(frozen=True)
class Silent(MarginMethod):
    """With probability one the margin is at least -1."""

    name: ClassVar[str] = "silent"
    source: ClassVar[str] = "nothing"
    cost: ClassVar[str] = "nothing"
    choose: ClassVar[str] = "never"

    def rows(self, problem):
        return {"lower": np.full(problem.n.size, -1.0 if problem.scale == "linear" else -np.inf)}


def test_what_says_nothing_is_not_proven():
    bound = rsbounds.margin_lower_bound([3, 1], 0, alpha=0.1, scale="linear", method=Silent())
    assert bound.guarantee == "none"
    assert MeanMethod.guarantee.fget(None) == "none"
    for registry in (MARGIN_METHODS, MEAN_METHODS):
        for name in registry:
            assert registry[name]().guarantee in ("proven", "enumerated")


def test_what_is_missing_is_named_at_registration():
    registry = Registry("method", "rsbounds.no_such_group")
    registry.require(MarginMethod, "name", "source", "cost", "choose", "guarantee")
    with pytest.raises(
        ValueError, match=r"'silent' \(Silent\) does not declare guarantee; allowed"
    ):
        registry.register("silent", Silent)
    bare = type("Bare", (MarginMethod,), {"name": "bare"})
    with pytest.raises(ValueError, match="not declare source, cost, choose, guarantee, rows"):
        registry.register("bare", bare)
    with pytest.raises(ValueError, match="a class below MarginMethod"):
        registry.register("number", 3)
    full = type("Full", (Silent,), {"guarantee": "proven"})
    with pytest.raises(ValueError, match="has the name 'silent'"):
        registry.register("full", full)
    registry.register("silent", full)
    assert registry.names() == ["silent"]
    with pytest.raises(ValueError, match=r"noise 'other' .* does not declare name, norm"):
        NOISES.register("other", type("Other", (Noise,), {}))


@pytest.fixture
def broken(monkeypatch, tmp_path):
    (tmp_path / "broken_plug_in.py").write_text("import no_such_package_at_all\n", encoding="utf-8")
    (tmp_path / "odd_plug_in.py").write_text("method = 3\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    for registry in (MARGIN_METHODS, MEAN_METHODS):
        added = {
            **registry._targets,
            "broken": "broken_plug_in:Method",
            "odd": "odd_plug_in:method",
            "gone": "odd_plug_in",
        }
        monkeypatch.setattr(registry, "_targets", added)
        monkeypatch.setattr(registry, "_loaded", dict(registry._loaded))
    yield
    sys.modules.pop("odd_plug_in", None)


def test_a_broken_plug_in_is_left_out_with_a_warning(broken, capsys):
    assert main(["methods"]) == 0
    out, said = capsys.readouterr()
    assert "complement" in out
    assert "'broken' cannot be loaded from broken_plug_in:Method (ModuleNotFoundError" in said
    assert "'odd' is 3; allowed: a class below MarginMethod" in said
    assert "'gone' cannot be loaded" in said
    with pytest.warns(RuntimeWarning, match="left out"):
        names = MEAN_METHODS.working()
    assert "goal" in names
    assert "broken" not in names
    with pytest.raises(ValueError, match="method 'broken' cannot be loaded"):
        rsbounds.certify([3, 1], 0, noise=rsbounds.Gaussian(1.0), method="broken")


def test_compare_leaves_it_out(broken, monkeypatch):
    # The slow part is beside the point here.
    kept = {k: MARGIN_METHODS._targets[k] for k in ("complement", "broken")}
    monkeypatch.setattr(MARGIN_METHODS, "_targets", kept)
    monkeypatch.setattr(MARGIN_METHODS, "_found", True)
    monkeypatch.setattr(MARGIN_METHODS, "_loaded", {})
    with pytest.warns(RuntimeWarning, match="left out: method 'broken'"):
        result = rsbounds.compare([[9, 1]], 0, noise=rsbounds.Gaussian(1.0))
    assert [row.method for row in result.rows] == ["complement"]
