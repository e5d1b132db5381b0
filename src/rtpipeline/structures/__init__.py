"""Structures of a course: where they come from, what they are called, which of them go where."""

from rtpipeline.structures.load import course_structures, image_structures
from rtpipeline.structures.names import standard_name
from rtpipeline.structures.selection import selected
from rtpipeline.structures.structure import Structure, as_columns, completeness_columns

__all__ = [
    "Structure",
    "as_columns",
    "completeness_columns",
    "course_structures",
    "image_structures",
    "selected",
    "standard_name",
]
