"""Progress on a terminal: a bar for each stage, what is at work, memory and GPUs in use; the log runs above it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from rtpipeline.scheduling.progress import PoolView

BAR_WIDTH = 40
MOST_TASKS = 8


@contextmanager
def live_display(logger: logging.Logger) -> Iterator[Callable[[PoolView], None] | None]:
    """Give what shows how far a run is; None where standard error is no terminal, and the log lines are enough."""
    if not sys.stderr.isatty():
        yield None
        return
    consoles = [handler for handler in logger.handlers if type(handler) is logging.StreamHandler]
    with Live(_moving("the lines above say what is at work"), console=Console(stderr=True), transient=True) as live:
        before = [handler.setStream(sys.stderr) for handler in consoles]  # which now writes above the display
        try:
            yield lambda view: live.update(rendered(view))
        finally:
            for handler, stream in zip(consoles, before, strict=True):
                if stream is not None:
                    handler.setStream(stream)


def rendered(view: PoolView) -> Group:
    """The display of one moment."""
    bars = Table.grid(padding=(0, 1))
    for label, (ended, total) in view.stages.items():
        bars.add_row(label, ProgressBar(total=total, completed=ended, width=BAR_WIDTH), f"{ended}/{total}")
    lines = [f"{key} ({seconds:.0f} s, {device})" for key, device, seconds in view.running[:MOST_TASKS]]
    if len(view.running) > MOST_TASKS:
        lines.append(f"and {len(view.running) - MOST_TASKS} more")
    memory = psutil.virtual_memory()
    gpus = sorted({device for _, device, _ in view.running if device != "cpu"})
    used = f"memory {(memory.total - memory.available) / 1e9:.1f} of {memory.total / 1e9:.1f} GB"
    lines.append(f"{used}, GPUs at work: {', '.join(gpus)}" if gpus else used)
    return Group(bars, _moving("\n".join(lines)))


def _moving(text: str) -> Spinner:
    """A text beside a sign that moves as long as the program lives, however long one step takes."""
    return Spinner("dots", Text(text, style="dim"))
