"""A user's own models: `<root>/<folder>/custom_model.yaml` and the nnU-Net v2 model folder that it names."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

MODEL_FILE = "custom_model.yaml"
MOST_LABELS = 255
DEFAULT_CHECKPOINT = "checkpoint_final.pth"

_REFUSED_INTERFACES = {
    "nnunetv1": "nnU-Net v1 cannot run beside nnU-Net v2; train or convert the model with nnU-Net v2",
    "totalsegmentator": "name the task in segmentation.extra_models instead",
    "medsam_boxprompt": "models that need a prompt are not supported",
}
_COMMANDS = ("nnUNetv2_predict", "nnUNetv2_predict_from_modelfolder")


class CustomModelError(Exception):
    """A model cannot be used; the message names its file and what to change."""


def _words(value: Any) -> Any:
    """A list, or one text with commas or spaces between the words."""
    if isinstance(value, str):
        return [word for word in re.split(r"[,\s]+", value) if word]
    return [value] if isinstance(value, int) else value


def _text(value: Any) -> Any:
    return str(value) if isinstance(value, int) else value


Text = Annotated[str, BeforeValidator(_text)]
Words = Annotated[tuple[Text, ...], BeforeValidator(_words)]


def _named(default: Any, *names: str) -> Any:
    return Field(default, validation_alias=AliasChoices(*names))


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Network(_Part):
    """One nnU-Net model folder and the names of its labels."""

    id: Text = _named("", "id", "dataset")
    alias: str = _named("", "alias", "name")
    weights: Path | None = _named(None, "archive", "weights")
    dataset_directory: Path | None = _named(None, "dataset_directory", "dataset_dir")
    source_directory: Path | None = _named(None, "source_directory", "source_dir")
    checkpoint: str = _named(DEFAULT_CHECKPOINT, "checkpoint", "checkpoint_path")
    labels: tuple[str, ...] = _named(..., "label_order", "structures", "labels")
    configuration: str = _named("", "architecture", "model")
    trainer: str = ""
    plans: str = "nnUNetPlans"
    folds: Words | None = None
    predict_args: Words = _named((), "predict_args", "extra_args")
    env: dict[str, str] = {}
    task: Any = None
    cascade_trainer: Any = None
    prompt: Any = None
    postprocessing: Any = None


class Nnunet(_Part):
    """How the model is run.

    `image_orientation` says in which patient directions the x, y and z index of the training images rose; `LAS` is
    how dcm2niix stores an axial CT of a patient lying head first and supine.
    """

    interface: Literal["nnunetv2", "nnunetv2_modelfolder", "nnunetv1", "totalsegmentator", "medsam_boxprompt"] = (
        "nnunetv2"
    )
    command: str = "nnUNetv2_predict"
    model: str = "3d_fullres"
    folds: Words = ("all",)
    env: dict[str, str] = {}
    networks: tuple[Network, ...]
    combine: Any = None
    ensemble: Any = None
    image_orientation: Annotated[str, Field(pattern="^[LR][AP][SI]$")] = "LAS"


class CustomModelFile(_Part):
    """The content of `custom_model.yaml`."""

    name: str = ""
    description: str = _named("", "description", "summary")
    enabled: bool = True
    required_body_regions: Words = _named((), "required_body_regions", "required_regions")
    min_region_confidence: float = 0.5
    nnunet: Nnunet


@dataclass(frozen=True)
class CustomModel:
    """A model that is ready to run.

    Attributes:
        name: of the model, safe as a folder name.
        folder: nnU-Net's model folder, with `plans.json` and the folds; used where it lies.
        folds: names after `fold_`.
        checkpoint: file name in each fold.
        labels: names of the labels 1, 2, …
        orientation: see `Nnunet.image_orientation`.
        step_size: overlap of neighbouring tiles, as a fraction of the tile.
        mirroring: average over mirrored images.
        required_body_regions: where the model makes sense, as its author says.
    """

    name: str
    folder: Path
    folds: tuple[str, ...]
    checkpoint: str
    labels: tuple[str, ...]
    orientation: str
    step_size: float
    mirroring: bool
    required_body_regions: tuple[str, ...]


def model_files(root: Path) -> list[Path]:
    """The `custom_model.yaml` of every folder below `root` whose name does not begin with `_`, sorted."""
    return sorted(file for file in root.glob(f"*/{MODEL_FILE}") if not file.parent.name.startswith("_"))


def read_model_file(file: Path) -> CustomModelFile:
    """Read and check one `custom_model.yaml`.

    Raises:
        CustomModelError: it is not YAML, has an unknown or missing key, or a value of the wrong type.
    """
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
        described = CustomModelFile.model_validate(values)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CustomModelError(f"{file} cannot be read as YAML: {error}") from error
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, problem['loc'])) or 'file'}: {problem['msg']}" for problem in error.errors()]
        raise CustomModelError(f"{file}: {'; '.join(problems)}") from error
    name = described.name or file.parent.name
    if not re.fullmatch(r"[\w][\w.+-]{0,63}", name, flags=re.ASCII):
        raise CustomModelError(f"{file}: name {name!r} needs 1 to 64 letters, digits or . _ + -")
    return described.model_copy(update={"name": name})


def ready_model(file: Path, described: CustomModelFile) -> CustomModel:
    """Find the weights of a model and hold its labels against those it was trained with.

    Raises:
        CustomModelError: it asks for something that is not supported, its weights are not there, or its labels are
            not those of `dataset.json`.
    """
    network = _only_supported(file, described.nnunet)
    folder = _model_folder(file, described.nnunet, network)
    _check_labels(file, folder, network.labels)
    step_size, mirroring, checkpoint = _predict_arguments(file, network)
    asked = described.nnunet.folds if network.folds is None else network.folds
    return CustomModel(
        name=described.name,
        folder=folder,
        folds=_folds(file, folder, asked, checkpoint),
        checkpoint=checkpoint,
        labels=network.labels,
        orientation=described.nnunet.image_orientation,
        step_size=step_size,
        mirroring=mirroring,
        required_body_regions=tuple(region.upper() for region in described.required_body_regions),
    )


def _only_supported(file: Path, nnunet: Nnunet) -> Network:
    """The model's network, when nothing is asked for that would be left out silently."""
    if nnunet.interface in _REFUSED_INTERFACES:
        raise CustomModelError(f"{file}: interface {nnunet.interface}: {_REFUSED_INTERFACES[nnunet.interface]}")
    if len(nnunet.networks) != 1 or nnunet.ensemble:
        raise CustomModelError(f"{file}: ensembles and models of several networks are not supported; name one network")
    network = nnunet.networks[0]
    unsupported = [key for key in ("task", "cascade_trainer", "prompt", "postprocessing") if getattr(network, key)]
    if unsupported:
        raise CustomModelError(f"{file}: {', '.join(unsupported)} of a network is not supported; take it out")
    if Path(nnunet.command).name not in _COMMANDS:
        raise CustomModelError(f"{file}: command {nnunet.command!r} is not one of {', '.join(_COMMANDS)}")
    known = {"nnUNet_results", "nnUNet_raw", "nnUNet_preprocessed"}
    if unknown := sorted({*nnunet.env, *network.env} - known):
        raise CustomModelError(f"{file}: env has {', '.join(unknown)}; only {', '.join(sorted(known))} are used")
    return network


