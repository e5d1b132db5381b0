"""Reading a DICOM file: a dataset, or a sentence that says what is wrong, where, and what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dicom_factory import Patient
from rtpipeline.dicom.acquisition import read_patient
from rtpipeline.dicom.errors import DicomError
from rtpipeline.dicom.image_series import load_image
from rtpipeline.dicom.reading import read_dataset, stored_values
from rtpipeline.dicom.registration import read_registration
from rtpipeline.dicom.rtdose import dose_grid_scaling, read_dose
from rtpipeline.dicom.rtplan import read_plan
from rtpipeline.dicom.rtrecord import read_treatment_record
from rtpipeline.dicom.rtstruct import read_roi_names, read_structure_set
from rtpipeline.dicom.segmentation_object import read_segmentation_object
from rtpipeline.dicom.stored_dvh import read_stored_dvhs

OF_ONE_KIND = {
    "an RT Dose": (read_dose, dose_grid_scaling),
    "an RT Plan": (read_plan,),
    "an RT Structure Set": (read_structure_set,),
    "an RT treatment record": (read_treatment_record,),
    "a Spatial Registration": (read_registration,),
    "a DICOM segmentation": (read_segmentation_object,),
}
READERS = [*(reader for readers in OF_ONE_KIND.values() for reader in readers), read_patient, read_stored_dvhs]


@pytest.mark.parametrize("reader", [*READERS, read_roi_names])
def test_a_file_that_cannot_be_read_is_named_with_what_to_do(reader: Callable[[Path], object], tmp_path: Path) -> None:
    path = tmp_path / "missing.dcm"
    with pytest.raises(DicomError, match=rf"^{path} cannot be read as DICOM \(.*No such file.*\); export it again$"):
        reader(path)


@pytest.mark.parametrize(("kind", "reader"), [(kind, one) for kind, readers in OF_ONE_KIND.items() for one in readers])
def test_an_object_of_another_kind_is_refused(kind: str, reader: Callable[[Path], object], tmp_path: Path) -> None:
    (path,) = Patient(tmp_path).make_series(slices=1)
    with pytest.raises(DicomError, match=rf"^{path} is not {kind}; put one in its place"):
        reader(path)


def test_a_length_that_no_parser_can_follow_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "damaged.dcm"
    whole = Patient(tmp_path / "whole").make_plan().read_bytes()
    path.write_bytes(whole[:132] + b"\x02\x00\x00\x00UL\x09\x00" + whole[140:])
    with pytest.raises(DicomError, match=r"damaged\.dcm"):
        read_plan(path)


def test_only_what_is_asked_for_is_read(tmp_path: Path) -> None:
    (path,) = Patient(tmp_path).make_series(slices=1)
    dataset = read_dataset(path, with_pixels=False, keywords=["PatientID"])
    assert [element.keyword for element in dataset] == ["PatientID"]
    assert "PixelData" not in read_dataset(path, with_pixels=False)
    assert stored_values(path, read_dataset(path)).shape == (read_dataset(path).Rows, read_dataset(path).Columns)


def test_pixels_that_cannot_be_decoded_are_a_sentence(tmp_path: Path) -> None:
    slices = Patient(tmp_path).make_series(slices=4)
    dataset = read_dataset(slices[2])
    dataset.PixelData = dataset.PixelData[:-6]
    dataset.save_as(slices[2])
    with pytest.raises(DicomError, match=rf"^{slices[2]}: its pixels cannot be read \("):
        load_image(slices[2].parent)
