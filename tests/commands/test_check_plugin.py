"""``rsbounds check-plugin``, as the author of a package uses it: one file and an entry point."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from rsbounds.bounds.margin import MARGIN_METHODS
from rsbounds.bounds.mean import MEAN_METHODS
from rsbounds.commands import main
from rsbounds.commands.methods import REGISTRIES
from rsbounds.noises import NOISES

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CORE = {"margin": MARGIN_METHODS, "mean": MEAN_METHODS, "noise": NOISES}


def example():
    """The README's file with a bound that is right and one that is not."""
    section = README.split("## Write your own bound in one file")[1]
    lines = re.search(r"```python\n(.*?)```", section, re.DOTALL).group(1).splitlines()
    code = [line[4:] for line in lines if line.startswith((">>> ", "... "))]
    return "\n".join(line for line in code if not line.startswith("check_margin_method")) + "\n"


MORE = '''
from rsbounds.bounds.mean import MeanMethod
from rsbounds.noises import Noise

class Unfinished(MarginMethod):
    name = "unfinished"

class NoMapping(EveryClass):
    """With probability one this is no bound at all."""
    name = "no-mapping"
    def rows(self, problem):
        return problem.top_counts / problem.n

@dataclass(frozen=True)
class Average(MeanMethod):
    """With probability one half or so, the mean is above the samples' mean."""
    name, guarantee, source = "average", "proven", "nothing at all"
    cost, choose = "one pass per row", "never: it is an example"
    def lower(self, y, alpha):
        return y.mean(axis=1) * (1 - 1e-12)

@dataclass(frozen=True, eq=False)
class Unvaried(Noise):
    """A law that says nothing to check it with."""
    width: float
    name, norm = "unvaried", "l1"
'''
POINTS = {
    "margin_bounds": "every-class=EveryClass normal=Normal unfinished=Unfinished "
    "no-mapping=NoMapping gone=Gone exact=EveryClass",
    "mean_bounds": "average=Average every-class=Average",
    "noises": "unvaried=Unvaried",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """What `pip install` leaves of that package: a module, and what its metadata announces."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "their_bounds.py").write_text(example() + MORE, encoding="utf-8")
    told = folder / "their_bounds-0.3.dist-info"
    told.mkdir()
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: their-bounds\nVersion: 0.3\n")
    text = ""
    for group, entries in POINTS.items():
        lines = [entry.replace("=", " = their_bounds:") for entry in entries.split()]
        text += "\n".join([f"[rsbounds.{group}]", *lines, ""])
    (told / "entry_points.txt").write_text(text)
    return folder


@pytest.fixture
def installed(site, monkeypatch):
    """The registries of the core, in a process that finds this package on its path."""
    monkeypatch.syspath_prepend(site)
    for registry in CORE.values():
        own = {name for name in registry._targets if name not in registry._points}
        targets = {name: registry._targets[name] for name in registry._targets if name in own}
        loaded = {name: entry for name, entry in registry._loaded.items() if name in own}
        for attribute, value in (
            ("_targets", targets), ("_loaded", loaded), ("_points", {}), ("_found", False)
        ):  # fmt: skip
            monkeypatch.setattr(registry, attribute, value)
    # Those of the core alone, whatever is installed beside it.
    kept = {role: f"{registry.group}:x" for role, registry in CORE.items()}
    monkeypatch.setattr(REGISTRIES, "_targets", kept)
    monkeypatch.setattr(REGISTRIES, "_loaded", dict(CORE))
    monkeypatch.setattr(REGISTRIES, "_found", True)
    yield
    sys.modules.pop("their_bounds", None)


def checked(capsys, *words):
    code = main(["check-plugin", *words, "--json"])
    out, said = capsys.readouterr()
    return code, json.loads(out) if out else None, said


def broken(found):
    return {one["check"]: one["error"] for one in found["checks"] if not one["passed"]}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_the_readmes_bounds_are_told_apart(installed, capsys):
    code, found, _ = checked(capsys, "every-class", "--role", "margin")
    assert (code, found["passed"], found["from"]) == (0, True, "their-bounds 0.3")
    assert len(found["checks"]) > 10
    code, found, _ = checked(capsys, "normal")
    assert (code, found["passed"], found["role"]) == (1, False, "margin")
    said = broken(found)
    assert "err with probability 0.97" in said["errs at most alpha by enumeration"]
    assert main(["check-plugin", "normal"]) == 1
    out = capsys.readouterr().out
    assert out.startswith("normal  (margin, their-bounds 0.3)\npassed  is loaded")
    assert "BROKEN  errs at most alpha by enumeration\n        linear: 23 draws at p" in out


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    ("name", "check", "message"),
    [
        ("unfinished", "is loaded", "does not declare source, cost, choose, guarantee, rows"),
        ("gone", "is loaded", "from their_bounds:Gone of their-bounds 0.3 (AttributeError"),
        ("no-mapping", "batch of one", "rows returned ndarray; allowed: a mapping with 'lower'"),
        ("average", "by enumeration", "2 votes with mean 0.03 err with probability 0.0591"),
        ("unvaried", "has variants", "Unvaried.variants is empty; allowed: parameters"),
    ],
)
def test_what_is_broken_is_named(installed, capsys, name, check, message):
    code, found, _ = checked(capsys, name)
    assert code == 1
    said = broken(found)
    (named,) = [one for one in said if check in one]
    assert message in said[named]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_bad_names_end_with_exit_code_2(installed, capsys):
    code, _, said = checked(capsys, "no-such")
    assert code == 2
    assert "NAME is 'no-such'; known: margin: exact, " in said
    code, _, said = checked(capsys, "every-class")
    assert code == 2
    assert "NAME is 'every-class', of several roles; allowed: --role margin|mean" in said
    code, _, said = checked(capsys, "goal", "--role", "maths")
    assert code == 2
    assert "--role is 'maths'; allowed: margin, mean, noise" in said


def test_no_plug_in_takes_a_name_from_the_library(installed, capsys):
    with pytest.warns(RuntimeWarning, match=r"built in\) and, in another package \(their-bounds"):
        MARGIN_METHODS.names()
    code, found, _ = checked(capsys, "complement")
    assert (code, found["from"]) == (0, "built in")
    assert MARGIN_METHODS["exact"].__module__ == "rsbounds.bounds.margin.exact"


def test_a_role_without_a_contract_says_so(installed, capsys, monkeypatch):
    from rsbounds._registry import Registry

    tools = Registry("tool", "rsbounds.no_such_group")
    tools.register("hammer", object())
    monkeypatch.setattr(REGISTRIES, "_targets", {**REGISTRIES._targets, "tool": "x:y"})
    monkeypatch.setattr(REGISTRIES, "_loaded", {**REGISTRIES._loaded, "tool": tools})
    code, _, said = checked(capsys, "hammer", "--role", "tool")
    assert code == 2
    assert "NAME is 'hammer', a tool; that role announces no contract" in said


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_what_needs_packages_that_are_not_there_says_so(installed, capsys, monkeypatch):
    monkeypatch.setattr(MARGIN_METHODS["signomial"], "usable", classmethod(lambda cls: False))
    assert main(["check-plugin", "signomial", "--role", "margin"]) == 1
    assert "method 'signomial' needs packages that are not" in capsys.readouterr().err


def test_every_role_of_the_adapter_is_checked(installed, capsys, monkeypatch):
    pytest.importorskip("torch")
    from rsbounds_torch.optimizers import OPTIMIZERS
    from rsbounds_torch.training import LOSSES

    roles = {"loss": LOSSES, "optimizer": OPTIMIZERS}
    monkeypatch.setattr(REGISTRIES, "_targets", dict.fromkeys(roles, "x:y"))
    monkeypatch.setattr(REGISTRIES, "_loaded", roles)
    code, found, _ = checked(capsys, "gaussian")
    assert (code, found["role"], found["from"]) == (0, "loss", "built in")
    assert "descends" in {one["check"] for one in found["checks"]}
    from rsbounds_torch.contracts import OPTIMIZER_CHECKS, optimizer_cases

    assert OPTIMIZERS.checks == "rsbounds_torch.contracts:optimizer_cases"
    cases = list(optimizer_cases(OPTIMIZERS["search"]))
    assert [case.check for case in cases] == list(OPTIMIZER_CHECKS)
    cases[0].run()


def test_a_broken_plug_in_of_any_group_costs_a_sentence_and_no_more(tmp_path, capsys, monkeypatch):
    from importlib.metadata import EntryPoint

    from rsbounds import _registry
    from rsbounds.commands import COMMANDS

    (tmp_path / "a_script.py").write_text("import sys\nsys.exit('usage: a_script FILE')\n")
    (tmp_path / "counts.tsv").write_text("label\tclass_0\tclass_1\n0\t95\t5\n")
    monkeypatch.syspath_prepend(tmp_path)

    def points(group):
        return [
            EntryPoint("gone", "no_such_module:X", group),
            EntryPoint("end", "a_script:X", group),
        ]

    monkeypatch.setattr(_registry, "entry_points", points)
    for registry in (*CORE.values(), COMMANDS):
        for attribute in ("_targets", "_loaded", "_points"):
            monkeypatch.setattr(registry, attribute, dict(getattr(registry, attribute)))
        monkeypatch.setattr(registry, "_found", False)
    file = str(tmp_path / "counts.tsv")
    assert main(["certify", file, "--sigma", "0.5", "--json"]) == 0
    out, said = capsys.readouterr()
    assert json.loads(out)["summary"]["certified"] == 1
    lines = said.splitlines()
    assert len(lines) == len(set(lines)) == 2
    assert (
        "left out: noise 'end' cannot be loaded from a_script:X of module a_script (SystemExit"
        in said
    )
    for registry in (MARGIN_METHODS, MEAN_METHODS):
        with pytest.warns(RuntimeWarning, match="left out"):
            assert "gone" not in registry.working()
    assert main(["end"]) == 2
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    assert "cannot be loaded: command 'gone'" in " ".join(capsys.readouterr().out.split())


def test_a_process_that_finds_the_package_uses_it(site):
    # From the metadata alone, as after an installation.
    code = (
        "import rsbounds\n"
        "from rsbounds.bounds.margin import MARGIN_METHODS\n"
        "found = rsbounds.certify([[90, 8, 2]], 0, noise=rsbounds.Gaussian(0.5),\n"
        "                         method='every-class')\n"
        "print(found.method, f'{found.radius[0]:.4f}', MARGIN_METHODS.origin('every-class'))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(site)])},
    )  # fmt: skip
    from scipy.stats import beta, norm

    share = 0.001 / 3
    margin = norm.ppf(beta.ppf(share, 90, 11)) - norm.ppf(beta.isf(share, 9, 92))
    assert done.stdout.split() == ["every-class", f"{0.25 * margin:.4f}", "their-bounds", "0.3"]
