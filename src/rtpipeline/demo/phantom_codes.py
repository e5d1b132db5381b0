"""The HU by which the tiny demonstration networks tell the organs of a phantom apart."""

from __future__ import annotations

CODE_TOLERANCE_HU = 40.0
"""A voxel within this distance of an organ's code is that organ; all others are background."""

ORGAN_HU: dict[str, float] = {
    "lung_upper_lobe_right": -860.0,
    "lung_upper_lobe_left": -740.0,
    "heart": 150.0,
    "liver": 250.0,
    "spleen": 350.0,
    "urinary_bladder": 450.0,
    "aorta": 550.0,
    "spinal_cord": 650.0,
    "vertebrae_L5": 750.0,
    "vertebrae_L1": 850.0,
    "vertebrae_T12": 950.0,
    "vertebrae_C7": 1050.0,
    "femur_left": 1150.0,
    "femur_right": 1250.0,
    "brain": 1350.0,
}
"""TotalSegmentator's name of an organ → the HU that a phantom paints it with.

Air (-1000), fat (-100) and soft tissue (-30 to 100) are background for these networks. Codes are 100 HU or more apart,
so noise of a few HU changes no label. An organ is exact where the phantom has the model's own voxel spacing
(3 mm for the fast models): where an image is resampled, voxels between two codes can get the label of a third.
"""
