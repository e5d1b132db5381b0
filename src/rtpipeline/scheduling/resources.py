"""What a stage is given to work with."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rtpipeline.scheduling.children import ChildProcesses


@dataclass(frozen=True)
class Resources:
    """Threads, device, child processes and folders for one run of one stage. There are no singletons.

    Attributes:
        threads: CPU tokens that this stage holds; its threads and processes together never use more.
        device: `cpu`, `mps` or `gpu:N` (the slot that this stage holds).
        staging: a folder on the course's file system that mirrors the course folder. What the stage writes there
            at `staging/<relative path>` is published as `<course folder>/<relative path>` when it returns a usable
            outcome, and thrown away otherwise.
        scratch: a private temporary folder, deleted afterwards.
        kept: a folder that a killed or failed run of the stage leaves to the next one; None: nothing is left. It is
            made by who uses it, and deleted when the stage has a usable outcome.
        logs: the folder of the run's logs; a child process writes its own log file below it.
        children: the run's child processes (see `scheduling.children`).
        logger: names the course and the stage in every line.
        forced: the user asked for this stage to be done again, so nothing of an earlier result is used.
        cancelled: set when the run is to stop; long loops look at it.
        report_progress: called with (done, total) by stages with many parts.
    """

    threads: int
    device: str
    staging: Path
    scratch: Path
    logs: Path
    children: ChildProcesses
    logger: logging.Logger | logging.LoggerAdapter[logging.Logger]
    kept: Path | None = None
    forced: bool = False
    cancelled: threading.Event = field(default_factory=threading.Event)
    report_progress: Callable[[int, int], None] = lambda done, total: None

    @property
    def run_logger(self) -> logging.Logger:
        """The logger of the whole run, for what is shared by several courses."""
        return self.logger.logger if isinstance(self.logger, logging.LoggerAdapter) else self.logger
