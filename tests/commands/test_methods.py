"""``rsbounds methods`` lists what any package announces; a broken registry breaks no other."""

import json
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

from rsbounds._registry import Registry
from rsbounds.bounds.mean import MEAN_METHODS
from rsbounds.commands import main
from rsbounds.commands.methods import REGISTRIES

ROOT = Path(__file__).resolve().parent.parent.parent
ANNOUNCED = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
    "entry-points"
]["rsbounds.registries"]
KEYS = ["name", "role", "guarantee", "options", "cost", "choose", "source", "installed", "from"]


CORE = ("margin", "mean", "noise", "solver")


@pytest.fixture
def announce(monkeypatch):
    """Registries beside those of the core, whatever is installed."""
    monkeypatch.setattr(REGISTRIES, "_found", True)
    own = {name: REGISTRIES._targets[name] for name in CORE}
    monkeypatch.setattr(REGISTRIES, "_loaded", {})

    def add(**targets):
        monkeypatch.setattr(REGISTRIES, "_targets", {**own, **targets})

    add()
    return add


def listed(capsys):
    assert main(["methods", "--json"]) == 0
    out, said = capsys.readouterr()
    rows = json.loads(out)
    assert all(list(row) == KEYS for row in rows)
    return {(row["role"], row["name"]): row for row in rows}, said


def test_the_core_lists_its_own(announce, capsys):
    rows, said = listed(capsys)
    assert said == ""
    assert {role for role, _ in rows} == {*CORE, "any-time mean"}
    assert {row["from"] for row in rows.values()} == {"built in"}
    assert rows["noise", "gaussian"]["choose"].startswith("Noise N(0, sigma^2 I); ")
    assert rows["margin", "runner-up"]["guarantee"] == "proven"
    assert rows["mean", "betting"]["options"] == {"cap": MEAN_METHODS["betting"]().cap}
    assert ("mean", "beta-binomial") not in rows
    assert rows["any-time mean", "beta-binomial"]["choose"]


def test_optimizers_and_losses_are_listed(announce, capsys):
    pytest.importorskip("torch")
    announce(**ANNOUNCED)
    rows, said = listed(capsys)
    assert said == ""
    from rsbounds_torch.optimizers import OPTIMIZERS
    from rsbounds_torch.training import LOSSES

    for role, registry in (("optimizer", OPTIMIZERS), ("loss", LOSSES)):
        assert {name for found, name in rows if found == role} == set(registry)
    row = rows["optimizer", "search"]
    assert (row["guarantee"], row["installed"]) == (None, True)
    assert row["options"]["steps"] == OPTIMIZERS["search"]().steps
    assert main(["methods"]) == 0
    out = capsys.readouterr().out
    assert "search  (optimizer)\n" in out
    assert "gaussian  (loss)\n" in out


@dataclass(frozen=True)
class Attack:
    """An entry of a role that nobody here has heard of."""

    cost, choose, source = "a pass", "never", "nothing"
    radius: float
    tries: int = 3


class Silent:
    """No dataclass, and says nothing."""


ATTACKS = Registry("attack", "tests.attacks")
ATTACKS.register("toy", Attack)
ATTACKS.register("silent", Silent)
NO_REGISTRY = ["toy"]


def test_another_package_announces_a_registry_and_a_broken_one_is_left_out(
    announce, capsys, monkeypatch, tmp_path
):
    (tmp_path / "broken_registries.py").write_text("import no_such_package_at_all\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "tests_of_methods", sys.modules[__name__])
    announce(
        attack="tests_of_methods:ATTACKS",
        broken="broken_registries:THINGS",
        odd="tests_of_methods:NO_REGISTRY",
    )
    rows, said = listed(capsys)
    row = rows["attack", "toy"]
    assert row["options"] == {"radius": "must be given", "tries": 3}
    assert (row["choose"], row["guarantee"]) == ("never", None)
    assert ("margin", "complement") in rows
    assert {role for role, _ in rows} == {*CORE, "any-time mean", "attack"}
    assert row["from"] == f"registered by {__name__}"
    assert "left out: registry 'broken' cannot be loaded from broken_registries:THINGS" in said
    assert "left out: registry 'odd' is ['toy']; allowed: a Registry" in said
    assert "left out: attack 'silent' (" in said
    assert len(said.splitlines()) == 3
    assert main(["methods"]) == 0
    assert "toy  (attack)\n    choose   never\n" in capsys.readouterr().out


def test_without_torch_the_rest_is_listed(announce, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    for name in [name for name in sys.modules if name.startswith("rsbounds_torch.")]:
        monkeypatch.delitem(sys.modules, name)
    announce(**ANNOUNCED)
    rows, said = listed(capsys)
    assert ("mean", "goal") in rows
    assert len(said.splitlines()) == 2
    assert "registry 'optimizer' cannot be loaded from rsbounds_torch.optimizers" in said
    assert "torch" in said


def test_the_entry_point_is_found(monkeypatch, capsys):
    from importlib.metadata import EntryPoint

    from rsbounds import _registry

    monkeypatch.setitem(sys.modules, "tests_of_methods", sys.modules[__name__])
    point = EntryPoint("attack", "tests_of_methods:ATTACKS", "rsbounds.registries")
    asked = []

    def points(group):
        asked.append(group)
        return [point] if group == "rsbounds.registries" else []

    monkeypatch.setattr(_registry, "entry_points", points)
    monkeypatch.setattr(REGISTRIES, "_found", False)
    monkeypatch.setattr(REGISTRIES, "_targets", {"margin": "rsbounds.bounds.margin:MARGIN_METHODS"})
    monkeypatch.setattr(REGISTRIES, "_loaded", {})
    rows, _ = listed(capsys)
    assert "rsbounds.registries" in asked
    assert ("attack", "toy") in rows
