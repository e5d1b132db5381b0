"""The one kind of child process: another interpreter, its own process group, framed messages on its streams.

The parent side is `WorkerProcess`. The child side is a module whose `__main__` calls `serve(handle)`. Both sides
need the standard library alone, because the child may live in another environment.

A frame is an 8-byte big-endian length and that many bytes of JSON. Requests and replies carry a number, so many can
be under way at once. Whatever the child prints goes to its log file, never between the frames. The child and all of
its children end when its standard input closes, because a parent that was killed runs no handler.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import struct
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from pathlib import Path
from typing import Any, BinaryIO

from rtpipeline.scheduling.memory_pressure import exit_is_memory_pressure, mentions_memory_pressure

Message = dict[str, Any]

_LENGTH = struct.Struct(">Q")
_LOG_TAIL_BYTES = 8192
_CLOSE_TIMEOUT_S = 10.0


class WorkerError(Exception):
    """A child process could not answer a request.

    Attributes:
        memory_pressure: the reason was a lack of memory.
    """

    def __init__(self, reason: str, *, memory_pressure: bool = False) -> None:
        super().__init__(reason)
        self.memory_pressure = memory_pressure


class WorkerRequestError(WorkerError):
    """The child raised while it handled the request, and lives on."""


class WorkerDiedError(WorkerError):
    """The child ended before it answered."""


class WorkerTimeoutError(WorkerError):
    """The child did not answer in time, and was killed with its children."""


class WorkerProcess:
    """A child process that answers requests.

    Args:
        module: run as `python -m module`; its `__main__` calls `serve`.
        log_file: what the child writes to its standard output and error is appended here.
        python: the interpreter, possibly of another environment.
        arguments: command-line arguments of the module.
        environment: variables added to this process's own; a value of None removes one.
        logger: lines that the child logs are given to it; whoever borrows a warm child puts its own in its place.
    """

    def __init__(
        self,
        module: str,
        *,
        log_file: Path,
        python: str | Path = sys.executable,
        arguments: Sequence[str] = (),
        environment: Mapping[str, str | None] | None = None,
        logger: logging.Logger | logging.LoggerAdapter[logging.Logger] | None = None,
    ) -> None:
        self.name = module.rsplit(".", 1)[-1]
        self.log_file = log_file
        self.logger = logger or logging.getLogger(__name__)
        self._lock = threading.Lock()
        self._pending: dict[int, Future[Message]] = {}
        self._next_number = 0
        self._ended: WorkerError | None = None
        variables: dict[str, str | None] = {**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})}
        log_file.parent.mkdir(parents=True, exist_ok=True)
        with log_file.open("ab") as log:
            self._log_start = log.tell()
            self._process = subprocess.Popen(
                [str(python), "-m", module, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={name: value for name, value in variables.items() if value is not None},
                start_new_session=True,
            )
        self._reader = threading.Thread(target=self._read_replies, name=f"{self.name}-replies", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Process id, which is also the id of the child's process group."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the child can take another request."""
        return self._ended is None

    def submit(self, request: Message) -> Future[Message]:
        """Send a request; the future holds the reply, or a `WorkerError`."""
        future: Future[Message] = Future()
        with self._lock:
            if self._ended is not None:
                future.set_exception(self._ended)
                return future
            number = self._next_number
            self._next_number += 1
            self._pending[number] = future
            # A child that has just ended breaks the pipe; the reader sees that too, and fails this future.
            with contextlib.suppress(BrokenPipeError, ValueError):
                _write_frame(self._input, {"number": number, "request": request})
        return future

    def call(
        self, request: Message, timeout_s: float | None = None, cancelled: threading.Event | None = None
    ) -> Message:
        """Send a request and wait for the reply.

        Raises:
            WorkerRequestError: the child raised; it can take further requests.
            WorkerDiedError: the child ended.
            WorkerTimeoutError: no reply in `timeout_s` seconds, or `cancelled` was set; the child was killed.
        """
        future = self.submit(request)
        waited = 0.0
        step = 0.2
        while True:
            try:
                return future.result(timeout=step)
            except FutureTimeoutError:
                waited += step
            if cancelled is not None and cancelled.is_set():
                self.kill()
                raise WorkerTimeoutError(f"{self.name}: cancelled")
            if timeout_s is not None and waited >= timeout_s:
                self.kill()
                raise WorkerTimeoutError(f"{self.name}: no answer within {timeout_s:.0f} s; see {self.log_file}")

    def kill(self) -> None:
        """End the child and all of its children at once."""
        if self._process.returncode is None:
            _kill_group(self._process.pid)
        self._reader.join(_CLOSE_TIMEOUT_S)

    def close(self) -> None:
        """End the child by closing its input; kill it if it does not end."""
        with self._lock, contextlib.suppress(BrokenPipeError):
            self._input.close()
        self._reader.join(_CLOSE_TIMEOUT_S)
        self.kill()

    def log_tail(self) -> str:
        """The last lines that this child printed."""
        with self.log_file.open("rb") as log:
            log.seek(0, os.SEEK_END)
            log.seek(max(self._log_start, log.tell() - _LOG_TAIL_BYTES))
            return log.read().decode("utf-8", errors="replace")

    @property
    def _input(self) -> BinaryIO:
        assert self._process.stdin is not None
        return self._process.stdin  # type: ignore[return-value]

    def _read_replies(self) -> None:
        assert self._process.stdout is not None
        while (frame := _read_frame(self._process.stdout)) is not None:  # type: ignore[arg-type]
            if "log" in frame:
                self.logger.log(frame["log"]["level"], "%s: %s", self.name, frame["log"]["message"])
                continue
            with self._lock:
                future = self._pending.pop(frame["number"])
            if "error" in frame:
                self.logger.debug("%s", frame["error"]["traceback"])
                message = frame["error"]["message"]
                pressure = frame["error"]["memory_pressure"]
                future.set_exception(WorkerRequestError(message, memory_pressure=pressure))
            else:
                future.set_result(frame["reply"])
        _kill_group(self._process.pid)  # its children, while the unreaped child still holds the group's number
        return_code = self._process.wait()
        tail = self.log_tail()
        last_line = next((line for line in reversed(tail.splitlines()) if line.strip()), "")
        error = WorkerDiedError(
            f"{self.name} ended with exit code {return_code}: {last_line.strip()} (log: {self.log_file})",
            memory_pressure=exit_is_memory_pressure(return_code, tail),
        )
        with self._lock:
            self._ended = error
            orphans = list(self._pending.values())
            self._pending.clear()
        for future in orphans:
            future.set_exception(error)


