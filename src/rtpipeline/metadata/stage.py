"""The metadata stage: what the files of a course say of patient, plan, delivery, dose, CT and structures."""

from __future__ import annotations

import json

from rtpipeline.atomic import write_text
from rtpipeline.config import Configuration
from rtpipeline.course import Course, CourseFiles
from rtpipeline.metadata.case import case_account, case_row
from rtpipeline.metadata.fractions import fraction_rows
from rtpipeline.metadata.sources import read_course
from rtpipeline.outcome import Outcome, ok, partial
from rtpipeline.scheduling.resources import Resources
from rtpipeline.tables.definitions.metadata import CASE_METADATA, FRACTIONS
from rtpipeline.tables.excel import write_workbook
from rtpipeline.tables.parquet import to_arrow, write_arrow, write_parquet


def run(course: Course, configuration: Configuration, resources: Resources) -> Outcome:
    """Write `case_metadata` (JSON, Parquet, Excel) and `fractions`; partial where a file cannot be read."""
    identifiers = configuration.metadata.include_identifiers
    content = read_course(course)
    labels = {plan.sop_instance_uid: plan.label for plan in course.description.plans}
    fractions = fraction_rows(content.records, labels)
    row = case_row(course, content, fractions, identifiers=identifiers)
    account = case_account(course, content, fractions, identifiers=identifiers)

    files = CourseFiles(resources.staging)
    fraction_table = to_arrow(FRACTIONS, [{**course.identifiers, **fraction} for fraction in fractions])
    write_text(files.case_metadata, json.dumps(account, indent=1, ensure_ascii=False) + "\n")
    write_parquet(files.case_metadata_table, CASE_METADATA, [row])
    write_arrow(files.fractions, fraction_table)
    write_workbook(
        files.workbook(files.case_metadata_table),
        {"case_metadata": to_arrow(CASE_METADATA, [row]), "fractions": fraction_table},
    )
    if content.problems:
        return partial(f"some files cannot be read: {'; '.join(content.problems)}", fractions=len(fractions))
    return ok(fractions=len(fractions))
