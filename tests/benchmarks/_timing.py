"""Timing for the benchmark scripts: medians, and ratios within one process."""

import platform
import statistics
import time


def seconds(call, repeats=5):
    """Median wall time of a call, after one call that is not counted."""
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def machine():
    import os

    return f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
