"""A plug-in that said nothing counted as proven; a broken one broke every listing."""

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


def planted(monkeypatch, registry, **entries):
    """The registry with these entries beside two of its own, and nothing else."""
    kept = {"complement": "rsbounds.bounds.margin.complement:Complement"}
    monkeypatch.setattr(registry, "_targets", kept)
    monkeypatch.setattr(registry, "_found", True)
    monkeypatch.setattr(registry, "_loaded", entries)


@dataclass(frozen=True)
class Demanding(Silent):
    """With probability one the margin is at least -1; its option has no default."""

    name: ClassVar[str] = "demanding"
    level: float

    @property
    def guarantee(self):
        return "proven" if self.level > 0 else "none"


def failing(name, answer):
    def rows(self, problem):
        return answer(problem)

    return type(name, (Silent,), {"name": name, "guarantee": "proven", "rows": rows})


def test_compare_goes_on_where_one_method_fails(monkeypatch):  # a plug-in stopped all of it
    planted(
        monkeypatch,
        MARGIN_METHODS,
        boom=failing("boom", lambda problem: {"lower": [1 / 0]}),
        nothing=failing("nothing", lambda problem: {"lower": np.full(problem.n.size, np.nan)}),
        short=failing("short", lambda problem: {"lower": np.zeros(())}),
        demanding=Demanding,
        unsure=type("unsure", (Silent,), {"usable": classmethod(lambda cls: 1 / 0)}),
    )
    with pytest.warns(RuntimeWarning, match="left out") as warned:
        result = rsbounds.compare([[9, 1], [8, 2]], 0, noise=rsbounds.Gaussian(1.0))
    assert [row.method for row in result.rows] == ["complement"]
    said = " ".join(str(w.message) for w in warned)
    for name in ("'boom' failed (ZeroDivisionError", "'nothing'", "'short'", "'demanding'"):
        assert name in said
    assert "'unsure' failed (ZeroDivisionError" in said
    # What is wrong with the counts is no method's fault.
    with pytest.raises(ValueError, match=r"counts\[0, 0\] is -9"):
        rsbounds.compare([[-9, 1]], 0, noise=rsbounds.Gaussian(1.0), methods=["complement"])


def test_methods_lists_options_without_defaults(monkeypatch, capsys):
    unsure = type("unsure", (Silent,), {"usable": classmethod(lambda cls: 1 / 0)})
    planted(monkeypatch, MARGIN_METHODS, demanding=Demanding, unsure=unsure)
    assert main(["methods"]) == 0
    out = capsys.readouterr().out
    assert "demanding  (margin bound, guarantee: that of its options)" in out
    assert "level=must be given" in out
    assert main(["methods", "--json"]) == 0


def test_two_packages_with_one_name_are_reported(monkeypatch):
    from importlib.metadata import EntryPoint

    from rsbounds import _registry

    points = [
        EntryPoint("mine", target, "rsbounds.x")
        for target in ("one:Method", "one:Method", "two:Method")
    ]
    points.append(EntryPoint("own", "three:Method", "rsbounds.x"))
    monkeypatch.setattr(_registry, "entry_points", lambda group: points)
    registry = Registry("method", "rsbounds.x")
    registry.register("own", "here:Method")
    with pytest.warns(RuntimeWarning) as warned:
        assert registry.names() == ["own", "mine"]
    assert [str(w.message) for w in warned] == [
        "method 'mine' is one:Method (module one) and, in another package (module two), "
        "two:Method; the first is used",
        "method 'own' is here:Method (registered by here) and, in another package (module three), "
        "three:Method; the first is used",
    ]
    assert registry.names() == ["own", "mine"]


def test_every_registry_checks_what_it_is_given():
    from rsbounds.commands import COMMANDS
    from rsbounds.commands.methods import REGISTRIES
    from rsbounds.solvers import SOLVERS

    for registry in (MARGIN_METHODS, MEAN_METHODS, NOISES, SOLVERS, COMMANDS, REGISTRIES):
        for bad in (3, int, object()):
            with pytest.raises(ValueError, match=f"{registry.kind} 'no-such' is .*; allowed: a "):
                registry.register("no-such", bad)
        assert "no-such" not in registry
    pytest.importorskip("torch")
    from rsbounds_torch.optimizers import OPTIMIZERS, NoiseOptimizer
    from rsbounds_torch.training import LOSSES, TrainingLoss

    for registry, base in ((OPTIMIZERS, NoiseOptimizer), (LOSSES, TrainingLoss)):
        with pytest.raises(ValueError, match="does not declare name, source, cost, choose"):
            registry.register("no-such", type("Other", (base,), {}))
        assert registry.working() == registry.names()


def test_a_method_is_a_dataclass():
    class Bare(MarginMethod):
        name, source, cost, choose, guarantee = "bare", "nothing", "nothing", "never", "none"

        def rows(self, problem):
            return {}

    with pytest.raises(ValueError, match=r"'bare' \(Bare\) is no dataclass; allowed: a frozen"):
        MARGIN_METHODS.register("bare", Bare)


