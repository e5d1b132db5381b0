"""A process that takes a GPU several times: `holding_gpu.py LOCKS RECORD SLOTS TIMES TOGETHER`.

Each hold lasts until so many processes were seen to hold at once; with more than there can ever be, it never ends.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from pathlib import Path

from rtpipeline.scheduling.gpu_slots import held_device

if __name__ == "__main__":
    locks, record, slots, times, together = sys.argv[1:]
    holding, were_together = Path(record).with_name(f"{os.getpid()}.holding"), Path(record).with_name("together")
    for _ in range(int(times)):
        with held_device(
            slots.split(","), slots.split(",")[0], {"gpu:0": "GPU-a", "gpu:1": "GPU-b"},
            folder=Path(locks), cancelled=threading.Event(), logger=logging.getLogger(),
        ) as device:  # fmt: skip
            begin = time.monotonic()  # the same clock in every process
            sys.stdout.write(f"{device}\n")
            sys.stdout.flush()
            holding.touch()
            while not were_together.exists():
                if len(list(holding.parent.glob("*.holding"))) >= int(together):
                    were_together.touch()
                time.sleep(0.01)
            time.sleep(0.05)  # a chance for one too many
            holding.unlink()
            with Path(record).open("a") as file:
                file.write(f"{device} {begin} {time.monotonic()}\n")
