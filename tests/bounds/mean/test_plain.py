"""The kernels give the same numbers without compilation."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[3]
CODE = """
import json
import numpy as np
import rsbounds
from rsbounds.bounds.mean import MEAN_METHODS
x = np.array([np.random.default_rng(0).beta(9, 1, 25), np.arange(25) % 4 > 0])
out = []
for name in (n for n in MEAN_METHODS if MEAN_METHODS[n].fixed_n):
    rows = x[1:] if MEAN_METHODS[name].two_point else x
    found = rsbounds.mean_bound(rows, alpha=0.2, side="both", method=name, axis=1)
    out += found.lower.tolist() + found.upper.tolist()
for name in (n for n in MEAN_METHODS if MEAN_METHODS[n].sequence):
    stream = rsbounds.confidence_sequence(name, alpha=0.2)
    stream.update(x[1:])
    out += stream.lower.tolist() + stream.upper.tolist()
print(json.dumps(out))
"""


def test_kernels_give_the_same_without_compilation():
    outputs = []
    for disable in ("0", "1"):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", CODE],
            capture_output=True, text=True, check=True,
            env={**os.environ, "NUMBA_DISABLE_JIT": disable, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        outputs.append(json.loads(done.stdout))
    assert max(outputs[0]) > 0.3
    np.testing.assert_allclose(outputs[0], outputs[1], rtol=1e-10, atol=1e-10)