def serve(handle: Callable[[Message], Message | Future[Message]]) -> None:
    """Answer requests on the standard streams until the input closes; then end with all children.

    Args:
        handle: gets the requests one after another, in a thread of its own. It returns the reply, or a future of it
            to go on with the next request meanwhile. What it raises is sent back as the request's error.
    """
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    channel = _Channel(replies)
    root = logging.getLogger()
    root.addHandler(_ChannelHandler(channel))
    root.setLevel(logging.INFO)
    with ThreadPoolExecutor(1, thread_name_prefix="requests") as executor:
        while (frame := _read_frame(sys.stdin.buffer)) is not None:
            number = frame["number"]
            executor.submit(handle, frame["request"]).add_done_callback(
                lambda future, number=number: channel.answer(number, future)  # type: ignore[misc]
            )
        _kill_group(os.getpgrp())


class _Channel:
    """The child's way back to its parent; safe to use from several threads."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def send(self, message: Message) -> None:
        with self._lock:
            try:
                _write_frame(self._stream, message)
            except BrokenPipeError:
                _kill_group(os.getpgrp())  # nobody listens any more

    def answer(self, number: int, future: Future[Any]) -> None:
        error = future.exception()
        if error is not None:
            text = f"{type(error).__name__}: {error}"
            details = {
                "message": text,
                "memory_pressure": isinstance(error, MemoryError) or mentions_memory_pressure(text),
                "traceback": "".join(traceback.format_exception(type(error), error, error.__traceback__)),
            }
            self.send({"number": number, "error": details})
            return
        result = future.result()
        if isinstance(result, Future):
            result.add_done_callback(lambda inner: self.answer(number, inner))
        else:
            self.send({"number": number, "reply": result})


class _ChannelHandler(logging.Handler):
    """Log lines of the child reach the parent's log."""

    def __init__(self, channel: _Channel) -> None:
        super().__init__()
        self._channel = channel

    def emit(self, record: logging.LogRecord) -> None:
        self._channel.send({"log": {"level": record.levelno, "message": self.format(record)}})


def _write_frame(stream: BinaryIO, message: Message) -> None:
    body = json.dumps(message).encode("utf-8")
    stream.write(_LENGTH.pack(len(body)) + body)
    stream.flush()


def _read_frame(stream: BinaryIO) -> Message | None:
    """The next message, or None when the stream ends (also in the middle of a frame)."""
    header = stream.read(_LENGTH.size)
    if len(header) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(header)
    body = stream.read(length)
    if len(body) < length:
        return None
    message: Message = json.loads(body)
    return message


def _kill_group(group: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # all of it has ended already
        os.killpg(group, signal.SIGKILL)
