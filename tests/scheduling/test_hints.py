"""Advice comes with its symptom, and once."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import psutil
import pytest

from rtpipeline.outcome import failed
from rtpipeline.scheduling import hints as hints_module
from rtpipeline.scheduling.adaptive_pool import AdaptivePool, Task
from rtpipeline.scheduling.hints import ADVICE, GPU_MEMORY, SEQUENTIAL_RADIOMICS, SLOW_DISK, SLUGGISH_DESKTOP, Hints


def test_a_gpu_without_memory_gets_its_advice_once(caplog):
    def fail(grant):
        return failed("CUDA error: out of memory")

    caplog.set_level(logging.INFO)
    log = logging.getLogger("test")
    AdaptivePool(budget=1, logger=log, hints=Hints(log)).run([Task("a", "A", fail), Task("b", "A", fail)])
    assert caplog.text.count(ADVICE[GPU_MEMORY]) == 1


def test_other_failures_get_none(caplog):
    Hints(logging.getLogger("test")).failed("the course has no planning CT")
    assert "Tip" not in caplog.text


def test_slow_radiomics_is_excused_only_where_it_is_sequential(caplog):
    Hints(logging.getLogger("test")).slow("Radiomics")
    assert "Tip" not in caplog.text
    Hints(logging.getLogger("test"), frozenset({"Radiomics"})).slow("Radiomics")
    assert ADVICE[SEQUENTIAL_RADIOMICS] in caplog.text


@pytest.mark.parametrize(("load", "desktop", "said"), [(1e6, True, True), (1e6, False, False), (0.0, True, False)])
def test_a_desktop_with_more_work_than_cores(caplog, monkeypatch, load, desktop, said):
    monkeypatch.setattr(hints_module, "INTERVAL_S", 0.0)
    monkeypatch.setattr(hints_module.os, "getloadavg", lambda: (load, load, load))
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("DISPLAY", ":0") if desktop else monkeypatch.delenv("DISPLAY", raising=False)
    Hints(logging.getLogger("test")).look_around()
    assert (ADVICE[SLUGGISH_DESKTOP] in caplog.text) == said


def test_processors_that_wait_for_a_disk(caplog, monkeypatch):
    monkeypatch.setattr(hints_module, "INTERVAL_S", 0.0)
    hints = Hints(logging.getLogger("test"))
    before = hints._times
    monkeypatch.setattr(hints_module.psutil, "cpu_times", lambda: before._replace(iowait=before.iowait + 1000.0))
    hints.look_around()
    assert ADVICE[SLOW_DISK] in caplog.text


def test_nobody_looks_more_often_than_needed(monkeypatch):
    """Twice a second for an hour."""
    now, looks, times = 0.0, [], psutil.cpu_times()
    monkeypatch.setattr(hints_module, "time", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr(hints_module.psutil, "cpu_times", lambda: looks.append(now) or times)
    hints = Hints(logging.getLogger("test"))
    for step in range(1, 7201):
        now = step / 2
        hints.look_around()
    assert looks == [60.0 * minute for minute in range(61)]
