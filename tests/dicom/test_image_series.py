"""Image series → volumes."""

import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.uid import UID, JPEGLSLossless, RLELossless

from dicom_files import ROW_AND_COLUMN_DIRECTIONS, direction_of, grid_of, write_series
from rtpipeline.dicom.errors import DicomError
from rtpipeline.dicom.image_series import load_image, read_geometry
from rtpipeline.imaging.grid import Grid

STORED = np.random.default_rng(0).integers(0, 4000, (9, 11, 14)).astype(np.int16)


def edit(file: Path, **attributes: object) -> None:
    dataset = pydicom.dcmread(file)
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    dataset.save_as(file)


@pytest.mark.parametrize("position", ROW_AND_COLUMN_DIRECTIONS)
def test_values_lie_where_they_were_in_every_patient_position(position: str, tmp_path: Path) -> None:
    grid = grid_of(position)
    write_series(tmp_path, grid, STORED)
    volume = load_image(tmp_path)
    assert volume.grid.same_as(grid)
    assert volume.values.dtype == np.float32
    assert np.array_equal(volume.values, STORED - 1000.0)


def test_each_plane_has_its_own_slope(tmp_path: Path) -> None:
    slopes = np.linspace(0.25, 2.25, 9)
    write_series(tmp_path, grid_of(), STORED, slopes=slopes, intercept=3.0)
    assert load_image(tmp_path).values == pytest.approx(STORED * slopes[:, None, None] + 3.0, rel=1e-6)


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless], ids=lambda syntax: syntax.name)
def test_compressed_images_are_the_same(tmp_path: Path, syntax: UID) -> None:
    for file in write_series(tmp_path, grid_of(), STORED):
        dataset = pydicom.dcmread(file)
        dataset.compress(syntax, generate_instance_uid=False)
        dataset.save_as(file)
        assert pydicom.dcmread(file).file_meta.TransferSyntaxUID == syntax
    assert np.array_equal(load_image(tmp_path).values, STORED - 1000.0)


def test_rounded_positions_are_one_even_stack(tmp_path: Path) -> None:
    grid = grid_of(spacing=(1.0, 1.0, 1.25))
    for file in write_series(tmp_path, grid, STORED):
        position = pydicom.dcmread(file).ImagePositionPatient
        edit(file, ImagePositionPatient=[position[0], position[1], round(float(position[2]), 1)])
    assert load_image(tmp_path).grid.is_uniform


def test_a_missing_plane_leaves_true_positions(tmp_path: Path) -> None:
    write_series(tmp_path, grid_of(), STORED)[4].unlink()
    grid = load_image(tmp_path).grid
    assert not grid.is_uniform
    assert grid.plane_offsets_mm.tolist() == [0, 2.5, 5, 7.5, 12.5, 15, 17.5, 20]


def test_folders_below_are_not_looked_into(tmp_path: Path) -> None:
    grid = grid_of()
    write_series(tmp_path, grid, np.zeros(grid.shape, np.int16))
    write_series(tmp_path / "other", grid_of("FFS"), np.ones(grid.shape, np.int16), series="other")
    image = load_image(tmp_path)
    assert image.grid.same_as(grid)
    assert not (image.values + 1000.0).any()


def test_a_file_that_is_there_twice_counts_once(tmp_path: Path) -> None:
    file = write_series(tmp_path, grid_of(), STORED)[2]
    shutil.copy(file, tmp_path / "again.dcm")
    geometry = read_geometry(tmp_path)
    assert geometry.grid.planes == 9
    assert geometry.duplicates == ("again.dcm",)
    assert np.array_equal(load_image(tmp_path).values, STORED - 1000.0)


