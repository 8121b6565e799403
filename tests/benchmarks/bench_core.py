"""Speed and memory of the core: `make bench`, or run this file.

Prints one line per figure: what, ours, theirs, ratio. Medians of five runs in one process.
"""

import subprocess
import sys
import time

import numpy as np
from _timing import machine, seconds
from scipy import special

import rsbounds
from rsbounds.bounds.margin import MARGIN_METHODS
from rsbounds.noises import DiagonalGaussian, FullGaussian, LowRankGaussian
from rsbounds.streams import CounterStream


def proportion():
    k = np.random.default_rng(0).integers(0, 100_001, 1_000_000)
    ours = seconds(lambda: rsbounds.clopper_pearson_lower(k, 100_000, alpha=0.001))
    inside = np.clip(k, 1, None)
    scipy = seconds(lambda: special.betaincinv(inside, 100_000 - inside + 1, 0.001), 3)
    from statsmodels.stats.proportion import proportion_confint

    few = k[:2000].tolist()
    start = time.perf_counter()
    for count in few:
        proportion_confint(count, 100_000, alpha=0.002, method="beta")
    loop = (time.perf_counter() - start) / len(few) * len(k)
    print("Clopper-Pearson lower, 1e6 random counts, n = 1e5, alpha = 0.001")
    print(f"  rsbounds                {ours:9.3f} s")
    print(f"  scipy betaincinv        {scipy:9.3f} s   {scipy / ours:8.1f} times ours")
    print(f"  statsmodels, in a loop  {loop:9.3f} s   {loop / ours:8.1f} times ours (from 2,000)")
    distinct = np.random.default_rng(0).permutation(10**6 + 1)[:100_000]
    ours = seconds(lambda: rsbounds.clopper_pearson_lower(distinct, 10**6, alpha=0.001))
    inside = np.clip(distinct, 1, None)
    scipy = seconds(lambda: special.betaincinv(inside, 10**6 - inside + 1, 0.001), 3)
    print("the same, 1e5 distinct counts, n = 1e6")
    print(f"  rsbounds                {ours:9.3f} s")
    print(f"  scipy betaincinv        {scipy:9.3f} s   {scipy / ours:8.1f} times ours")


def margins():
    rng = np.random.default_rng(1)
    rows = 100_000
    counts = np.vstack([rng.multinomial(100_000, p) for p in rng.dirichlet([0.3] * 10, rows)])
    top = counts.argmax(axis=1)
    print(f"margin methods, {rows} rows of 10 classes, n = 1e5, Dirichlet(0.3) probabilities")
    base = None
    for name in MARGIN_METHODS:
        kind = MARGIN_METHODS[name]
        if not kind.usable() or name in SLOW:
            continue
        for options in kind.variants:
            took = seconds(
                lambda n=name, o=options: rsbounds.margin_lower_bound(
                    counts, top, alpha=0.001, scale="probit", method=n, **o
                ),
                3,
            )
            if name == "complement":
                base = took
            shown = ", ".join(f"{k}={v}" for k, v in options.items())
            ratio = f"{took / base:8.1f} times complement" if base else ""
            print(f"  {name:12} {shown:24} {took:8.3f} s {ratio}")


def start_up():
    def run(code):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
        return time.perf_counter() - start

    bare = sorted(run("pass") for _ in range(5))[2]
    imported = sorted(run("import rsbounds") for _ in range(5))[2]
    numpy = sorted(run("import rsbounds, numpy") for _ in range(5))[2]
    code = (
        "import rsbounds; import time; t = time.perf_counter(); "
        "rsbounds.certify([9, 1], 0, noise=rsbounds.Gaussian(1.0)); "
        "print(time.perf_counter() - t)"
    )
    run(code)
    first = sorted(run(code) for _ in range(5))[2]
    print("start-up, new process, medians of five")
    print(f"  python -c pass          {bare:9.3f} s")
    print(f"  import rsbounds         {imported - bare:9.3f} s more")
    print(f"  import rsbounds, numpy  {numpy - bare:9.3f} s more")
    print(f"  first certify           {first - bare:9.3f} s more (numpy, numba, cached kernels)")


MEMORY = """
import resource, sys
import numpy as np, rsbounds
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
rsbounds.certify([9, 1], 0, noise=rsbounds.Gaussian(1.0), method="runner-up")
rng = np.random.default_rng(0)
table = np.empty((1_000_000, 100), dtype=np.int32)
for start in range(0, len(table), 10_000):
    table[start:start + 10_000] = rng.integers(0, 100, (10_000, 100))
    table[start:start + 10_000, 0] += 90_000
filled = peak()
rsbounds.certify(table, 0, noise=rsbounds.Gaussian(0.5), method="runner-up")
print(filled, peak(), table.nbytes)
"""


def memory():
    out = subprocess.run(
        [sys.executable, "-c", MEMORY], check=True, capture_output=True, text=True
    ).stdout
    filled, peak, table = (int(text) for text in out.split())
    print("memory, 1e6 x 100 table of int32 counts certified in chunks")
    print(f"  input {table / 2**20:.0f} MiB; peak of the whole process {peak / 2**20:.0f} MiB,")
    print(
        f"  {peak / table:.2f} times the input ({(peak - filled) / 2**20:.0f} MiB for certifying)"
    )


def sampling():
    weights = np.random.default_rng(0).normal(size=(64, 10)).astype(np.float32)
    x = np.zeros((1, 64), dtype=np.float32)

    def model(batch):
        return (batch @ weights).argmax(axis=1)

    took = seconds(
        lambda: rsbounds.sample_counts(
            model, x, noise=rsbounds.Gaussian(0.25), n=100_000, num_classes=10, seed=0,
            progress=False,
        ),
        3,
    )  # fmt: skip
    print("sampling, 1e5 votes of a linear model on 64 features")
    print(f"  {took:.3f} s, {1e5 / took / 1e6:.2f} million votes per second")


def noise():
    rng = np.random.default_rng(0)
    print("noise of one input in float32, microseconds per draw of 3,072 numbers")
    d = 3072
    turn = rng.normal(size=(d, d)) / d
    laws = {
        "gaussian": rsbounds.Gaussian(0.25),
        "diagonal-gaussian": DiagonalGaussian(rng.uniform(0.1, 1.0, d)),
        "low-rank, rank 16": LowRankGaussian(rng.uniform(0.1, 1.0, d), turn[:, :16]),
        "full-gaussian": FullGaussian(0.1 * np.eye(d) + turn @ turn.T),
    }
    out, x = np.empty((64, d), np.float32), np.zeros(d, np.float32)
    for name, law in laws.items():
        stream = CounterStream(law, (d,), seed=1, role="estimate")
        took = seconds(lambda s=stream: s.add(out, x, 0, 0), 5) / len(out)
        print(f"  {name:18} {took * 1e6:9.1f}")
    product = seconds(lambda: out.astype(np.float64) @ laws["full-gaussian"].matrix, 5) / len(out)
    print(f"  numpy's product    {product * 1e6:9.1f} (bits that depend on the batch)")


# Methods that take milliseconds per row have their own benchmark files.
SLOW = ("exact", "signomial", "bayes-opt")

if __name__ == "__main__":
    print(machine())
    proportion()
    margins()
    start_up()
    memory()
    sampling()
    noise()
