"""What is known of a stage that was run: the state file, and whether it still holds.

`state/<stage>.json` alone is the truth. It says with which inputs, configuration and method the stage ended, and how;
the sentinel beside it is for people and workflow systems.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from rtpipeline.atomic import synchronise, write_text
from rtpipeline.config import Configuration
from rtpipeline.course import Course
from rtpipeline.outcome import Outcome
from rtpipeline.pipeline.stages import Stage
from rtpipeline.provenance import digest, file_digest

PUBLISHING = "publishing"
"""Status while outputs are being replaced; a state that still says so belongs to a run that was killed."""


@dataclass(frozen=True)
class FileRecord:
    """One file as it was: hashed again only when size or modification time differ."""

    size: int
    mtime_ns: int
    digest: str

    @classmethod
    def of(cls, path: Path, known: FileRecord | None = None) -> FileRecord:
        """The record of a file; its digest is taken from `known` where size and time are the same."""
        status = path.stat()
        if known is not None and (known.size, known.mtime_ns) == (status.st_size, status.st_mtime_ns):
            return known
        return cls(status.st_size, status.st_mtime_ns, file_digest(path))


@dataclass(frozen=True)
class StageState:
    """The content of a state file.

    Attributes:
        stage: name of the stage.
        status: of its outcome, or `publishing`.
        reason: of its outcome.
        method_version: of the stage when it ran.
        rtpipeline_version: of the program that ran it.
        because: why it was run then: what it had not, or what had changed.
        configuration: the values of the keys that its result depends on.
        configuration_digest: their digest.
        input_digest: digest of names and contents of the inputs.
        inputs: every file it read.
        outputs: every file it published.
        device: `cpu`, `mps` or `gpu:N`.
        threads: CPU tokens it held.
        started: date and time, UTC.
        seconds: how long it took.
        peak_memory_bytes: the most resident memory that the program and all of its processes held at once meanwhile,
            for this stage and whatever ran beside it; 0 where it was not looked at.
        details: of its outcome.
    """

    stage: str
    status: str
    reason: str = ""
    method_version: int = 1
    rtpipeline_version: str = ""
    because: str = ""
    configuration: Mapping[str, Any] = field(default_factory=dict)
    configuration_digest: str = ""
    input_digest: str = ""
    inputs: Mapping[str, FileRecord] = field(default_factory=dict)
    outputs: Mapping[str, FileRecord] = field(default_factory=dict)
    device: str = ""
    threads: int = 0
    started: str = ""
    seconds: float = 0.0
    peak_memory_bytes: int = 0
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def outcome(self) -> Outcome:
        """The outcome that this state records."""
        return Outcome(self.status, self.reason, details=self.details)  # type: ignore[arg-type]

    @classmethod
    def load(cls, path: Path) -> StageState | None:
        """The state in a file, or None where there is none that this version wrote (then the stage is to be done)."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            for name in ("inputs", "outputs"):
                content[name] = {key: FileRecord(**record) for key, record in content[name].items()}
            return cls(**content)
        except (FileNotFoundError, ValueError, TypeError, KeyError, AttributeError):
            return None

    def save(self, path: Path) -> None:
        """Write the state atomically."""
        write_text(path, json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n")


def stage_configuration(stage: Stage, configuration: Configuration) -> dict[str, Any]:
    """The part of the configuration that the stage's result depends on, JSON-ready, by dotted key."""
    values = configuration.model_dump(mode="json")
    return {key: _dotted(values, key) for key in stage.configuration_keys}


def input_records(
    stage: Stage, course: Course, configuration: Configuration, known: Mapping[str, FileRecord]
) -> dict[str, FileRecord]:
    """A record of every file that the stage reads, by its path in the course folder, or `external/…` outside it."""
    records: dict[str, FileRecord] = {}
    for path in stage.inputs(course.files):
        for file in _files_below(path):
            name = file.relative_to(course.files.folder).as_posix()
            records[name] = FileRecord.of(file, known.get(name))
    for number, path in enumerate(stage.external_inputs(configuration)):
        for file in _files_below(path):
            relative = file.relative_to(path).as_posix() if path.is_dir() else file.name
            name = f"external/{number}/{relative}"
            records[name] = FileRecord.of(file, known.get(name))
    return records


def inputs_digest(records: Mapping[str, FileRecord]) -> str:
    """Digest of names and contents, whatever the modification times."""
    return digest({name: record.digest for name, record in sorted(records.items())})


def holds(state: StageState | None, stage: Stage, course: Course, configuration: Configuration) -> bool:
    """Whether the result of an earlier run is still what this run would make."""
    return next(causes(state, stage, course, configuration), None) is None


def causes(state: StageState | None, stage: Stage, course: Course, configuration: Configuration) -> Iterator[str]:
    """Everything for which a stage has to be run (again), one clause each; nothing where its result still holds.

    It does not when the stage failed before, its method, configuration or an input changed, or an output is not as it
    was left.
    """
    if state is None:
        yield "it was not run before"
        return
    if state.status == PUBLISHING:
        yield "a run was killed while it replaced the outputs"
        return
    if state.status == "failed":
        yield f"it failed before ({state.reason})"
    if state.details.get("try_again"):
        yield f"a part of it failed before ({state.reason})"
    if state.method_version != stage.method_version:
        yield f"its method has version {stage.method_version}, had {state.method_version}"
    yield from _configuration_changes(state, stage_configuration(stage, configuration))
    for name, record in state.outputs.items():
        path = course.path(name)
        if not path.is_file():
            yield f"its output {name} is missing"
        elif FileRecord.of(path, record).digest != record.digest:
            yield f"its output {name} is not as it was left"
    yield from _input_changes(state.inputs, input_records(stage, course, configuration, state.inputs))


def _configuration_changes(state: StageState, now: Mapping[str, Any]) -> Iterator[str]:
    if state.configuration_digest == digest(now, ordered=True):
        return
    before = {key: json.dumps(value) for key, value in state.configuration.items()}
    values = {key: json.dumps(value) for key, value in now.items()}
    changed = [key for key in dict.fromkeys((*values, *before)) if before.get(key) != values.get(key)]
    for key in changed if before else ():
        yield f"{key} is {values.get(key, 'null')}, was {before.get(key, 'null')}"
    if not before or not changed:
        yield "its part of the configuration changed"


def _input_changes(before: Mapping[str, FileRecord], now: Mapping[str, FileRecord]) -> Iterator[str]:
    for name in sorted({*before, *now}):
        if name not in before:
            yield f"its input {name} is new"
        elif name not in now:
            yield f"its input {name} is gone"
        elif before[name].digest != now[name].digest:
            yield f"its input {name} changed"


def publish(
    staging: Path, folder: Path, previous: Iterable[str], state_file: Path, sentinel: Path | None, state: StageState
) -> StageState:
    """Replace the outputs of a stage by those in `staging`, so that a kill at any moment leaves it to be done again.

    The order: mark the state as `publishing` with every output old and new, remove the sentinel, delete outputs that
    are no longer made, replace each file atomically, sync, write the state, write the sentinel.
    """
    produced = {file.relative_to(staging).as_posix(): file for file in _files_below(staging)}
    known = {**dict.fromkeys(previous), **dict.fromkeys(produced)}
    unknown = FileRecord(0, 0, "")
    StageState(state.stage, PUBLISHING, "outputs are being replaced", outputs=dict.fromkeys(known, unknown)).save(
        state_file
    )
    if sentinel is not None:
        sentinel.unlink(missing_ok=True)
    for name in known:
        if name not in produced:
            (folder / name).unlink(missing_ok=True)
            _remove_empty_parents((folder / name).parent, folder)
    for name, file in produced.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        synchronise(file)
        file.replace(target)
    outputs = {name: FileRecord.of(folder / name) for name in sorted(produced)}
    final = replace(state, outputs=outputs)
    final.save(state_file)
    if sentinel is not None:
        write_sentinel(sentinel, final)
    return final


def write_sentinel(sentinel: Path, state: StageState) -> None:
    """Write the line that tells people and workflow systems how a stage ended."""
    line = state.status if not state.reason else f"{state.status}: {state.reason}"
    write_text(sentinel, " ".join(line.split()) + "\n")


def _dotted(values: Mapping[str, Any], key: str) -> Any:
    current: Any = values
    for part in key.split("."):
        current = current[part]
    return current


def _files_below(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    return sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else []


def _remove_empty_parents(folder: Path, top: Path) -> None:
    while folder != top and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent
