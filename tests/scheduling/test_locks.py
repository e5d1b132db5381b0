"""One writer at a time: between processes, after a killed one, and where the file system has no locks."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rtpipeline.scheduling import locks
from rtpipeline.scheduling.locks import LockedError, holder_of, locked

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
        os.utime(file, (0, 0))
        time.sleep(0.5)
        assert file.stat().st_mtime > time.time() - 60


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
