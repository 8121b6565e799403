"""Certified accuracy at given radii, with what is not known: tables and a figure of decisions."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rsbounds import _text
from rsbounds.report._drawing import checked_path, new_figure, save
from rsbounds.runs import RunStore, stored_answers
from rsbounds.runs.kinds import kind_of_run
from rsbounds.runs.rebounding import stored_labels

#: Shares of a bar, from the bottom: key of a line, words, colour.
_BANDS = (
    ("accuracy", "certified", "#2a7f62"),
    ("wrong", "certified, wrong class", "#b5433c"),
    ("undecided", "undecided", "#c9c9c9"),
    ("futile", "given up", "#e4e0d0"),
    ("no", "radius is smaller, proven", "#8da3bf"),
)


def answer_lines(store: RunStore) -> list[dict[str, Any]]:
    """What a run of decisions says of each of its radii.

    With probability at least 1 - alpha, for each input on its own, none of its "yes" is wrong
    (`rsbounds.sequential.Ladder`); ``accuracy`` is then a share of inputs as in
    `rsbounds.certified_accuracy`, and could grow by ``undecided`` and ``futile`` with more
    draws, never fall.

    Parameters
    ----------
    store : RunStore
        Of a run with ``decide``, with at least one input.

    Returns
    -------
    list of dict
        For each radius: ``radius``; ``inputs``; ``yes``, ``no``, ``futile``, ``undecided``, how
        many inputs have that answer; ``correct``, those with "yes" for the class that is their
        label (all of them, where there are no labels); the shares ``accuracy`` of correct ones
        and ``unknown`` of inputs that are undecided or given up; ``draws``, the mean over
        all inputs of the run (at all radii together), the selection sample included.

    Raises
    ------
    ValueError
        A run of another kind, or an empty store.
    """
    told, labels, rows = stored_answers(store), stored_labels(store), list(store.rows())
    top = np.array([row.top for row in rows])
    right = np.ones(len(rows), dtype=bool) if labels is None else top == labels
    draws = sum(row.n0 + row.n for row in rows) / len(rows)
    lines = []
    for radius, answers in zip(_radii(store), told.T, strict=True):
        counts = {
            word: int((answers == word).sum()) for word in ("yes", "no", "futile", "undecided")
        }
        correct = int(((answers == "yes") & right).sum())
        lines.append(
            {
                "radius": radius, "inputs": len(rows), **counts, "correct": correct,
                "accuracy": correct / len(rows),
                "unknown": (counts["futile"] + counts["undecided"]) / len(rows),
                "draws": draws,
            }
        )  # fmt: skip
    return lines


def _radii(store: RunStore) -> list[float]:
    return list(kind_of_run(store.config).options["radius"])


def answers_table(lines: Sequence[Mapping[str, Any]]) -> str:
    """The lines of `answer_lines`, of one run or (with their ``run``) of several, as a table."""
    named = ["run"] if "run" in lines[0] else []
    header = [*named, "radius", "certified accuracy", "unknown"]
    header += ["yes", "no", "given up", "undecided", "draws per input"]
    body = [
        [
            *(line[name] for name in named), f"{line['radius']:g}",
            _text.share(line["accuracy"], line["inputs"]),
            _text.share(line["unknown"], line["inputs"]),
            *(str(line[word]) for word in ("yes", "no", "futile", "undecided")),
            f"{line['draws']:.0f}",
        ]
        for line in lines
    ]  # fmt: skip
    return _text.table(header, body)


def plot_answers(
    lines: Sequence[Mapping[str, Any]],
    *,
    path: str | os.PathLike[str],
    title: str | None = None,
    force: bool = False,
) -> Path:
    """Certified accuracy at each radius as a bar, with the shares of what is not certified.

    Parameters
    ----------
    lines : sequence of mappings
        Of one run, from `answer_lines`.
    path : str or path
        File to write; ``.png``, ``.svg`` or ``.pdf``.
    title : str, optional
        Title of the plot.
    force : bool
        Replace an existing file.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    ValueError
        Another file type, or a file that is there already (without ``force``).
    ImportError
        matplotlib is missing: install ``rsbounds[plot]``.
    """
    target = checked_path(path, force=force)
    figure = new_figure(max(4.5, 1.2 + 0.8 * len(lines)), 4.2)
    axes = figure.subplots()
    at = np.arange(len(lines))
    bottom = np.zeros(len(lines))
    for key, words, colour in _BANDS:
        share = np.array([_share(line, key) for line in lines])
        if share.any():
            axes.bar(at, share, 0.8, bottom=bottom, color=colour, label=words)
        bottom = bottom + share
    axes.set_xticks(at, [f"{line['radius']:g}" for line in lines])
    axes.set_ylim(0.0, 1.0)
    axes.set_xlabel("radius")
    axes.set_ylabel("share of inputs")
    axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=3)
    if title:
        axes.set_title(title, fontsize=10)
    return save(figure, target)


def _share(line: Mapping[str, Any], key: str) -> float:
    if key == "accuracy":
        return float(line["accuracy"])
    count = line["yes"] - line["correct"] if key == "wrong" else line[key]
    return float(count / line["inputs"])
