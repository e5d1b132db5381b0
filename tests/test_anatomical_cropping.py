"""Cropping: the right planes in patient coordinates, and nothing that stays moves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_files import direction_of
from painted_course import LABELS, Phantom, configuration, make_course, resources
from rtpipeline import anatomical_cropping
from rtpipeline.anatomical_cropping import REGIONS, crop_range, structure_extents
from rtpipeline.config import CroppingSection
from rtpipeline.course import Course, CourseFiles
from rtpipeline.dicom.image_series import load_image
from rtpipeline.dicom.rtstruct import RoiToWrite, read_structure_set, write_structure_set
from rtpipeline.imaging.contours import rasterise
from rtpipeline.imaging.grid import Grid, Volume
from rtpipeline.imaging.mask import Mask
from rtpipeline.imaging.nifti import read_nifti, write_nifti
from rtpipeline.imaging.polygons import outline
from rtpipeline.outcome import Outcome
from rtpipeline.scheduling.children import ChildProcesses

# z from, z to (patient mm) of each painted organ
ORGANS = {
    "vertebrae_L5": (-60.0, -30.0),
    "vertebrae_L1": (0.0, 24.0),
    "vertebrae_T12": (27.0, 48.0),
    "heart": (54.0, 84.0),
    "femur_left": (-150.0, -105.0),
    "liver": (-20.0, 60.0),
}
SPACING_MM = 3.0
FROM_MM, TO_MM = -180.0, 120.0


def _painted(position: str) -> Phantom:
    """The organs as boxes on a CT that reaches from `FROM_MM` to `TO_MM`, in a patient position."""
    direction = direction_of(position)
    planes = int((TO_MM - FROM_MM) / SPACING_MM)
    first_z = (FROM_MM if direction[2, 2] > 0 else TO_MM) + direction[2, 2] * SPACING_MM / 2
    grid = Grid.uniform((-40.0, 25.0, first_z), (2.0, 2.5, SPACING_MM), (26, 24, planes), direction)
    z_mm = grid.index_to_world(np.stack([np.zeros(planes), np.zeros(planes), np.arange(planes)], axis=-1))[:, 2]
    organs = np.zeros(grid.shape, np.uint8)
    for number, (name, (low, high)) in enumerate(ORGANS.items()):
        inside = (z_mm > low) & (z_mm < high)
        row, column = 2 + 7 * (number % 3), 3 + 11 * (number // 3)
        organs[inside, row : row + 6, column : column + 10] = LABELS[name]
    hu = np.random.default_rng(3).integers(-900, 900, grid.shape).astype(float)
    return Phantom(grid, hu, organs)


def _course(folder: Path, painted: Phantom) -> Course:
    """A segmented course with structure sets of all organs."""
    course = make_course(folder, painted)
    file = course.files.segmentation("CT", "total")
    write_nifti(file, Volume(painted.grid, painted.organs))
    labels = {str(label): name for name, label in LABELS.items()}
    CourseFiles.label_map(file).write_text(json.dumps({"task": "total", "labels": labels}))
    masks = {name: Mask.cropped(painted.grid, painted.organs == LABELS[name]) for name in ORGANS}
    rois = [RoiToWrite(name, outline(mask), "ORGAN") for name, mask in masks.items()]
    write_structure_set(course.files.structure_set, course.path("DICOM/CT"), rois, label="manual")
    write_structure_set(course.files.automatic_structure_set, course.path("DICOM/CT"), rois[:3], label="RS_auto")
    return course


def _crop(course: Course, **section: Any) -> Outcome:
    settings = configuration(ct_cropping={"enabled": True, **section})
    return anatomical_cropping.run(course, settings, resources(course.files.folder, ChildProcesses()))


@pytest.mark.parametrize("position", ["HFS", "HFP", "FFS", "FFP", "HFDL", "FFDR"])
def test_what_stays_does_not_move_in_any_patient_position(tmp_path: Path, position: str) -> None:
    painted = _painted(position)
    course = _course(tmp_path, painted)
    outcome = _crop(course, region="abdomen")
    assert outcome.status == "ok", outcome.reason
    # abdomen: 2 cm above T12's top (48 mm) to 2 cm below L5's bottom (-60 mm): centres from -79.5 to 67.5 mm
    assert outcome.details["planes_kept"] == 50
    metadata = json.loads(course.files.cropping.read_text())
    assert metadata["requested_z_mm"] == [-80.0, 68.0]
    assert metadata["clamped_to_the_scan"] == []
    cropped = read_nifti(course.files.cropped_ct)
    z_mm = cropped.grid.index_to_world(np.array([[0.0, 0.0, 0.0], [0.0, 0.0, cropped.grid.planes - 1.0]]))[:, 2]
    assert min(z_mm) > -80.0 > min(z_mm) - SPACING_MM
    assert max(z_mm) < 68.0 < max(z_mm) + SPACING_MM
    copied = load_image(course.files.cropped_ct_dicom)
    assert copied.grid.same_as(cropped.grid)
    np.testing.assert_array_equal(copied.values, cropped.values)
    _check_structures(course, painted, cropped.grid, inside=("vertebrae_L5", "vertebrae_L1", "vertebrae_T12", "liver"))


def _check_structures(course: Course, painted: Phantom, grid: Grid, inside: tuple[str, ...]) -> None:
    """Structures wholly inside keep their very contours; what is left of the others covers what is left of them."""
    whole = {roi.name: roi for roi in read_structure_set(course.files.structure_set).rois}
    left = {roi.name: roi for roi in read_structure_set(CourseFiles.cropped(course.files.structure_set)).rois}
    assert list(left) == list(whole)
    for name in ORGANS:
        truth = Mask.cropped(painted.grid, painted.organs == LABELS[name])
        kept = rasterise(left[name].contours, grid)
        assert (left[name].number, left[name].interpreted_type) == (whole[name].number, "ORGAN")
        if name in inside:
            assert len(left[name].contours) == len(whole[name].contours)
            np.testing.assert_array_equal(np.concatenate(left[name].contours), np.concatenate(whole[name].contours))
            np.testing.assert_allclose(kept.centroid_mm, truth.centroid_mm, atol=1e-6)
            assert kept.voxel_count == truth.voxel_count
    assert not left["femur_left"].contours
    assert 0 < len(left["heart"].contours) < len(whole["heart"].contours)
    images = {pydicom.dcmread(file).SOPInstanceUID for file in course.files.cropped_ct_dicom.iterdir()}
    written = pydicom.dcmread(CourseFiles.cropped(course.files.structure_set))
    study = written.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0]
    named = study.RTReferencedSeriesSequence[0].ContourImageSequence
    assert {image.ReferencedSOPInstanceUID for image in named} == images
    assert written.SOPInstanceUID != pydicom.dcmread(course.files.structure_set).SOPInstanceUID
    automatic = read_structure_set(CourseFiles.cropped(course.files.automatic_structure_set))
    assert [roi.name for roi in automatic.rois] == list(ORGANS)[:3]


def test_originals_stay_and_a_second_run_writes_the_same(tmp_path: Path) -> None:
    course = _course(tmp_path, _painted("HFS"))
    before = {file: file.read_bytes() for file in sorted(tmp_path.rglob("*")) if file.is_file()}
    _crop(course, region="abdomen")
    first = {file: file.read_bytes() for file in sorted(tmp_path.rglob("*")) if file.is_file()}
    assert {file: first[file] for file in before} == before
    _crop(course, region="abdomen")
    assert {file: file.read_bytes() for file in sorted(tmp_path.rglob("*")) if file.is_file()} == first


def test_a_margin_beyond_the_scan_is_clamped_and_said(tmp_path: Path) -> None:
    course = _course(tmp_path, _painted("HFS"))
    assert _crop(course, region="pelvis").status == "ok"  # L1's top to 10 cm below the femoral head of 5 cm
    metadata = json.loads(course.files.cropping.read_text())
    assert metadata["requested_z_mm"] == [-255.0, 24.0]
    assert metadata["applied_z_mm"] == [-180.0, 24.0]
    assert metadata["clamped_to_the_scan"] == ["inferior"]


@pytest.mark.parametrize("scan_ends_at", [-400.0, -290.0])
def test_the_pelvis_ends_below_the_femoral_heads_however_much_of_the_femurs_was_scanned(scan_ends_at: float) -> None:
    grid = Grid.uniform((0, 0, scan_ends_at), (1.0, 1.0, 5.0), (4, 4, 100))
    extents = {"vertebrae_L1": (0.0, 25.0), "femur_left": (scan_ends_at, -100.0), "femur_right": (scan_ends_at, -104.0)}
    found = crop_range(grid, extents, CroppingSection(region="pelvis"))
    assert not isinstance(found, str)
    assert found.metadata["requested_z_mm"] == [-254.0, 25.0]
    assert found.metadata["clamped_to_the_scan"] == []


@pytest.mark.parametrize("swapped", [False, True])
def test_of_several_structures_the_outermost_counts(swapped: bool) -> None:
    grid = Grid.uniform((0, 0, -300.0), (1.0, 1.0, 5.0), (4, 4, 120))
    low, high = (10.0, 90.0), (-20.0, 110.0)
    left, right = (high, low) if swapped else (low, high)
    lungs = {"lung_upper_lobe_left": left, "lung_upper_lobe_right": right}
    thorax = crop_range(grid, lungs, CroppingSection(region="thorax"))
    clavicles = {"brain": (150.0, 250.0), "clavicula_left": left, "clavicula_right": right}
    head = crop_range(grid, clavicles, CroppingSection(region="head_neck"))
    for found, requested in ((thorax, [-40.0, 130.0]), (head, [-40.0, 270.0])):
        assert not isinstance(found, str)
        assert found.metadata["requested_z_mm"] == requested


def test_a_configured_margin_wins_even_when_it_is_zero(tmp_path: Path) -> None:
    course = _course(tmp_path, _painted("HFS"))
    _crop(course, region="abdomen", superior_margin_cm=0.0, inferior_margin_cm=1.2)
    assert json.loads(course.files.cropping.read_text())["requested_z_mm"] == [-72.0, 48.0]


@pytest.mark.parametrize("region", ["thorax", "head_neck", "brain"])
def test_without_the_landmarks_the_course_stays_uncropped_and_says_so(tmp_path: Path, region: str) -> None:
    course = _course(tmp_path, _painted("HFS"))
    outcome = _crop(course, region=region)
    assert outcome.status == "skipped"
    assert "landmark" in outcome.reason
    assert not course.files.cropping.exists()
    assert not course.files.cropped_ct_dicom.exists()


def test_planes_that_are_not_axial_are_not_cropped(tmp_path: Path) -> None:
    course = _course(tmp_path, _painted("sagittal"))
    assert "not axial" in _crop(course, region="abdomen").reason


def test_switched_off_or_not_segmented_is_said(tmp_path: Path) -> None:
    course = _course(tmp_path, _painted("HFS"))
    off = anatomical_cropping.run(course, configuration(), resources(tmp_path, ChildProcesses()))
    assert (off.status, off.reason) == ("skipped", "disabled in the configuration")
    course.files.segmentation("CT", "total").unlink()
    assert "no automatic segmentation" in _crop(course).reason


def test_specks_are_not_landmarks() -> None:
    grid = Grid.uniform((0, 0, 0), (2.0, 2.0, 2.0), (20, 20, 20))
    values = np.zeros(grid.shape, np.uint8)
    values[5, 5, 5:9] = LABELS["brain"]  # 32 mm3
    values[8:14, 4:12, 4:12] = LABELS["liver"]
    values[19, 19, 19] = LABELS["liver"]
    extents = structure_extents(Volume(grid, values), {label: name for name, label in LABELS.items()})
    assert extents == {"liver": (15.0, 27.0)}


@given(
    z_first=st.floats(-500, 500),
    feet_first=st.booleans(),
    edges=st.tuples(st.integers(0, 59), st.integers(0, 59)).map(sorted),
    margins=st.tuples(st.floats(0, 5), st.floats(0, 5)),
)
def test_kept_planes_are_exactly_those_between_the_limits(
    z_first: float, feet_first: bool, edges: list[int], margins: tuple[float, float]
) -> None:
    grid = Grid.uniform((0, 0, z_first), (1.0, 1.0, 2.5), (4, 4, 60), direction_of("FFS" if feet_first else "HFS"))
    z_mm = z_first + (-1 if feet_first else 1) * 2.5 * np.arange(60)
    low, high = sorted(z_mm[edges])
    section = CroppingSection(region="brain", superior_margin_cm=margins[0], inferior_margin_cm=margins[1])
    found = crop_range(grid, {"brain": (low, high)}, section)
    inside = [i for i in range(60) if low - 10 * margins[1] - 0.01 <= z_mm[i] <= high + 10 * margins[0] + 0.01]
    if len(inside) < 2 or low == high == 0.0 or (low == high and not any(margins)):
        assert isinstance(found, str)
    else:
        assert not isinstance(found, str)
        assert list(found.planes) == inside


def test_every_region_of_the_configuration_has_landmarks_that_totalsegmentator_knows() -> None:
    from typing import get_args

    assert set(REGIONS) == set(get_args(CroppingSection.model_fields["region"].annotation))
    for region in REGIONS.values():
        for landmark in (*region.superior, *region.inferior):
            assert set(landmark.structures) <= set(LABELS)
