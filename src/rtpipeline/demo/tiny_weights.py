"""Networks of a few kilobytes, with hand-set weights, that the real TotalSegmentator and nnU-Net run.

Each network is a two-stage U-Net of 1 x 1 x 1 kernels that decides voxel by voxel. With h the HU of a voxel, an organ's
interval from l to u (its code in `phantom_codes.ORGAN_HU` less and plus `CODE_TOLERANCE_HU`) and a slope w, the first
stage computes

    below = max(0, (l + w / 2 - h) / w)        above = max(0, (h - u + w / 2) / w)

the skip connection hands both on, and the organ's logit is 1 - below - above against a constant 0.5 of the
background. So a voxel is the organ where l < h < u, and background where it is in no organ's interval. Logits stay
small because nnU-Net sums them in half precision.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rtpipeline.demo.phantom_codes import CODE_TOLERANCE_HU, ORGAN_HU

_SLOPE_HU = 20.0
_BODY_HU = (-400.0, 3000.0)
_HU_PER_UNIT = 100.0
_BACKGROUND_LOGIT = 0.5
_NEVER_LOGIT = -50.0
_PATCH = (64, 64, 64)
_Interval = tuple[float, float]
"""Lowest and highest HU of a structure."""

_CONFIGURATION = "3d_fullres"
_PLANS = "nnUNetPlans"

_FAST_TRAINER = "nnUNetTrainer_4000epochs_NoMirroring"
_FULL_TRAINER = "nnUNetTrainerNoMirroring"
_MR_TRAINER = "nnUNetTrainer_2000epochs_NoMirroring"
_TOTAL_PARTS = {
    291: "Dataset291_TotalSegmentator_part1_organs_1559subj",
    292: "Dataset292_TotalSegmentator_part2_vertebrae_1532subj",
    293: "Dataset293_TotalSegmentator_part3_cardiac_1559subj",
    294: "Dataset294_TotalSegmentator_part4_muscles_1559subj",
    295: "Dataset295_TotalSegmentator_part5_ribs_1559subj",
}


def write_tiny_weights(folder: Path) -> None:
    """Write weights of TotalSegmentator's tasks `total` (fast, fastest and full), `total_mr` (fast) and `body` (fast).

    Args:
        folder: becomes what TotalSegmentator calls the weights folder (`TOTALSEG_WEIGHTS_PATH`).
    """
    from totalsegmentator.map_to_binary import class_map, class_map_5_parts, map_taskid_to_partname_ct

    def write(dataset: str, trainer: str, labels: Mapping[int, str], spacing_mm: float) -> None:
        intervals = {name: _interval(ORGAN_HU.get(name)) for _, name in sorted(labels.items())}
        intervals |= {name: _BODY_HU for name in intervals if name == "body_trunc"}
        _write_model(folder / dataset / f"{trainer}__{_PLANS}__{_CONFIGURATION}", trainer, intervals, spacing_mm)

    total = class_map["total"]
    write("Dataset297_TotalSegmentator_total_3mm_1559subj", _FAST_TRAINER, total, 3.0)
    write("Dataset298_TotalSegmentator_total_6mm_1559subj", _FAST_TRAINER, total, 6.0)
    for number, dataset in _TOTAL_PARTS.items():
        write(dataset, _FULL_TRAINER, class_map_5_parts[map_taskid_to_partname_ct[number]], 1.5)
    write("Dataset852_TotalSegMRI_total_3mm_1088subj", _MR_TRAINER, class_map["total_mr"], 3.0)
    write("Dataset300_body_6mm_1559subj", "nnUNetTrainer", class_map["body"], 6.0)


def write_tiny_nnunet_model(folder: Path, labels: Mapping[str, float]) -> None:
    """Write one nnU-Net v2 model folder (`dataset.json`, `plans.json`, `fold_0/checkpoint_final.pth`).

    Args:
        folder: is made, with its parents.
        labels: name of each structure, in the order of their label numbers → its HU code. Codes must be more than
            2 x `CODE_TOLERANCE_HU` apart.
    """
    intervals = {name: _interval(code) for name, code in labels.items()}
    _write_model(folder, "nnUNetTrainer", intervals, spacing_mm=3.0)


def _interval(code: float | None) -> _Interval | None:
    return None if code is None else (code - CODE_TOLERANCE_HU, code + CODE_TOLERANCE_HU)


def _write_model(folder: Path, trainer: str, intervals: Mapping[str, _Interval | None], spacing_mm: float) -> None:
    """Write a model folder; structures without an interval of HU are never found."""
    import torch

    (folder / "fold_0").mkdir(parents=True, exist_ok=True)
    labels = {"background": 0, **{name: label for label, name in enumerate(intervals, start=1)}}
    dataset = {"channel_names": {"0": "CT"}, "labels": labels, "numTraining": 1, "file_ending": ".nii.gz"}
    (folder / "dataset.json").write_text(json.dumps(dataset, indent=1), encoding="utf-8")
    coded = sum(interval is not None for interval in intervals.values())
    plans = _plans(folder.parent.name, spacing_mm, features=2 * max(coded, 1))
    (folder / "plans.json").write_text(json.dumps(plans, indent=1), encoding="utf-8")
    network = _network(plans["configurations"][_CONFIGURATION]["architecture"], tuple(intervals.values()))
    checkpoint = {
        "network_weights": network.state_dict(),
        "trainer_name": trainer,
        "init_args": {"configuration": _CONFIGURATION},
        "inference_allowed_mirroring_axes": None,
    }
    torch.save(checkpoint, folder / "fold_0" / "checkpoint_final.pth")


def _network(architecture: Mapping[str, Any], intervals: tuple[_Interval | None, ...]) -> Any:
    """The network of the module's docstring; `intervals` are those of labels 1, 2, …"""
    import torch
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    network = get_network_from_plans(
        architecture["network_class_name"],
        architecture["arch_kwargs"],
        architecture["_kw_requires_import"],
        1,
        len(intervals) + 1,
        deep_supervision=False,
    )
    first = network.encoder.stages[0][0].convs[0].conv
    merge = network.decoder.stages[0].convs[0].conv
    head = network.decoder.seg_layers[0]
    coded = [(label, interval) for label, interval in enumerate(intervals, start=1) if interval is not None]
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        head.bias.fill_(_NEVER_LOGIT)
        head.bias[0] = _BACKGROUND_LOGIT
        for number, (label, (lowest, highest)) in enumerate(coded):
            below, above = 2 * number, 2 * number + 1
            first.weight[below] = -_HU_PER_UNIT / _SLOPE_HU
            first.bias[below] = (lowest + _SLOPE_HU / 2) / _SLOPE_HU
            first.weight[above] = _HU_PER_UNIT / _SLOPE_HU
            first.bias[above] = -(highest - _SLOPE_HU / 2) / _SLOPE_HU
            head.bias[label] = 1.0
            head.weight[label, [below, above]] = -1.0
        features = len(first.weight)
        skipped = range(features, 2 * features)  # behind the features that come up from below
        merge.weight[range(features), skipped] = 1.0
    return network


