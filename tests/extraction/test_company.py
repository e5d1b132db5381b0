"""How many jobs run beside each other, with an injected amount of free memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from rtpipeline.extraction.company import NO_LIMIT, SUCCESSES_BEFORE_GROWTH, Company
from waiting import LONG_S, eventually

GB = 1_000_000_000


class Machine:
    """Jobs that run until they are told to end; each thread takes its estimate of memory when it is let in."""

    def __init__(self, free: int) -> None:
        self.free = free
        self.company = Company(lambda: self.free)
        self.inside: set[str] = set()
        self._ends: dict[str, threading.Event] = {}
        self._threads: list[threading.Thread] = []

    def ask(self, name: str, needed: int, largest: int = NO_LIMIT) -> None:
        self._ends[name] = threading.Event()
        asked = self._asked()

        def job() -> None:
            with self.company.joined(needed, largest):
                self.inside.add(name)
                self._ends[name].wait(LONG_S)
                self.inside.remove(name)

        self._threads.append(threading.Thread(target=job))
        self._threads[-1].start()
        assert eventually(lambda: self._asked() > asked)  # the next one asks after this one

    def _asked(self) -> int:
        """How many wait or were let in, and have not ended."""
        with self.company._changed:
            return len(self.company._waiting) + len(self.company._running)

    def end(self, name: str) -> None:
        self._ends[name].set()

    def close(self) -> None:
        for event in self._ends.values():
            event.set()
        for thread in self._threads:
            thread.join(LONG_S)


@pytest.fixture
def machine() -> Iterator[Machine]:
    made = Machine(free=4 * GB)
    yield made
    made.close()


def stays(machine: Machine, inside: set[str]) -> bool:
    """Whether these jobs are let in, and no others a moment later."""
    let_in = eventually(lambda: machine.inside == inside)
    time.sleep(0.2)
    return let_in and machine.inside == inside


def test_jobs_run_together_while_their_estimates_fit(machine: Machine) -> None:
    """The first two have not taken their memory yet, so it still looks free."""
    for name in ("a", "b", "c"):
        machine.ask(name, 2 * GB)

    assert stays(machine, {"a", "b"})
    machine.end("a")
    assert eventually(lambda: machine.inside == {"b", "c"})


def test_a_job_that_is_larger_than_the_memory_runs_alone(machine: Machine) -> None:
    machine.ask("small", 1 * GB)
    machine.ask("huge", 100 * GB)
    machine.ask("after", 1 * GB)

    assert stays(machine, {"small"}), "nobody overtakes the one who waits"
    machine.end("small")
    assert eventually(lambda: machine.inside == {"huge"})
    machine.end("huge")
    assert eventually(lambda: machine.inside == {"after"})


def test_memory_that_other_programs_give_back_is_seen(machine: Machine) -> None:
    machine.ask("a", 1 * GB)
    machine.free = 0
    machine.ask("b", 1 * GB)
    assert stays(machine, {"a"})

    machine.free = 3 * GB

    assert eventually(lambda: machine.inside == {"a", "b"})


def test_a_lack_of_memory_halves_the_company_and_successes_let_it_grow(machine: Machine) -> None:
    company = machine.company
    with ExitStack() as jobs:
        for _ in range(4):
            jobs.enter_context(company.joined(1))
        assert company.shrink(NO_LIMIT) == 2
        assert company.shrink(2) == 1
        assert company.shrink(1) is None, "it was alone: fewer cannot help"
    assert company.limit == 1
    machine.ask("a", 1)
    machine.ask("b", 1)
    assert stays(machine, {"a"})

    for _ in range(SUCCESSES_BEFORE_GROWTH):
        company.grow()

    assert company.limit == 2
    assert eventually(lambda: machine.inside == {"a", "b"})


def test_who_is_tried_again_in_smaller_company_keeps_others_out(machine: Machine) -> None:
    machine.ask("alone", 1, largest=1)
    machine.ask("other", 1)
    assert stays(machine, {"alone"})

    machine.end("alone")

    assert eventually(lambda: machine.inside == {"other"})
