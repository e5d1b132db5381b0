"""What `provenance.json` says of a run: program, packages and models, configuration, input and output."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from rtpipeline.config import Configuration
from rtpipeline.course import CohortFiles, Course, CourseFiles
from rtpipeline.pipeline.state import StageState
from rtpipeline.provenance import digest, provenance

States = Mapping[str, Mapping[str, StageState]]
"""By course key and stage name."""


def origin_of(
    courses: Sequence[Course],
    states: States,
    cohort: CohortFiles,
    configuration: Configuration,
    *,
    index: Path,
    aggregated: StageState | None,
) -> dict[str, Any]:
    """Everything that says where the results of a run come from, and which results they are; JSON-ready.

    Args:
        courses: of the cohort.
        states: how every stage of every course ended.
        cohort: its files.
        configuration: of the run.
        index: of the input's headers.
        aggregated: how putting the tables together ended.

    Returns:
        what `provenance` says, with these besides: `installed` version of every package of this environment;
        `models` that segmented anything, with the digest of their weights and the courses that each was used for;
        `outputs`: digest of every cohort table, and one of each course's outputs for every stage.
    """
    tables = aggregated.outputs if aggregated is not None else {}
    return {
        **provenance(configuration, index=index, radiomics_environment=_radiomics_environment(states)),
        "installed": dict(sorted({one.metadata["Name"]: one.version for one in metadata.distributions()}.items())),
        "models": _models(courses),
        "outputs": {
            "tables": {name: record.digest for name, record in tables.items()},
            "courses": {
                key: {
                    name: digest({file: record.digest for file, record in state.outputs.items()})
                    for name, state in own.items()
                    if state.outputs
                }
                for key, own in states.items()
            },
        },
    }


def _models(courses: Sequence[Course]) -> list[dict[str, Any]]:
    """The models whose label volumes the courses have, by task and weights."""
    used: dict[str, dict[str, Any]] = {}
    for course in courses:
        for file in _label_maps(course.files):
            described = json.loads(file.read_text(encoding="utf-8"))
            model = {name: described.get(name) for name in ("task", "weights_digest", "versions")}
            used.setdefault(digest(model), {**model, "courses": []})["courses"].append(course.key)
    for model in used.values():
        model["courses"] = sorted(set(model["courses"]))
    return sorted(used.values(), key=lambda model: (str(model["task"]), str(model["weights_digest"])))


def _label_maps(files: CourseFiles) -> list[Path]:
    """The descriptions of all label volumes of a course."""
    custom = (file for file in files.custom_model_segmentations if file.suffix == ".json")
    return [*sorted(files.totalsegmentator.glob("*.json")), *custom]


def _radiomics_environment(states: States) -> Mapping[str, Any] | None:
    """What the radiomics environment said of itself in the first course that used it."""
    for own in states.values():
        for state in own.values():
            if "radiomics_environment" in state.details:
                environment: Mapping[str, Any] = state.details["radiomics_environment"]
                return environment
    return None
