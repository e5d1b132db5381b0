"""Locks on files: one writer at a time, also between nodes of a shared file system.

A lock is the operating system's (`flock`), so a process that dies, however it dies, does not keep it; network file
systems with locking (NFS, Lustre, GPFS, BeeGFS, CephFS, where they are mounted with it) hold it between nodes. Some
hold it only within one node and do not say so, and some have no locks. Therefore the file also names host and process,
and its time of change is a heartbeat. Whoever gets a lock that another host has left behind waits for one more beat of
it, and goes on only where there is none. Where there are no locks, the file itself is the lock: another process takes
it over when the process is gone, or the heartbeat has stopped.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import fcntl
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

HEARTBEAT_S = 10.0
SIGN_OF_LIFE_S = 35.0
STALE_AFTER_S = 180.0
PATIENCE_S = 0.5
"""How long a lock is waited for, because somebody may only be looking whether it is held."""
_log = logging.getLogger(__name__)
_NO_LOCKS_HERE = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL})


@dataclass(frozen=True)
class Holder:
    """Who holds a lock, as its file says.

    Attributes:
        host: name of the machine.
        pid: process there.
        since: date and time it was taken, UTC.
    """

    host: str
    pid: int
    since: str

    @classmethod
    def this_process(cls) -> Holder:
        """This process, from now on."""
        now = datetime.datetime.now(datetime.timezone.utc)
        return cls(socket.gethostname(), os.getpid(), now.isoformat(timespec="seconds"))

    @classmethod
    def read(cls, path: Path) -> Holder | None:
        """What a lock file says; None where it says nothing (yet)."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            return cls(str(content["host"]), int(content["pid"]), str(content["since"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since}"

    def _content(self) -> bytes:
        return json.dumps({"host": self.host, "pid": self.pid, "since": self.since}).encode("utf-8")


class LockedError(Exception):
    """Somebody else holds the lock.

    Attributes:
        holder: who, where that is known.
    """

    def __init__(self, path: Path, holder: Holder | None) -> None:
        super().__init__(f"{path} is held by {holder or 'another process'}")
        self.holder = holder


@contextmanager
def locked(path: Path, *, shared: bool = False, patience_s: float = PATIENCE_S) -> Iterator[None]:
    """Hold the lock `path` while the block runs.

    Several processes hold it at once if all of them ask for it `shared`. The file is there while the lock is held.

    Raises:
        LockedError: it is held by others.
        OSError: the file cannot be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = _acquire(path, shared=shared, patience_s=patience_s)
    except OSError as error:
        if error.errno not in _NO_LOCKS_HERE:
            raise
        with _locked_by_existence(path, shared=shared):
            yield
        return
    try:
        if shared:
            yield
            return
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, Holder.this_process()._content(), 0)
        with _heart(path):
            yield
    finally:
        _release(path, descriptor)


def holder_of(path: Path) -> Holder | None:
    """Who holds a lock for itself alone, or None. Leaves the lock as it is."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return Holder.read(path)
    except OSError as error:
        if error.errno not in _NO_LOCKS_HERE:
            raise
        return None if _is_stale(path) else Holder.read(path)
    else:
        holder = Holder.read(path)
        return holder if holder is not None and holder.host != socket.gethostname() and not _is_stale(path) else None
    finally:
        os.close(descriptor)


def _acquire(path: Path, *, shared: bool, patience_s: float) -> int:
    """An open descriptor of `path` with the lock on it."""
    give_up = time.monotonic() + patience_s
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            if time.monotonic() > give_up:
                raise LockedError(path, Holder.read(path)) from error
            time.sleep(0.05)
            continue
        except OSError:
            os.close(descriptor)
            raise
        if not _is_at(path, descriptor):
            os.close(descriptor)  # the one who held it before has just deleted the file
            continue
        if _lives_elsewhere(path):
            os.close(descriptor)
            raise LockedError(path, Holder.read(path))
        return descriptor


def _release(path: Path, descriptor: int) -> None:
    """Delete the file if nobody else holds it, and let the lock go."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _is_at(path, descriptor):
            path.unlink()
    except BlockingIOError:
        pass  # others share it
    finally:
        os.close(descriptor)


def _is_at(path: Path, descriptor: int) -> bool:
    """Whether the open file is still the one of this name."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


@contextmanager
def _locked_by_existence(path: Path, *, shared: bool) -> Iterator[None]:
    """Hold a lock where the file system has none: by the file's existence, with a heartbeat.

    A shared lock only makes sure that nobody holds it alone; it leaves no mark.
    """
    if path.exists() and path.stat().st_size and not _is_stale(path):
        raise LockedError(path, Holder.read(path))
    path.unlink(missing_ok=True)
    if shared:
        yield
        return
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError as error:
        raise LockedError(path, Holder.read(path)) from error
    os.write(descriptor, Holder.this_process()._content())
    os.close(descriptor)
    try:
        with _heart(path):
            yield
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def _heart(path: Path) -> Iterator[None]:
    """Touch the file again and again while the block runs."""
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(HEARTBEAT_S):
            with contextlib.suppress(FileNotFoundError):
                os.utime(path)

    heart = threading.Thread(target=beat, name=f"heartbeat of {path.name}", daemon=True)
    heart.start()
    try:
        yield
    finally:
        ended.set()
        heart.join()


def _lives_elsewhere(path: Path) -> bool:
    """Whether a process of another machine holds the lock, although this machine's system gave it to us."""
    holder = Holder.read(path)
    if holder is None or holder.host == socket.gethostname() or _is_stale(path):
        return False
    _log.info("%s: %s held it; waiting up to %.0f s for a sign of life", path, holder, SIGN_OF_LIFE_S)
    give_up = time.monotonic() + SIGN_OF_LIFE_S
    last = _changed(path)
    while time.monotonic() < give_up:
        time.sleep(min(1.0, SIGN_OF_LIFE_S / 10))
        if _changed(path) != last:
            return True
    return False


def _changed(path: Path) -> int:
    """The time of change as the server has it: network file systems ask it when a file is opened."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.fstat(descriptor).st_mtime_ns
    finally:
        os.close(descriptor)


def _is_stale(path: Path) -> bool:
    """Whether whoever made the file is gone: its process on this machine, or its heartbeat by the file's own clock."""
    holder = Holder.read(path)
    if holder is not None and holder.host == socket.gethostname():
        return not psutil.pid_exists(holder.pid)
    probe = path.with_name(f".{path.name}.{os.getpid()}.clock")
    probe.touch()
    try:
        return probe.stat().st_mtime_ns - _changed(path) > STALE_AFTER_S * 1e9
    except FileNotFoundError:
        return True
    finally:
        with contextlib.suppress(FileNotFoundError):
            probe.unlink()
