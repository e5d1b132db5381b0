"""Starting the child processes that run models; the parent's side of `totalsegmentator` and `nnunet`."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from rtpipeline.inference.tasks import user_home
from rtpipeline.scheduling.resources import Resources
from rtpipeline.scheduling.thread_caps import thread_environment
from rtpipeline.scheduling.worker_process import Message, WorkerError, WorkerProcess

Logger = logging.Logger | logging.LoggerAdapter[logging.Logger]


class TotalSegmentatorProcess(WorkerProcess):
    """A warm TotalSegmentator.

    TotalSegmentator rewrites its settings at every prediction, so each process has a settings folder of its own. It
    says that nothing is reported to anybody, and carries the user's licence number where there is one.

    Args:
        weights: the folder of the weights, shared by all.
        threads: most threads of its numerical libraries.
        logs: folder for its log file.
        device: part of the name of the log file.
        logger: gets the lines that the child logs.
    """

    def __init__(self, weights: Path, threads: int, logs: Path, device: str, logger: Logger) -> None:
        self._home = tempfile.TemporaryDirectory(prefix="rtpipeline-totalsegmentator-")
        _write_settings(Path(self._home.name))
        super().__init__(
            "rtpipeline.inference.totalsegmentator",
            log_file=new_log_file(logs, f"totalsegmentator-{device.replace(':', '-')}"),
            environment={
                **model_environment(threads),
                "TOTALSEG_HOME_DIR": self._home.name,
                "TOTALSEG_WEIGHTS_PATH": str(weights),
            },
            logger=logger,
        )

    def close(self) -> None:
        """End the child and remove its settings."""
        super().close()
        self._home.cleanup()


def ask(
    key: str,
    start: Callable[[], WorkerProcess],
    request: Message,
    timeout_s: float | None,
    resources: Resources,
    device: str = "",
) -> Message:
    """The answer of a warm child; one that ran out of memory is not used again.

    Args:
        key: what kind of child it is.
        start: starts one on the device.
        request: see the child's module.
        timeout_s: time limit in seconds; None for none.
        resources: of the stage.
        device: another one than the stage holds; empty for that one.

    Raises:
        WorkerError: the model failed, the child died, or it took longer than `timeout_s` seconds.
    """
    with resources.children.borrow(f"{key}-{device or resources.device}", start) as child:
        child.logger = resources.logger
        try:
            return child.call(request, timeout_s, resources.cancelled)
        except WorkerError as error:
            if error.memory_pressure:
                child.kill()  # what it still holds would be missing at the next attempt
            raise


def first_that_fits(
    what: str, ways: Iterable[Message], ask_in_this_way: Callable[[Message], Message], resources: Resources
) -> Message:
    """The answer of the first way for which memory suffices.

    Args:
        what: is asked for, for the log.
        ways: each needs less memory than the one before; every one has its `device`, and may have `force_split`.
        ask_in_this_way: asks a child.
        resources: of the stage.

    Returns:
        The child's answer, with `out_of_memory_on` (the ways that were tried before) where memory ran out.

    Raises:
        WorkerError: memory ran out in every way, or something else went wrong.
    """
    tried: list[str] = []
    errors: list[WorkerError] = []
    for way in ways:
        try:
            reply = ask_in_this_way(way)
        except WorkerError as error:
            if not error.memory_pressure or resources.cancelled.is_set():
                raise
            tried.append(f"{way['device']}{' in parts' if way.get('force_split') else ''}")
            resources.logger.warning("%s ran out of memory on %s: %s", what, tried[-1], error)
            errors.append(error)
            continue
        return {**reply, "out_of_memory_on": tried} if tried else reply
    raise errors[-1]


def start_nnunet(threads: int, logs: Path, device: str, logger: Logger) -> WorkerProcess:
    """A warm nnU-Net (see `inference.nnunet` for its requests)."""
    return WorkerProcess(
        "rtpipeline.inference.nnunet",
        log_file=new_log_file(logs, f"nnunet-{device.replace(':', '-')}"),
        environment=model_environment(threads),
        logger=logger,
    )


def model_environment(threads: int) -> dict[str, str]:
    """Variables that keep a child's numerical libraries, and nnU-Net's own thread count, to `threads`.

    GPUs have the numbers that the driver gives them, not those of CUDA's own order.
    """
    return {**thread_environment(threads), "nnUNet_def_n_proc": str(threads), "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}


def new_log_file(folder: Path, stem: str) -> Path:
    """An empty file `<stem>-<number>.log` that no other process writes to."""
    folder.mkdir(parents=True, exist_ok=True)
    number = 1
    while True:
        file = folder / f"{stem}-{number}.log"
        try:
            file.touch(exist_ok=False)
        except FileExistsError:
            number += 1
        else:
            return file


def _write_settings(home: Path) -> None:
    settings = {
        "totalseg_id": "rtpipeline",
        "send_usage_stats": False,
        "statistics_disclaimer_shown": True,
        "prediction_counter": 0,
    }
    users = user_home() / "config.json"
    if users.is_file():
        licence = json.loads(users.read_text(encoding="utf-8")).get("license_number")
        if licence:
            settings["license_number"] = licence
    (home / "config.json").write_text(json.dumps(settings), encoding="utf-8")