def _model_folder(file: Path, nnunet: Nnunet, network: Network) -> Path:
    """The folder with `plans.json`, looked for where the file says, in the order of the keys below."""
    results = file.parent / {**nnunet.env, **network.env}.get("nnUNet_results", "nnUNet_results")
    given = [path for path in (network.weights, network.source_directory) if path is not None]
    if network.dataset_directory is not None:
        given += [network.dataset_directory, results / network.dataset_directory]
    places = [file.parent / path for path in given]
    archives = [place for place in places if place.is_file()]
    if network.id.isdigit():
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
    if archives:
        raise CustomModelError(f"{file}: {archives[0]} is an archive; unpack it and name the folder in weights")
    looked = ", ".join(map(str, places)) or f"{results} (no id is given)"
    raise CustomModelError(f"{file}: no nnU-Net v2 model folder {pattern} (with plans.json) in {looked}")


def _with_plans(place: Path, pattern: str) -> list[Path]:
    candidates: Iterable[Path] = [*place.glob(pattern), *place.glob(f"Dataset*/{pattern}")]
    return sorted(folder for folder in candidates if (folder / "plans.json").is_file())


def _check_labels(file: Path, folder: Path, labels: tuple[str, ...]) -> None:
    """Label names may differ from those of the training in case and punctuation, but not in order or number."""
    try:
        dataset = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
        trained, channels = dict(dataset["labels"]), len(dataset["channel_names"])
    except (OSError, ValueError, KeyError) as error:
        raise CustomModelError(f"{file}: {folder / 'dataset.json'} cannot be used: {error}") from error
    if channels != 1:
        raise CustomModelError(f"{file}: the model needs {channels} images; a planning CT is one")
    if any(isinstance(label, list) for label in trained.values()):
        raise CustomModelError(f"{file}: region-based models (labels that are lists) are not supported")
    names = {int(label): name for name, label in trained.items() if int(label) != 0}
    in_order = tuple(names[label] for label in sorted(names))
    if sorted(names) != list(range(1, len(names) + 1)) or [_plain(name) for name in in_order] != [
        _plain(name) for name in labels
    ]:
        raise CustomModelError(
            f"{file}: labels {', '.join(labels)} are not those of {folder / 'dataset.json'}: {', '.join(in_order)}"
        )
    if len(labels) > MOST_LABELS:
        raise CustomModelError(f"{file}: more than {MOST_LABELS} labels are not supported")
    if len({_plain(name) for name in labels}) != len(labels):
        raise CustomModelError(f"{file}: two labels differ only in case or punctuation")


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _folds(file: Path, folder: Path, asked: tuple[str, ...], checkpoint: str) -> tuple[str, ...]:
    """`all` means the model that was trained on all data where there is one, else every fold that is there."""
    there = sorted(path.parent.name.removeprefix("fold_") for path in folder.glob(f"fold_*/{checkpoint}"))
    if asked == ("all",):
        asked = ("all",) if "all" in there else tuple(there)
    missing = [fold for fold in asked if fold not in there]
    if missing or not asked:
        wanted = ", ".join(f"fold_{fold}" for fold in missing) or "a fold"
        raise CustomModelError(f"{file}: {folder} has no {wanted} with {checkpoint}; folds there: {there or 'none'}")
    return asked


def _predict_arguments(file: Path, network: Network) -> tuple[float, bool, str]:
    """(step size, mirroring, checkpoint) out of the arguments of nnU-Net's own command that are understood."""
    step_size, mirroring, checkpoint = 0.5, True, network.checkpoint
    words = iter(network.predict_args)
    for word in words:
        if word == "--disable_tta":
            mirroring = False
        elif word == "-step_size":
            step_size = float(next(words, "nan"))
        elif word == "-chk":
            checkpoint = next(words, "")
        else:
            raise CustomModelError(
                f"{file}: argument {word} is not supported (only --disable_tta, -step_size and -chk are; device, "
                "threads and processes are those of the configuration)"
            )
    if not 0 < step_size <= 1:
        raise CustomModelError(f"{file}: -step_size needs a number above 0 and at most 1")
    return step_size, mirroring, checkpoint
