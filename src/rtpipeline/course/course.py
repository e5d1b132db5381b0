"""One course: its folder and its description."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from rtpipeline.course.course_files import CourseFiles
from rtpipeline.course.description import CourseDescription


class CourseError(ValueError):
    """What organizing left cannot be used; the message says which file, why, and what to do."""


@dataclass(frozen=True)
class Course:
    """One patient's treatment course: its folder and what `course.json` says of it."""

    files: CourseFiles
    description: CourseDescription

    @property
    def key(self) -> str:
        """`<patient>/<course>`, unique in an output folder, and the name used in logs."""
        return f"{self.description.patient}/{self.description.course}"

    @property
    def identifiers(self) -> dict[str, str]:
        """The columns that every table of a course begins with."""
        return {"patient_id": self.description.patient_id, "course_id": self.description.course}

    def path(self, relative: str) -> Path:
        """The file or folder that a description names by its path relative to the course folder."""
        return self.files.folder / relative

    def within(self, message: str) -> str:
        """A message that names files, with their paths relative to the course folder, wherever that lies."""
        return message.replace(f"{self.files.folder}/", "")

    @classmethod
    def load(cls, folder: Path) -> Course:
        """Read the course in `folder`.

        Raises:
            FileNotFoundError: `folder` has no `course.json`.
            CourseError: `course.json` is not what this version writes.
        """
        files = CourseFiles(folder)
        try:
            return cls(files, CourseDescription.model_validate_json(files.description.read_bytes()))
        except ValidationError as error:
            first = error.errors()[0]
            what = ": ".join(filter(None, (".".join(map(str, first["loc"])), first["msg"])))
            raise CourseError(
                f"{files.description}: not what this version writes ({what}); run again with --force organize"
            ) from error
