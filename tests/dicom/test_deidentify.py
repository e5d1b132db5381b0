"""Copies without identifiers, against the table of the standard."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from rtpipeline.dicom import confidentiality
from rtpipeline.dicom.deidentify import copy_without_identifiers, identifiers_of, texts_of
from rtpipeline.dicom.errors import DicomError
from rtpipeline.dicom.rtdose import read_dose
from rtpipeline.dicom.rtstruct import read_structure_set
from rtpipeline.pseudonyms import Key, Translation

TABLE = Path(__file__).with_name("ps3_15_table_e1_1.txt")
MARK = "Zwiebelmann"
"""A name that no text has by chance."""
KEY = Key(b"k" * 32)
TRANSLATION = Translation(KEY, "PAT-4711", (f"{MARK}^Egon",))
VALUES = {
    **dict.fromkeys(("LO", "LT", "SH", "ST", "UC", "UT", "PN"), MARK),
    **dict.fromkeys(("CS", "AE"), MARK.upper()),
    "UR": f"https://{MARK}.example",
    "UI": "1.2.3.4.5.6.7",
    "DA": "20200312",
    "DT": "20200312101500",
    "TM": "101500",
    "AS": "044Y",
    "DS": "47.11",
    "IS": "4711",
    "US": 4711,
    "FL": 47.11,
    "FD": 47.11,
    "UL": 4711,
    "OB": MARK.encode() + b" ",
    "UN": MARK.encode() + b" ",
}


def profile() -> Iterator[tuple[str, frozenset[str]]]:
    """Every attribute of Table E.1-1, and the options under which it may stay."""
    for line in TABLE.read_text(encoding="ascii").splitlines()[1:]:
        keyword, _, *options = line.split()
        yield keyword, frozenset(options)


def file_of(folder: Path, **attributes: object) -> Path:
    """A CT object without pixels."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4.5.6.7"
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = "1.2.3.4.5.6.7"
    dataset.PatientID = "PAT-4711"
    dataset.PatientName = f"{MARK}^Egon"
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    path = folder / "original.dcm"
    dataset.save_as(path, enforce_file_format=True)
    return path


def copied(original: Path, translation: Translation = TRANSLATION) -> Dataset:
    copy = original.with_name("copy.dcm")
    copy_without_identifiers(original, copy, translation)
    return pydicom.dcmread(copy)


def with_every_attribute(folder: Path) -> Path:
    """An object that has every attribute of the profile, each with a value that identifies."""
    path = file_of(folder)
    dataset = pydicom.dcmread(path)
    for keyword, _ in profile():
        tag = tag_for_keyword(keyword)
        if tag is None or tag >> 16 in (0x0002, 0x0000):
            continue
        representation = dictionary_VR(tag)
        if representation == "SQ":
            item = Dataset()
            item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "1", "99LOCAL", MARK
            item.PersonName = MARK
            dataset[tag] = DataElement(tag, "SQ", Sequence([item]))
        elif keyword not in ("SOPClassUID", "SOPInstanceUID"):
            dataset[tag] = DataElement(tag, representation, VALUES[representation])
    dataset.save_as(path)
    return path


def test_nothing_of_the_profile_stays_as_it_was(tmp_path: Path) -> None:
    """Each attribute is gone, empty or replaced, except under the options that the copy says it was made with."""
    original = with_every_attribute(tmp_path)
    before, after = pydicom.dcmread(original), copied(original)
    stayed = []
    for keyword, options in profile():
        tag = tag_for_keyword(keyword)
        if tag is None or tag not in before or tag not in after or not after[tag].value:
            continue
        representation = dictionary_VR(tag)
        if after[tag].value != before[tag].value:
            continue  # replaced; the name itself is looked for below
        if representation == "TM" and "dates" in options:
            continue  # times of day stay: dates move by whole days
        if "characteristics" in options:
            continue
        if keyword == "TimezoneOffsetFromUTC":
            continue
        stayed.append(keyword)
    assert stayed == []


def test_name_is_in_no_text_and_no_bytes_of_the_copy(tmp_path: Path) -> None:
    original = with_every_attribute(tmp_path)
    copied(original)
    content = original.with_name("copy.dcm").read_bytes()
    assert MARK.encode() not in content
    assert MARK.upper().encode() not in content
    assert MARK.encode() in original.read_bytes()


def test_every_rule_names_an_attribute() -> None:
    names = (
        *confidentiality.REMOVED,
        *confidentiality.EMPTIED,
        *confidentiality.DESCRIPTORS,
        *confidentiality.CODES_KEPT,
        *confidentiality.CODED,
    )
    assert [name for name in names if tag_for_keyword(name) is None] == []


def test_copy_says_how_it_was_made(tmp_path: Path) -> None:
    copy = copied(file_of(tmp_path))
    assert copy.PatientIdentityRemoved == "YES"
    assert [code.CodeValue for code in copy.DeidentificationMethodCodeSequence] == [
        "113100",
        "113105",
        "113107",
        "113108",
        "113111",
    ]
    assert copy.LongitudinalTemporalInformationModified == "MODIFIED"


