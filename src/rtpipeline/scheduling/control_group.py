"""The control groups that limit this process: its own and all above it, each of which may set a limit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

MOUNT = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


def group_folders(controller: str) -> Iterator[Path]:
    """The folders of this process's groups for `controller` (`cpu`, `memory`), from its own up to the topmost.

    Both versions of control groups; in a container the topmost folder that is visible is the container's own.
    """
    if not MEMBERSHIP.is_file():
        return
    for line in MEMBERSHIP.read_text(encoding="utf-8").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        top = MOUNT / controller if controllers else MOUNT
        own = top / path.lstrip("/")
        yield from (folder for folder in (own, *own.parents) if folder.is_relative_to(top) and folder.is_dir())
