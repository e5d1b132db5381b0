"""nnU-Net's predictor, kept warm, in this process, and within the limits it is given."""

from __future__ import annotations

import functools
import hashlib
import logging
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

PACKAGES = ("TotalSegmentator", "nnunetv2", "torch")


class ModelError(Exception):
    """The weights of a model cannot be used; the message names the folder."""


@dataclass(frozen=True)
class Limits:
    """How many threads and processes one prediction may use.

    Attributes:
        threads: of the network on the CPU.
        preprocessing: processes that prepare images.
        export: processes that turn logits into labels. Where both are 1, no process is started at all: starting one
            costs several seconds of imports, and one image keeps it busy for less.
    """

    threads: int = 1
    preprocessing: int = 1
    export: int = 1


def predictor_class(limits: Limits, loaded: dict[Any, dict[str, Any]]) -> type[Any]:
    """A subclass of `nnunetv2`'s `nnUNetPredictor` that keeps to `limits` and loads each model once.

    Args:
        limits: they win over the numbers that the caller of `predict_from_files` gives.
        loaded: models that were loaded before; filled further. A changed checkpoint file is loaded again.
    """
    import torch
    from nnunetv2.inference import predict_from_raw_data
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    predict_from_raw_data.recursive_find_python_class = _trainer_or_nnunets_own

    class WarmPredictor(nnUNetPredictor):
        def initialize_from_trained_model_folder(
            self,
            model_training_output_dir: str,
            use_folds: Any,
            checkpoint_name: str = "checkpoint_final.pth",
        ) -> None:
            folder = Path(model_training_output_dir)
            key = (str(folder), str(use_folds), checkpoint_name, file_marks([folder]))
            if key in loaded:
                self.manual_initialization(**loaded[key])
                return
            try:
                super().initialize_from_trained_model_folder(str(folder), use_folds, checkpoint_name)
            except (RuntimeError, OSError, EOFError, KeyError, ValueError, pickle.UnpicklingError) as error:
                raise ModelError(
                    f"the weights in {folder} cannot be loaded ({type(error).__name__}: {error}); fetch them again"
                ) from error
            loaded[key] = {
                "network": self.network,
                "plans_manager": self.plans_manager,
                "configuration_manager": self.configuration_manager,
                "parameters": self.list_of_parameters,
                "dataset_json": self.dataset_json,
                "trainer_name": self.trainer_name,
                "inference_allowed_mirroring_axes": self.allowed_mirroring_axes,
            }

        @functools.wraps(nnUNetPredictor.predict_from_files)  # which writes down its own signature's values
        def predict_from_files(self, source: Any, target: Any, **options: Any) -> Any:
            torch.set_num_threads(limits.threads)
            if isinstance(source, str):
                source = list_cases(Path(source), self.dataset_json["file_ending"])
            options["num_processes_preprocessing"] = limits.preprocessing
            options["num_processes_segmentation_export"] = limits.export
            if limits.preprocessing > 1 or limits.export > 1:
                return super().predict_from_files(source, target, **options)
            in_one_process = ("save_probabilities", "overwrite", "folder_with_segs_from_prev_stage")
            return self.predict_from_files_sequential(
                source, target, **{name: options[name] for name in in_one_process if name in options}
            )

    return WarmPredictor


def _trainer_or_nnunets_own(folder: str, name: str, module: str) -> Any:
    """The trainer of this name; nnU-Net's own where the model was trained by one that is not installed.

    Only the network is built by it, after the model's plans; one that does not fit the weights is refused when they are
    loaded.
    """
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
    from nnunetv2.utilities.find_class_by_name import recursive_find_python_class

    trainer = recursive_find_python_class(folder, name, module)
    if trainer is None:
        logger.warning("trainer %s is not installed; its network is built as nnUNetTrainer does", name)
    return trainer or nnUNetTrainer


def list_cases(folder: Path, file_ending: str) -> list[list[str]]:
    """The image files of each case in a folder of nnU-Net's naming (`<case>_<channel><ending>`), sorted.

    nnU-Net lists them with a pool of forked processes, which hangs in a process with threads.
    """
    cases: dict[str, list[str]] = {}
    for file in sorted(folder.glob(f"*_????{file_ending}")):
        cases.setdefault(file.name[: -len(f"_0000{file_ending}")], []).append(str(file))
    return list(cases.values())


def model_files(folders: Sequence[Path]) -> list[Path]:
    """The plans, dataset descriptions and checkpoints below `folders`, sorted."""
    return sorted(
        file for folder in folders for file in folder.rglob("*") if file.suffix in (".json", ".pth") and file.is_file()
    )


def file_marks(folders: Sequence[Path]) -> tuple[tuple[str, int, int], ...]:
    """Path, size and time of change of each of a model's files: equal marks mean that they need not be read again."""
    return tuple((str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in model_files(folders))


def weights_digest(folders: Sequence[Path], known: dict[Any, str]) -> str:
    """SHA-256 over the names and contents of a model's files; it does not depend on where they lie.

    Args:
        folders: of the model.
        known: digests that were computed before, by `file_marks`; filled further.
    """
    marks = file_marks(folders)
    if marks not in known:
        known[marks] = _digest(folders)
    return known[marks]


def same_model(earlier: Mapping[str, Any], folders: Sequence[Path]) -> bool:
    """Whether packages and weights are those that an earlier answer of a child (`versions`, `weights_digest`) tells."""
    return bool(earlier["versions"] == package_versions() and earlier["weights_digest"] == weights_digest(folders, {}))


def _digest(folders: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for folder in folders:
        for file in model_files([folder]):
            digest.update(f"{folder.name}/{file.relative_to(folder).as_posix()}\0".encode())
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def package_versions() -> dict[str, str]:
    """Versions of what computes the labels."""
    return {name: version(name) for name in PACKAGES}


def check_device(device: str) -> None:
    """Refuse a device that is not there, instead of going on slowly on another one.

    Args:
        device: `cpu`, `mps` or `gpu:N`.

    Raises:
        RuntimeError: torch cannot use it.
    """
    import torch

    if device.startswith("gpu"):
        number = int(device.partition(":")[2] or 0)
        if not torch.cuda.is_available() or number >= torch.cuda.device_count():
            raise RuntimeError(f"{device} is not usable: torch {torch.__version__} sees no such CUDA device")
    elif device == "mps" and not torch.backends.mps.is_available():
        raise RuntimeError("mps is not usable on this machine")
