"""What a run does with each input: votes, scores, a decision, or as many looks as it is worth.

Contract
--------
A `Kind` is made from the settings of a run. A `FixedKind` draws from a `rsbounds.runs.Subject`; a
`StoppingKind` has a rule that says when an input has enough votes. Either certifies what was drawn,
says what a row of the store keeps besides counts (``evidence``), and certifies stored rows again.
A new kind is one file and one line in `KINDS`; the driver, the store, the ranks and the command
line know no kind by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rsbounds import _validate
from rsbounds.runs.kinds._base import Drawn, FixedKind, Kind, Settings, StoppingKind
from rsbounds.runs.kinds.adaptive import AdaptiveKind
from rsbounds.runs.kinds.decisions import DecideKind
from rsbounds.runs.kinds.scores import ScoresKind, Scoring
from rsbounds.runs.kinds.top_k import TopKKind
from rsbounds.runs.kinds.votes import VotesKind

__all__ = [
    "KINDS",
    "VOTES",
    "Drawn",
    "FixedKind",
    "Kind",
    "Scoring",
    "Settings",
    "StoppingKind",
    "kind_of_run",
]

#: The kind of stores and configurations that name none.
VOTES = VotesKind.name
KINDS: dict[str, type[Kind]] = {
    kind.name: kind for kind in (VotesKind, ScoresKind, DecideKind, AdaptiveKind, TopKKind)
}


def kind_of_run(config: Mapping[str, Any]) -> Kind:
    """The kind of a run with its settings, from its configuration.

    Raises
    ------
    ValueError
        A kind that is not there, or settings that are not its own.
    """
    # Stores of earlier versions, which all held votes, do not say so.
    name = config.get("kind", VOTES)
    _validate.choice("kind", name, tuple(KINDS))
    return KINDS[name](
        Settings(
            alpha=config["alpha"], method=config["method"], options=config["options"],
            n=config["n"], n0=config["n0"],
        )
    )  # fmt: skip
