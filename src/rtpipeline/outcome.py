"""What a stage says when it is done, and what the exit code of a command says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_PARTIAL = 3
EXIT_INTERRUPTED = 130

Status = Literal["ok", "partial", "skipped", "failed"]


@dataclass(frozen=True)
class Outcome:
    """The result of one stage of one course (or of the cohort).

    Attributes:
        status: `ok` everything asked for is there; `partial` some of it is missing, the rest is there;
            `skipped` there was nothing to do; `failed` nothing usable was made.
        reason: one sentence a user can act on; empty only for `ok`.
        memory_pressure: the failure came from a lack of memory (RAM or GPU), so trying again with fewer
            workers can help.
        details: small JSON-ready facts for the state file and the report (counts, versions, devices).
        computed: False where the result of an earlier run still holds, so that nothing was done now.
    """

    status: Status
    reason: str = ""
    memory_pressure: bool = False
    details: Mapping[str, Any] = field(default_factory=dict)
    computed: bool = True

    def __post_init__(self) -> None:
        if self.status != "ok" and not self.reason:
            raise ValueError(f"an outcome of status {self.status!r} needs a reason")

    @property
    def usable(self) -> bool:
        """Whether the stage left results that later stages may read."""
        return self.status in ("ok", "partial")


def ok(**details: Any) -> Outcome:
    """Everything that was asked for is there."""
    return Outcome("ok", details=details)


def partial(reason: str, **details: Any) -> Outcome:
    """Something is missing for `reason`; the rest is there."""
    return Outcome("partial", reason, details=details)


def skipped(reason: str, **details: Any) -> Outcome:
    """There was nothing to do, for `reason`."""
    return Outcome("skipped", reason, details=details)


def failed(reason: str, *, memory_pressure: bool = False, **details: Any) -> Outcome:
    """Nothing usable was made, for `reason`."""
    return Outcome("failed", reason, memory_pressure, details)


class StageError(Exception):
    """A stage cannot go on, and the message tells a user what is wrong, where, and what to do.

    Raised inside a stage, it becomes a failed `Outcome` with this message as its reason. Any other exception
    is a defect of the program: it fails the stage too, and its traceback goes to the log.
    """

    def __init__(self, reason: str, *, memory_pressure: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.memory_pressure = memory_pressure
