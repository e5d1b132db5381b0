"""Waiting for conditions, and looking at processes that may end meanwhile: no test relies on how quick a machine is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

import psutil

LONG_S = 120.0
"""Longer than whatever a test waits for takes, also on a slow machine that has much else to do."""


def eventually(condition: Callable[[], bool], within_s: float = LONG_S) -> bool:
    """Whether the condition holds by then; it is looked at again and again, and waited for no longer than needed."""
    give_up = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > give_up:
            return False
        time.sleep(0.02)
    return True


def is_running(pid: int) -> bool:
    """Whether a process computes; one that has ended and waits to be reaped does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def all_end(pids: Iterable[int], within_s: float = LONG_S) -> bool:
    """Whether all of these processes end: a killed one is gone a moment after the signal was sent."""
    watched = list(pids)
    return eventually(lambda: not any(map(is_running, watched)), within_s)


def command_line(process: psutil.Process) -> str:
    """The words that a process was started with; empty when it has ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""
