"""One side of a benchmark of radiomics: a process that extracts what it is handed."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from rtpipeline.extraction.jobs import ExtractionJob
from rtpipeline.radiomics_conda import child_variables

PROCESS = Path(__file__).with_name("radiomics_process.py")


class Side:
    """A process that runs `radiomics_process.py` with one interpreter."""

    def __init__(self, python: Path, name: str) -> None:
        variables = {**os.environ, **child_variables(threads=1)}
        self._process = subprocess.Popen(
            [str(python), str(PROCESS), name],
            env={key: value for key, value in variables.items() if value is not None},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def extract(self, job: ExtractionJob) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(job.as_message()) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        self._process.communicate()
