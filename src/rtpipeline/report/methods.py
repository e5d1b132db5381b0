"""The methods text of a report: what was done, with which versions, in sentences ready for a paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from rtpipeline.radiomics_parallel import packaged_parameters

WASSERTHAL = (
    "Wasserthal J, Breit H-C, Meyer MT, et al. TotalSegmentator: robust segmentation of 104 anatomic structures in CT "
    "images. Radiol Artif Intell 2023;5(5):e230024."
)
ISENSEE = (
    "Isensee F, Jaeger PF, Kohl SAA, Petersen J, Maier-Hein KH. nnU-Net: a self-configuring method for deep "
    "learning-based biomedical image segmentation. Nat Methods 2021;18:203-211."
)
MAYO = (
    "Mayo CS, Moran JM, Bosch W, et al. American Association of Physicists in Medicine Task Group 263: standardizing "
    "nomenclatures in radiation oncology. Int J Radiat Oncol Biol Phys 2018;100:1057-1066."
)
ICRU_83 = "ICRU Report 83: prescribing, recording, and reporting photon-beam IMRT. J ICRU 2010;10(1)."
VAN_GRIETHUYSEN = (
    "van Griethuysen JJM, Fedorov A, Parmar C, et al. Computational radiomics system to decode the radiographic "
    "phenotype. Cancer Res 2017;77(21):e104-e107."
)
ZWANENBURG = (
    "Zwanenburg A, Leger S, Agolli L, et al. Assessing robustness of radiomic features by image perturbation. "
    "Sci Rep 2019;9:614."
)
SHROUT = (
    "Shrout PE, Fleiss JL. Intraclass correlations: uses in assessing rater reliability. Psychol Bull 1979;86:420-428."
)


_PERTURBATION_AXES = (
    "large_volume_changes",
    "max_translation_mm",
    "n_random_contour_realizations",
    "contour_randomization_mm",
    "noise_levels",
    "rotation_angles_deg",
    "grid_shifts_voxels",
    "n_estimated_noise_realizations",
    "n_supervoxel_realizations",
)
_Part = tuple[str, tuple[str, ...]]
"""A paragraph, and what it cites."""


@dataclass(frozen=True)
class Methods:
    """A methods text and what it cites."""

    paragraphs: tuple[str, ...]
    references: tuple[str, ...]


def methods_text(
    provenance: Mapping[str, Any], stages: Sequence[str], radiomics_environment: Mapping[str, Any] | None
) -> Methods:
    """Describe the stages that have results.

    Args:
        provenance: what `rtpipeline.provenance.provenance` says of the run.
        stages: names of the stages that have results.
        radiomics_environment: versions in the radiomics environment, where it was used.
    """
    writers = {
        "segmentation": _segmentation,
        "custom_models": _custom_models,
        "dvh": _dvh,
        "radiomics": _radiomics,
        "radiomics_robustness": _robustness,
    }
    parts = [_program(provenance)]
    for stage, writer in writers.items():
        if stage in stages:
            parts.append(writer(provenance, radiomics_environment or {}))
    references = [reference for _, cited in parts for reference in cited]
    return Methods(tuple(text for text, _ in parts), tuple(dict.fromkeys(references)))


def _program(provenance: Mapping[str, Any]) -> _Part:
    program = provenance["rtpipeline"]
    commit = f", commit {program['commit'][:12]}" if program.get("commit") else ""
    return (
        f"DICOM data were processed with rtpipeline {program['version']}{commit} (Python {provenance['python']}, "
        f"configuration digest {provenance['configuration_digest'][:12]}). Structure names are given as drawn and, "
        "where a rule applies, as the AAPM TG-263 name (Mayo et al. 2018).",
        (MAYO,),
    )


def _segmentation(provenance: Mapping[str, Any], _: Mapping[str, Any]) -> _Part:
    section = provenance["configuration"]["segmentation"]
    mode = " in its fast, low-resolution mode" if section["fast"] else ""
    further = f" and its tasks {', '.join(section['extra_models'])}" if section["extra_models"] else ""
    version = _version(provenance["packages"], "TotalSegmentator")
    return (
        f"Organs were segmented on the planning CT with TotalSegmentator{version}{further}{mode} "
        "(Wasserthal et al. 2023), which is based on nnU-Net (Isensee et al. 2021).",
        (WASSERTHAL, ISENSEE),
    )


def _custom_models(provenance: Mapping[str, Any], _: Mapping[str, Any]) -> _Part:
    names = provenance["configuration"]["custom_models"].get("models") or []
    models = f" ({', '.join(names)})" if names else ""
    version = _version(provenance["packages"], "nnunetv2")
    return f"Further structures were segmented with the study's own nnU-Net models{models}, nnunetv2{version}.", (
        ISENSEE,
    )


def _dvh(provenance: Mapping[str, Any], _: Mapping[str, Any]) -> _Part:
    coverage = 100 * provenance["configuration"]["dvh"]["minimum_dose_coverage_fraction"]
    return (
        "Dose-volume histograms were computed from the drawn contours (each plane standing for the slab of tissue "
        "halfway to its neighbours) or, for segmentations, from their voxels, with the dose interpolated trilinearly "
        "at the structure's own position. Dx% is the lowest dose of the x % of the volume that receive most, VxGy the "
        "volume that receives at least x Gy; the homogeneity index is (D2% - D98%) / D50% (ICRU 83). Metrics were "
        f"withheld where the dose grid covers less than {coverage:g} % of a structure.",
        (ICRU_83,),
    )


def _radiomics(provenance: Mapping[str, Any], environment: Mapping[str, Any]) -> _Part:
    section = provenance["configuration"]["radiomics"]
    if section["params_file"]:
        settings = f"with the study's own parameters (digest {section['params_file'][:12]})"
    else:
        settings = _ct_settings(yaml.safe_load(packaged_parameters("CT").read_text(encoding="utf-8")))
    numpy = f" (NumPy {environment['numpy']})" if environment.get("numpy") else ""
    return (
        f"Radiomic features were extracted as defined by PyRadiomics{_version(environment, 'pyradiomics')}{numpy} "
        f"(van Griethuysen et al. 2017), on CT {settings}. Structures of fewer than {section['min_voxels']} voxels "
        "were left out.",
        (VAN_GRIETHUYSEN,),
    )


def _ct_settings(parameters: Mapping[str, Any]) -> str:
    setting = parameters["setting"]
    spacing = " × ".join(f"{value:g}" for value in setting["resampledPixelSpacing"])
    images = ", ".join(name for name in parameters["imageType"] if name != "Original")
    return (
        f"after resampling to {spacing} mm ({setting['interpolator'].removeprefix('sitk')} interpolation), with bins "
        f"of {setting['binWidth']:g} HU, from the original and filtered images ({images})"
    )


def _robustness(provenance: Mapping[str, Any], _: Mapping[str, Any]) -> _Part:
    section = provenance["configuration"]["radiomics_robustness"]
    perturbation, thresholds = section["segmentation_perturbation"], section["thresholds"]["icc"]
    changes = ", ".join(f"{100 * change:+g} %" for change in perturbation["small_volume_changes"] if change)
    profile = perturbation["profile"]
    kind = f"changes of the volume ({changes})" if profile == "volume" else f"the perturbation profile {profile}"
    own = [name for name in _PERTURBATION_AXES if perturbation.get(name) is not None]
    changed = f" (with this study's own {', '.join(own)})" if own else ""
    return (
        f"Robustness of the features was assessed by repeating the extraction under {kind} of the structures{changed}, "
        f"after Zwanenburg et al. (2019), with base seed {section['base_seed']}. Agreement over perturbations is "
        f"{section['metrics']['icc']['icc_type']} (Shrout and Fleiss 1979); a feature is called robust from a lower "
        f"95 % confidence bound of {thresholds['robust']:g} and acceptable from {thresholds['acceptable']:g}, provided "
        "that its coefficient of variation allows it.",
        (ZWANENBURG, SHROUT),
    )


def _version(versions: Mapping[str, Any], name: str) -> str:
    return f" {versions[name]}" if versions.get(name) else ""
