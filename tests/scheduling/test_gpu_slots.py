"""GPUs between processes, and what a process sees of them. The list of GPUs is pretended; everything else is real."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import pytest

from rtpipeline.scheduling import devices
from rtpipeline.scheduling.devices import gpu_uuids, segmentation_devices
from rtpipeline.scheduling.gpu_slots import held_device
from rtpipeline.scheduling.memory import free_gpu_memory_bytes
from waiting import LONG_S, eventually

HOLDER = Path(__file__).with_name("holding_gpu.py")
A, B = "GPU-aaaa-1", "GPU-bbbb-2"


def start(tmp_path: Path, slots: str, times: int, together: int) -> subprocess.Popen[str]:
    words = [sys.executable, HOLDER, tmp_path / "locks", tmp_path / "record", slots, times, together]
    return subprocess.Popen([*map(str, words)], stdout=subprocess.PIPE, text=True)


def spans(tmp_path: Path) -> dict[str, list[tuple[float, float]]]:
    """Begin and end of every hold by device, in order."""
    found = defaultdict(list)
    for line in (tmp_path / "record").read_text().splitlines():
        device, begin, end = line.split()
        found[device].append((float(begin), float(end)))
    return {device: sorted(held) for device, held in found.items()}


def hold(folder: Path, slots: tuple[str, ...], preferred: str = "gpu:0", cancelled: threading.Event | None = None):
    return held_device(
        slots, preferred, {"gpu:0": A, "gpu:1": B},
        folder=folder, cancelled=cancelled or threading.Event(), logger=logging.getLogger(),
    )  # fmt: skip


def test_four_processes_take_turns_on_two_gpus(tmp_path):
    processes = [start(tmp_path, "gpu:0,gpu:1", times=3, together=2) for _ in range(4)]
    assert [process.wait() for process in processes] == [0] * 4
    held = spans(tmp_path)
    assert set(held) == {"gpu:0", "gpu:1"}
    assert sum(map(len, held.values())) == 12
    for one in held.values():
        assert all(end <= begin for (_, end), (begin, _) in pairwise(one))


def test_a_gpu_with_two_slots_takes_two_at_once_and_no_third(tmp_path):
    processes = [start(tmp_path, "gpu:0,gpu:0", times=1, together=2) for _ in range(3)]
    assert [process.wait() for process in processes] == [0] * 3
    first, second, third = spans(tmp_path)["gpu:0"]
    assert second[0] < first[1]
    assert third[0] >= min(first[1], second[1])


def test_a_killed_process_gives_its_gpu_back(tmp_path):
    process = start(tmp_path, "gpu:0", times=1, together=2)
    assert process.stdout.readline() == "gpu:0\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    again = start(tmp_path, "gpu:0", times=1, together=1)
    assert again.wait(timeout=LONG_S) == 0


def test_the_preferred_gpu_first_then_another(tmp_path):
    with hold(tmp_path, ("gpu:0", "gpu:1"), "gpu:1") as first, hold(tmp_path, ("gpu:0", "gpu:1"), "gpu:1") as second:
        assert (first, second) == ("gpu:1", "gpu:0")


def test_who_waits_stops_waiting_when_the_run_stops(tmp_path, caplog):
    cancelled = threading.Event()

    def stop_who_waits() -> None:
        eventually(lambda: "waits for a GPU" in caplog.text)
        cancelled.set()

    stopping = threading.Thread(target=stop_who_waits)
    stopping.start()
    with caplog.at_level(logging.INFO), hold(tmp_path, ("gpu:0",)), hold(tmp_path, ("gpu:0",), cancelled=cancelled):
        pass
    stopping.join()
    assert "waits for a GPU" in caplog.text


def test_the_cpu_is_held_by_nobody(tmp_path):
    with hold(tmp_path, ("cpu",), "cpu") as first, hold(tmp_path, ("cpu",), "cpu") as second:
        assert first == second == "cpu"
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def two_gpus(tmp_path, monkeypatch):
    """A driver's program that knows two GPUs, and a PyTorch with CUDA."""
    program = tmp_path / "nvidia-smi"
    program.write_text(
        "#!/bin/sh\n"
        f"""case "$1" in -L) printf 'GPU 0: Model (UUID: {A})\\n  MIG 1g Device 0: (UUID: MIG-x)\\n"""
        f"""GPU 1: Model (UUID: {B})\\n' ;; --id={A}) echo 1000 ;; --id={B}) echo 2000 ;; *) exit 9 ;; esac\n"""
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(devices, "_torch_has_cuda", lambda: True)


@pytest.mark.parametrize(
    ("visible", "uuids"),
    [
        (None, (A, B)),
        ("1", (B,)),
        ("1,0", (B, A)),
        ("GPU-bbbb", (B,)),
        ("0,7,1", (A,)),  # as CUDA does: what comes after an unknown one is not seen
        ("MIG-x", ("MIG-x",)),
        ("", ()),
        ("-1", ()),
    ],
)
def test_only_visible_gpus_count(two_gpus, monkeypatch, visible, uuids):
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert gpu_uuids() == uuids


def test_free_memory_is_that_of_the_gpu_meant(two_gpus, monkeypatch):
    assert [free_gpu_memory_bytes(device) for device in ("gpu:0", "gpu:1", "gpu:2", "cpu")] == [
        1000 * 2**20, 2000 * 2**20, None, None,
    ]  # fmt: skip
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert free_gpu_memory_bytes("gpu:0") == 2000 * 2**20


@pytest.mark.parametrize(
    ("max_workers", "slots"), [(None, ("gpu:0",)), (2, ("gpu:0", "gpu:1")), (3, ("gpu:0", "gpu:1", "gpu:0"))]
)
def test_jobs_are_spread_over_gpus(two_gpus, max_workers, slots):
    assert segmentation_devices("gpu", max_workers, budget=8).slots == slots


def test_without_a_gpu_the_cpu_takes_its_place_and_says_so(two_gpus, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    found = segmentation_devices("gpu", None, budget=3)
    assert found.slots == ("cpu",) * 3
    assert "no usable GPU" in found.note
