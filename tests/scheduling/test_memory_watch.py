"""The memory that a piece of work held at most, its child processes included."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from rtpipeline.scheduling.memory_watch import MemoryWatch, resident_bytes
from waiting import eventually

MB = 2**20
TAKE = "import sys; block = bytearray(b'1') * (200 * 2**20); sys.stdin.read()"


def test_memory_that_was_given_back_is_in_the_peak():
    watch = MemoryWatch(every_s=0.02)
    with watch.peak() as peak:
        before = resident_bytes()
        block = bytearray(b"1") * (200 * MB)
        assert eventually(lambda: peak.bytes - before > 160 * MB)
        del block
    assert peak.bytes - before == pytest.approx(200 * MB, rel=0.2)
    with watch.peak() as later:
        pass
    assert later.bytes < peak.bytes - 100 * MB


def test_memory_of_a_child_process_counts():
    with MemoryWatch(every_s=0.02).peak() as peak:
        before = resident_bytes()
        with subprocess.Popen([sys.executable, "-c", TAKE], stdin=subprocess.PIPE):
            assert eventually(lambda: peak.bytes - before > 190 * MB)


def test_peaks_that_overlap_each_have_their_own_and_nothing_watches_afterwards():
    watch = MemoryWatch(every_s=0.02)
    with watch.peak() as outer:
        before = resident_bytes()
        block = bytearray(b"1") * (200 * MB)
        assert eventually(lambda: outer.bytes - before > 160 * MB)
        del block
        with watch.peak() as inner:
            pass
    assert inner.bytes < outer.bytes - 100 * MB
    assert eventually(lambda: all(thread.name != "memory watch" for thread in threading.enumerate()))
