"""Resumable runs over data sets: a store that survives crashes, and what can be made of it.

A store is one SQLite file. Every finished input is one transaction with its selection and
estimation counts, so a run can be stopped anywhere, resumed by the same call, and bounded again
later with another method or alpha, without sampling.
"""

from __future__ import annotations

from rsbounds.runs.dataset import certify_dataset
from rsbounds.runs.driver import run_inputs
from rsbounds.runs.export import export_rows
from rsbounds.runs.rebounding import rebound
from rsbounds.runs.row import RunRow
from rsbounds.runs.store import RunStore, merge_stores, remove_store

__all__ = [
    "RunRow",
    "RunStore",
    "certify_dataset",
    "export_rows",
    "merge_stores",
    "rebound",
    "remove_store",
    "run_inputs",
]
