"""Runs of a small cohort that are killed at random moments and started again: `python tests/chaos/kill_rounds.py 30`.

In each round a run on an empty output folder is disturbed by SIGKILL, to itself or to a random process below it, at a
random moment; then it is started until it ends with code 0. Its tables must have the bytes of an undisturbed run, no
process and no temporary file of it may be left.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from rtpipeline.demo.cohort import cohort_objects
from rtpipeline.demo.settings import demo_configuration
from rtpipeline.demo.tiny_weights import write_tiny_weights

PATIENTS = ("DEMO-001", "DEMO-003")
MARK = "CHAOS_RUN"
TEMPORARY = ("*.partial", ".staging-*", ".scratch-*", ".kept-*", "*.tmp")
END_WITHIN_S = 20.0


@dataclass(frozen=True)
class SmallCohort:
    """Two patients, weights and a configuration, all below `folder`."""

    folder: Path

    @classmethod
    def write(cls, folder: Path) -> SmallCohort:
        (folder / "dicom").mkdir(parents=True)
        for number, dataset in enumerate(cohort_objects()):
            if dataset.PatientID in PATIENTS:
                dataset.save_as(folder / "dicom" / f"{number:04d}.dcm", enforce_file_format=True)
        write_tiny_weights(folder / "weights")
        configuration = demo_configuration(folder / "dicom", folder / "weights", folder / "unused")
        (folder / "config.yaml").write_text(configuration.as_yaml())
        return cls(folder)

    def start(self, output: Path) -> Run:
        mark = str(uuid.uuid4())
        words = [sys.executable, "-m", "rtpipeline.cli.app", "run", "--config", self.folder / "config.yaml"]
        environment = {**os.environ, MARK: mark}
        with (self.folder / f"{output.name}.log").open("ab") as log:
            process = subprocess.Popen(
                [*map(str, words), "--outdir", str(output)], stdout=log, stderr=log, env=environment
            )
        return Run(process, mark)

    def finish(self, output: Path) -> int:
        """Start runs until one ends with code 0; returns how many it took."""
        for attempt in range(1, 4):
            run = self.start(output)
            if run.process.wait() == 0:
                return attempt
        raise AssertionError(f"{output}: not complete after {attempt} runs; see {self.folder / output.name}.log")


@dataclass(frozen=True)
class Run:
    """A run at work; every process of it carries its mark in its environment."""

    process: subprocess.Popen[bytes]
    mark: str

    def processes(self) -> list[psutil.Process]:
        return [process for process in psutil.process_iter() if self.mark in _marks(process)]

    def left_after(self, seconds: float) -> list[psutil.Process]:
        """What still runs of it after at most so many seconds."""
        give_up = time.monotonic() + seconds
        while (left := self.processes()) and time.monotonic() < give_up:
            time.sleep(0.2)
        return left


def _marks(process: psutil.Process) -> Iterator[str]:
    with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        if process.status() != psutil.STATUS_ZOMBIE:
            yield process.environ().get(MARK, "")


def tables(output: Path) -> dict[str, bytes]:
    return {
        path.relative_to(output).as_posix(): path.read_bytes()
        for path in sorted(output.rglob("*"))
        if path.suffix in (".parquet", ".xlsx", ".csv") and path.parent.name != "_COURSES"
    }


def one_round(cohort: SmallCohort, output: Path, expected: dict[str, bytes], longest_s: float, chance: random.Random):
    """Disturb a run once, let it end, start it again; returns what was done, as text, and what is wrong, as a list."""
    run, moment = _at_work(cohort, output, longest_s, chance)
    victims = [victim for victim in run.processes() if victim.pid != run.process.pid]
    kill_parent = not victims or chance.random() < 0.5
    victim = psutil.Process(run.process.pid) if kill_parent else chance.choice(victims)
    with suppress(psutil.NoSuchProcess):
        victim.send_signal(signal.SIGKILL)
    code = run.process.wait()
    left = run.left_after(END_WITHIN_S)
    wrong = [f"still running: {process}" for process in left]
    attempts = cohort.finish(output)
    found = tables(output)
    wrong += [f"missing: {name}" for name in expected.keys() - found.keys()]
    wrong += [f"unexpected: {name}" for name in found.keys() - expected.keys()]
    wrong += [f"other bytes: {name}" for name in expected.keys() & found.keys() if expected[name] != found[name]]
    wrong += [f"temporary: {path}" for pattern in TEMPORARY for path in output.rglob(pattern)]
    who = "the run" if kill_parent else "a process below it"
    return f"killed {who} after {moment:.1f} s (ended with {code}), complete after {attempts} more", wrong


def _at_work(cohort: SmallCohort, output: Path, longest_s: float, chance: random.Random) -> tuple[Run, float]:
    """A run that is still at work after a random number of seconds, and that number."""
    while True:
        run = cohort.start(output)
        moment = chance.uniform(0.2, longest_s)
        try:
            run.process.wait(moment)
        except subprocess.TimeoutExpired:
            return run, moment
        longest_s = moment  # it took less time than the undisturbed one
        shutil.rmtree(output)


def rounds(count: int, folder: Path, seed: int) -> list[str]:
    """Run `count` rounds below `folder`; returns what was wrong."""
    cohort = SmallCohort.write(folder / "cohort")
    start = time.monotonic()
    cohort.finish(folder / "undisturbed")
    longest_s = time.monotonic() - start
    expected = tables(folder / "undisturbed")
    print(f"undisturbed: {longest_s:.1f} s, {len(expected)} tables", flush=True)
    chance, problems = random.Random(seed), []
    for number in range(1, count + 1):
        output = folder / f"round{number}"
        done, wrong = one_round(cohort, output, expected, longest_s, chance)
        print(f"round {number}: {done}: {'; '.join(wrong) or 'ok'}", flush=True)
        problems += [f"round {number}: {text}" for text in wrong]
        if not wrong:
            shutil.rmtree(output)
    return problems


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rounds", type=int, nargs="?", default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=None, help="kept afterwards; a temporary one if not given")
    arguments = parser.parse_args()
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="rtpipeline-chaos-"))
    problems = rounds(arguments.rounds, folder, arguments.seed)
    print(f"{arguments.rounds} rounds, {len(problems)} problems")
    if not problems and arguments.folder is None:
        shutil.rmtree(folder)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
