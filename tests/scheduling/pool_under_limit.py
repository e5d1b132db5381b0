"""Run by a test in a process of its own: tasks that need real memory, under a real limit of the address space."""

from __future__ import annotations

import json
import logging
import resource
import sys
import threading
import time

import numpy as np
import psutil

from rtpipeline.outcome import Outcome, ok
from rtpipeline.scheduling.adaptive_pool import AdaptivePool, Grant, Task

MEGABYTE = 1024 * 1024
lock = threading.Lock()
at_work = peak = 0
ran_out = threading.Event()


def work(grant: Grant) -> Outcome:
    """Hold 400 MB for a while: the first ones until there was no room for one more."""
    global at_work, peak
    try:
        held = np.zeros(400 * MEGABYTE, dtype=np.uint8)
    except MemoryError:
        ran_out.set()
        raise
    with lock:
        at_work += 1
        peak = max(peak, at_work)
    ran_out.wait(60)
    time.sleep(0.05)
    with lock:
        at_work -= 1
    return ok(megabytes=held.size // MEGABYTE)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    limit = psutil.Process().memory_info().vms + 1300 * MEGABYTE
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    outcomes = AdaptivePool(budget=4).run([Task(f"task{number}", "Work", work) for number in range(12)])
    json.dump({"statuses": [outcome.status for outcome in outcomes.values()], "peak": peak}, sys.stdout)
