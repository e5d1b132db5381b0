"""What the state file of a stage says, for those who read its results."""

from __future__ import annotations

import json
from typing import Any

from rtpipeline.course.course import Course

INCOMPLETE = frozenset({"partial", "failed", "missing"})
"""Statuses of a course that make what is put together of several courses incomplete; `skipped` does not."""


def recorded_state(course: Course, stage: str) -> dict[str, Any]:
    """The content of a state file; `{"status": "missing", "reason": …}` where none can be read."""
    file = course.files.state(stage)
    try:
        state: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {"status": "missing", "reason": f"the stage {stage} has not run"}
    except json.JSONDecodeError:
        return {"status": "missing", "reason": f"state/{file.name} is damaged; run the stage {stage} again"}
    return state
