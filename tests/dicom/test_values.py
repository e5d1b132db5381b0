"""Attribute values: the quick way reads the same as pydicom, and nonsense is empty."""

from __future__ import annotations

import io

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from rtpipeline.dicom.values import as_date, as_integer, as_number, as_numbers, as_text, as_uid, items, quietly

SYNTAXES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian)


def written(dataset: Dataset, syntax: str = ExplicitVRLittleEndian) -> Dataset:
    """The dataset as it is read from a file: nothing converted yet."""
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=False)
    buffer.seek(0)
    return pydicom.dcmread(buffer, force=True)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_values_of_every_kind(syntax: str) -> None:
    dataset = Dataset()
    dataset.PatientID = "000123 "
    dataset.ImageType = ["ORIGINAL", "PRIMARY"]
    dataset.StudyDate = "20240229"
    dataset.PixelSpacing = [0.5, -1.25]
    dataset.Rows = 513
    dataset.InstanceNumber = "-7"
    dataset.SOPInstanceUID = "1.2.3"
    dataset.SliceThickness = None
    dataset.ReferencedSeriesSequence = [Dataset()]
    read = written(dataset, syntax)
    assert as_text(read, "PatientID") == "000123"
    assert as_text(read, "ImageType") == "ORIGINAL\\PRIMARY"
    assert as_date(read, "StudyDate") == "2024-02-29"
    assert as_numbers(read, "PixelSpacing") == (0.5, -1.25)
    assert as_number(read, "PixelSpacing") == 0.5
    assert as_integer(read, "Rows") == 513
    assert as_integer(read, "InstanceNumber") == -7
    assert as_uid(read, "SOPInstanceUID") == "1.2.3"
    assert as_number(read, "SliceThickness") is None
    assert as_number(read, "Columns") is None
    assert len(items(read, "ReferencedSeriesSequence")) == 1
    assert items(read, "RegistrationSequence") == []


def test_text_of_other_character_sets() -> None:
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SeriesDescription = "Łódź \u3042"
    assert as_text(written(dataset), "SeriesDescription") == "Łódź \u3042"


@pytest.mark.parametrize("text", ["20240230", "yesterday", "", "2024", "00000000"])
def test_no_date(text: str) -> None:
    dataset = Dataset()
    with quietly():
        dataset.StudyDate = text
        assert as_date(written(dataset), "StudyDate") == ""


@pytest.mark.parametrize("text", [b"abc ", b"1\\x ", b"nan ", b"1e999 ", b"\xff\xfe", b"--1 "])
def test_no_number(text: bytes) -> None:
    dataset = Dataset()
    dataset.SliceThickness = "1"
    read = written(dataset)
    element = read.get_item("SliceThickness")
    read._dict[element.tag] = element._replace(value=text, length=len(text))
    with quietly():
        assert as_number(read, "SliceThickness") is None
        assert as_integer(read, "SliceThickness") is None


@given(
    st.binary(max_size=40).filter(lambda value: len(value) % 2 == 0), st.sampled_from(["LO", "DS", "UI", "DA", "US"])
)
def test_any_bytes_give_a_clean_value(value: bytes, representation: str) -> None:
    keyword = {
        "LO": "PatientID",
        "DS": "PixelSpacing",
        "UI": "SOPInstanceUID",
        "DA": "StudyDate",
        "US": "Rows",
    }[representation]
    dataset = Dataset()
    dataset.PatientID = "x"
    read = written(dataset)
    element = read.get_item("PatientID")
    tag = pydicom.tag.Tag(keyword)
    read._dict[tag] = element._replace(tag=tag, VR=representation, value=value, length=len(value))
    with quietly():
        assert as_text(read, keyword).isprintable() or not as_text(read, keyword).isascii()
        assert len(as_uid(read, keyword).split()) <= 1
        assert as_date(read, keyword) == "" or len(as_date(read, keyword)) == 10
        as_numbers(read, keyword)
        as_integer(read, keyword)
