"""Reference data sets of the Image Biomarker Standardisation Initiative (IBSI 1), and which feature is which of ours.

Zwanenburg et al., Radiology 295(2):328-338, 2020, and the IBSI reference manual (arXiv:1612.07003v11): the digital
phantom, features with their permanent identifiers, processing configurations C and D of the chest CT, and consensus
values with tolerances.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rtpipeline.dicom.image_series import load_image
from rtpipeline.dicom.rtstruct import read_structure_set
from rtpipeline.imaging.contours import rasterise
from rtpipeline.imaging.grid import Grid, Volume
from rtpipeline.imaging.mask import Mask
from rtpipeline.imaging.resampling import resample

PHANTOM_VALUES = Path(__file__).with_name("ibsi_digital_phantom.csv")

_OUT = 9
"""Stands for a voxel outside of the region of interest; its intensity takes part in nothing."""
_PHANTOM = (
    ((1, 4, 4, 1, 1), (1, 4, 6, 1, 1), (4, 1, 6, 4, 1), (4, 4, 6, 4, 1)),
    ((1, 4, 4, 1, 1), (1, 1, 6, 1, 1), (_OUT, 1, 3, 1, 1), (4, 4, 6, 1, 1)),
    ((1, 4, 4, _OUT, _OUT), (1, 1, 1, 1, 1), (1, 1, _OUT, 1, 1), (1, 1, 6, 1, 1)),
    ((1, 4, 4, _OUT, _OUT), (1, 1, 1, 1, 1), (1, 1, 1, 1, 1), (1, 1, 6, 1, 1)),
)


@dataclass(frozen=True)
class Reference:
    """A consensus value, with three significant digits, and its tolerance."""

    value: float
    tolerance: float

    def agrees(self, value: float) -> bool:
        """Whether `value`, rounded to three significant digits, lies within the tolerance."""
        return abs(float(f"{value:.3g}") - self.value) <= self.tolerance * (1 + 1e-9)


def digital_phantom() -> tuple[Volume, Mask]:
    """The phantom of 5 x 4 x 4 voxels of 2 mm; 74 of them are in the region of interest."""
    values = np.array(_PHANTOM, dtype=np.float32)
    grid = Grid.uniform((0, 0, 0), (2, 2, 2), (5, 4, 4))
    return Volume(grid, values), Mask(grid, values != _OUT)


def references(file: Path) -> dict[str, Reference]:
    """Consensus values by IBSI tag; those on which there is no consensus are left out."""
    with file.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines, delimiter=";"))
    return {
        row["tag"]: Reference(float(row["reference value"]), float(row["tolerance"]))
        for row in rows
        if row["reference value"]
    }


def chest(folder: Path) -> tuple[Volume, Mask]:
    """The CT of the chest phantom with the mask of GTV-1, on the image's own grid."""
    image = load_image(folder / "dicom" / "image")
    (structure_set,) = (folder / "dicom" / "mask").iterdir()
    (roi,) = (roi for roi in read_structure_set(structure_set).rois if roi.name == "GTV-1")
    return image, rasterise(roi.contours, image.grid)


def interpolated(image: Volume, mask: Mask) -> tuple[Volume, Mask]:
    """Image and mask as the manual resamples them for configurations C and D.

    Voxels of 2 mm, as many as `ceil(n spacing / 2 mm)` on each axis, around the centre of the image; image trilinear
    and rounded to whole HU; mask trilinear, inside from 0.5 on.
    """
    spacing = np.array(image.grid.spacing_mm)
    size = np.array([image.grid.columns, image.grid.rows, image.grid.planes])
    count = np.ceil(size * spacing / 2.0)
    first = 0.5 * ((size - 1) * spacing - (count - 1) * 2.0) / spacing
    columns, rows, planes = (int(one) for one in count)
    grid = Grid.uniform(image.grid.index_to_world(first), (2, 2, 2), (columns, rows, planes), image.grid.direction)
    values = np.rint(resample(image, grid, interpolation="linear", outside=-1000.0).values)
    inside = Volume(image.grid, mask.on(image.grid).astype(np.float64))
    part = resample(inside, grid, interpolation="linear", outside=0.0).values
    return Volume(grid, values.astype(np.float32)), Mask.cropped(grid, part >= 0.5 - 1e-9)


