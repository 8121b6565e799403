"""Resumable runs over data sets: a store that survives crashes, and what can be made of it.

A `RunPlan` says what is done with each input (votes, scores, a decision, adaptive looks:
`rsbounds.runs.kinds`), a `Subject` what the inputs and the model's answers are, and `run_inputs`
does it, whatever the model runs on. A store is one SQLite file. Finished
inputs are kept with what their certificates rest on, a group in one transaction, so a run can be
stopped anywhere, resumed by the same call, and, where the kind allows it, bounded again later with
another method or alpha, without sampling.
"""

from __future__ import annotations

from rsbounds.runs._sqlite import remove_store
from rsbounds.runs.dataset import certify_dataset
from rsbounds.runs.driver import RunSummary, run_inputs
from rsbounds.runs.export import export_rows
from rsbounds.runs.memory import MemoryStore, load_memory
from rsbounds.runs.plan import RunPlan
from rsbounds.runs.rebounding import rebound, stored_answers
from rsbounds.runs.remembering import remember
from rsbounds.runs.row import RunRow
from rsbounds.runs.store import RunStore, merge_stores
from rsbounds.runs.subject import Answers, Subject

__all__ = [
    "Answers",
    "MemoryStore",
    "RunPlan",
    "RunRow",
    "RunStore",
    "RunSummary",
    "Subject",
    "certify_dataset",
    "export_rows",
    "load_memory",
    "merge_stores",
    "rebound",
    "remember",
    "remove_store",
    "run_inputs",
    "stored_answers",
]
