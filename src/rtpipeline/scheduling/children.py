"""The child processes of a run: started when first needed, kept warm, ended with the run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar


class Closeable(Protocol):
    """Something that runs until it is closed."""

    @property
    def alive(self) -> bool:
        """Whether it can still be used."""
        ...

    def close(self) -> None:
        """End it."""
        ...


Child = TypeVar("Child", bound=Closeable)


class ChildProcesses:
    """Warm child processes by key; a dead one is replaced at the next use."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: dict[str, list[Any]] = {}
        self._shared: dict[str, Any] = {}
        self._shared_locks: dict[str, threading.Lock] = {}
        self._all: list[Any] = []

    @contextmanager
    def borrow(self, key: str, start: Callable[[], Child]) -> Iterator[Child]:
        """An idle child of this key for exclusive use, started by `start` when there is none; given back after."""
        with self._lock:
            idle = [child for child in self._idle.pop(key, []) if child.alive]
            child = idle.pop() if idle else None
            self._idle[key] = idle
        if child is None:
            child = self._register(start())
        try:
            yield child
        finally:
            if child.alive:
                with self._lock:
                    self._idle.setdefault(key, []).append(child)

    def shared(self, key: str, start: Callable[[], Child]) -> Child:
        """The one child of this key, which several threads use at once; started again by `start` if it died."""
        with self._lock:
            lock = self._shared_locks.setdefault(key, threading.Lock())
        with lock:
            child = self._shared.get(key)
            if child is None or not child.alive:
                child = self._shared[key] = self._register(start())
            return child

    def close(self) -> None:
        """End every child."""
        with self._lock:
            children, self._all = self._all, []
            self._idle.clear()
            self._shared.clear()
        for child in children:
            child.close()

    def _register(self, child: Any) -> Any:
        with self._lock:
            self._all = [other for other in self._all if other.alive]
            self._all.append(child)
        return child
