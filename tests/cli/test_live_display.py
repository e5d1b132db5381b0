"""The display of a run on a terminal, and none elsewhere."""

from __future__ import annotations

import io
import logging

from rich.console import Console

from rtpipeline.cli.live_display import live_display, rendered
from rtpipeline.scheduling.progress import PoolView


def test_bars_name_every_stage_and_what_is_at_work():
    console = Console(file=io.StringIO(), width=100)
    running = (("P1/c segmentation", "gpu:0", 12.0),)
    console.print(rendered(PoolView({"Segmentation": (1, 3), "DVH": (0, 3)}, running)))
    shown = console.file.getvalue()
    assert "Segmentation" in shown
    assert "1/3" in shown
    assert "P1/c segmentation (12 s, gpu:0)" in shown
    assert "GB" in shown
    assert "GPUs at work: gpu:0" in shown


def test_without_a_terminal_there_is_none():
    with live_display(logging.getLogger("test")) as show:
        assert show is None
