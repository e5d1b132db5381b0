"""What a user says of an own model: `<root>/<folder>/custom_model.yaml`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from rtpipeline.config.strict_yaml import read_yaml

MODEL_FILE = "custom_model.yaml"
DEFAULT_CHECKPOINT = "checkpoint_final.pth"

ENSEMBLE = "ensemble"
"""The alias of the ensemble in the order of combination."""


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
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, allow_inf_nan=False)


class Postprocessing(_Part):
    """What is done to every structure of a network."""

    keep_largest_component: bool = False
    min_component_volume_cm3: Annotated[float, Field(ge=0)] = 0.0
    fill_holes: bool = False
    confine_to_lung_mask: bool = False
    anchor_source: Any = None
    anchor_max_distance_cm: Any = None
    anchor_glob: Any = None
    dice_reference_glob: Any = None
    anchor_manifest_path: Any = None


class Combine(_Part):
    """In which order networks are painted: where two have a structure, the later one's is taken."""

    order: Words = _named((), "ordered_networks", "order", "networks")


class Ensemble(_Part):
    """Networks whose probabilities are averaged."""

    command: str = "nnUNetv2_ensemble"
    inputs: Words = ()
    postprocessing: Path | None = _named(None, "postprocessing_json", "postprocessing")
    labels: tuple[str, ...] = _named((), "label_order", "labels")


class Network(_Part):
    """One nnU-Net model folder, or one task of TotalSegmentator, and the names of its labels."""

    id: Text = _named("", "id", "dataset")
    alias: str = _named("", "alias", "name")
    weights: Path | None = _named(None, "archive", "weights")
    sha256: Annotated[str, Field(pattern="^([0-9a-fA-F]{64})?$")] = _named("", "archive_sha256", "sha256")
    dataset_directory: Path | None = _named(None, "dataset_directory", "dataset_dir")
    source_directory: Path | None = _named(None, "source_directory", "source_dir")
    checkpoint: Annotated[str, Field(pattern=r"^[\w-][\w.-]*$")] = _named(
        DEFAULT_CHECKPOINT, "checkpoint", "checkpoint_path"
    )
    labels: tuple[str, ...] = _named((), "label_order", "structures", "labels")
    configuration: str = _named("", "architecture", "model")
    trainer: str = ""
    plans: str = "nnUNetPlans"
    folds: Words | None = None
    predict_args: Words = _named((), "predict_args", "extra_args")
    env: dict[str, str] = {}
    task: str = ""
    cascade_trainer: Any = None
    prompt: Any = None
    postprocessing: Postprocessing = Postprocessing()


class Nnunet(_Part):
    """How the model is run.

    `image_orientation` says in which patient directions the x, y and z index of the training images rose; `LAS` is
    how dcm2niix stores an axial CT of a patient lying head first and supine.
    """

    interface: Literal["nnunetv2", "nnunetv2_modelfolder", "nnunetv1", "totalsegmentator", "medsam_boxprompt"] = (
        "nnunetv2"
    )
    command: str = ""
    model: str = "3d_fullres"
    folds: Words = ("all",)
    env: dict[str, str] = {}
    networks: tuple[Network, ...]
    combine: Combine = Combine()
    ensemble: Ensemble | None = None
    image_orientation: Annotated[str, Field(pattern="^[LR][AP][SI]$")] = "LAS"


class CustomModelFile(_Part):
    """The content of `custom_model.yaml`."""

    name: str = ""
    description: str = _named("", "description", "summary")
    enabled: bool = True
    required_body_regions: Words = _named((), "required_body_regions", "required_regions")
    min_region_confidence: Annotated[float, Field(ge=0, le=1)] = 0.5
    nnunet: Nnunet


def model_files(root: Path) -> list[Path]:
    """The `custom_model.yaml` of every folder below `root` whose name does not begin with `_`, sorted."""
    return sorted(file for file in root.glob(f"*/{MODEL_FILE}") if not file.parent.name.startswith("_"))


def read_model_file(file: Path) -> CustomModelFile:
    """Read and check one `custom_model.yaml`.

    Raises:
        CustomModelError: it is not YAML, has an unknown or missing key, or a value of the wrong type.
    """
    try:
        values = read_yaml(file.read_text(encoding="utf-8"))
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
