"""Plan a run before it costs anything: draws for a radius, radius for draws.

A plan is a forecast. It comes from a pilot (votes of a few draws, or a stored run) or from class
probabilities that are simply assumed, and certifies nothing. What is certified later rests on
draws of its own: `Plan.check_fresh` refuses those that the pilot has used.
"""

from __future__ import annotations

from rsbounds.planning.figure import plot_plan
from rsbounds.planning.forecast import Plan, plan

__all__ = ["Plan", "plan", "plot_plan"]
