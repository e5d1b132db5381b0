"""RT Structure Sets ↔ contours."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dicom_files import ROW_AND_COLUMN_DIRECTIONS, direction_of, grid_of, write_series
from imaging.masks import random_direction, random_mask
from polygon_area import polygon_area_mm2
from rtpipeline.dicom.errors import DicomError
from rtpipeline.dicom.image_series import load_image
from rtpipeline.dicom.rtstruct import RoiToWrite, read_structure_set, stable_colour, write_structure_set
from rtpipeline.imaging.contours import rasterise
from rtpipeline.imaging.grid import FloatArray, Grid
from rtpipeline.imaging.keyholes import keyholed_outline
from rtpipeline.imaging.mask import Mask
from rtpipeline.imaging.nifti import read_nifti


def images(folder: Path, grid: Grid) -> Path:
    write_series(folder, grid, np.zeros(grid.shape, np.int16))
    return folder


def square(grid: Grid, plane: int, low: float = 2.0, high: float = 7.0) -> FloatArray:
    index = np.array([[low, low, plane], [high, low, plane], [high, high, plane], [low, high, plane]])
    return grid.index_to_world(index)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1))
def test_masks_survive_the_file_exactly(seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    generator = np.random.default_rng(seed)
    folder = tmp_path_factory.mktemp("course")
    names = list(ROW_AND_COLUMN_DIRECTIONS)
    shape = random_mask(generator).shape
    direction = random_direction(generator) if seed % 2 else direction_of(names[seed % len(names)])
    grid = Grid.uniform(generator.uniform(-1500, 1500, 3), tuple(generator.uniform(0.5, 4, 3)), shape[::-1], direction)
    masks: list[NDArray[np.bool_]] = []
    for _ in range(4):
        values = random_mask(generator)
        fitted = np.zeros(shape, bool)
        part = tuple(slice(0, min(a, b)) for a, b in zip(values.shape, shape, strict=True))
        fitted[part] = values[part]
        masks.append(fitted)
    images(folder / "CT", grid)
    rois = [RoiToWrite(f"mask {n}", keyholed_outline(Mask.cropped(grid, values))) for n, values in enumerate(masks)]
    write_structure_set(folder / "RS.dcm", folder / "CT", rois, label="test")
    image_grid = load_image(folder / "CT").grid
    for roi, values in zip(read_structure_set(folder / "RS.dcm").rois, masks, strict=True):
        assert np.array_equal(rasterise(roi.contours, image_grid).on(image_grid), values)


def test_the_file_refers_to_its_images(tmp_path: Path) -> None:
    grid = grid_of("FFS")
    images(tmp_path / "CT", grid)
    roi = RoiToWrite("Heart", [square(grid, 3), square(grid, 4)], "ORGAN")
    assert write_structure_set(tmp_path / "RS.dcm", tmp_path / "CT", [roi], label="RS_auto") == (1,)
    dataset = pydicom.dcmread(tmp_path / "RS.dcm")
    headers = {h.SOPInstanceUID: h for h in (pydicom.dcmread(file) for file in (tmp_path / "CT").iterdir())}
    first = next(iter(headers.values()))
    assert dataset.StudyInstanceUID == first.StudyInstanceUID
    assert dataset.PatientID == "000123"
    assert dataset.StructureSetDate == "20240229"
    frame = dataset.ReferencedFrameOfReferenceSequence[0]
    series = frame.RTReferencedStudySequence[0].RTReferencedSeriesSequence[0]
    assert frame.FrameOfReferenceUID == first.FrameOfReferenceUID
    assert series.SeriesInstanceUID == first.SeriesInstanceUID
    assert {item.ReferencedSOPInstanceUID for item in series.ContourImageSequence} == set(headers)
    for contour in dataset.ROIContourSequence[0].ContourSequence:
        image = headers[contour.ContourImageSequence[0].ReferencedSOPInstanceUID]
        points = np.array(contour.ContourData, float).reshape(-1, 3)
        assert len(points) == contour.NumberOfContourPoints
        assert points[:, 2] == pytest.approx(float(image.ImagePositionPatient[2]))
    content = read_structure_set(tmp_path / "RS.dcm")
    assert content.referenced_series_uids == (first.SeriesInstanceUID,)
    assert content.frame_of_reference_uid == first.FrameOfReferenceUID
    assert [(r.number, r.name, r.interpreted_type, r.algorithm) for r in content.rois] == [
        (1, "Heart", "ORGAN", "AUTOMATIC")
    ]


def test_decimal_strings_are_short_and_long_contours_survive(tmp_path: Path) -> None:
    grid = grid_of(origin=(-1499.98765, 1333.33333, -1777.77777))
    images(tmp_path / "CT", grid)
    angle = np.linspace(0, 2 * np.pi, 20_000, endpoint=False)
    index = np.stack([7 + 4 * np.cos(angle), 5 + 4 * np.sin(angle), np.full(20_000, 2.0)], axis=-1)
    contour = grid.index_to_world(index)
    write_structure_set(tmp_path / "RS.dcm", tmp_path / "CT", [RoiToWrite("long", [contour])], label="test")
    value = pydicom.dcmread(tmp_path / "RS.dcm").ROIContourSequence[0].ContourSequence[0].get_item("ContourData").value
    assert len(value) > 2**16
    assert max(len(text) for text in value.split(b"\\")) <= 16
    assert read_structure_set(tmp_path / "RS.dcm").rois[0].contours[0] == pytest.approx(contour, abs=1e-4)


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    grid = grid_of()
    images(tmp_path / "CT", grid)
    rois = [RoiToWrite("Heart", [square(grid, 3)])]
    for name in ("one", "two"):
        write_structure_set(tmp_path / name, tmp_path / "CT", rois, label="test")
    write_structure_set(tmp_path / "three", tmp_path / "CT", [RoiToWrite("Heart", [square(grid, 4)])], label="test")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    uids = {pydicom.dcmread(tmp_path / name).SOPInstanceUID for name in ("one", "two", "three")}
    assert len(uids) == 2


def base_file(path: Path, grid: Grid, *, implicit: bool, numbers: Sequence[int] = (7, 3)) -> Path:
    """A structure set as another program writes it, in explicit or implicit VR, with Latin-1 names."""
    images(path.parent / "CT", grid)
    rois = [RoiToWrite("A", [square(grid, 1)], "PTV", "MANUAL"), RoiToWrite("B", [], "ORGAN")]
    write_structure_set(path, path.parent / "CT", rois, label="base")
    dataset = pydicom.dcmread(path)
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.StructureSetROISequence[1].ROIName = "Köpfchen"
    for item, number in zip(dataset.StructureSetROISequence, numbers, strict=True):
        item.ROINumber = number
    for sequence in (dataset.ROIContourSequence, dataset.RTROIObservationsSequence):
        for item, number in zip(sequence, numbers, strict=True):
            item.ReferencedROINumber = number
    contour = dataset.ROIContourSequence[0].ContourSequence[0]
    contour["ContourData"] = pydicom.DataElement("ContourData", "DS", ["1.50", "2", "-3.25", "4e1", "5", "-3.25"] * 2)
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2" if implicit else "1.2.840.10008.1.2.1"
    dataset.save_as(path)
    return path


@pytest.mark.parametrize("implicit", [True, False])
def test_a_base_keeps_its_rois_as_they_are(implicit: bool, tmp_path: Path) -> None:
    grid = grid_of()
    base = base_file(tmp_path / "RS.dcm", grid, implicit=implicit)
    added = [RoiToWrite("Ring ö", [square(grid, 5)]), RoiToWrite("Wand", [square(grid, 6)])]
    numbers = write_structure_set(tmp_path / "RS_custom.dcm", tmp_path / "CT", added, label="RS_custom", base=base)
    assert numbers == (8, 9)
    before, after = pydicom.dcmread(base), pydicom.dcmread(tmp_path / "RS_custom.dcm")
    for keyword in ("StructureSetROISequence", "ROIContourSequence", "RTROIObservationsSequence"):
        assert list(after[keyword].value)[:2] == list(before[keyword].value)
    raw = [d.ROIContourSequence[0].ContourSequence[0].get_item("ContourData") for d in (before, after)]
    assert str(raw[0].value) == str(raw[1].value) or list(raw[0].value) == list(raw[1].value)
    assert [roi.name for roi in read_structure_set(tmp_path / "RS_custom.dcm").rois] == [
        "A",
        "Köpfchen",
        "Ring ö",
        "Wand",
    ]
    assert after.SOPInstanceUID != before.SOPInstanceUID
    observations = [int(item.ObservationNumber) for item in after.RTROIObservationsSequence]
    assert len(set(observations)) == 4


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    grid = grid_of()
    images(tmp_path / "CT", grid)
    (tmp_path / "out").mkdir()
    path = tmp_path / "out" / "RS.dcm"
    path.write_text("old")
    for roi in (RoiToWrite("x" * 65, []), RoiToWrite("", []), RoiToWrite("two points", [square(grid, 1)[:2]])):
        with pytest.raises(DicomError, match=r"RS\.dcm"):
            write_structure_set(path, tmp_path / "CT", [roi], label="test")
    assert path.read_text() == "old"
    assert [file.name for file in path.parent.iterdir()] == ["RS.dcm"]


def test_colours_depend_on_the_name_alone() -> None:
    names = [f"organ {number}" for number in range(100)]
    assert stable_colour("Heart") == stable_colour(" heart ")
    assert len({stable_colour(name) for name in names}) > 95
    assert all(max(stable_colour(name)) > 150 and min(stable_colour(name)) >= 0 for name in names)


def test_contours_that_cannot_be_used_are_left_out_with_a_word(tmp_path: Path) -> None:
    grid = grid_of()
    images(tmp_path / "CT", grid)
    contours = [square(grid, plane) for plane in range(6)]
    write_structure_set(tmp_path / "RS.dcm", tmp_path / "CT", [RoiToWrite("A", contours)], label="test")
    dataset = pydicom.dcmread(tmp_path / "RS.dcm")
    items = dataset.ROIContourSequence[0].ContourSequence
    items[0].ContourGeometricType = "POINT"
    items[1].ContourGeometricType = "OPEN_PLANAR"
    items[2].ContourData = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    items[3]["ContourData"] = pydicom.DataElement("ContourData", "OB", b"1\\2\\x ")
    del items[4].ContourData
    dataset.save_as(tmp_path / "RS.dcm")
    roi = read_structure_set(tmp_path / "RS.dcm").rois[0]
    assert len(roi.contours) == 1
    assert roi.ignored_contours == (
        "1 contours left out: their coordinates are damaged",
        "1 contours left out: their type is OPEN_PLANAR, not CLOSED_PLANAR",
        "1 contours left out: their type is POINT, not CLOSED_PLANAR",
        "1 contours left out: they have fewer than three points",
        "1 contours left out: they have no points",
    )


def test_two_rois_with_one_number_keep_their_own_contours(tmp_path: Path) -> None:
    grid = grid_of()
    images(tmp_path / "CT", grid)
    rois = [RoiToWrite("A", [square(grid, 1)]), RoiToWrite("B", [square(grid, 5)])]
    write_structure_set(tmp_path / "RS.dcm", tmp_path / "CT", rois, label="test")
    dataset = pydicom.dcmread(tmp_path / "RS.dcm")
    dataset.StructureSetROISequence[1].ROINumber = 1
    dataset.ROIContourSequence[1].ReferencedROINumber = 1
    dataset.save_as(tmp_path / "RS.dcm")
    first, second = read_structure_set(tmp_path / "RS.dcm").rois
    assert first.contours[0] == pytest.approx(square(grid, 1), abs=1e-4)
    assert second.contours[0] == pytest.approx(square(grid, 5), abs=1e-4)


@pytest.mark.parametrize("keep", [0.3, 0.9])
def test_truncated_files_are_refused_with_their_name(keep: float, tmp_path: Path) -> None:
    grid = grid_of()
    images(tmp_path / "CT", grid)
    write_structure_set(tmp_path / "RS.dcm", tmp_path / "CT", [RoiToWrite("A", [square(grid, 1)] * 50)], label="test")
    content = (tmp_path / "RS.dcm").read_bytes()
    (tmp_path / "RS.dcm").write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(DicomError, match=r"RS\.dcm"):
        read_structure_set(tmp_path / "RS.dcm")


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.dcm").write_text("no structure set")
    files = [tmp_path / "text.dcm", tmp_path / "missing.dcm", next(images(tmp_path / "CT", grid_of()).iterdir())]
    for file in files:
        with pytest.raises(DicomError, match=file.name):
            read_structure_set(file)


@pytest.mark.real_data
def test_a_drawn_lung_course(test_data: Path) -> None:
    grid = load_image(test_data / "LUNG1-001" / "CT").grid
    content = read_structure_set(test_data / "LUNG1-001" / "RTSTRUCT.dcm")
    assert [roi.name for roi in content.rois] == ["GTV-1", "Spinal-Cord", "Lung-Left", "Lung-Right"]
    for roi in content.rois:
        drawn = sum(polygon_area_mm2(contour) for contour in roi.contours) * grid.plane_spacing_mm / 1000
        assert rasterise(roi.contours, grid).volume_cm3 == pytest.approx(drawn, rel=0.01)


@pytest.mark.real_data
def test_contours_read_like_pydicom_reads_them(test_data: Path) -> None:
    dataset = pydicom.dcmread(test_data / "breast-tps" / "rtss.dcm")
    content = read_structure_set(test_data / "breast-tps" / "rtss.dcm")
    theirs = {int(item.ReferencedROINumber): item for item in dataset.ROIContourSequence}
    for roi in content.rois:
        item = theirs.get(roi.number)
        expected = [] if item is None or "ContourSequence" not in item else item.ContourSequence
        assert len(roi.contours) == len(expected)
        for ours, contour in zip(roi.contours, expected, strict=True):
            assert np.array_equal(ours.ravel(), np.array(contour.ContourData, float))


@pytest.mark.real_data
@pytest.mark.parametrize("series", ["CT", "MR_T1", "PET"])
@pytest.mark.parametrize("patient", ["STS_025", "STS_042"])
def test_sarcoma_structure_sets_lie_on_their_own_image(patient: str, series: str, test_data: Path) -> None:
    folder = test_data / "STS" / patient / series
    volume = load_image(folder / "image")
    (roi,) = read_structure_set(folder / "mask" / "RS.dcm").rois
    mask = rasterise(roi.contours, volume.grid)
    drawn = sum(polygon_area_mm2(contour) for contour in roi.contours) * volume.grid.plane_spacing_mm / 1000
    assert mask.volume_cm3 == pytest.approx(drawn, rel=0.01)
    if series == "PET":
        inside = mask.on(volume.grid)
        assert volume.values[inside].mean() > 5 * volume.values[~inside].mean()


@pytest.mark.real_data
def test_the_ibsi_phantom_has_its_published_volume_and_intensity(test_data: Path) -> None:
    """IBSI 1 reference values, configuration A: 359,000 ± 5,000 mm³; mean 13.4 ± 1.1 HU between -500 and 400 HU."""
    volume = load_image(test_data / "IBSI-1" / "dicom" / "image")
    (roi,) = read_structure_set(test_data / "IBSI-1" / "dicom" / "mask" / "DCM_RS_00060.dcm").rois
    mask = rasterise(roi.contours, volume.grid)
    assert mask.volume_cm3 == pytest.approx(359, abs=5)
    values = volume.values[mask.on(volume.grid)]
    assert values[(values >= -500) & (values <= 400)].mean() == pytest.approx(13.4, abs=1.1)


@pytest.mark.skipif(
    shutil.which("plastimatch") is None, reason="plastimatch is not installed (apt install plastimatch)"
)
@pytest.mark.parametrize("position", ["HFS", "FFP"])
def test_plastimatch_reads_the_same_volume(position: str, tmp_path: Path) -> None:
    grid = grid_of(position, size=(60, 50, 24), spacing=(1.5, 1.5, 3.0))
    images(tmp_path / "CT", grid)
    z, y, x = (np.arange(size) for size in grid.shape)
    inside = ((z - 12)[:, None, None] / 9) ** 2 + ((y - 25)[:, None] / 20) ** 2 + ((x - 30) / 22) ** 2
    drawn = {
        "ball": inside <= 1,
        "shell": (inside <= 1) & (inside > 0.4),
        "slanted": (inside <= 1) & (x + y[:, None] > 55),
    }
    rois = [RoiToWrite(name, keyholed_outline(Mask.cropped(grid, values))) for name, values in drawn.items()]
    write_structure_set(tmp_path / "RS.dcm", tmp_path / "CT", rois, label="test")
    command = ["plastimatch", "convert", "--input", "RS.dcm", "--referenced-ct", "CT", "--output-prefix", "read"]
    subprocess.run([*command, "--prefix-format", "nii.gz"], cwd=tmp_path, check=True, capture_output=True)
    for name, values in drawn.items():
        read = read_nifti(tmp_path / "read" / f"{name}.nii.gz").values
        assert values.sum() >= 500
        assert np.count_nonzero(read) == pytest.approx(values.sum(), rel=0.02)
