"""The child process that runs nnU-Net v2 model folders: `python -m rtpipeline.inference.nnunet`.

It stays alive between requests, so its imports and its loaded models are paid for once.
"""

from __future__ import annotations

import logging
import multiprocessing
import tempfile
import time
from pathlib import Path
from typing import Any

from rtpipeline.inference.predictor import (
    Limits,
    check_device,
    package_versions,
    predictor_class,
    weights_digest,
)
from rtpipeline.scheduling.worker_process import Message, serve

logger = logging.getLogger(__name__)


class Predictor:
    """nnU-Net with its loaded models."""

    def __init__(self) -> None:
        self._loaded: dict[Any, dict[str, Any]] = {}
        self._digests: dict[Any, str] = {}

    def predict(self, request: Message) -> Message:
        """Segment one image with one model folder, or with several whose probabilities are averaged.

        Args:
            request: `image` and `output` (NIfTI files; the output lies on the image's own grid), `scratch` (folder
                for temporary files), `networks` (for each: `model_folder` with `plans.json`, `folds` as names after
                `fold_`, `checkpoint` as file name in each fold, `step_size`, `mirroring`), `orientation` (three
                letters, for example `LAS`: the patient directions of rising x, y and z index of the images that the
                model was trained on), `keep_largest` (lists of labels: of each list's labels together only the
                largest connected part stays, one list after another), `device` (`cpu`, `mps`, `gpu:N`), `threads`.

        Returns:
            `seconds`, `versions`, `weights_digest` (of all model folders), `device`.

        Raises:
            ModelError: the weights are damaged.
            RuntimeError: the device is not there, or the network failed.
        """
        check_device(request["device"])
        tempfile.tempdir = request["scratch"]
        folders = list(dict.fromkeys(Path(network["model_folder"]) for network in request["networks"]))
        started = time.monotonic()
        self._run(request)
        seconds = time.monotonic() - started
        logger.info("%s on %s: %.1f s", ", ".join(map(str, folders)), request["device"], seconds)
        return {
            "seconds": round(seconds, 3),
            "versions": package_versions(),
            "weights_digest": weights_digest(folders, self._digests),
            "device": request["device"],
        }

    def _run(self, request: Message) -> None:
        import nibabel
        import numpy as np

        image = nibabel.Nifti1Image.from_filename(request["image"])
        own = "".join(nibabel.aff2axcodes(image.affine))
        with tempfile.TemporaryDirectory() as folder:
            turned = Path(folder) / "case_0000.nii.gz"
            nibabel.save(turned_to(image, request["orientation"]), turned)
            labels = nibabel.Nifti1Image.from_filename(self._labels(turned, request))
            values = np.asanyarray(turned_to(labels, own).dataobj).astype(np.uint8)
        if request["keep_largest"]:
            from nnunetv2.postprocessing.remove_connected_components import (
                remove_all_but_largest_component_from_segmentation,
            )

            for together in request["keep_largest"]:
                values = remove_all_but_largest_component_from_segmentation(values, together)
        nibabel.save(nibabel.Nifti1Image(values, image.affine), request["output"])

    def _labels(self, image: Path, request: Message) -> Path:
        """The file of labels, beside the image."""
        networks = request["networks"]
        several = len(networks) > 1
        for number, network in enumerate(networks):
            predictor = self._predictor(network, request)
            predictor.predict_from_files(
                [[str(image)]], [str(image.parent / f"labels{number}")], save_probabilities=several
            )
        ending: str = predictor.dataset_json["file_ending"]
        if not several:
            return image.parent / f"labels0{ending}"
        from nnunetv2.ensembling.ensemble import merge_files

        merge_files(
            [str(image.parent / f"labels{number}.npz") for number in range(len(networks))],
            str(image.parent / "merged"),
            ending,
            predictor.plans_manager.image_reader_writer_class(),
            predictor.plans_manager.get_label_manager(predictor.dataset_json),
        )
        return image.parent / f"merged{ending}"

    def _predictor(self, network: Message, request: Message) -> Any:
        import torch

        device = torch.device(request["device"].replace("gpu", "cuda"))
        predictor = predictor_class(Limits(threads=request["threads"]), self._loaded)(
            tile_step_size=network["step_size"],
            use_mirroring=network["mirroring"],
            perform_everything_on_device=device.type == "cuda",
            device=device,
            allow_tqdm=False,
        )
        folds = tuple(fold if fold == "all" else int(fold) for fold in network["folds"])
        predictor.initialize_from_trained_model_folder(network["model_folder"], folds, network["checkpoint"])
        return predictor


def turned_to(image: Any, orientation: str) -> Any:
    """A nibabel image with its axes flipped and exchanged so that x, y and z index rise towards `orientation`.

    Voxels keep their place in the patient; nothing is interpolated.
    """
    from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

    return image.as_reoriented(ornt_transform(io_orientation(image.affine), axcodes2ornt(tuple(orientation))))


if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")  # nothing forks from a process with threads
    serve(Predictor().predict)
