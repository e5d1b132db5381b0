"""The child process that runs TotalSegmentator: `python -m rtpipeline.inference.totalsegmentator`.

It stays alive between requests, so its imports and its loaded models are paid for once. Its environment says where
TotalSegmentator keeps its settings (`TOTALSEG_HOME_DIR`, a folder of this process alone) and where the weights lie
(`TOTALSEG_WEIGHTS_PATH`).
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from rtpipeline.inference.phase_and_modality import classify
from rtpipeline.inference.predictor import (
    Limits,
    ModelError,
    check_device,
    package_versions,
    predictor_class,
    weights_digest,
)
from rtpipeline.inference.tasks import TaskOptions, dataset_folders, labels_of, missing_models
from rtpipeline.scheduling.worker_process import Message, serve

logger = logging.getLogger(__name__)


class Segmenter:
    """TotalSegmentator with its loaded models."""

    def __init__(self) -> None:
        self._loaded: dict[Any, dict[str, Any]] = {}
        self._digests: dict[Any, str] = {}

    def answer(self, request: Message) -> Message:
        """Segment an image, or classify one that was segmented (see `phase_and_modality.classify`)."""
        return self.segment(request) if "task" in request else classify(request)

    def segment(self, request: Message) -> Message:
        """Segment one image with one task in one inference.

        Args:
            request: `image` and `output` (NIfTI files; the output gets uint8 labels on the image's own grid),
                `scratch` (folder for temporary files), `task`, `fast`, `roi_subset` (names; empty for all),
                `body_only`, `force_split`, `device` (`cpu`, `mps`, `gpu:N`), `threads`, and TotalSegmentator's
                `nr_thr_resamp`, `num_proc_pre`, `num_proc_export` (it saves nothing itself).

        Returns:
            `seconds`, `versions`, `weights_digest`, `device`.

        Raises:
            ModelError: the weights are missing or damaged, or the task needs a licence.
            RuntimeError: the device is not there, or the network failed.
        """
        task = TaskOptions(request["task"], request["fast"], tuple(request["roi_subset"]), request["body_only"])
        check_device(request["device"])
        tempfile.tempdir = request["scratch"]
        digest = self._weights_digest(task)
        limits = Limits(request["threads"], request["num_proc_pre"], request["num_proc_export"])
        started = time.monotonic()
        self._run(task, request, limits)
        seconds = time.monotonic() - started
        logger.info("task %s on %s: %.1f s", task.task, request["device"], seconds)
        return {
            "seconds": round(seconds, 3),
            "versions": package_versions(),
            "weights_digest": digest,
            "device": request["device"],
        }

    def _run(self, task: TaskOptions, request: Message, limits: Limits) -> None:
        import nibabel
        import numpy as np
        import torch
        import totalsegmentator.config

        totalsegmentator.config.setup_nnunet()  # nnunetv2 reads its folders when it is imported
        import totalsegmentator.nnunet
        from totalsegmentator.python_api import totalsegmentator as run_totalsegmentator

        totalsegmentator.nnunet.nnUNetPredictor = predictor_class(limits, self._loaded)
        torch.set_num_threads(limits.threads)
        try:
            segmented = run_totalsegmentator(
                Path(request["image"]),
                None,
                ml=True,
                task=task.task,
                fast=task.fast,
                roi_subset=list(labels_of(task).values()) if task.roi_subset else None,
                body_seg=task.body_only,
                force_split=request["force_split"],
                nr_thr_resamp=request["nr_thr_resamp"],
                device=request["device"],
                quiet=True,
            )
        except SystemExit as error:  # how TotalSegmentator refuses a task without a licence
            raise ModelError(
                f"TotalSegmentator refused the task {task.task}: it needs a licence number "
                "(set it with `totalseg_set_license -l NUMBER`)"
            ) from error
        values = np.asanyarray(segmented.dataobj).astype(np.uint8)
        nibabel.save(nibabel.Nifti1Image(values, segmented.affine), request["output"])

    def _weights_digest(self, task: TaskOptions) -> str:
        weights = Path(os.environ["TOTALSEG_WEIGHTS_PATH"])
        if missing := missing_models(weights, task):
            raise ModelError(f"weights of the datasets {', '.join(map(str, missing))} are not in {weights}")
        return weights_digest(dataset_folders(weights, task), self._digests)


if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")  # nothing forks from a process with threads
    serve(Segmenter().answer)