def test_two_different_images_of_one_plane_are_refused(tmp_path: Path) -> None:
    file = write_series(tmp_path, grid_of(), STORED)[2]
    shutil.copy(file, tmp_path / "another.dcm")
    edit(tmp_path / "another.dcm", SOPInstanceUID="1.2.3", PixelData=bytes(2 * 11 * 14))
    with pytest.raises(DicomError, match="different images of the same plane"):
        load_image(tmp_path)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}, "another orientation"),
        ({"PixelSpacing": [1.0, 1.0]}, "another pixel spacing"),
        ({"SeriesInstanceUID": "1.2.3"}, "another series"),
        ({"ImagePositionPatient": None}, "ImagePositionPatient is missing"),
        ({"SamplesPerPixel": 3}, "colour"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_name(
    attributes: dict[str, object], message: str, tmp_path: Path
) -> None:
    write_series(tmp_path, grid_of(), STORED)
    edit(tmp_path / "0005.dcm", **attributes)
    with pytest.raises(DicomError, match=message) as error:
        load_image(tmp_path)
    assert "0005.dcm" in str(error.value)


def test_another_size_is_refused(tmp_path: Path) -> None:
    write_series(tmp_path, grid_of(), STORED)
    edit(tmp_path / "0005.dcm", Rows=10, PixelData=bytes(2 * 10 * 14))
    with pytest.raises(DicomError, match=r"0005\.dcm has another size"):
        load_image(tmp_path)


def test_a_truncated_file_is_refused_with_its_name(tmp_path: Path) -> None:
    write_series(tmp_path, grid_of(), STORED)
    content = (tmp_path / "0005.dcm").read_bytes()
    (tmp_path / "0005.dcm").write_bytes(content[:-100])
    with pytest.raises(DicomError, match=r"0005\.dcm"):
        load_image(tmp_path)


def test_a_text_file_is_refused_with_its_name(tmp_path: Path) -> None:
    write_series(tmp_path, grid_of(), STORED)
    (tmp_path / "notes.dcm").write_text("these are not the pixels you are looking for")
    with pytest.raises(DicomError, match=r"notes\.dcm"):
        load_image(tmp_path)


@pytest.mark.parametrize("make", [True, False])
def test_no_images_are_refused(make: bool, tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    if make:
        folder.mkdir()
    with pytest.raises(DicomError, match=r"no image|does not exist"):
        load_image(folder)


def test_a_tilted_gantry_is_refused(tmp_path: Path) -> None:
    for number, file in enumerate(write_series(tmp_path, grid_of(), STORED)):
        position = pydicom.dcmread(file).ImagePositionPatient
        edit(file, ImagePositionPatient=[position[0], float(position[1]) + number, position[2]])
    with pytest.raises(DicomError, match="tilted gantry"):
        load_image(tmp_path)


def test_a_single_plane_has_the_thickness_of_its_file(tmp_path: Path) -> None:
    grid = Grid.uniform((0, 0, 5), (1, 1, 4), (14, 11, 1), direction_of("HFS"))
    write_series(tmp_path, grid, STORED[:1])
    assert load_image(tmp_path).grid.plane_spacing_mm == 4.0


def test_a_scout_view_in_the_series_is_left_out(tmp_path: Path) -> None:
    write_series(tmp_path, grid_of(), STORED)
    shutil.copy(tmp_path / "0001.dcm", tmp_path / "scout.dcm")
    edit(
        tmp_path / "scout.dcm",
        SOPInstanceUID="1.2.3",
        ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"],
        ImageOrientationPatient=[1, 0, 0, 0, 0, -1],
    )
    assert np.array_equal(load_image(tmp_path).values, STORED - 1000.0)


def sequence(**attributes: object) -> pydicom.Sequence:
    item = pydicom.Dataset()
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return pydicom.Sequence([item])


@pytest.mark.parametrize("position", ["HFS", "FFS", "oblique"])
def test_an_enhanced_multi_frame_image(position: str, tmp_path: Path) -> None:
    grid = grid_of(position)
    file = write_series(tmp_path, grid, STORED)[0]
    for other in tmp_path.iterdir():
        if other != file:
            other.unlink()
    dataset = pydicom.dcmread(file)
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope"):
        delattr(dataset, keyword)
    shared = sequence(
        PixelMeasuresSequence=sequence(PixelSpacing=[0.9, 1.3], SliceThickness=2.5),
        PlaneOrientationSequence=sequence(ImageOrientationPatient=grid.direction[:, :2].T.ravel().tolist()),
    )
    order = np.random.default_rng(0).permutation(grid.planes)
    frames = []
    for plane in order:
        world = grid.index_to_world(np.array([0.0, 0.0, plane])).tolist()
        frames += sequence(
            PlanePositionSequence=sequence(ImagePositionPatient=world),
            PixelValueTransformationSequence=sequence(RescaleSlope=1.0 + plane, RescaleIntercept=-5.0),
        )
    dataset.SharedFunctionalGroupsSequence = shared
    dataset.PerFrameFunctionalGroupsSequence = pydicom.Sequence(frames)
    dataset.NumberOfFrames = grid.planes
    dataset.PixelData = STORED[order].astype("<i2").tobytes()
    dataset.save_as(file)
    volume = load_image(tmp_path)
    assert volume.grid.same_as(grid)
    expected = STORED * (1.0 + np.arange(grid.planes))[:, None, None] - 5.0
    assert volume.values == pytest.approx(expected, rel=1e-6)


@pytest.mark.real_data
@pytest.mark.parametrize(
    "folder", ["LUNG1-001/CT", "IBSI-1/dicom/image", "STS/STS_025/CT/image", "STS/STS_042/PET/image"]
)
def test_simpleitk_reads_the_same(folder: str, test_data: Path) -> None:
    volume = load_image(test_data / folder)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(test_data / folder)))
    image = reader.Execute()
    np.testing.assert_allclose(volume.values, sitk.GetArrayFromImage(image), rtol=1e-5, atol=1e-5)
    assert volume.grid.spacing_mm == pytest.approx(image.GetSpacing(), abs=1e-4)
    assert volume.grid.origin_mm == pytest.approx(image.GetOrigin(), abs=1e-4)
    assert volume.grid.direction.ravel() == pytest.approx(image.GetDirection(), abs=1e-6)
