"""The house rules that a program can read: imports, public names, start-up."""

import ast
import importlib
import inspect
import pydoc
import re
import shutil
import subprocess
import sys
import types
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import rsbounds

ROOT = Path(__file__).resolve().parent.parent

# Imports go up these lists only, and within one entry in no circle.
ORDER = {
    "rsbounds": [
        "_version", "_text", "_tables", "_registry", "_validate", "_types", "_parallel",
        "_kernels", "_numerics", "streams", "regions", "noises", "claims", "solvers", "bounds",
        "certificates", "sequential", "sampling", "_reading", "_files", "_sample_files", "runs",
        "report", "planning", "testing", "_pytest_plugin", "_demo", "commands", "__main__",
    ],
    "rsbounds_torch": [
        "_device", "_ranks", "sampling", "streams", "maps", "_modules", "_random", "_inputs",
        "_loop", "models", "_probe", "_batch_size", "data", "_sampler", "_outputs", "model",
        "regressor", "_singular", "lipschitz", "optimizers", "training", "contracts", "_subject",
        "distributed", "_demo", "_train_command", "commands", "__main__",
    ],
}  # fmt: skip
PUBLIC = """
Adaptive BoundedSamples Certificate Certificates CertifiedQuantiles Comparison CountSequence
Counts Decide Gaussian Guarantee Laplace Lipschitz MarginBound MarginSequence MarginTest MeanBound
MemoryClassifier NO_CLASS Plan Prediction Predictions RunStore Selection Uniform
average_certified_radius certified_accuracy certify certify_components certify_dataset
certify_quantile certify_soft certify_top_k clopper_pearson_interval clopper_pearson_lower
clopper_pearson_upper compare confidence_sequence geometric_looks hardmax lipschitz_radius
margin_lower_bound mean_bound plan plot_certified_accuracy plot_components plot_quantiles predict
rebound sample_counts sample_scores sample_until select_top soft_lipschitz soft_margin_bound
softmax sparsemax
"""


# Only these may use the public names of a package, through `import rsbounds`.
OUTERMOST = ("_demo", "commands", "__main__")


