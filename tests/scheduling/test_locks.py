"""One writer at a time: between processes, after a killed one, and where the file system has no locks."""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rtpipeline.scheduling import locks
from rtpipeline.scheduling.locks import Holder, LockedError, holder_of, locked
from waiting import LONG_S, eventually

HOLD = """
import sys, time
from pathlib import Path
from rtpipeline.scheduling.locks import locked
with locked(Path(sys.argv[1]), shared=sys.argv[2] == "shared"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "work.lock"


@pytest.fixture
def other(file):
    """Starts a process that holds the lock until it is killed."""
    started = []

    def hold(kind: str = "alone") -> subprocess.Popen[str]:
        process = subprocess.Popen([sys.executable, "-c", HOLD, str(file), kind], stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        return process

    yield hold
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_lock_leaves_nothing_behind(file):
    with locked(file):
        assert holder_of(file) is not None
        assert holder_of(file).pid == os.getpid()
    assert not file.exists()
    assert holder_of(file) is None


def test_another_process_is_kept_out_and_named(file, other):
    process = other()
    with pytest.raises(LockedError, match=f"process {process.pid} on {socket.gethostname()}"), locked(file):
        pass
    assert holder_of(file).pid == process.pid


def test_a_killed_process_does_not_keep_it(file, other):
    process = other()
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert file.exists()
    assert holder_of(file) is None
    with locked(file):
        pass
    assert not file.exists()


BEAT = """
import os, sys, time
print("beats", flush=True)
while True:
    os.utime(sys.argv[1])
    time.sleep(0.05)
"""


@pytest.fixture
def held_elsewhere(file, monkeypatch):
    """A lock that another machine's process has, on a file system whose locks hold within one machine only."""
    monkeypatch.setattr(locks, "SIGN_OF_LIFE_S", 1.0)
    file.parent.mkdir()
    file.write_text(json.dumps({"host": "elsewhere", "pid": 1, "since": "2026-01-01T00:00:00+00:00"}))


@pytest.mark.parametrize("shared", [False, True])
def test_a_process_that_lives_on_another_machine_keeps_it(file, held_elsewhere, shared, monkeypatch):
    monkeypatch.setattr(locks, "SIGN_OF_LIFE_S", LONG_S)  # one sign ends the wait
    alive = subprocess.Popen([sys.executable, "-c", BEAT, str(file)], stdout=subprocess.PIPE, text=True)
    assert alive.stdout is not None
    try:
        assert alive.stdout.readline() == "beats\n"
        with pytest.raises(LockedError, match="process 1 on elsewhere"), locked(file, shared=shared):
            pass
        assert holder_of(file).host == "elsewhere"
    finally:
        alive.kill()
        alive.wait()
        alive.stdout.close()
    monkeypatch.setattr(locks, "SIGN_OF_LIFE_S", 0.2)
    with locked(file):  # it has died, and the last beat was a moment ago
        assert Holder.read(file).host == socket.gethostname()


def test_a_process_that_died_on_another_machine_is_waited_for_and_then_passed_over(file, held_elsewhere, caplog):
    begin = time.monotonic()
    with caplog.at_level(logging.INFO), locked(file):
        assert time.monotonic() - begin >= 1.0
    assert "process 1 on elsewhere, since 2026-01-01T00:00:00+00:00 held it; waiting up to 1 s" in caplog.text


def test_one_that_died_long_ago_is_not_waited_for(file, held_elsewhere, caplog):
    os.utime(file, (time.time() - 600,) * 2)
    assert holder_of(file) is None
    with caplog.at_level(logging.INFO), locked(file):
        assert "waiting" not in caplog.text


def beats(file: Path) -> bool:
    os.utime(file, (0, 0))
    return eventually(lambda: file.stat().st_mtime > time.time() - 2 * LONG_S)


def test_a_held_lock_beats(file, monkeypatch):
    monkeypatch.setattr(locks, "HEARTBEAT_S", 0.05)
    with locked(file):
        assert beats(file)


def test_several_processes_share_it_and_keep_out_who_wants_it_alone(file, other):
    other("shared")
    with locked(file, shared=True):
        pass
    with pytest.raises(LockedError), locked(file):
        pass


@pytest.fixture
def no_locks(monkeypatch):
    """A file system without locks, as its calls answer."""

    def refuse(descriptor, operation):
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr(locks, "HEARTBEAT_S", 0.05)


def test_without_locks_the_file_is_the_lock(file, no_locks):
    with locked(file):
        assert holder_of(file).pid == os.getpid()
        with pytest.raises(LockedError), locked(file):
            pass
        with pytest.raises(LockedError), locked(file, shared=True):
            pass
    assert list(file.parent.iterdir()) == []


def test_without_locks_a_heart_beats(file, no_locks):
    with locked(file):
        assert beats(file)


@pytest.mark.parametrize(("host", "age_s", "stale"), [("elsewhere", 10, False), ("elsewhere", 600, True)])
def test_without_locks_a_stopped_heart_lets_go(file, no_locks, host, age_s, stale):
    file.parent.mkdir()
    file.write_text(json.dumps({"host": host, "pid": 1, "since": "2026-01-01T00:00:00+00:00"}))
    os.utime(file, (time.time() - age_s,) * 2)
    assert (holder_of(file) is None) == stale
    if stale:
        with locked(file):
            pass
    else:
        with pytest.raises(LockedError, match="process 1 on elsewhere"), locked(file):
            pass


def test_without_locks_a_dead_process_of_this_machine_lets_go(file, no_locks):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    file.parent.mkdir()
    file.write_text(json.dumps({"host": socket.gethostname(), "pid": dead.pid, "since": ""}))
    with locked(file):
        pass
