"""DICOM Segmentation objects ↔ label volumes."""

from pathlib import Path

import numpy as np
import pydicom
import pytest

from dicom_files import grid_of, write_series
from rtpipeline.dicom.deidentify import copy_without_identifiers
from rtpipeline.dicom.errors import DicomError
from rtpipeline.dicom.segmentation_object import read_segmentation_object, require_volume, write_segmentation_object
from rtpipeline.imaging.grid import Grid, Volume
from rtpipeline.pseudonyms import Key, Translation

NAMES = {3: "liver", 1: "heart", 7: "lung_left"}


def labelled(grid: Grid) -> Volume:
    generator = np.random.default_rng(3)
    return Volume(grid, generator.choice(np.array([0, 1, 3, 7], np.uint8), grid.shape))


def write(folder: Path, grid: Grid) -> tuple[Path, Volume]:
    write_series(folder / "CT", grid, np.zeros(grid.shape, np.int16))
    volume = labelled(grid)
    path = folder / "SEG.dcm"
    write_segmentation_object(path, folder / "CT", volume, NAMES, algorithm="test", version="1")
    return path, volume


@pytest.mark.parametrize("position", ["HFS", "HFP", "FFS", "FFP", "HFDR", "sagittal", "oblique"])
def test_labels_come_back_exactly(position: str, tmp_path: Path) -> None:
    grid = grid_of(position)
    path, volume = write(tmp_path, grid)
    segments = read_segmentation_object(path)
    assert [segment.label for segment in segments] == list(NAMES.values())
    for label, segment in zip(NAMES, segments, strict=True):
        assert np.array_equal(segment.mask.on(grid), volume.values == label)


def test_it_refers_to_its_images_and_says_what_made_it(tmp_path: Path) -> None:
    path, _ = write(tmp_path, grid_of("HFS"))
    dataset = pydicom.dcmread(path)
    headers = [pydicom.dcmread(file) for file in (tmp_path / "CT").iterdir()]
    series = dataset.ReferencedSeriesSequence[0]
    assert series.SeriesInstanceUID == headers[0].SeriesInstanceUID
    assert {item.ReferencedSOPInstanceUID for item in series.ReferencedInstanceSequence} == {
        header.SOPInstanceUID for header in headers
    }
    assert dataset.FrameOfReferenceUID == headers[0].FrameOfReferenceUID
    assert dataset.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence[0].AlgorithmName == "test"


def test_the_same_labels_give_the_same_bytes(tmp_path: Path) -> None:
    path, volume = write(tmp_path, grid_of("HFS"))
    again = tmp_path / "again.dcm"
    write_segmentation_object(again, tmp_path / "CT", volume, NAMES, algorithm="test", version="1")
    assert again.read_bytes() == path.read_bytes()


def test_a_copy_without_identifiers_has_the_same_segments(tmp_path: Path) -> None:
    grid = grid_of("HFS")
    path, volume = write(tmp_path, grid)
    copy = tmp_path / "copy.dcm"
    copy_without_identifiers(path, copy, Translation(Key(b"k" * 32), "000123"))
    require_volume(copy)
    segments = read_segmentation_object(copy)
    assert [segment.label for segment in segments] == list(NAMES.values())
    for label, segment in zip(NAMES, segments, strict=True):
        assert np.array_equal(segment.mask.on(grid), volume.values == label)


def test_labels_of_another_image_and_other_files_are_refused(tmp_path: Path) -> None:
    grid = grid_of("HFS")
    path, _ = write(tmp_path, grid)
    other = Grid.uniform(grid.origin_mm + 5.0, grid.spacing_mm, (grid.columns, grid.rows, grid.planes))
    with pytest.raises(DicomError, match="do not lie"):
        write_segmentation_object(path, tmp_path / "CT", labelled(other), NAMES, algorithm="test", version="1")
    with pytest.raises(DicomError, match="segmentation"):
        read_segmentation_object(next((tmp_path / "CT").iterdir()))
    (tmp_path / "text.dcm").write_text("no DICOM")
    with pytest.raises(DicomError, match="is not a DICOM segmentation"):
        read_segmentation_object(tmp_path / "text.dcm")
