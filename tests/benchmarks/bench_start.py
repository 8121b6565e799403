"""CPU time of a first use: python tests/benchmarks/bench_start.py [--kernels 15].

Every path runs in a fresh process, first with an empty kernel cache (cold), then with the
cache that this left (warm). CPU seconds, since another process may hold the cores; under
"kernels" what was compiled on the way, each with the seconds that it took without those that
it calls. The reference is a process that imports torch alone.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile

PATHS = {
    "import torch": "import torch",
    "import rsbounds, numba": "import rsbounds, rsbounds._numerics",
    "certify, runner-up": """
import rsbounds
rsbounds.certify([[990, 8, 2]], 0, noise=rsbounds.Gaussian(sigma=0.5), method="runner-up")
""",
    "select_top, certify (exact)": """
import rsbounds
top = rsbounds.select_top([[99, 1, 0]])
rsbounds.certify([[990, 8, 2]], top, noise=rsbounds.Gaussian(sigma=0.5))
""",
    "certify_dataset (exact)": """
import os, tempfile
import numpy as np, rsbounds
rsbounds.certify_dataset(
    lambda batch: (batch[:, 0] > 0).astype(int), np.array([[0.9, 0.1], [-0.4, 0.2]]),
    store=os.path.join(tempfile.mkdtemp(dir=os.environ["NUMBA_CACHE_DIR"]), "run.sqlite"),
    noise=rsbounds.Gaussian(sigma=0.25), n=1000, n0=100, num_classes=2, seed=1, progress=False)
""",
    "predict": "import rsbounds; rsbounds.predict([[80, 15, 5]])",
    "Decide": """
import rsbounds
rsbounds.Decide(0.5, top=0, noise=rsbounds.Gaussian(sigma=0.5)).update([97, 2, 1])
""",
    "mean_bound (goal)": "import rsbounds; rsbounds.mean_bound([0.5, 0.9, 0.7], alpha=0.01)",
}

#: Prints the compilations of the code that follows it: name, own seconds.
RECORDER = """
import atexit, time
from numba.core import event
class Recorder(event.Listener):
    def __init__(self):
        self.stack, self.own = [], {}
    def on_start(self, found):
        self.stack.append([time.process_time(), 0.0])
    def on_end(self, found):
        began, inner = self.stack.pop()
        took = time.process_time() - began
        name = found.data["dispatcher"].__qualname__
        self.own[name] = self.own.get(name, 0.0) + took - inner
        if self.stack:
            self.stack[-1][1] += took
recorder = Recorder()
event.register("numba:compile", recorder)
atexit.register(lambda: [print(name, own) for name, own in recorder.own.items()])
"""


def run(code: str, cache: str) -> tuple[float, dict[str, float]]:
    """CPU seconds of a new process, and of each kernel that it compiled."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "NUMBA_CACHE_DIR": cache},
        check=True,
        capture_output=True,
        text=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    took = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    lines = (line.rsplit(" ", 1) for line in done.stdout.splitlines())
    return took, {name: float(own) for name, own in lines}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kernels", type=int, default=10, help="how many to list")
    parser.add_argument("--only", help="paths whose name holds this")
    arguments = parser.parse_args()
    print(f"{'CPU seconds':30s}{'cold':>8s}{'warm':>8s}   kernels compiled")
    for name, code in PATHS.items():
        if arguments.only and arguments.only not in name:
            continue
        with tempfile.TemporaryDirectory() as cache:
            try:
                _, kernels = run(code if "torch" in name else RECORDER + code, cache)
            except subprocess.CalledProcessError as error:
                print(f"{name:30s} left out: {error.stderr.strip().splitlines()[-1]}")
                continue
            warm = sorted(run(code, cache)[0] for _ in range(3))[1]
        with tempfile.TemporaryDirectory() as cache:
            cold = run(code, cache)[0]
        print(
            f"{name:30s}{cold:8.2f}{warm:8.2f}   {len(kernels)}, {sum(kernels.values()):.1f} s",
            flush=True,
        )
        for kernel, own in sorted(kernels.items(), key=lambda item: -item[1])[: arguments.kernels]:
            print(f"{'':49s}{own:6.2f}  {kernel}", flush=True)


if __name__ == "__main__":
    main()
