"""Numbers and pictures of the field: certified accuracy, ACR, methods side by side."""

from __future__ import annotations

from rsbounds.report.accuracy import average_certified_radius, certified_accuracy
from rsbounds.report.comparison import Comparison, ComparisonRow, compare
from rsbounds.report.components import plot_components
from rsbounds.report.figure import plot_certified_accuracy
from rsbounds.report.quantiles import plot_quantiles
from rsbounds.report.regions import plot_axes, plot_regions
from rsbounds.report.requirements import Verdict, check_requirements
from rsbounds.report.runs import RunReport, report_runs
from rsbounds.report.statements import (
    JointAccuracy,
    PopulationAccuracy,
    joint_accuracy,
    population_accuracy,
)

__all__ = [
    "Comparison",
    "ComparisonRow",
    "JointAccuracy",
    "PopulationAccuracy",
    "RunReport",
    "Verdict",
    "average_certified_radius",
    "certified_accuracy",
    "check_requirements",
    "compare",
    "joint_accuracy",
    "plot_axes",
    "plot_certified_accuracy",
    "plot_components",
    "plot_quantiles",
    "plot_regions",
    "population_accuracy",
    "report_runs",
]
