"""Recognizing that something failed because a disk is full, so that a user reads what to do, not a traceback."""

from __future__ import annotations

import errno


def disk_full_reason(error: BaseException | None) -> str:
    """What to tell a user when an exception, or one that caused it, is a full disk or quota; else an empty text."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            file = error.filename2 or error.filename  # of a copy the second one is written
            where = f" for {file}" if file else ""
            return f"{error.strerror}{where}: free some space and start again; what is done is kept"
        error = error.__cause__ or error.__context__
    return ""
