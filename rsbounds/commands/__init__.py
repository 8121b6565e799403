"""The command line: one file per group of subcommands.

`Command` has the contract. To add a subcommand: a file with a `Command`, and one
line here, or an entry point of the group ``rsbounds.commands`` in another package.
"""

from __future__ import annotations

from rsbounds.commands._base import COMMANDS, Command
from rsbounds.commands._program import main, run_program

COMMANDS.register("certify", "rsbounds.commands.counts:CERTIFY")
COMMANDS.register("top-k", "rsbounds.commands.counts:TOP_K")
COMMANDS.register("components", "rsbounds.commands.counts:COMPONENTS")
COMMANDS.register("compare", "rsbounds.commands.counts:COMPARE")
COMMANDS.register("plan", "rsbounds.commands.plan:PLAN")
COMMANDS.register("mean", "rsbounds.commands.mean:MEAN")
COMMANDS.register("quantile", "rsbounds.commands.quantile:QUANTILE")
COMMANDS.register("methods", "rsbounds.commands.methods:METHODS")
COMMANDS.register("check-plugin", "rsbounds.commands.check_plugin:CHECK_PLUGIN")
COMMANDS.register("rebound", "rsbounds.commands.runs:REBOUND")
COMMANDS.register("memory", "rsbounds.commands.memory:MEMORY")
COMMANDS.register("report", "rsbounds.commands.runs:REPORT")
COMMANDS.register("export", "rsbounds.commands.runs:EXPORT")
COMMANDS.register("demo", "rsbounds.commands.demo:DEMO")

__all__ = ["COMMANDS", "Command", "main", "run_program"]
