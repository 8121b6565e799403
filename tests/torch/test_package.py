import doctest
import importlib
import pkgutil
import pydoc
import types
from pathlib import Path

import pytest

pytest.importorskip("torch")

import rsbounds_torch


def test_public_names_are_pinned():
    assert sorted(dir(rsbounds_torch)) == [
        "SampledCounts", "SmoothedClassifier", "SmoothedRegressor", "certify_dataset",
        "lipschitz_upper_bound", "optimize_noise", "train",
    ]  # fmt: skip


def test_help_is_a_page():
    assert len(pydoc.render_doc(rsbounds_torch).splitlines()) < 60


MODULES = [m.name for m in pkgutil.walk_packages(rsbounds_torch.__path__, "rsbounds_torch.")]


@pytest.mark.parametrize("name", [name for name in MODULES if not name.endswith("__main__")])
def test_examples_of_the_docstrings_run(name):
    # Not left to pytest's collection, which would import torch where there is none.
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_no_module_is_left_out():
    root = Path(rsbounds_torch.__file__).parent
    files = {p for p in root.rglob("*.py") if p.name != "__init__.py"}
    packages = {p.parent for p in root.rglob("__init__.py")} - {root}
    assert len(MODULES) == len(files) + len(packages)


def test_every_public_method_documents_an_example():
    for name, value in vars(rsbounds_torch.SmoothedClassifier).items():
        if isinstance(value, types.FunctionType) and not name.startswith("_"):
            assert ">>>" in value.__doc__, f"{name} has no example"
            assert "Raises" in value.__doc__
