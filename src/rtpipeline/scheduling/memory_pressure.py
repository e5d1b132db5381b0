"""Recognizing that something failed for lack of memory, so that fewer workers can help."""

from __future__ import annotations

import re
import signal

_PHRASES = (
    "out of memory",
    "cublas status alloc failed",
    "cudnn status alloc failed",
    "std::bad alloc",
    "bad allocation",
    "cannot allocate memory",
    "failed to allocate",
    "unable to allocate",
    "not enough memory",
    "mmap failed",
    "memoryerror",
)
# A message is compared with its underscores as spaces, because CUDA names its errors like CUBLAS_STATUS_ALLOC_FAILED.
_PATTERN = re.compile("|".join([*map(re.escape, _PHRASES), r"\boom\b"]))

KILLED_EXIT_CODES = frozenset({-signal.SIGKILL, 128 + signal.SIGKILL})
"""Exit codes of a process that was ended by signal 9, as the kernel does when memory runs out."""


def mentions_memory_pressure(text: str) -> bool:
    """Whether a message says that memory ran out; underscores count as spaces, `oom` only as a word."""
    return _PATTERN.search(text.lower().replace("_", " ")) is not None


def is_memory_pressure(error: BaseException) -> bool:
    """Whether an exception, or one that caused it, is a lack of memory."""
    current: BaseException | None = error
    while current is not None:
        if isinstance(current, MemoryError) or getattr(current, "memory_pressure", False):
            return True
        if mentions_memory_pressure(str(current)):
            return True
        current = current.__cause__ or current.__context__
    return False


def exit_is_memory_pressure(return_code: int | None, output: str) -> bool:
    """Whether a child that ended with `return_code` and last printed `output` ran out of memory."""
    return return_code in KILLED_EXIT_CODES or (return_code != 0 and mentions_memory_pressure(output))
