"""The DVH stage on real plans: exact volumes of the drawn polygons, and the planning system's own mean doses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pydicom
import pytest

from rtpipeline import dvh
from rtpipeline.course import Course
from rtpipeline.dicom.rtstruct import read_structure_set
from rtpipeline.tables.parquet import read_parquet
from stage_runs import organized_courses, run_stage

pytestmark = pytest.mark.real_data

SLAB_VOLUMES_CM3 = {
    "Heart": 439.699,
    "Breast": 400.047,
    "Lt Lung": 2005.111,
    "Tumor Bed": 13.159,
    "Tumor Bed Block": 63.831,
}
PLANNING_SYSTEM = {
    "Heart": (437.46, 0.6427),
    "Breast": (396.23, 5.609),
    "Lt Lung": (2008.95, 0.9044),
    "Tumor Bed Block": (62.88, 14.260),
}
"""Volume (cm3) and mean dose (Gy) of structures over 20 cm3, from the DVHSequence of the dose."""


@pytest.fixture(scope="module")
def breast(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Course:
    courses = organized_courses(test_data / "breast-tps", tmp_path_factory.mktemp("breast"))
    (course,) = courses.values()
    assert run_stage(dvh.run, course).status == "ok"
    return course


@pytest.fixture(scope="module")
def lung(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Course:
    (course,) = organized_courses(test_data / "LUNG1-001", tmp_path_factory.mktemp("lung")).values()
    assert run_stage(dvh.run, course).status == "ok"
    return course


def values(course: Course) -> dict[tuple[str, str], Any]:
    rows = read_parquet(course.files.dvh_metrics).to_pylist()
    return {(row["roi_name"], row["column"]): row["value"] for row in rows}


@pytest.mark.parametrize("name", SLAB_VOLUMES_CM3)
def test_volume_is_that_of_the_drawn_polygons(breast: Course, name: str) -> None:
    assert values(breast)[name, "Volume (cm³)"] == pytest.approx(SLAB_VOLUMES_CM3[name], rel=1e-5)


@pytest.mark.parametrize("name", PLANNING_SYSTEM)
def test_planning_system_agrees(breast: Course, name: str) -> None:
    volume, mean = PLANNING_SYSTEM[name]
    assert values(breast)[name, "Volume (cm³)"] == pytest.approx(volume, rel=0.025)
    assert values(breast)[name, "DmeanGy"] == pytest.approx(mean, abs=0.06)


def test_curves_lie_on_those_of_the_planning_system(breast: Course) -> None:
    """Beside the DVHSequence of the dose: every point within 2 % of the volume or 0.02 Gy (two of its bins)."""
    curves = read_parquet(breast.files.dvh_curves).to_pylist()
    numbers = {row["roi_number"] for row in curves}
    compared = 0
    for item in pydicom.dcmread(breast.files.dose).DVHSequence:
        number = int(item.DVHReferencedROISequence[0].ReferencedROINumber)
        volumes = np.array(item.DVHData[1::2], float)
        if number not in numbers or not 20 < volumes[0] < 10_000:
            continue
        compared += 1
        own = np.array([(row["dose_gy"], row["volume_percent"]) for row in curves if row["roi_number"] == number])
        doses = np.cumsum(np.array(item.DVHData[0::2], float)) * float(item.DVHDoseScaling)
        percent = 100 * volumes / volumes[0]
        low, high = (np.interp(doses + shift, own[:, 0], own[:, 1], left=100.0, right=0.0) for shift in (0.02, -0.02))
        assert np.all((low - 2.0 <= percent) & (percent <= high + 2.0)), number
    assert compared >= 4


def test_every_structure_has_a_status(breast: Course) -> None:
    status = {row["roi_name"]: row["status"] for row in read_parquet(breast.files.dvh_status).to_pylist()}
    assert len(status) == 10
    assert status.pop("Areola") == "empty"
    assert set(status.values()) == {"ok"}


def test_mean_dose_of_a_tumour_beside_voxels(lung: Course) -> None:
    """An independent calculation: voxel centres in the contours (matplotlib), dose by scipy, on a 1 mm lattice."""
    from matplotlib.path import Path as Outline
    from scipy.interpolate import RegularGridInterpolator

    dataset = pydicom.dcmread(lung.files.dose)
    origin, spacing = np.array(dataset.ImagePositionPatient, float), np.array(dataset.PixelSpacing, float)
    z = origin[2] + np.array(dataset.GridFrameOffsetVector, float)
    axes = (z, origin[1] + np.arange(dataset.Rows) * spacing[0], origin[0] + np.arange(dataset.Columns) * spacing[1])
    interpolate = RegularGridInterpolator(axes, dataset.pixel_array * float(dataset.DoseGridScaling))
    roi = next(roi for roi in read_structure_set(lung.files.structure_set).rois if roi.name == "GTV-1")
    points = np.concatenate(roi.contours)
    (x0, y0, _), (x1, y1, _) = points.min(axis=0), points.max(axis=0)
    lattice = np.stack(np.meshgrid(np.arange(x0, x1, 1.0), np.arange(y0, y1, 1.0)), axis=-1).reshape(-1, 2)
    doses = []
    for contour in roi.contours:
        inside = lattice[Outline(contour[:, :2]).contains_points(lattice)]
        for height in contour[0, 2] + np.array([-1.0, 0.0, 1.0]):
            doses.append(interpolate(np.column_stack([np.full(len(inside), height), inside[:, 1], inside[:, 0]])))
    found = values(lung)
    assert found["GTV-1", "DmeanGy"] == pytest.approx(np.concatenate(doses).mean(), abs=0.05)
    assert found["GTV-1", "D95Gy"] == pytest.approx(np.quantile(np.concatenate(doses), 0.05), abs=0.1)
    assert found["GTV-1", "Volume (cm³)"] == pytest.approx(len(np.concatenate(doses)) / 1000, rel=0.01)
    assert found["GTV-1", "Dmean%"] == pytest.approx(100 * found["GTV-1", "DmeanGy"] / 60.0)


def test_metrics_are_withheld_where_the_dose_does_not_cover_the_lung(lung: Course) -> None:
    rows = [row for row in read_parquet(lung.files.dvh_metrics).to_pylist() if row["roi_name"] == "Lung-Left"]
    assert [row["metric"] for row in rows if row["value"] is not None] == ["Volume"]
    assert 0.4 < rows[0]["dose_coverage_fraction"] < 0.6
    assert "Lung-Left" not in {row["roi_name"] for row in read_parquet(lung.files.dvh_curves).to_pylist()}


def test_the_workbook_shows_the_same_values(lung: Course) -> None:
    sheet = openpyxl.load_workbook(lung.files.workbook(lung.files.dvh_metrics))["dvh_metrics"]
    header, *rows = sheet.values
    shown = {row[header.index("roi_name")]: dict(zip(header, row, strict=True)) for row in rows}
    assert set(shown) == {"GTV-1", "Spinal-Cord", "Lung-Left", "Lung-Right"}
    assert shown["GTV-1"]["DmeanGy"] == values(lung)["GTV-1", "DmeanGy"]
    assert shown["GTV-1"]["prescription_gy"] == 60
    assert shown["Lung-Left"]["DmeanGy"] is None
    assert shown["Lung-Left"]["standard_name"] == "Lung_L"


def test_threads_do_not_change_a_byte(lung: Course, tmp_path: Path) -> None:
    assert run_stage(dvh.run, lung, threads=1, staging=tmp_path).status == "ok"
    for path in (lung.files.dvh_metrics, lung.files.dvh_curves, lung.files.dvh_status):
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()
    workbook = lung.files.workbook(lung.files.dvh_metrics)
    assert (tmp_path / workbook.name).read_bytes() == workbook.read_bytes()
