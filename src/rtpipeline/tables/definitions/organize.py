"""Tables that organizing makes: the index of the input files, and the list of those that no course took."""

from __future__ import annotations

from rtpipeline.tables.schema import Column, Table

INDEX = Table(
    name="index",
    description="One row per input file, so that an unchanged file is never read again.",
    columns=(
        Column("path", "text", "Path of the file relative to the input folder."),
        Column("size_bytes", "integer", "Size of the file.", "bytes"),
        Column("mtime_ns", "integer", "Time of the file's last change, in ns since 1970.", "ns"),
        Column("header_version", "integer", "Version of the reader of headers; others are read again."),
        Column("problem_kind", "text", "Why the file cannot be used, as a kind; empty if it can."),
        Column("problem", "text", "Why the file cannot be used, as a sentence."),
        Column("digest", "text", "SHA-256 of the content, of files that share their SOP Instance UID with others."),
        Column("sop_class_uid", "text", "SOPClassUID."),
        Column("sop_instance_uid", "text", "SOPInstanceUID."),
        Column("modality", "text", "Modality; RTRECORD by SOP class."),
        Column("patient_id", "text", "PatientID."),
        Column("study_instance_uid", "text", "StudyInstanceUID."),
        Column("series_instance_uid", "text", "SeriesInstanceUID."),
        Column("frame_of_reference_uid", "text", "FrameOfReferenceUID."),
        Column("image_type", "text", "ImageType, its values joined by backslashes."),
        Column("series_description", "text", "SeriesDescription."),
        Column("manufacturer", "text", "Manufacturer."),
        Column("manufacturer_model", "text", "ManufacturerModelName."),
        Column("scanning_sequence", "text", "ScanningSequence."),
        Column("corrected_image", "text", "CorrectedImage."),
        Column("instance_number", "integer", "InstanceNumber."),
        Column("phase", "text", "Acquisition number, temporal position, trigger time and echo."),
        Column("date", "text", "Date of the series, acquisition, content or study."),
        Column("created", "text", "InstanceCreationDate and InstanceCreationTime."),
        Column("rows", "integer", "Rows."),
        Column("columns", "integer", "Columns."),
        Column("frames", "integer", "Number of frames with pixels."),
        Column("planes", "integer", "Number of different positions of the frames."),
        Column("orientation", "text", "ImageOrientationPatient, rounded to 4 decimals."),
        Column("plane_position_mm", "number", "Position of the (lowest) plane along its normal.", "mm"),
        Column("pixel_spacing_mm", "text", "PixelSpacing: between rows, between columns.", "mm"),
        Column("damage", "text", "Why the file cannot be used although its header can be read."),
        Column("references", "text", "What a radiotherapy object refers to, as JSON."),
    ),
    sort_by=("path",),
)

UNUSED_FILES = Table(
    name="unused_files",
    description="Every input file that became part of no course, with the reason.",
    columns=(
        Column("path", "text", "Path of the file relative to the input folder."),
        Column(
            "kind",
            "text",
            "not_dicom, unreadable, damaged, link, duplicate, unsupported, unlinked, not_chosen, filtered or failed.",
        ),
        Column("reason", "text", "Why no course took the file."),
        Column("modality", "text", "Modality; empty if the file is no DICOM object."),
        Column("patient_id", "text", "PatientID; empty if the file is no DICOM object."),
        Column("series_instance_uid", "text", "SeriesInstanceUID; empty if the file is no DICOM object."),
        Column("sop_instance_uid", "text", "SOPInstanceUID; empty if the file is no DICOM object."),
        Column("size_bytes", "integer", "Size of the file.", "bytes"),
    ),
    sort_by=("path",),
)