def test_an_object_with_the_name_of_another_is_refused():  # its results bore the other's name
    fake = type("Fake", (Silent,), {"name": "exact", "guarantee": "proven"})
    message = r"method is Fake, with the name 'exact' of another \(built in\); allowed: a name of"
    with pytest.raises(ValueError, match=message):
        rsbounds.certify([3, 1], 0, noise=rsbounds.Gaussian(1.0), method=fake())
    nameless = type("Nameless", (Silent,), {"name": ""})
    with pytest.raises(ValueError, match="method is Nameless, whose name is ''; allowed: a text"):
        rsbounds.certify([3, 1], 0, noise=rsbounds.Gaussian(1.0), method=nameless())
    hoeffding = MEAN_METHODS["hoeffding"]
    other = type("Other", (hoeffding,), {})
    with pytest.raises(ValueError, match="method is Other, with the name 'hoeffding' of another"):
        rsbounds.mean_bound([0.5, 1.0], alpha=0.1, method=other())
    assert rsbounds.mean_bound([0.5, 1.0], alpha=0.1, method=hoeffding()).method == "hoeffding"


def test_a_module_that_ends_the_program_ends_no_program(monkeypatch, tmp_path):
    (tmp_path / "a_script.py").write_text("raise SystemExit('usage: a_script FILE')\n")
    monkeypatch.syspath_prepend(tmp_path)
    registry = Registry("method", "rsbounds.no_such_group")
    registry.register("script", "a_script:Method")
    with pytest.raises(ValueError, match=r"a_script:Method \(SystemExit: usage: a_script FILE\)"):
        registry["script"]
    with pytest.warns(RuntimeWarning, match="left out: method 'script'"):
        assert registry.working() == []


def test_where_an_entry_comes_from():
    assert {MARGIN_METHODS.origin(name) for name in MARGIN_METHODS} == {"built in"}
    registry = Registry("method", "rsbounds.no_such_group")
    registry.register("silent", Silent)
    registry.register("lazy", "somewhere.else:Method")
    assert registry.origin("silent") == f"registered by {__name__}"
    assert registry.origin("lazy") == "registered by somewhere.else"
    with pytest.raises(ValueError, match="method is 'gone'; known: lazy, silent"):
        registry.origin("gone")


@pytest.mark.parametrize("scale", ["linear", "probit"])
def test_what_a_method_is_written_with(scale):
    from fractions import Fraction

    import mpmath

    from rsbounds.bounds.margin import Problem
    from rsbounds.claims import Top

    counts = np.array([[5, 2, 3], [0, 9, 1], [4, 4, 0]])
    claim = Top(np.array([0, 2, 1]))
    problem = Problem(counts, counts.sum(axis=1), claim, 0.01, scale)
    assert problem.top_counts.tolist() == [5, 1, 4]
    assert problem.other_counts.tolist() == [3, 9, 4]
    rng = np.random.default_rng(0)
    p_a, p_b = rng.beta(0.3, 0.3, (2, 400))
    p_a[:6], p_b[:6] = [0, 1, 0, 1, 0.5, 0.3], [0, 1, 1, 0, 0.5, np.nextafter(0.3, 0)]
    found = problem.margin(p_a, p_b)
    assert not np.isnan(found).any()

    def phi(p):
        with mpmath.workdps(40):
            low = (
                mpmath.mpf(min(p, 1 - Fraction(p)).numerator) / min(p, 1 - Fraction(p)).denominator
            )
            x = mpmath.sqrt(2) * mpmath.erfinv(2 * low - 1)
            return x if p <= Fraction(1, 2) else -x

    for low, a, b in zip(found[4:].tolist(), p_a[4:].tolist(), p_b[4:].tolist(), strict=True):
        if scale == "linear":
            exact = Fraction(a) - Fraction(b)
            assert Fraction(low) <= exact
            assert float(exact) - low <= 1e-15
        elif min(a, 1 - a, b, 1 - b) > 1e-30:
            exact = phi(Fraction(a)) - phi(Fraction(b))
            assert low <= exact
            assert exact - low <= 1e-13
    none = -1.0 if scale == "linear" else -np.inf
    assert found[2] == none
    with pytest.raises(ValueError, match=r"p_b\[1\] is 1.5; allowed: 0 to 1"):
        problem.margin([0.5, 0.5], [0.5, 1.5])


def test_what_a_method_returns_is_checked():
    ask = {"alpha": 0.1, "scale": "linear"}
    for answer, message in (
        (lambda problem: problem.n / 100, "bad: rows returned ndarray; allowed: a mapping with"),
        (lambda problem: {"upper": problem.n}, r"rows returned \['upper'\]; allowed: a mapping"),
        (lambda problem: {"lower": 0.0}, r"'lower' of shape \(\); allowed: .* \(2,\)"),
    ):
        with pytest.raises(ArithmeticError, match=message):
            rsbounds.margin_lower_bound([[3, 1], [2, 1]], 0, method=failing("bad", answer)(), **ask)
    short = type("Short", (MEAN_METHODS["hoeffding"],), {"name": "short"})
    short.lower = lambda self, y, alpha: y.mean()
    with pytest.raises(ArithmeticError, match=r"short: lower returned shape \(\); allowed: one"):
        rsbounds.mean_bound([0.5, 1.0], alpha=0.1, method=short())
