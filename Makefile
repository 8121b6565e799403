# Two commands do all set-up on a machine that has Python 3.11+ and make:
#   make demo    train, sample, certify and compare on the digits; results in demo/
#   make test    lint, types, tests and the snippets of the documentation
# Each makes its own virtual environment with the pinned versions of constraints.txt.

PYTHON ?= python3
PIP_FLAGS = --quiet --disable-pip-version-check --constraint constraints.txt

.DEFAULT_GOAL := help
# Threads that wait let others run: with the default, a busy machine is ten times slower.
export OMP_WAIT_POLICY ?= passive

.PHONY: help demo test bench bench-compare paper-checks paper-training mutants clean

help:
	@echo "make demo          train a small classifier, certify it, write demo/"
	@echo "make test          lint, types, tests, documentation snippets"
	@echo "make bench         speed and memory, as ratios within one process"
	@echo "make bench-compare CPU time before and after: REF=<commit>, by default HEAD"
	@echo "make mutants       plants known mistakes and names the tests that catch them; an hour"
	@echo "make paper-checks  one verdict per published claim, into paper_checks/REPORT.md;"
	@echo "                   minutes; ARGS='--only training' makes one section anew"
	@echo "make paper-training trains every method for certificates, into paper_checks/training.md;"
	@echo "                   hours, resumable: ARGS='--methods gaussian,macer --sigma 0.5 --seeds 0'"

.venv-demo/ready: pyproject.toml constraints.txt
	@echo "== Installing rsbounds, scikit-learn and PyTorch into .venv-demo (about a minute)"
	@$(PYTHON) -m venv .venv-demo
	@.venv-demo/bin/python -m pip install $(PIP_FLAGS) -e '.[demo,torch]'
	@rm -rf rsbounds.egg-info  # What it lists grows old, and is read before what is installed.
	@touch $@

.venv-test/ready: pyproject.toml constraints.txt
	@echo "== Installing rsbounds and the test tools into .venv-test (about a minute)"
	@$(PYTHON) -m venv .venv-test
	@.venv-test/bin/python -m pip install $(PIP_FLAGS) -e '.[dev,torch]'
	@rm -rf rsbounds.egg-info
	@touch $@

demo: .venv-demo/ready
	@.venv-demo/bin/rsbounds demo --output demo --force
	@.venv-demo/bin/python -m rsbounds_torch demo --output demo --force

test: .venv-test/ready
	@echo "== ruff"
	@.venv-test/bin/ruff check .
	@.venv-test/bin/ruff format --check .
	@echo "== mypy"
	@.venv-test/bin/mypy
	@echo "== tests (two processes) and documentation snippets"
	@.venv-test/bin/python -m pytest -q -n 2

bench-compare: .venv-test/ready
	@.venv-test/bin/python tests/benchmarks/compare.py $(REF)

bench: .venv-test/ready
	@for file in tests/benchmarks/bench_*.py; do \
		echo "== $$file"; .venv-test/bin/python $$file || exit 1; done

paper-checks: .venv-test/ready
	@.venv-test/bin/python -m paper_checks $(ARGS)

paper-training: .venv-test/ready
	@.venv-test/bin/python -m paper_checks.training $(ARGS)

mutants: .venv-test/ready
	@.venv-test/bin/python tests/mutants/run.py --output tests/mutants/TABLE.md

clean:
	rm -rf .venv-demo .venv-test demo build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
