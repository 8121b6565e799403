"""CPU time before and after: `make bench-compare REF=<git ref>`.

The working tree against another commit, which is checked out into a temporary folder. Each
workload runs in fresh processes, one tree after the other and in turns, so that both meet the same
machine; within a process it runs once without being counted (compiling, caches). What is shown is
the least CPU time that any process needed: other work on the machine only adds to it.

`--only` names workloads, `--rounds` says how often each runs, `--json` prints for programs, and
with `--at-most 1.03` the exit code is 1 where a ratio is above that.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from _timing import least

ROOT = Path(__file__).resolve().parents[2]


def start() -> float:
    import numpy  # noqa: F401

    began = time.process_time()
    import rsbounds  # noqa: F401

    return time.process_time() - began


def first_use() -> float:
    import numpy  # noqa: F401

    began = time.process_time()
    import rsbounds

    assert callable(rsbounds.certify)
    assert callable(rsbounds.mean_bound)
    return time.process_time() - began


def exact() -> float:
    import numpy as np

    import rsbounds

    # As CIFAR-10 under noise: half of the top shares above 0.9, a tenth near one half.
    rng = np.random.default_rng(0)
    weights = np.exp(rng.normal(0.0, 6.0, (250, 10)))
    counts = np.array([rng.multinomial(100_000, row / row.sum()) for row in weights])
    top, law = counts.argmax(axis=1), rsbounds.Gaussian(0.25)
    return least(lambda: rsbounds.certify(counts, top, noise=law, method="exact"), 3)


def runner_up() -> float:
    import numpy as np

    import rsbounds

    shares = [0.6, 0.2, 0.1] + [0.1 / 7] * 7
    counts = np.random.default_rng(0).multinomial(100_000, shares, size=100_000)
    law = rsbounds.Gaussian(0.25)
    return least(lambda: rsbounds.certify(counts, 0, noise=law, method="runner-up"))


def clopper_pearson() -> float:
    import numpy as np

    import rsbounds

    k = np.random.default_rng(0).integers(0, 100_001, 10**6)
    return least(lambda: rsbounds.clopper_pearson_lower(k, 100_000, alpha=0.001))


def goal() -> float:
    import numpy as np

    import rsbounds

    samples = np.random.default_rng(0).beta(20, 2, 100_000)
    return least(lambda: rsbounds.mean_bound(samples, alpha=0.001, method="goal"))


def numpy_sampling() -> float:
    import numpy as np

    import rsbounds

    law = rsbounds.Gaussian(0.25)
    x = np.random.default_rng(0).normal(size=(4, 784)).astype(np.float32)

    def votes() -> object:
        return rsbounds.sample_counts(
            lambda batch: (batch[:, 0] > 0).astype(int),
            x, noise=law, n=2000, num_classes=2, seed=1,
        )  # fmt: skip

    return least(votes)


def lenet_votes() -> float:
    import torch
    from bench_torch import lenet

    import rsbounds
    from rsbounds_torch import SmoothedClassifier

    torch.set_num_threads(1)
    torch.manual_seed(0)
    law = rsbounds.Gaussian(0.25)
    classifier = SmoothedClassifier(lenet().eval(), num_classes=10, noise=law, batch_size=512)
    x = torch.rand(1, 1, 28, 28)
    return least(lambda: classifier.sample_counts(x, n=10_000, seed=1), 3)


WORKLOADS = {
    "import": (start, "import rsbounds, beyond numpy"),
    "first-use": (first_use, "the same with certify and mean_bound loaded"),
    "exact": (exact, "certify, exact, 250 rows of 10 classes, n = 1e5"),
    "runner-up": (runner_up, "certify, runner-up, 1e5 rows of 10 classes"),
    "clopper-pearson": (clopper_pearson, "1e6 lower bounds on a proportion"),
    "goal": (goal, "mean_bound, 1e5 samples"),
    "sampling": (numpy_sampling, "numpy: 4 inputs of 784, 2,000 draws each"),
    "lenet": (lenet_votes, "PyTorch: LeNet, 10,000 draws of an input"),
}


def run_here(name: str, tree: Path) -> None:
    """The workload in this process, with the packages of ``tree``; prints its seconds."""
    sys.path.insert(0, str(tree))
    found = importlib.util.find_spec("rsbounds")
    if found is None or not Path(str(found.origin)).is_relative_to(tree):
        raise ImportError(f"{tree} has no rsbounds")
    print(WORKLOADS[name][0]())


def measured(name: str, tree: Path) -> float | str:
    """Seconds of the workload in a fresh process, or what it said when it failed."""
    command = [sys.executable, str(Path(__file__).resolve()), "--here", name, "--tree", str(tree)]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": ""}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tree, env=env)
    if done.returncode:
        return (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    return float(done.stdout.split()[-1])


def git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise ValueError(f"git {words[0]}: {done.stderr.strip()}")
    return done.stdout.strip()


@contextlib.contextmanager
def checked_out(ref: str) -> Iterator[tuple[Path, str]]:
    """The files of a commit in a folder of their own, and the commit's name."""
    try:
        commit = git("rev-parse", "--verify", "--end-of-options", f"{ref}^{{commit}}")
    except ValueError:
        raise ValueError(f"ref is {ref!r}; allowed: a commit, tag or branch") from None
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder).resolve() / "before"
        git("worktree", "add", "--detach", "--quiet", str(tree), commit)
        try:
            yield tree, commit[:10]
        finally:
            git("worktree", "remove", "--force", str(tree))