def files(root):
    """Module name of every source file: {'rsbounds.bounds.margin': path, ...}."""
    found = {}
    for package in ORDER:
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(path, known):
    """(module, line) of each import of a file, the longest module name that exists."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            both = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in known else node.module for name in both]
        else:
            continue
        for name in names:
            yield name, node.lineno


def faults(root):
    """What breaks the rules below ``root``, one sentence each."""
    known = files(root)
    graph = {name: set() for name in known}
    said = []
    for name, path in known.items():
        package, _, rest = name.partition(".")
        own = rest.split(".")[0]
        order = ORDER[package]
        if own and own not in order:
            said.append(f"{name} has no place in the order of imports")
            continue
        for target, line in imported(path, known):
            where = f"{name}:{line} imports {target}"
            head, _, tail = target.partition(".")
            if package == "rsbounds" and head in ("torch", "rsbounds_torch"):
                said.append(f"{where}: the core never imports torch")
            if head not in ORDER or not own:
                continue
            if not tail:
                if own not in OUTERMOST and head == package:
                    said.append(f"{where}: public names are for {', '.join(OUTERMOST)}")
                continue
            if target not in known:
                said.append(f"{where}: no such module")
                continue
            graph[name].add(target)
            other = tail.split(".")[0]
            if head == package and other in order and order.index(other) > order.index(own):
                said.append(f"{where}: an arrow back up")
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        said.append(f"imports in a circle: {' -> '.join(error.args[1])}")
    return said


def test_the_order_lists_what_is_there():
    for package, order in ORDER.items():
        there = {path.stem for path in (ROOT / package).glob("*.py")} - {"__init__"}
        there |= {path.parent.name for path in (ROOT / package).glob("*/__init__.py")}
        assert sorted(order) == sorted(there)


def test_imports_go_one_way_without_circles_and_never_to_torch():
    assert faults(ROOT) == []


@pytest.mark.parametrize(
    ("name", "line", "expected"),
    [
        ("rsbounds/_types/bounds.py", "import rsbounds", "public names are for"),
        ("rsbounds/_types/bounds.py", "from rsbounds import Gaussian", "public names are for"),
        ("rsbounds/noises/gaussian.py", "import rsbounds.certificates", "an arrow back up"),
        ("rsbounds/solvers/_base.py", "from rsbounds.runs import store", "an arrow back up"),
        ("rsbounds/runs/store.py", "import torch", "never imports torch"),
        ("rsbounds/commands/__init__.py", "import rsbounds_torch", "never imports torch"),
        ("rsbounds/runs/store.py", "import rsbounds.runs.driver", "in a circle"),
        ("rsbounds_torch/data.py", "import rsbounds_torch.distributed", "an arrow back up"),
        ("rsbounds_torch/data.py", "from rsbounds.nothing import x", "no such module"),
        ("rsbounds/newcomer.py", "", "has no place"),
    ],
)
def test_a_planted_fault_is_found(tmp_path, name, line, expected):
    for package in ORDER:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("*.nb*"))
    target = tmp_path / name
    target.parent.mkdir(exist_ok=True)
    # In a function: an import that is put off is an arrow all the same.
    text = target.read_text() if target.exists() else ""
    target.write_text(f"{text}\n\ndef planted():\n    {line or 'pass'}\n")
    said = faults(tmp_path)
    assert any(expected in sentence for sentence in said), said


def test_public_names_are_pinned():
    assert sorted(dir(rsbounds)) == sorted([*PUBLIC.split(), "__version__"])
    for name in dir(rsbounds):
        assert getattr(rsbounds, name) is not None
    with pytest.raises(AttributeError, match="No rsbounds attribute nothing"):
        rsbounds.nothing  # noqa: B018


def test_help_is_a_page():
    # Asked for the package, it printed every docstring: 3,300 lines.
    text = pydoc.plain(pydoc.render_doc(rsbounds))
    assert len(text.splitlines()) < 80
    assert "public names" in text
    # The names that the first lines speak of are there.
    named = re.findall(r"rsbounds\.(\w+)", rsbounds.__doc__)
    assert len(named) > 5
    assert set(named) <= set(dir(rsbounds))


SECTIONS = ("Parameters", "Returns", "Raises", "See Also", "Examples")


def sections(value):
    """Sections of a docstring, with those of the one that it refers to."""
    text = inspect.getdoc(value)
    found = set(re.findall(r"^(\w[\w ]*)\n-{3,}$", text, re.MULTILINE))
    for other in re.findall(r"errors(?: and [\w ]+)? are\s+those\s+of\s+`(\w+)`", text):
        found |= sections(getattr(rsbounds, other)) - {"See Also", "Examples"}
    return found


def test_every_public_function_has_every_section():
    functions = {
        name: value
        for name in dir(rsbounds)
        if isinstance(value := getattr(rsbounds, name), types.FunctionType)
    }
    assert len(functions) > 20
    lacking = {name: set(SECTIONS) - sections(value) for name, value in functions.items()}
    assert {name: missing for name, missing in lacking.items() if missing} == {}
    for name, value in functions.items():
        text = inspect.getdoc(value)
        assert ">>>" in text, f"{name} has no example"
        # Every argument is described, and nothing that is no argument.
        described = text.partition("Parameters\n")[2].partition("Returns\n")[0]
        named = {
            word.strip("*")
            for line in re.findall(r"^(\*{0,2}\w[\w, *]*?)(?: : .*)?$", described, re.MULTILINE)
            for word in line.split(", ")
        }
        if described:
            assert named == set(inspect.signature(value).parameters), name


# What rests on a theorem names it in full; every door says which doors are beside it.
SOURCED = """
Decide Gaussian Laplace Uniform average_certified_radius certified_accuracy certify certify_soft
clopper_pearson_lower confidence_sequence margin_lower_bound mean_bound predict select_top
soft_margin_bound sparsemax
"""
LINKED = f"""{SOURCED}
Adaptive Lipschitz certify_dataset compare rebound sample_counts sample_scores sample_until
"""


def test_the_main_docstrings_have_references_and_links():
    for section, names in (("References", SOURCED), ("See Also", LINKED)):
        missing = [n for n in names.split() if f"{section}\n" not in getattr(rsbounds, n).__doc__]
        assert missing == [], section
    # A link leads somewhere.
    for name in dir(rsbounds):
        text = (getattr(rsbounds, name).__doc__ or "").partition("See Also\n")[2]
        for line in text.splitlines()[1:]:
            if " : " not in line:
                break
            for link in line.split(" : ")[0].strip().split(", "):
                place, _, last = link.rpartition(".")
                assert hasattr(importlib.import_module(place), last), line


def test_import_loads_nothing_heavy():
    code = (
        "import sys, rsbounds; "
        "print([m for m in ('numpy', 'numba', 'scipy', 'matplotlib', 'sklearn', 'torch')"
        " if m in sys.modules])\n"
        # Half the time of a start, which the usual certificate does without.
        "rsbounds.certify([[9, 1]], 0, noise=rsbounds.Gaussian(0.5), method='runner-up')\n"
        "print('scipy.special' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["[]", "False"]


def test_core_works_without_torch_and_without_extras():
    code = (
        "import sys\n"
        "for name in ('torch', 'sklearn', 'matplotlib', 'cvxpy', 'skopt', 'pandas'):\n"
        "    sys.modules[name] = None\n"
        "import rsbounds\n"
        "c = rsbounds.certify([990, 8, 2], 0, noise=rsbounds.Gaussian(0.5))\n"
        "assert c.radius[0] > 0.9\n"
        "for call in (lambda: rsbounds.plot_certified_accuracy({'a': c}, path='x.png'),\n"
        "             c.to_pandas):\n"
        "    try:\n"
        "        call()\n"
        "    except ImportError as error:\n"
        "        print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "the figure needs matplotlib; install rsbounds[plot]",
        "to_pandas needs pandas; install rsbounds[all]",
    ]


def test_kernels_give_the_same_without_compilation():
    code = (
        "import rsbounds, json\n"
        "from rsbounds.bounds.margin import MARGIN_METHODS\n"
        "rows = [[50, 7, 3], [20, 20, 20], [60, 0, 0], [0, 59, 1], [1, 0, 0]]\n"
        "print(json.dumps([[rsbounds.margin_lower_bound(rows, 0, alpha=0.01, scale=s, method=m,\n"
        "    **o).lower.tolist() for s in ('linear', 'probit')]\n"
        "    for m in ('runner-up', 'complement', 'bonferroni', 't-certify')\n"
        "    for o in MARGIN_METHODS[m].variants]))\n"
    )
    outputs = []
    for disable in ("0", "1"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True, text=True, check=True,
            env={"PATH": "", "NUMBA_DISABLE_JIT": disable, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        outputs.append(done.stdout)
    import json

    import numpy as np

    compiled, plain = (np.array(json.loads(text)) for text in outputs)
    finite = np.isfinite(plain)
    assert (np.isfinite(compiled) == finite).all()
    np.testing.assert_allclose(compiled[finite], plain[finite], rtol=1e-12, atol=1e-14)


# Folders of tests that belong to no one package, and files about the whole repository.
GENERAL_FOLDERS = {"benchmarks", "contracts", "coverage", "known", "properties", "torch"}
GENERAL_FILES = {"test_compare", "test_layout", "test_mutants", "test_paper_checks"}


def test_the_tests_mirror_the_packages():
    astray = []
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        folder, name = path.relative_to(ROOT / "tests").parent, path.stem
        if folder.parts[:1] == ("torch",):
            there = (ROOT / "rsbounds_torch").joinpath(*folder.parts[1:]).is_dir()
        elif folder.parts:
            there = folder.parts[0] in GENERAL_FOLDERS or (ROOT / "rsbounds" / folder).is_dir()
        else:
            module = name.removeprefix("test_")
            own = [ROOT / "rsbounds" / f"{start}{module}" for start in ("", "_")]
            own += [path.with_suffix(".py") for path in own]
            there = name in GENERAL_FILES or any(path.exists() for path in own)
        if not there:
            astray.append(str(path.relative_to(ROOT)))
    assert astray == []


# Lines of a file and of a function; a function may be longer by its docstring, which is the
# contract with an example.
MAX_FILE, MAX_FUNCTION = 500, 60
LONG = {
    "rsbounds/bounds/margin/_inner.py:searched": "one story, from the plug-in to the proof",
    "rsbounds/bounds/margin/_orderings.py:restricted": "a kernel: cases of one optimum",
    "rsbounds/bounds/margin/_orderings.py:fill_boundary": "a kernel: one walk, a dozen numbers",
    "rsbounds/bounds/margin/_proof.py:prove": "a kernel: one walk over cells that wait",
    "rsbounds/bounds/mean/goal.py:_first_kept": "a kernel: lanes in step, one inner loop",
    "rsbounds/solvers/_trinomial.py:log_tail_upper": "a kernel: one sum with its error bounds",
    "rsbounds/solvers/_trinomial.py:chord_dip": "a kernel: one inequality, term by term",
    "rsbounds/solvers/bayes_opt.py:__call__": "one search, whose steps share its whole state",
}


def too_long(root):
    """{path or path:function: lines} of what is above the limits."""
    found = {}
    for package in ORDER:
        for path in sorted((root / package).rglob("*.py")):
            name, text = path.relative_to(root).as_posix(), path.read_text()
            lines = len(text.splitlines())
            if lines > MAX_FILE:
                found[name] = lines
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    documented = ast.get_docstring(node, clean=False)
                    lines = node.end_lineno - node.lineno + 1
                    lines -= len(documented.splitlines()) if documented else 0
                    if lines > MAX_FUNCTION:
                        found[f"{name}:{node.name}"] = lines
    return found


def test_files_and_functions_are_short_or_say_why_not():
    found = too_long(ROOT)
    assert {name: lines for name, lines in found.items() if name not in LONG} == {}
    assert sorted(set(LONG) - set(found)) == [], "short by now: take it off the list"


def test_a_long_function_is_found(tmp_path):
    (tmp_path / "rsbounds").mkdir()
    body = ["    x = 0"] * MAX_FUNCTION
    long = ["def long():", '    """Says', "    more.", '    """', *body]
    (tmp_path / "rsbounds" / "a.py").write_text("\n".join([*long, "", "def short():", *body[1:]]))
    assert too_long(tmp_path) == {"rsbounds/a.py:long": MAX_FUNCTION + 1}
    (tmp_path / "rsbounds" / "a.py").write_text("x = 0\n" * (MAX_FILE + 1))
    assert too_long(tmp_path) == {"rsbounds/a.py": MAX_FILE + 1}
