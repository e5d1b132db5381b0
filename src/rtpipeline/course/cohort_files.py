"""Where the files of a whole output folder live."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rtpipeline.course.course import Course, CourseError
from rtpipeline.course.description import inside


@dataclass(frozen=True)
class CohortFiles:
    """Where the files of a whole output folder live."""

    folder: Path

    @property
    def courses(self) -> Path:
        return self.folder / "_COURSES"

    @property
    def manifest(self) -> Path:
        """The list of courses: patient, course, path, slice count, kind."""
        return self.courses / "manifest.json"

    @property
    def index(self) -> Path:
        """One row per input file: path, size, mtime_ns and the header tags that organizing needs."""
        return self.courses / "index.parquet"

    @property
    def pseudonyms(self) -> Path:
        """Says that this folder holds pseudonyms, and of which key, without giving the key away."""
        return self.courses / "pseudonyms.json"

    def state(self, stage: str) -> Path:
        """State of a stage that works on the whole cohort (`organize`, `aggregate`, `report`)."""
        return self.courses / "state" / f"{stage}.json"

    @property
    def lock(self) -> Path:
        return self.courses / "orchestrator.lock"

    @property
    def results(self) -> Path:
        return self.folder / "_RESULTS"

    def table(self, name: str, suffix: str = ".parquet") -> Path:
        """A cohort table, for example `table("dvh_metrics")` or `table("dvh_metrics", ".xlsx")`."""
        return self.results / f"{name}{suffix}"

    @property
    def report(self) -> Path:
        return self.results / "report.html"

    @property
    def run_report(self) -> Path:
        return self.results / "run_report.json"

    @property
    def provenance(self) -> Path:
        return self.results / "provenance.json"

    @property
    def effective_configuration(self) -> Path:
        return self.results / "effective_config.yaml"

    def manifest_courses(self) -> list[Course]:
        """The courses of the manifest, in its order.

        Raises:
            FileNotFoundError: nothing was organized in this folder yet.
            CourseError: the manifest is damaged, or names a folder that is not there or lies outside of this one, or a
                course is not what this version writes.
        """
        try:
            manifest: dict[str, Any] = json.loads(self.manifest.read_bytes())
            paths = [entry["path"] for entry in manifest["courses"]]
        except (ValueError, KeyError, TypeError) as error:
            raise CourseError(f"{self.manifest}: damaged ({error}); delete it, and run again") from error
        try:
            return [Course.load(self.folder / inside(path)) for path in paths]
        except FileNotFoundError as error:
            raise CourseError(f"{error.filename}: the manifest names it, and it is not there; run again") from error
        except CourseError:
            raise
        except ValueError as error:
            raise CourseError(f"{self.manifest}: {error}; run again with --force organize") from error
