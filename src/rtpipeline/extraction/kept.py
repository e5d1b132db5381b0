"""Results as they come, in a file that only grows, so that a run that was killed does not compute them again."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rtpipeline.extraction.jobs import ExtractionJob, JobResult


class KeptResults:
    """Results by the digest of their job: of image, mask, parameters, and what computes.

    Each is a line of JSON, on the disk before the next one is waited for. A line that a kill left half written is cut.

    Args:
        file: the file; made when there is a first result. None: nothing is kept.
        origin: names and versions of what computes.
    """

    def __init__(self, file: Path | None, origin: Mapping[str, str]) -> None:
        self._file = file
        self._origin = dict(origin)
        self._lines = _whole_lines(file) if file is not None and file.exists() else {}

    def of(self, job: ExtractionJob) -> JobResult | None:
        """The result of a job with the same digest; None where there is none."""
        found = self._lines.get(self._digest(job))
        return JobResult.from_message({**found, "key": job.key}) if found is not None else None

    def add(self, job: ExtractionJob, result: JobResult) -> None:
        """Keep a result; one without features is not."""
        if self._file is None or result.status != "ok":
            return
        line = json.dumps({"digest": self._digest(job), "result": result.as_message()})
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("a", encoding="utf-8") as stream:
            stream.write(line + "\n")
            stream.flush()
            os.fsync(stream.fileno())

    def _digest(self, job: ExtractionJob) -> str:
        message = job.as_message()
        for place in (message["image"], message["mask"]):
            del place["file"]
        content = [self._origin, *(message[name] for name in ("image", "mask", "parameters", "diagnostics", "part"))]
        return hashlib.sha256(json.dumps(content).encode("utf-8")).hexdigest()


def _whole_lines(file: Path) -> dict[str, dict[str, Any]]:
    """Results by digest; the file is cut after its last whole line."""
    content = file.read_bytes()
    end = content.rfind(b"\n") + 1
    if end < len(content):
        os.truncate(file, end)
    lines = [json.loads(line) for line in content[:end].splitlines()]
    return {line["digest"]: line["result"] for line in lines}
