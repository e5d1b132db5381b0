"""Names of labels, compared without regard to case and punctuation."""

from __future__ import annotations

import re


def plain(name: str) -> str:
    """Letters and digits of a name, in lower case."""
    return re.sub(r"[^a-z0-9]", "", name.lower())