def compared(names: list[str], before: Path, rounds: int) -> dict[str, dict[str, object]]:
    """For each workload the least seconds in both trees and their ratio, or what failed."""
    trees = {"before": before, "after": ROOT}
    seconds: dict[str, dict[str, list[float]]] = {n: {t: [] for t in trees} for n in names}
    failed: dict[str, dict[str, object]] = {}
    for turn in range(rounds):
        for name in names:
            # Whoever goes first may find a warmer or a colder machine.
            for tree in list(trees)[:: -1 if turn % 2 else 1]:
                if name in failed:
                    continue
                said = measured(name, trees[tree])
                if isinstance(said, str):
                    failed[name] = {"failed": f"{tree}: {said}"}
                else:
                    seconds[name][tree].append(said)
            if sys.stderr.isatty():
                print(f"round {turn + 1} of {rounds}: {name}", file=sys.stderr)
    result = {}
    for name in names:
        if name in failed:
            result[name] = failed[name]
            continue
        old, new = (min(seconds[name][tree]) for tree in trees)
        result[name] = {"before": old, "after": new, "ratio": new / old, "all": seconds[name]}
    return result


def table(result: dict[str, dict[str, object]]) -> str:
    lines = [f"{'workload':<16}  {'before':>9}  {'after':>9}  {'ratio':>6}"]
    for name, row in result.items():
        if "failed" in row:
            lines.append(f"{name:<16}  {row['failed']}")
        else:
            lines.append(
                f"{name:<16}  {row['before']:8.4f}s  {row['after']:8.4f}s  {row['ratio']:6.3f}"
                f"  {WORKLOADS[name][1]}"
            )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("ref", nargs="?", default="HEAD", help="commit to compare with (HEAD)")
    parser.add_argument("--only", help=f"workloads, with commas: {', '.join(WORKLOADS)}")
    parser.add_argument("--rounds", type=int, default=5, help="processes per tree (default 5)")
    parser.add_argument("--at-most", type=float, metavar="RATIO", help="exit code 1 above this")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--here", choices=list(WORKLOADS), help=argparse.SUPPRESS)
    parser.add_argument("--tree", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.here:
        run_here(given.here, given.tree)
        return 0
    names = list(WORKLOADS) if given.only is None else given.only.split(",")
    unknown = sorted(set(names) - set(WORKLOADS))
    if unknown or given.rounds < 1:
        parser.error(
            f"--only is {given.only!r}, --rounds {given.rounds}; allowed: "
            f"{', '.join(WORKLOADS)}; 1 or more"
        )
    try:
        with checked_out(given.ref) as (tree, commit):
            result = compared(names, tree, given.rounds)
    except ValueError as error:
        parser.error(str(error))
    after = git("rev-parse", "--short=10", "HEAD") + ("+" if git("status", "--porcelain") else "")
    if given.json:
        print(json.dumps({"before": commit, "after": after, "workloads": result}))
    else:
        print(f"CPU seconds, least of {given.rounds} processes: {commit} before, {after} after")
        print(table(result))
    slower = [row for row in result.values() if row.get("ratio", 0.0) > (given.at_most or 1e300)]
    return 1 if slower or any("failed" in row for row in result.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
