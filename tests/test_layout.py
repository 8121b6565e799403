"""The house rules that a program can read: imports, public names, start-up."""

import ast
import subprocess
import sys
import types
from pathlib import Path

import pytest

import rsbounds

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "rsbounds"

# Imports go up this list only.
ORDER = [
    "_text", "_types", "_validate", "_registry", "_parallel", "_numerics", "solvers", "noises",
    "bounds", "sequential", "certificates", "sampling", "runs", "report", "testing", "_files",
    "_demo", "cli", "__main__",
]  # fmt: skip

PUBLIC = """
Adaptive BoundedSamples Certificate Certificates Comparison CountSequence Counts Decide Gaussian
Guarantee Lipschitz MarginBound MeanBound Predictions RunStore Selection Uniform
average_certified_radius certified_accuracy certify certify_dataset certify_soft
clopper_pearson_interval clopper_pearson_lower clopper_pearson_upper compare confidence_sequence
geometric_looks hardmax lipschitz_radius margin_lower_bound mean_bound plot_certified_accuracy
predict rebound sample_counts sample_scores sample_until select_top
soft_lipschitz soft_margin_bound softmax sparsemax
"""


def modules():
    return sorted(PACKAGE.rglob("*.py"))


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
            yield node.module


def place(name):
    return ORDER.index(name) if name in ORDER else None


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_one_way_and_never_to_torch(path):
    relative = path.relative_to(PACKAGE)
    own = relative.parts[0].removesuffix(".py")
    for name in imported(path):
        assert name.split(".")[0] not in ("torch", "rsbounds_torch"), f"{path} imports {name}"
        parts = name.split(".")
        if parts[0] != "rsbounds" or len(parts) < 2 or own == "__init__":
            continue
        if place(parts[1]) is None:
            # A public name from the top level: only the outermost layers may use it.
            assert own in ("_demo", "cli", "__main__"), f"{path} imports {name}"
            continue
        assert place(own) is not None, f"{own} has no place in the order of imports"
        assert place(parts[1]) <= place(own), f"{path} imports {name}, which is above it"


def test_public_names_are_pinned():
    assert sorted(rsbounds.__all__) == PUBLIC.split()
    for name in rsbounds.__all__:
        assert getattr(rsbounds, name) is not None
        assert name in dir(rsbounds)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        rsbounds.nothing  # noqa: B018


def test_every_public_callable_documents_an_example():
    for name in rsbounds.__all__:
        value = getattr(rsbounds, name)
        if isinstance(value, types.FunctionType):
            assert ">>>" in value.__doc__, f"{name} has no example"
            assert "Parameters" in value.__doc__ or "are those of" in value.__doc__


def test_import_loads_nothing_heavy():
    code = (
        "import sys, rsbounds; "
        "print([m for m in ('numpy', 'numba', 'scipy', 'matplotlib', 'sklearn', 'torch')"
        " if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


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
