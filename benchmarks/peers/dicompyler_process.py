"""The process in which dicompyler-core runs."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any

from environment import peer_python

REQUIREMENTS = ("dicompyler-core==0.5.6", "pydicom<3", "matplotlib", "scikit-image")


class Dicompyler:
    """Use it in a `with` statement; requests and answers are those of `dicompyler.py`."""

    def __enter__(self) -> Dicompyler:
        python = peer_python("dicompyler", *REQUIREMENTS)
        self.process = subprocess.Popen(
            [python, Path(__file__).with_name("dicompyler.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()

    def ask(self, structure_set: Path, dose: Path, metrics: tuple[str, ...] = ()) -> dict[str, Any]:
        request = {"structure_set": str(structure_set), "dose": str(dose), "metrics": metrics}
        assert self.process.stdin
        assert self.process.stdout
        print(json.dumps(request), file=self.process.stdin, flush=True)
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer
