"""The pytest plugin: a false-alarm budget for the session, and a line in its summary.

pytest finds it by the entry point ``rsbounds`` of the group ``pytest11`` (or with
``-p rsbounds._pytest_plugin``). It loads nothing of rsbounds until a test asks for the fixture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from rsbounds.testing.budget import Assertions

_SESSION = pytest.StashKey["Assertions"]()
_COUNTED = pytest.StashKey[list[float]]()
_TEST = pytest.StashKey[str]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The budget as a setting, the seed as an option."""
    parser.addini(
        "rsbounds_false_alarm",
        "probability that any true claim fails an assertion of the fixture rsbounds_assertions",
        default="1e-6",
    )
    parser.getgroup("rsbounds").addoption(
        "--rsbounds-seed",
        type=int,
        default=None,
        metavar="N",
        help="seed of the statistical assertions, for the same trials again (default: fresh)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Settings out of range end the session before it begins."""
    given = config.getini("rsbounds_false_alarm")
    try:
        value = float(given)
    except ValueError:
        value = -1.0
    if not 1e-300 <= value < 1.0:
        raise pytest.UsageError(
            f"rsbounds_false_alarm is {given!r}; allowed: a number with 1e-300 <= value < 1"
        )
    seed = config.getoption("rsbounds_seed")
    if seed is not None and seed < 0:
        raise pytest.UsageError(f"--rsbounds-seed is {seed}; allowed: an integer >= 0")
    config.stash[_COUNTED] = [0, 0, 0.0]


def _session(config: pytest.Config) -> Assertions:
    """The session's budget; under pytest-xdist this worker's equal part of it."""
    if _SESSION not in config.stash:
        from rsbounds.testing.budget import Assertions

        workers = getattr(config, "workerinput", {}).get("workercount", 1)
        budget = float(config.getini("rsbounds_false_alarm")) / workers
        config.stash[_SESSION] = Assertions(budget, config.getoption("rsbounds_seed"))
        config.stash[_SESSION].enter(config.stash.get(_TEST, ""))
    return config.stash[_SESSION]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Seeds belong to the test, whatever ran before it."""
    item.config.stash[_TEST] = item.nodeid
    if _SESSION in item.config.stash:
        item.config.stash[_SESSION].enter(item.nodeid)


# One object for the session, so that fixtures of any scope and hypothesis may use it.
@pytest.fixture(scope="session")
def rsbounds_assertions(request: pytest.FixtureRequest) -> Assertions:
    """Statistical assertions that share one false-alarm budget over the whole session.

    `rsbounds.testing.Assertions`: probability_at_most, probability_at_least, mean_at_least,
    covers, same_distribution. The budget is the setting ``rsbounds_false_alarm`` (1e-6).
    """
    return _session(request.config)


def _count(config: pytest.Config) -> list[float]:
    counted = config.stash[_COUNTED]
    if _SESSION in config.stash:
        session = config.stash[_SESSION]
        own = (session.made, session.trials, session.spent)
        return [a + b for a, b in zip(counted, own, strict=True)]
    return counted


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker of pytest-xdist hands what it counted to the controller."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["rsbounds"] = _count(session.config)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: Any) -> None:
    """The controller adds up what its workers counted."""
    told = getattr(node, "workeroutput", {}).get("rsbounds", [0, 0, 0.0])
    counted = node.config.stash[_COUNTED]
    counted[:] = [a + b for a, b in zip(counted, told, strict=True)]


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """One line: assertions, trials, and the part of the budget that they spent."""
    made, trials, spent = _count(config)
    if made:
        terminalreporter.write_line(
            f"rsbounds: {made:.0f} statistical assertion{'s' * (made != 1)}, {trials:,.0f} "
            f"trials; false-alarm budget spent {spent:.3g} of "
            f"{float(config.getini('rsbounds_false_alarm')):g}"
        )
