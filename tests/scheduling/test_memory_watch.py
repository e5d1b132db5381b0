"""The memory that a piece of work held at most, its child processes included."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

from rtpipeline.scheduling.memory_watch import MemoryWatch, resident_bytes

MB = 2**20
TAKE = "import sys, time; block = bytearray(b'1') * (200 * 2**20); print('held', flush=True); time.sleep(0.5)"


def test_memory_that_was_given_back_is_in_the_peak():
    watch = MemoryWatch(every_s=0.02)
    with watch.peak() as peak:
        before = resident_bytes()
        block = bytearray(b"1") * (200 * MB)
        time.sleep(0.2)
        del block
    assert peak.bytes - before == pytest.approx(200 * MB, rel=0.2)
    with watch.peak() as later:
        time.sleep(0.1)
    assert later.bytes < peak.bytes - 100 * MB


def test_memory_of_a_child_process_counts():
    with MemoryWatch(every_s=0.02).peak() as peak:
        before = resident_bytes()
        subprocess.run([sys.executable, "-c", TAKE], check=True, stdout=subprocess.PIPE)
    assert peak.bytes - before > 190 * MB


def test_peaks_that_overlap_each_have_their_own_and_nothing_watches_afterwards():
    watch = MemoryWatch(every_s=0.02)
    with watch.peak() as outer:
        block = bytearray(b"1") * (200 * MB)
        time.sleep(0.1)
        del block
        with watch.peak() as inner:
            time.sleep(0.1)
    assert inner.bytes < outer.bytes - 100 * MB
    give_up = time.monotonic() + 5
    while any(thread.name == "memory watch" for thread in threading.enumerate()):
        assert time.monotonic() < give_up
        time.sleep(0.02)
