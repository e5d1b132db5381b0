"""What a table says is there on a terminal of any width."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from rtpipeline.cli.printing import print_table, table_of

KEY = "PATIENT-0001/2024-01_0ace8e6b"
WORDS = ("segmentation", "quality", "control", "ok", "skipped")


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_no_word_is_broken_or_lost(width: int) -> None:
    table = table_of("course", "segmentation", "quality_control", *(f"stage_{number}" for number in range(8)))
    table.add_row(KEY, "[green]ok[/]", "[dim]skipped[/]", *["ok"] * 8)
    written = io.StringIO()
    print_table(Console(file=written, width=width, soft_wrap=True, highlight=False), table)
    assert set(re.split(r"[^\w/.-]+", written.getvalue())) >= {KEY, *WORDS, *"01234567"}
    assert max(map(len, written.getvalue().splitlines())) <= width
