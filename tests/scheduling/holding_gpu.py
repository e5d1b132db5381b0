"""A process that takes a GPU several times: `holding_gpu.py LOCKS RECORD SLOTS TIMES SECONDS`."""

from __future__ import annotations

import logging
import sys
import threading
import time
from pathlib import Path

from rtpipeline.scheduling.gpu_slots import held_device

if __name__ == "__main__":
    locks, record, slots, times, seconds = sys.argv[1:]
    for _ in range(int(times)):
        with held_device(
            slots.split(","), slots.split(",")[0], {"gpu:0": "GPU-a", "gpu:1": "GPU-b"},
            folder=Path(locks), cancelled=threading.Event(), logger=logging.getLogger(),
        ) as device:  # fmt: skip
            begin = time.time()
            sys.stdout.write(f"{device}\n")
            sys.stdout.flush()
            time.sleep(float(seconds))
            with Path(record).open("a") as file:
                file.write(f"{device} {begin} {time.time()}\n")
