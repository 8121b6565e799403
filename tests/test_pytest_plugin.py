"""The pytest plugin, in sessions of its own."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

PLUGIN = ("-p", "rsbounds._pytest_plugin")
GOOD = """
    def event(rng):
        return rng.random(50) < 0.01

    def test_one(rsbounds_assertions):
        rsbounds_assertions.probability_at_most(event, 0.05)
        rsbounds_assertions.probability_at_least(lambda rng: rng.random(9) < 0.99, 0.9)

    def test_two(rsbounds_assertions):
        rsbounds_assertions.mean_at_least(lambda rng: rng.beta(20, 2, size=20), 0.8)
        rsbounds_assertions.covers(
            lambda k: k / 40 - 0.4, lambda rng: rng.binomial(20, 0.5, 99), 0.5, 0.05)
        rsbounds_assertions.same_distribution(
            lambda rng: rng.random(50), lambda rng: rng.random(50), max_trials=500)
"""


@pytest.fixture(autouse=True, scope="module")
def loaded():
    """Load what the sessions need: pytester forgets modules, and numba cannot come twice."""
    import scipy.stats  # noqa: F401

    from rsbounds.testing import Assertions, exact_coverage

    assertions = Assertions(seed=0)
    assertions.probability_at_most(lambda rng: rng.random(50) < 0.01, 0.05)
    assertions.mean_at_least(lambda rng: rng.random(50), 0.1)
    assertions.covers(lambda k: 0.0 * k, lambda rng: rng.random(9), 0.5, 0.05)
    assertions.same_distribution(
        lambda rng: rng.random(50), lambda rng: rng.random(50), max_trials=500
    )
    exact_coverage(lambda k: 0.0 * k, 20)


def plugin_of(config):
    """Arguments that load the plugin where the installed package does not announce it."""
    return () if config.pluginmanager.has_plugin("rsbounds") else PLUGIN


def spent_by(result):
    line = next(line for line in result.outlines if line.startswith("rsbounds: "))
    made, trials, spent, budget = re.fullmatch(
        r"rsbounds: (\d+) statistical assertions?, ([\d,]+) trials; false-alarm budget spent "
        r"(\S+) of (\S+)", line
    ).groups()  # fmt: skip
    return int(made), int(trials.replace(",", "")), float(spent), float(budget)


def test_one_budget_and_one_line(pytester, request):
    pytester.makepyfile(GOOD)
    result = pytester.runpytest(*plugin_of(request.config), "-q")
    result.assert_outcomes(passed=2)
    made, trials, spent, budget = spent_by(result)
    assert (made, budget) == (5, 1e-6)
    assert trials > 500
    assert spent == pytest.approx(1e-6 * sum(100 / ((k + 99) * (k + 100)) for k in range(1, 6)),
                                  rel=1e-2)  # fmt: skip


def test_nothing_is_said_or_loaded_where_nothing_is_asserted(pytester, request):
    pytester.makepyfile("def test(): pass")
    result = pytester.runpytest(*plugin_of(request.config))
    result.stdout.no_fnmatch_line("*rsbounds:*statistical*")
    code = (
        "import sys, rsbounds._pytest_plugin; "
        "print([m for m in ('numpy', 'numba', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_failure_shows_the_test_and_the_message_and_no_library_source(pytester, request):
    pytester.makepyfile("""
        import numpy as np
        from rsbounds.testing import assert_probability_at_most, exact_coverage, margin_coverage

        def test_fixture(rsbounds_assertions):
            rsbounds_assertions.covers(
                lambda k: k / 20, lambda rng: rng.binomial(20, 0.5, 9), 0.5, 0.05)

        def test_function():
            assert_probability_at_most(lambda rng: rng.random() < 0.5, 0.05)

        def test_exact():
            exact_coverage(lambda k: k / 20, 20).assert_at_most(0.05)

        def test_fault(rsbounds_assertions):
            rsbounds_assertions.probability_at_most(lambda rng: rng.random(), 0.05)

        def test_bad_bound():
            exact_coverage(lambda k: k * np.nan, 20)

        def test_event_that_raises():
            def event(rng):
                return {}["missing"]

            assert_probability_at_most(event, 0.05)
    """)
    result = pytester.runpytest(*plugin_of(request.config))
    result.assert_outcomes(failed=6)
    said = result.stdout.str()
    # Of the library's files only their names may stand there, and no line of theirs.
    assert "rsbounds/testing" not in said
    assert "__tracebackhide__" not in said
    assert len(result.outlines) < 140
    result.stdout.fnmatch_lines([
        "E *P(bound excludes 0.5) <= 0.05 is refuted by * trials; seed=*",
        "E *estimate * after * trials",
        "E *interval [[]*, each end wrong with probability * at most",
        "E *P(event) <= 0.05 is refuted by *",
        "E *the bound errs with probability 1 at p = *, claimed at most 0.05*",
        "E *count 20: lower 1 *",
        "E *event failed: it gave 0.*; allowed: True or False*(in trial 1; seed=*)",
        "E *bound is NaN at the outcome 0; allowed: numbers",
        "E *KeyError: 'missing'",
        "E *event raised KeyError: 'missing' (in trial 1; seed=*)",
    ])  # fmt: skip


def test_a_seed_repeats_every_trial_whatever_runs_before(pytester, request):
    pytester.makepyfile("""
        def test_one(rsbounds_assertions):
            rsbounds_assertions.probability_at_most(lambda rng: rng.random() < 0.01, 0.05)

        def test_two(rsbounds_assertions):
            found = rsbounds_assertions.probability_at_most(lambda rng: rng.random() < .01, 0.05)
            print("seed", found.seed)
    """)
    arguments = (*plugin_of(request.config), "-s", "-q")

    def seed(*more):
        said = pytester.runpytest(*arguments, *more).stdout.str()
        return re.search(r"seed (\d+)", said).group(1)

    assert seed("--rsbounds-seed=3") == seed("--rsbounds-seed=3", "-k", "two")
    assert seed("--rsbounds-seed=3") != seed("--rsbounds-seed=4")
    assert seed() != seed()


def test_fixtures_of_any_scope_and_hypothesis_may_use_it(pytester, request):
    pytester.makepyfile("""
        import pytest
        from hypothesis import given, settings, strategies as st

        @pytest.fixture(scope="module")
        def checked(rsbounds_assertions):
            return rsbounds_assertions.probability_at_most(lambda rng: rng.random(9) < 0.1, 0.5)

        @given(p=st.sampled_from([0.1, 0.2]))
        @settings(max_examples=2, database=None)
        def test(checked, rsbounds_assertions, p):
            rsbounds_assertions.probability_at_most(lambda rng: rng.random(99) < p / 2, p)
    """)
    result = pytester.runpytest(*plugin_of(request.config), "-q")
    result.assert_outcomes(passed=1)
    assert spent_by(result)[0] == 3


def test_the_budget_is_a_setting_and_cannot_be_overdrawn(pytester, request):
    pytester.makepyfile("""
        import pytest

        def test(rsbounds_assertions):
            for _ in range(40):
                rsbounds_assertions.probability_at_most(lambda rng: rng.random(200) < .01, 0.5)
            assert rsbounds_assertions.spent < rsbounds_assertions.false_alarm == 1e-3
            with pytest.raises(ValueError, match="false_alarm is 0.5"):
                rsbounds_assertions.probability_at_most(lambda rng: True, 0.5, false_alarm=0.5)
    """)
    given = plugin_of(request.config)
    result = pytester.runpytest(*given, "-o", "rsbounds_false_alarm=1e-3")
    result.assert_outcomes(passed=1)
    shares = [1e-3 * 100 / ((k + 99) * (k + 100)) for k in range(1, 41)]
    assert spent_by(result)[2:] == (pytest.approx(sum(shares), rel=1e-2), 1e-3)
    # However many there will be.
    assert sum(100 / ((k + 99) * (k + 100)) for k in range(1, 10**5)) < 1
    for setting, said in (
        (("-o", "rsbounds_false_alarm=much"), "*rsbounds_false_alarm is 'much'; allowed*"),
        (("-o", "rsbounds_false_alarm=1"), "*rsbounds_false_alarm is '1'; allowed*"),
        (("--rsbounds-seed=-1",), "*--rsbounds-seed is -1; allowed*"),
    ):
        bad = pytester.runpytest(*given, *setting)
        assert bad.ret == pytest.ExitCode.USAGE_ERROR
        bad.stderr.fnmatch_lines([said])


def test_workers_of_xdist_share_the_budget(pytester, request):
    # As xdist does to the configuration of one of four workers, and then to the controller's.
    pytester.makeconftest("""
        import types
        import rsbounds._pytest_plugin as plugin

        def pytest_configure(config):
            config.workerinput, config.workeroutput = {"workercount": 4}, {}

        def pytest_unconfigure(config):
            told = config.workeroutput["rsbounds"]
            config.stash[plugin._COUNTED] = [0, 0, 0.0]
            del config.stash[plugin._SESSION]
            for _ in range(2):
                node = types.SimpleNamespace(config=config, workeroutput={"rsbounds": told})
                plugin.pytest_testnodedown(node, None)
            plugin.pytest_testnodedown(types.SimpleNamespace(config=config), "crashed")
            print("sum", *told, *plugin._count(config))
    """)
    pytester.makepyfile(GOOD)
    result = pytester.runpytest(*plugin_of(request.config), "-p", "no:xdist", "-s")
    result.assert_outcomes(passed=2)
    line = next(line for line in result.outlines if "sum " in line)
    made, trials, spent, *summed = map(float, line.partition("sum ")[2].split())
    assert made == 5
    assert spent == pytest.approx(0.25e-6 * sum(100 / ((k + 99) * (k + 100)) for k in range(1, 6)))
    assert summed == [10.0, 2 * trials, 2 * spent]


def test_the_snippet_of_the_readme_finds_its_mistake(pytester, request):
    readme = (Path(__file__).resolve().parents[1] / "README.md").read_text()
    blocks = [b.split("```")[0] for b in readme.split("```python\n")[1:]]
    code = next(block for block in blocks if "rsbounds_assertions" in block)
    pytester.makepyfile(test_bound=code)
    given = (*plugin_of(request.config), "-p", "no:cacheprovider", "--rsbounds-seed=0")
    result = pytester.runpytest(*given)
    result.assert_outcomes(failed=2)
    said = re.sub(r"\s+", " ", readme)
    first = "the bound errs with probability 1 at p = 0, claimed at most 0.05"
    assert first in said
    result.stdout.fnmatch_lines([f"E *{first}*", "E *count 0: lower 0.00256137877653 *"])
    assert "count 0: lower 0.00256137877653" in said
    wrong = "np.where(k == n, 1.0, beta.ppf(alpha, k + 1, n - k))"
    right = "np.where(k == 0, 0.0, beta.ppf(alpha, k, n - k + 1))"
    assert right in said
    pytester.makepyfile(test_bound=code.replace(wrong, right))
    pytester.runpytest_inprocess(*given).assert_outcomes(passed=2)
