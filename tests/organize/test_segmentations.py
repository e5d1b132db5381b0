"""DICOM segmentations of an export: which course they belong to, and why some belong to none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pydicom
import pytest

from dicom_factory import Patient
from organized import Organize, Organized


def only_segmentation(made: Organized) -> Any:
    (one,) = made.only.description.segmentations
    return one


def test_beside_a_structure_set_it_changes_nothing_but_its_own_list(
    patient: Patient, organized: Organize, export: Path
) -> None:
    patient.make_course()
    before = organized()
    path = patient.make_segmentation()
    after = organized()
    one = only_segmentation(after)
    assert after.only.key == before.only.key
    assert after.only.description.model_copy(update={"segmentations": ()}) == before.only.description
    assert after.only.path(one.file).read_bytes() == path.read_bytes()
    assert Path(one.file).parent == Path("DICOM/SEG")
    assert (one.label, one.image_key, [(s.number, s.label) for s in one.segments]) == ("LESIONS", "CT", [(1, "GTV")])
    assert after.unused == {}
    path.unlink()
    assert organized().only.description == before.only.description
    assert not after.only.path(one.file).exists()


@pytest.mark.parametrize(
    ("references", "image_key", "said"),
    [
        ({}, "CT", ""),
        ({"series": (), "images": ("ct 1",), "frame": ""}, "CT", ""),
        ({"series": ()}, "CT", "names no images; it was linked by its frame of reference"),
        (
            {"series": (), "frame": ""},
            "CT",
            "names neither images nor a frame of reference; it was linked by its study",
        ),
        ({"series": ("elsewhere",)}, "", "belong to no course; it was linked by its frame of reference"),
        ({"frame": "another"}, "CT", "differ in frame of reference: it is not used on them"),
    ],
)
def test_links(patient: Patient, organized: Organize, references: dict[str, Any], image_key: str, said: str) -> None:
    patient.make_course()
    patient.make_segmentation(**references)
    made = organized()
    assert only_segmentation(made).image_key == image_key
    sentences = [*made.only.description.links, *made.only.description.warnings]
    assert [said in sentence for sentence in sentences] == ([True] if said else [])


@pytest.mark.parametrize(
    ("attributes", "kind", "reason"),
    [
        ({"series": ("x",), "frame": "x"}, "unlinked", "images and a frame of reference that no course has"),
        ({"kind": "FRACTIONAL"}, "unsupported", "not BINARY"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.66.5"}, "unsupported", "surfaces"),
        ({"SegmentSequence": []}, "unsupported", "without segments"),
        ({"PixelData": b"x" * 10}, "damaged", "10 bytes"),
    ],
)
def test_what_no_course_takes(
    patient: Patient, organized: Organize, attributes: dict[str, Any], kind: str, reason: str
) -> None:
    patient.make_course()
    patient.make_segmentation(**attributes)
    made = organized()
    assert made.only.description.segmentations == ()
    assert list(made.unused) == ["seg.dcm"]
    assert made.unused["seg.dcm"][0] == kind
    assert reason in made.unused["seg.dcm"][1]


def test_it_makes_no_course_alone(patient: Patient, organized: Organize) -> None:
    patient.make_segmentation()
    made = organized()
    assert made.result.courses == ()
    assert made.unused["seg.dcm"][0] == "unlinked"


def test_an_mr_of_its_own_frame_takes_it(patient: Patient, organized: Organize) -> None:
    patient.make_series()
    patient.make_series("mr", modality="MR", place="mr")
    patient.make_segmentation(series=("mr",))
    made = organized()
    (mr,) = (image for image in made.only.description.images if image.modality == "MR")
    assert only_segmentation(made).image_key == mr.key
    assert mr.link == "frame of reference"


def test_a_copy_is_a_duplicate(patient: Patient, organized: Organize, export: Path) -> None:
    patient.make_course()
    path = patient.make_segmentation()
    (export / "z copy.dcm").write_bytes(path.read_bytes())
    made = organized()
    assert made.unused["z copy.dcm"] == ("duplicate", "the same object and content as seg.dcm")
    assert len(made.only.description.segmentations) == 1


def test_pseudonyms_reach_every_reference(patient: Patient, organized: Organize, tmp_path: Path) -> None:
    patient.make_course()
    patient.make_segmentation(images=("ct 1",))
    made = organized(pseudonymize=tmp_path / "safe" / "study.key")
    one = only_segmentation(made)
    copy = pydicom.dcmread(made.only.path(one.file))
    images = [pydicom.dcmread(path) for path in sorted(made.only.path("DICOM/CT").iterdir())]
    named = copy.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0].SourceImageSequence[0]
    assert named.ReferencedSOPInstanceUID in {image.SOPInstanceUID for image in images}
    assert copy.ReferencedSeriesSequence[0].SeriesInstanceUID == images[0].SeriesInstanceUID
    assert copy.FrameOfReferenceUID == images[0].FrameOfReferenceUID == one.frame_of_reference_uid
    assert copy.SOPInstanceUID == one.sop_instance_uid != patient.uid("seg")