def test_identifiers_are_those_of_the_key(tmp_path: Path) -> None:
    copy = copied(file_of(tmp_path, StudyDate="20200312", FrameOfReferenceUID="1.2.3.4.5.6.8"))
    assert copy.PatientID == copy.PatientName == KEY.patient("PAT-4711")
    assert copy.SOPInstanceUID == copy.file_meta.MediaStorageSOPInstanceUID == KEY.uid("1.2.3.4.5.6.7")
    assert copy.FrameOfReferenceUID == KEY.uid("1.2.3.4.5.6.8")
    assert copy.StudyDate == TRANSLATION.date("20200312")
    assert copy.SOPClassUID == CTImageStorage


def test_age_follows_from_the_birth_date_that_goes(tmp_path: Path) -> None:
    copy = copied(file_of(tmp_path, PatientBirthDate="19500313", AcquisitionDate="20200312", PatientAge="001Y"))
    assert copy.PatientBirthDate == ""
    assert copy.PatientAge == "069Y"


def test_labels_keep_what_is_no_name(tmp_path: Path) -> None:
    copy = copied(file_of(tmp_path, SeriesDescription=f"{MARK.lower()}_Thorax 20200312", RTPlanLabel="Lunge re"))
    assert copy.SeriesDescription == f"X_Thorax {TRANSLATION.date('20200312')}"
    assert copy.RTPlanLabel == "Lunge re"


def test_private_attributes_go_but_for_the_suv_factor(tmp_path: Path) -> None:
    original = file_of(tmp_path)
    dataset = pydicom.dcmread(original)
    philips = dataset.private_block(0x7053, "Philips PET Private Group", create=True)
    philips.add_new(0x00, "DS", "0.000571")
    philips.add_new(0x22, "LO", MARK)
    dataset.private_block(0x0029, "SIEMENS CSA HEADER", create=True).add_new(0x10, "OB", MARK.encode() + b" ")
    dataset.save_as(original)
    copy = copied(original)
    assert [str(element.value) for element in copy if element.tag.is_private] == [
        "Philips PET Private Group",
        "0.000571",
    ]


def test_number_that_is_a_name_goes(tmp_path: Path) -> None:
    """Bytes of a number that are no number are not passed on."""
    original = file_of(tmp_path, SliceThickness="1.25000000000")
    content = original.read_bytes()
    assert content.count(b"1.25000000000") == 1
    original.write_bytes(content.replace(b"1.25000000000", b"Zwiebelmann12"))
    assert "SliceThickness" not in copied(original)


def test_same_object_gives_the_same_copy(tmp_path: Path) -> None:
    original = with_every_attribute(tmp_path)
    copied(original)
    first = original.with_name("copy.dcm").read_bytes()
    copied(original)
    assert original.with_name("copy.dcm").read_bytes() == first


def test_file_that_is_no_dicom_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.dcm").write_text("nothing of the kind\n" * 50)
    with pytest.raises(DicomError, match="cannot be copied without identifiers"):
        copy_without_identifiers(tmp_path / "text.dcm", tmp_path / "copy.dcm", TRANSLATION)


@pytest.mark.real_data
@pytest.mark.parametrize(
    "name",
    [
        "LUNG1-001/RTPLAN.dcm",
        "LUNG1-001/RTSTRUCT.dcm",
        "LUNG1-001/RTDOSE.dcm",
        "breast-tps/rtplan.dcm",
        "breast-tps/rtss.dcm",
        "breast-tps/rtdose.dcm",
        "breast-tps/ct.0.dcm",
    ],
)
def test_real_objects_keep_their_numbers_and_lose_their_identifiers(test_data: Path, tmp_path: Path, name: str) -> None:
    original, copy = test_data / name, tmp_path / "copy.dcm"
    found = identifiers_of(original)
    translation = Translation(KEY, found["PatientID"], tuple(found.values()))
    copy_without_identifiers(original, copy, translation)
    before, after = pydicom.dcmread(original), pydicom.dcmread(copy)
    texts = "\n".join(text for _, text in texts_of(copy))
    assert found["PatientID"] not in texts
    assert before.SOPInstanceUID not in texts
    assert before.StudyInstanceUID not in texts
    if "PixelData" in before:
        assert hashlib.sha256(after.PixelData).digest() == hashlib.sha256(before.PixelData).digest()
    if before.Modality == "RTDOSE":
        old, new = read_dose(original), read_dose(copy)
        assert old.grid.same_as(new.grid)
        assert (old.values == new.values).all()
    if before.Modality == "RTSTRUCT":
        old_rois, new_rois = read_structure_set(original).rois, read_structure_set(copy).rois
        assert [roi.name for roi in old_rois] == [roi.name for roi in new_rois]
        for one, other in zip(old_rois, new_rois, strict=True):
            assert len(one.contours) == len(other.contours)
            assert all((a == b).all() for a, b in zip(one.contours, other.contours, strict=True))
    if before.Modality == "RTPLAN":
        assert len(after.BeamSequence) == len(before.BeamSequence)
        assert after.FractionGroupSequence[0].NumberOfFractionsPlanned == (
            before.FractionGroupSequence[0].NumberOfFractionsPlanned
        )
        assert after.ReferencedStructureSetSequence[0].ReferencedSOPInstanceUID == KEY.uid(
            before.ReferencedStructureSetSequence[0].ReferencedSOPInstanceUID
        )
