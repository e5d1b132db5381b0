"""Images reach a model in the orientation it was trained on, and labels come back."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from dicom_files import ROW_AND_COLUMN_DIRECTIONS, grid_of
from rtpipeline.imaging.grid import Volume
from rtpipeline.imaging.nifti import write_nifti
from rtpipeline.inference.nnunet import Predictor, turned_to
from rtpipeline.scheduling.worker_process import Message


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


class _Threshold(Predictor):
    """Says where the image is bright, and remembers how it lay."""

    def _labels(self, image: Path, request: Message) -> Path:
        given = nibabel.Nifti1Image.from_filename(image)
        self.lay = "".join(nibabel.aff2axcodes(given.affine))
        labels = image.parent / "labels0.nii.gz"
        nibabel.save(nibabel.Nifti1Image((given.get_fdata() > 0).astype(np.uint8), given.affine), labels)
        return labels


@pytest.mark.parametrize("orientation", ["LAS", "RPI"])
def test_a_model_gets_images_as_those_it_was_trained_on_and_its_labels_come_back_as_the_image_lies(
    tmp_path: Path, orientation: str
) -> None:
    values = np.random.default_rng(2).integers(-5, 5, (6, 5, 4)).astype(np.int16)
    affine = np.diag([-2.0, -1.0, 3.0, 1.0])
    nibabel.save(nibabel.Nifti1Image(values, affine), tmp_path / "image.nii.gz")
    request = {
        "image": str(tmp_path / "image.nii.gz"),
        "output": str(tmp_path / "labels.nii.gz"),
        "orientation": orientation,
        "keep_largest": [],
    }
    model = _Threshold()
    model._run(request)
    assert model.lay == orientation
    found = nibabel.Nifti1Image.from_filename(tmp_path / "labels.nii.gz")
    np.testing.assert_array_equal(found.affine, affine)
    np.testing.assert_array_equal(np.asanyarray(found.dataobj), values > 0)
