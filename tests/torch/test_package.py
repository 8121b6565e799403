import doctest
import importlib
import pkgutil
import types

import pytest

pytest.importorskip("torch")

import rsbounds_torch


def test_public_names_are_pinned():
    assert sorted(rsbounds_torch.__all__) == [
        "SampledCounts", "SmoothedClassifier", "certify_dataset", "lipschitz_upper_bound",
    ]  # fmt: skip


MODULES = ["model", "sampling", "lipschitz", "streams", "distributed", "data"]


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_the_docstrings_run(name):
    # Not left to pytest's collection, which would import torch where there is none.
    module = importlib.import_module(f"rsbounds_torch.{name}")
    assert doctest.testmod(module).failed == 0


def test_no_module_is_left_out():
    found = {m.name for m in pkgutil.iter_modules(rsbounds_torch.__path__)}
    assert set(MODULES) <= found


def test_every_public_method_documents_an_example():
    for name, value in vars(rsbounds_torch.SmoothedClassifier).items():
        if isinstance(value, types.FunctionType) and not name.startswith("_"):
            assert ">>>" in value.__doc__, f"{name} has no example"
            assert "Raises" in value.__doc__
