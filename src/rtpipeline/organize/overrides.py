"""What a user decides about the doses of courses: the YAML file that `organize.overrides` names."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from rtpipeline.config.strict_yaml import read_yaml
from rtpipeline.outcome import StageError


class CourseOverride(BaseModel):
    """What stands for one course."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    doses: list[str]
    """SOP Instance UIDs of the RTDOSE objects that are added; none: the course has no dose."""
    plans: list[str] | None = None
    """SOP Instance UIDs of the RTPLAN objects whose prescriptions are added; null: those that the doses name."""


_FILE = TypeAdapter(dict[str, CourseOverride])


def read_overrides(path: Path | None) -> Mapping[str, CourseOverride]:
    """The decisions by `patient/course`, as the folders are named; none if there is no file.

    Raises:
        StageError: the file cannot be read, or is not what it should be.
    """
    if path is None:
        return {}
    try:
        return _FILE.validate_python(read_yaml(path.read_text(encoding="utf-8")) or {})
    except OSError as error:
        raise StageError(f"organize.overrides: {path} cannot be read ({error.strerror}); name another file") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise StageError(f"organize.overrides: {path} is not YAML ({error})") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = " → ".join(map(str, first["loc"])) or "the top level"
        raise StageError(
            f"organize.overrides: {path}: {where}: {first['msg']}; each entry is "
            f"`{example('PATIENT/COURSE', ['UID of an RTDOSE', '…'])}`, with `plans: [UIDs of RTPLANs]` if need be"
        ) from error


def example(course: str, dose_uids: Iterable[str]) -> str:
    """The line of the file that makes these doses stand for a course (`patient/course`)."""
    uids = ", ".join(json.dumps(uid, ensure_ascii=False) for uid in dose_uids)
    return f"{json.dumps(course, ensure_ascii=False)}: {{doses: [{uids}]}}"
