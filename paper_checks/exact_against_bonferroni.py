"""optimal-certified-radius, section 4: the exact bound against Bonferroni-corrected intervals.

Expected: at least as large on average at every n, and far inside at n = 100.
"""

from __future__ import annotations

import sys

import numpy as np

import rsbounds


def main() -> int:
    rng = np.random.default_rng(0)
    good = True
    for scale in ("linear", "probit"):
        for n in (100, 1000, 10_000):
            counts = rng.multinomial(n, [0.85, 0.1, 0.03, 0.02], size=200)
            exact, separate = (
                rsbounds.margin_lower_bound(counts, 0, alpha=0.001, scale=scale, method=m).lower
                for m in ("exact", "bonferroni")
            )
            gain = float((exact - separate).mean())
            verdict = "ok" if gain > 0 and exact.mean() > separate.mean() else "FAILED"
            good &= verdict == "ok"
            print(
                f"{scale} n={n}: exact {exact.mean():.4f}, Bonferroni {separate.mean():.4f}, "
                f"expected gain > 0, got {gain:.4f}: {verdict}"
            )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
