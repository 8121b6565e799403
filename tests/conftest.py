"""Shared set-up: the optional data folder, and deterministic hypothesis."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "fixed", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("fixed")

# Scripts: `make bench`, `make mutants`.
collect_ignore = ["benchmarks", "mutants"]

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def data_folder() -> Path:
    given = os.environ.get("RSBOUNDS_DATA")
    folder = Path(given) if given else ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no data: set RSBOUNDS_DATA to a folder with the published counts and logs")
    return folder
