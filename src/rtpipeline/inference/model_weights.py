"""Where the weights of a user's own nnU-Net model lie: its folder and its folds."""

from __future__ import annotations

from pathlib import Path

from rtpipeline.inference.archives import ArchiveError, unpacked
from rtpipeline.inference.model_description import CustomModelError, Network, Nnunet


def model_folder(file: Path, nnunet: Nnunet, network: Network) -> Path:
    """The folder with `plans.json`, looked for where the file says, in the order of the keys below.

    Raises:
        CustomModelError: it is nowhere, several could be meant, or an archive cannot be used.
    """
    results = file.parent / {**nnunet.env, **network.env}.get("nnUNet_results", "nnUNet_results")
    given = [path for path in (network.weights, network.source_directory) if path is not None]
    if network.dataset_directory is not None:
        given += [network.dataset_directory, results / network.dataset_directory]
    if network.sha256 and not any(_is_archive(file.parent / path) for path in given):
        raise CustomModelError(f"{file}: sha256 is that of a zip archive, and none is named; take it out")
    places = [_unpacked(file, file.parent / path, network.sha256) for path in given]
    if network.id.isdecimal():
        places += sorted(results.glob(f"Dataset{int(network.id):03d}_*"))
    elif network.id:
        places.append(results / network.id)
    configuration = network.configuration or nnunet.model
    pattern = f"{network.trainer or '*'}__{network.plans}__{configuration}"
    for place in places:
        found = [place] if (place / "plans.json").is_file() else _with_plans(place, pattern)
        if len(found) == 1:
            return found[0]
        if len(found) > 1:
            names = ", ".join(folder.name for folder in found)
            raise CustomModelError(f"{file}: {place} has several models ({names}); say which with trainer")
    looked = ", ".join(map(str, places)) or f"{results} (no id is given)"
    raise CustomModelError(f"{file}: no nnU-Net v2 model folder {pattern} (with plans.json) in {looked}")


def found_folds(file: Path, folder: Path, asked: tuple[str, ...], checkpoint: str) -> tuple[str, ...]:
    """`all` means the model that was trained on all data where there is one, else every fold that is there.

    Raises:
        CustomModelError: a fold that is asked for is not there.
    """
    there = sorted(path.parent.name.removeprefix("fold_") for path in folder.glob(f"fold_*/{checkpoint}"))
    if asked == ("all",):
        asked = ("all",) if "all" in there else tuple(there)
    missing = [fold for fold in asked if fold not in there]
    if missing or not asked:
        wanted = ", ".join(f"fold_{fold}" for fold in missing) or "a fold"
        raise CustomModelError(f"{file}: {folder} has no {wanted} with {checkpoint}; folds there: {there or 'none'}")
    return asked


def _unpacked(file: Path, place: Path, sha256: str) -> Path:
    """The folder that a path stands for: itself, or what a zip archive holds."""
    if not _is_archive(place):
        return place
    try:
        return unpacked(place, sha256)
    except ArchiveError as error:
        raise CustomModelError(f"{file}: {error}") from error


def _is_archive(place: Path) -> bool:
    return place.suffix.lower() == ".zip" and not place.is_dir()


def _with_plans(place: Path, pattern: str) -> list[Path]:
    candidates = [found for depth in ("", "Dataset*/", "*/Dataset*/") for found in place.glob(f"{depth}{pattern}")]
    return sorted(folder for folder in candidates if (folder / "plans.json").is_file())
