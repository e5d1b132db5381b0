"""Whether one more task fits into the memory that is free, beside those that run."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from rtpipeline.scheduling.memory import Room
from rtpipeline.scheduling.tasks import Grant, Task

Running = Sequence[tuple[Task, Grant]]


class MemoryAdmission:
    """Holds estimates of tasks against what is free; see `scheduling.memory.Room`.

    Args:
        free_memory: bytes that are free now; None: every task fits.
        free_gpu_memory: bytes that are free on a device, or None where that is not known.
        slots: devices by slot pool; only a device that has several slots is asked.
        logger: gets one line for each task that has to wait.
    """

    def __init__(
        self,
        free_memory: Callable[[], int] | None,
        free_gpu_memory: Callable[[str], int | None],
        slots: Mapping[str, Sequence[str]],
        logger: logging.Logger | logging.LoggerAdapter[logging.Logger],
    ) -> None:
        self._free_memory = free_memory
        self._free_gpu_memory = free_gpu_memory
        devices = [device for pool in slots.values() for device in pool]
        self._shared = {device for device in devices if devices.count(device) > 1}
        self._log = logger
        self._rooms: defaultdict[str, Room] = defaultdict(Room)
        self._said: set[str] = set()

    def fits(self, task: Task, device: str, running: Running) -> bool:
        """Whether `task` may start on `device` beside `running`."""
        if self._free_memory is None:
            return True
        others = [other.memory_bytes for other, _ in running]
        if not self._has_room(task, "memory", task.memory_bytes, self._free_memory(), others):
            return False
        if device not in self._shared or not task.gpu_memory_bytes:
            return True
        on_device = [other.gpu_memory_bytes for other, grant in running if grant.device == device]
        free = self._free_gpu_memory(device)
        return free is None or self._has_room(task, f"memory of {device}", task.gpu_memory_bytes, free, on_device)

    def _has_room(self, task: Task, what: str, needed: int, now: int, others: Sequence[int]) -> bool:
        free = self._rooms[what].left(now, others)
        if free is None:
            return True
        if needed > free and task.key not in self._said:
            self._said.add(task.key)
            self._log.info("%s waits for %s: about %.1f GB, %.1f GB free", task.key, what, needed / 1e9, free / 1e9)
        return needed <= free