FEATURES: dict[str, tuple[str, str]] = {
    # Ours: (IBSI tag, permanent identifier).
    "shape_MeshVolume": ("morph_volume", "RNU0"),
    "shape_VoxelVolume": ("morph_vol_approx", "YEKZ"),
    "shape_SurfaceArea": ("morph_area_mesh", "C0JK"),
    "shape_SurfaceVolumeRatio": ("morph_av", "2PR5"),
    "shape_Sphericity": ("morph_sphericity", "QCFX"),
    "shape_Maximum3DDiameter": ("morph_diam", "L0JK"),
    "shape_MajorAxisLength": ("morph_pca_maj_axis", "TDIC"),
    "shape_MinorAxisLength": ("morph_pca_min_axis", "P9VJ"),
    "shape_LeastAxisLength": ("morph_pca_least_axis", "7J51"),
    "shape_Elongation": ("morph_pca_elongation", "Q3CK"),
    "shape_Flatness": ("morph_pca_flatness", "N17B"),
    "firstorder_Mean": ("stat_mean", "Q4LE"),
    "firstorder_Variance": ("stat_var", "ECT3"),
    "firstorder_Skewness": ("stat_skew", "KE2A"),
    "firstorder_Kurtosis": ("stat_kurt", "IPH6"),
    "firstorder_Median": ("stat_median", "Y12H"),
    "firstorder_Minimum": ("stat_min", "1GSF"),
    "firstorder_10Percentile": ("stat_p10", "QG58"),
    "firstorder_90Percentile": ("stat_p90", "8DWT"),
    "firstorder_Maximum": ("stat_max", "84IY"),
    "firstorder_InterquartileRange": ("stat_iqr", "SALO"),
    "firstorder_Range": ("stat_range", "2OJQ"),
    "firstorder_MeanAbsoluteDeviation": ("stat_mad", "4FUA"),
    "firstorder_RobustMeanAbsoluteDeviation": ("stat_rmad", "1128"),
    "firstorder_Energy": ("stat_energy", "N8CA"),
    "firstorder_RootMeanSquared": ("stat_rms", "5ZWQ"),
    "firstorder_Entropy": ("ih_entropy", "TLU2"),
    "firstorder_Uniformity": ("ih_uniformity", "BJ5W"),
    "glcm_MaximumProbability": ("cm_joint_max_3D_avg", "GYBY"),
    "glcm_JointAverage": ("cm_joint_avg_3D_avg", "60VM"),
    "glcm_SumSquares": ("cm_joint_var_3D_avg", "UR99"),
    "glcm_JointEntropy": ("cm_joint_entr_3D_avg", "TU9B"),
    "glcm_DifferenceAverage": ("cm_diff_avg_3D_avg", "TF7R"),
    "glcm_DifferenceVariance": ("cm_diff_var_3D_avg", "D3YU"),
    "glcm_DifferenceEntropy": ("cm_diff_entr_3D_avg", "NTRS"),
    "glcm_SumAverage": ("cm_sum_avg_3D_avg", "ZGXS"),
    "glcm_SumEntropy": ("cm_sum_entr_3D_avg", "P6QZ"),
    "glcm_JointEnergy": ("cm_energy_3D_avg", "8ZQL"),
    "glcm_Contrast": ("cm_contrast_3D_avg", "ACUI"),
    "glcm_Id": ("cm_inv_diff_3D_avg", "IB1Z"),
    "glcm_Idn": ("cm_inv_diff_norm_3D_avg", "NDRX"),
    "glcm_Idm": ("cm_inv_diff_mom_3D_avg", "WF0Z"),
    "glcm_Idmn": ("cm_inv_diff_mom_norm_3D_avg", "1QCO"),
    "glcm_InverseVariance": ("cm_inv_var_3D_avg", "E8JP"),
    "glcm_Correlation": ("cm_corr_3D_avg", "NI2N"),
    "glcm_Autocorrelation": ("cm_auto_corr_3D_avg", "QWB0"),
    "glcm_ClusterTendency": ("cm_clust_tend_3D_avg", "DG8W"),
    "glcm_ClusterShade": ("cm_clust_shade_3D_avg", "7NFM"),
    "glcm_ClusterProminence": ("cm_clust_prom_3D_avg", "AE86"),
    "glcm_Imc1": ("cm_info_corr1_3D_avg", "R8DG"),
    "glcm_Imc2": ("cm_info_corr2_3D_avg", "JN9H"),
    "glrlm_ShortRunEmphasis": ("rlm_sre_3D_avg", "22OV"),
    "glrlm_LongRunEmphasis": ("rlm_lre_3D_avg", "W4KF"),
    "glrlm_LowGrayLevelRunEmphasis": ("rlm_lgre_3D_avg", "V3SW"),
    "glrlm_HighGrayLevelRunEmphasis": ("rlm_hgre_3D_avg", "G3QZ"),
    "glrlm_ShortRunLowGrayLevelEmphasis": ("rlm_srlge_3D_avg", "HTZT"),
    "glrlm_ShortRunHighGrayLevelEmphasis": ("rlm_srhge_3D_avg", "GD3A"),
    "glrlm_LongRunLowGrayLevelEmphasis": ("rlm_lrlge_3D_avg", "IVPO"),
    "glrlm_LongRunHighGrayLevelEmphasis": ("rlm_lrhge_3D_avg", "3KUM"),
    "glrlm_GrayLevelNonUniformity": ("rlm_glnu_3D_avg", "R5YN"),
    "glrlm_GrayLevelNonUniformityNormalized": ("rlm_glnu_norm_3D_avg", "OVBL"),
    "glrlm_RunLengthNonUniformity": ("rlm_rlnu_3D_avg", "W92Y"),
    "glrlm_RunLengthNonUniformityNormalized": ("rlm_rlnu_norm_3D_avg", "IC23"),
    "glrlm_RunPercentage": ("rlm_r_perc_3D_avg", "9ZK5"),
    "glrlm_GrayLevelVariance": ("rlm_gl_var_3D_avg", "8CE5"),
    "glrlm_RunVariance": ("rlm_rl_var_3D_avg", "SXLW"),
    "glrlm_RunEntropy": ("rlm_rl_entr_3D_avg", "HJ9O"),
    "glszm_SmallAreaEmphasis": ("szm_sze_3D", "5QRC"),
    "glszm_LargeAreaEmphasis": ("szm_lze_3D", "48P8"),
    "glszm_LowGrayLevelZoneEmphasis": ("szm_lgze_3D", "XMSY"),
    "glszm_HighGrayLevelZoneEmphasis": ("szm_hgze_3D", "5GN9"),
    "glszm_SmallAreaLowGrayLevelEmphasis": ("szm_szlge_3D", "5RAI"),
    "glszm_SmallAreaHighGrayLevelEmphasis": ("szm_szhge_3D", "HW1V"),
    "glszm_LargeAreaLowGrayLevelEmphasis": ("szm_lzlge_3D", "YH51"),
    "glszm_LargeAreaHighGrayLevelEmphasis": ("szm_lzhge_3D", "J17V"),
    "glszm_GrayLevelNonUniformity": ("szm_glnu_3D", "JNSA"),
    "glszm_GrayLevelNonUniformityNormalized": ("szm_glnu_norm_3D", "Y1RO"),
    "glszm_SizeZoneNonUniformity": ("szm_zsnu_3D", "4JP3"),
    "glszm_SizeZoneNonUniformityNormalized": ("szm_zsnu_norm_3D", "VB3A"),
    "glszm_ZonePercentage": ("szm_z_perc_3D", "P30P"),
    "glszm_GrayLevelVariance": ("szm_gl_var_3D", "BYLV"),
    "glszm_ZoneVariance": ("szm_zs_var_3D", "3NSA"),
    "glszm_ZoneEntropy": ("szm_zs_entr_3D", "GU8N"),
    "gldm_SmallDependenceEmphasis": ("ngl_lde_3D", "SODN"),
    "gldm_LargeDependenceEmphasis": ("ngl_hde_3D", "IMOQ"),
    "gldm_LowGrayLevelEmphasis": ("ngl_lgce_3D", "TL9H"),
    "gldm_HighGrayLevelEmphasis": ("ngl_hgce_3D", "OAE7"),
    "gldm_SmallDependenceLowGrayLevelEmphasis": ("ngl_ldlge_3D", "EQ3F"),
    "gldm_SmallDependenceHighGrayLevelEmphasis": ("ngl_ldhge_3D", "JA6D"),
    "gldm_LargeDependenceLowGrayLevelEmphasis": ("ngl_hdlge_3D", "NBZI"),
    "gldm_LargeDependenceHighGrayLevelEmphasis": ("ngl_hdhge_3D", "9QMG"),
    "gldm_GrayLevelNonUniformity": ("ngl_glnu_3D", "FP8K"),
    "gldm_DependenceNonUniformity": ("ngl_dcnu_3D", "Z87G"),
    "gldm_DependenceNonUniformityNormalized": ("ngl_dcnu_norm_3D", "OKJI"),
    "gldm_GrayLevelVariance": ("ngl_gl_var_3D", "1PFV"),
    "gldm_DependenceVariance": ("ngl_dc_var_3D", "DNX2"),
    "gldm_DependenceEntropy": ("ngl_dc_entr_3D", "FCBV"),
    "ngtdm_Coarseness": ("ngt_coarseness_3D", "QCDE"),
    "ngtdm_Contrast": ("ngt_contrast_3D", "65HE"),
    "ngtdm_Busyness": ("ngt_busyness_3D", "NQ30"),
    "ngtdm_Complexity": ("ngt_complexity_3D", "HDEZ"),
    "ngtdm_Strength": ("ngt_strength_3D", "1X9X"),
}

WITHOUT_COUNTERPART: dict[str, str] = {
    "shape_Maximum2DDiameterSlice": "IBSI has no diameter within a plane",
    "shape_Maximum2DDiameterColumn": "IBSI has no diameter within a plane",
    "shape_Maximum2DDiameterRow": "IBSI has no diameter within a plane",
    "firstorder_TotalEnergy": "energy times the volume of a voxel; not in the IBSI manual",
    "glcm_MCC": "maximal correlation coefficient; not in the IBSI manual",
}
