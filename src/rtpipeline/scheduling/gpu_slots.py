"""Which GPU a job takes, so that no two jobs of this machine's user take the same slot: of one run, or of several."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from rtpipeline.scheduling.locks import LockedError, locked

_LOOK_AGAIN_S = 0.5


def lock_folder() -> Path:
    """Where the locks of this machine's GPUs lie, for this user: not on a file system that machines share."""
    return Path(tempfile.gettempdir()) / f"rtpipeline-gpus-{os.getuid()}"


@contextmanager
def held_device(
    slots: Sequence[str],
    preferred: str,
    uuids: Mapping[str, str],
    *,
    folder: Path,
    cancelled: threading.Event,
    logger: logging.Logger | logging.LoggerAdapter[logging.Logger],
) -> Iterator[str]:
    """Hold one slot of a GPU, waiting for one as long as other jobs have them all.

    A slot is a lock on a file, named after the GPU itself rather than its number, which depends on what a process may
    see; so a job that dies gives it back. A device that is no GPU is held by nobody.

    Args:
        slots: a device for each job that may run at once (`gpu:0`, `gpu:1`, `gpu:0`, …).
        preferred: the device among them to try first.
        uuids: what identifies each GPU on this machine, by its device.
        folder: of the locks.
        cancelled: set when the run is to stop: then the preferred device is given, for nothing.
        logger: gets one line if the job has to wait.

    Yields:
        The device.
    """
    if not preferred.startswith("gpu"):
        yield preferred
        return
    seen: Counter[str] = Counter()
    files = []
    for device in slots:
        files.append((device != preferred, device, folder / f"{uuids.get(device, device)}.{seen[device]}.lock"))
        seen[device] += 1
    with contextlib.ExitStack() as stack:
        said = False
        while not cancelled.is_set():
            for _, device, file in sorted(files):
                try:
                    stack.enter_context(locked(file, patience_s=0.0))
                except LockedError:
                    continue
                yield device
                return
            if not said:
                said = True
                logger.info("waits for a GPU: other jobs of this machine have all %d slots", len(files))
            cancelled.wait(_LOOK_AGAIN_S)
        yield preferred