def _plans(dataset: str, spacing_mm: float, features: int) -> dict[str, Any]:
    """nnU-Net's plans of one configuration at an isotropic spacing, reading HU / `_HU_PER_UNIT`."""
    return {
        "dataset_name": dataset,
        "plans_name": _PLANS,
        "original_median_spacing_after_transp": [spacing_mm] * 3,
        "original_median_shape_after_transp": list(_PATCH),
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {
            "0": {
                "mean": 0.0,
                "std": _HU_PER_UNIT,
                "median": 0.0,
                "min": -1024.0,
                "max": 3000.0,
                "percentile_00_5": -1024.0,
                "percentile_99_5": 3000.0,
            }
        },
        "configurations": {
            _CONFIGURATION: {
                "data_identifier": f"{_PLANS}_{_CONFIGURATION}",
                "preprocessor_name": "DefaultPreprocessor",
                "batch_size": 2,
                "patch_size": list(_PATCH),
                "median_image_size_in_voxels": list(_PATCH),
                "spacing": [spacing_mm] * 3,
                "normalization_schemes": ["CTNormalization"],
                "use_mask_for_norm": [False],
                **_resampling("data", is_segmentation=False, order=3),
                **_resampling("seg", is_segmentation=True, order=1),
                **_resampling("probabilities", is_segmentation=False, order=1),
                "architecture": _architecture(features),
                "batch_dice": False,
            }
        },
    }


def _resampling(what: str, is_segmentation: bool, order: int) -> dict[str, Any]:
    return {
        f"resampling_fn_{what}": "resample_data_or_seg_to_shape",
        f"resampling_fn_{what}_kwargs": {
            "is_seg": is_segmentation,
            "order": order,
            "order_z": 0,
            "force_separate_z": None,
        },
    }


def _architecture(features: int) -> dict[str, Any]:
    return {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": {
            "n_stages": 2,
            "features_per_stage": [features, 1],
            "conv_op": "torch.nn.modules.conv.Conv3d",
            "kernel_sizes": [[1, 1, 1], [1, 1, 1]],
            "strides": [[1, 1, 1], [2, 2, 2]],
            "n_conv_per_stage": [1, 1],
            "n_conv_per_stage_decoder": [1],
            "conv_bias": True,
            "norm_op": None,
            "norm_op_kwargs": None,
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.ReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }
