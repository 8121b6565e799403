"""Timing for the benchmark scripts: medians of wall time, least CPU time."""

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


def least(call, times=5):
    """Least CPU seconds of a call, after one that is not counted."""
    call()
    found = []
    for _ in range(times):
        began = time.process_time()
        call()
        found.append(time.process_time() - began)
    return min(found)


def machine():
    import os

    return f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
