"""Images reach a model in the orientation it was trained on, and labels come back."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest

from dicom_files import ROW_AND_COLUMN_DIRECTIONS, grid_of
from rtpipeline.imaging.grid import Volume
from rtpipeline.imaging.nifti import write_nifti
from rtpipeline.inference.nnunet import turned_to


@pytest.mark.parametrize("position", sorted(ROW_AND_COLUMN_DIRECTIONS))
@pytest.mark.parametrize("orientation", ["LAS", "RAS", "LPS"])
def test_turning_keeps_every_voxel_where_it_is_in_the_patient(tmp_path, position: str, orientation: str) -> None:
    grid = grid_of(position)
    values = np.arange(np.prod(grid.shape), dtype=np.int16).reshape(grid.shape)
    write_nifti(tmp_path / "image.nii", Volume(grid, values))
    image = nibabel.Nifti1Image.from_filename(tmp_path / "image.nii")
    turned = turned_to(image, orientation)
    assert "".join(nibabel.aff2axcodes(turned.affine)) == orientation
    index = np.argwhere(np.asarray(turned.dataobj) == 77)[0]
    original = np.argwhere(np.asarray(image.dataobj) == 77)[0]
    np.testing.assert_allclose(
        nibabel.affines.apply_affine(turned.affine, index),
        nibabel.affines.apply_affine(image.affine, original),
        atol=1e-3,
    )
    back = turned_to(turned, "".join(nibabel.aff2axcodes(image.affine)))
    np.testing.assert_array_equal(np.asarray(back.dataobj), np.asarray(image.dataobj))
    np.testing.assert_allclose(back.affine, image.affine, atol=1e-4)
