"""Names of labels, compared without regard to case."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase


def plain(name: str) -> str:
    """Letters and digits of a name, in lower case."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def fits(name: str, patterns: Iterable[str]) -> bool:
    """Whether one of some shell patterns is for a name."""
    return any(fnmatchcase(name.lower(), pattern.lower()) for pattern in patterns)
