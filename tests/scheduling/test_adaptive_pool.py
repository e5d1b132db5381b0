import itertools
import logging
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from rtpipeline.outcome import StageError, failed, ok
from rtpipeline.scheduling import adaptive_pool
from rtpipeline.scheduling.adaptive_pool import AdaptivePool, Task
from rtpipeline.scheduling.worker_process import WorkerError, WorkerProcess
from waiting import LONG_S, eventually

HERE = Path(__file__).parent


def test_outcomes_come_in_the_order_of_the_tasks_and_needs_are_kept():
    ended = []
    tasks = [
        Task("b", "Second", lambda grant: ended.append("b") or ok(), needs=("a",)),
        Task("a", "First", lambda grant: ended.append("a") or ok()),
    ]
    assert list(AdaptivePool(budget=4).run(tasks)) == ["b", "a"]
    assert ended == ["a", "b"]


def test_a_stage_error_fails_its_task_and_nothing_else():
    def fail(grant):
        raise StageError("no CT")

    outcomes = AdaptivePool(budget=2).run([Task("a", "A", fail), Task("b", "A", lambda grant: ok(), needs=("a",))])
    assert (outcomes["a"].status, outcomes["a"].reason) == ("failed", "no CT")
    assert outcomes["b"].status == "ok"


def test_a_defect_fails_its_task_with_the_traceback_in_the_log(caplog):
    outcomes = AdaptivePool(budget=1).run([Task("a", "A", lambda grant: 1 / 0)])
    assert outcomes["a"].reason == "ZeroDivisionError: division by zero"
    assert "Traceback" in caplog.text


def test_waiting_for_a_token_does_not_count_against_a_time_limit(tmp_path):
    """Three seconds of work one after another, each with a limit that only its own second has to keep."""
    child = WorkerProcess("answering_child", log_file=tmp_path / "log", environment={"PYTHONPATH": str(HERE)})
    child.call({})

    def work(grant):
        child.call({"sleep": 1}, timeout_s=2.5)
        return ok()

    started = time.monotonic()
    outcomes = AdaptivePool(budget=1).run([Task(f"{number}", "Work", work) for number in range(3)])
    assert time.monotonic() - started > 2.5
    child.close()
    assert {outcome.status for outcome in outcomes.values()} == {"ok"}


@pytest.mark.parametrize("budget", [1, 2, 3, 5])
def test_tokens_never_exceed_the_budget(budget):
    lock, held, peak = threading.Lock(), 0, 0

    def work(grant):
        nonlocal held, peak
        with lock:
            held += grant.tokens
            peak = max(peak, held)
        time.sleep(0.01)
        with lock:
            held -= grant.tokens
        return ok()

    tasks = [Task(f"{number}", "Work", work, tokens=1 + number % 7) for number in range(20)]
    outcomes = AdaptivePool(budget=budget).run(tasks)
    assert {outcome.status for outcome in outcomes.values()} == {"ok"}
    assert peak <= budget


def test_courses_past_segmentation_are_capped():
    lock, at_work, peak, two_at_once = threading.Lock(), [], 0, threading.Event()

    def work_on(group):
        def work(grant):
            nonlocal peak
            with lock:
                at_work.append(group)
                peak = max(peak, len(set(at_work)))
                if peak == 2:
                    two_at_once.set()
            two_at_once.wait(LONG_S)
            time.sleep(0.02)
            with lock:
                at_work.remove(group)
            return ok()

        return work

    tasks = [Task(f"{group}{n}", "Work", work_on(group), group=group) for group in "abcd" for n in range(3)]
    AdaptivePool(budget=8, parallel_groups=2).run(tasks)
    assert peak == 2


def test_a_task_that_always_runs_out_of_memory_fails_after_finitely_many_tries():
    tries = []

    def work(grant):
        tries.append(grant)
        return failed("CUDA out of memory", memory_pressure=True)

    outcomes = AdaptivePool(budget=8).run([Task("a", "A", work)])
    assert outcomes["a"].reason == "CUDA out of memory"
    assert len(tries) == 4  # with 8, 4, 2 and 1 workers


def test_a_pool_with_a_minimum_ends_too_where_memory_never_suffices():
    tries = []

    def work(grant):
        tries.append(grant)
        return failed("out of memory", memory_pressure=True)

    tasks = [Task(f"{number}", "A", work) for number in range(3)]
    outcomes = AdaptivePool(budget=8, minimum_workers=2).run(tasks)
    assert {outcome.reason for outcome in outcomes.values()} == {"out of memory"}
    assert len(tries) <= 3 * 3  # with 8, 4 and 2 workers


def test_a_course_goes_on_while_others_are_segmented():
    """Its DVH must start, or the second segmentation, which waits for it, would never end."""
    dvh_started = threading.Event()

    def segment(number):
        return lambda grant: ok() if number == 0 or dvh_started.wait(LONG_S) else failed("the DVH had to wait")

    tasks = []
    for number in range(2):
        tasks += [
            Task(f"{number} segmentation", "Segmentation", segment(number), slots="gpu", priority=(0, number)),
            Task(f"{number} dvh", "DVH", lambda grant: dvh_started.set() or ok(),
                 needs=(f"{number} segmentation",), priority=(1, number), group=f"{number}"),
        ]  # fmt: skip
    outcomes = AdaptivePool(budget=2, slots={"gpu": ["gpu:0"]}, parallel_groups=2).run(tasks)
    assert {outcome.status for outcome in outcomes.values()} == {"ok"}


def test_what_feeds_the_gpu_starts_before_everything_else_then_the_first_course():
    started = []

    def note(key):
        return lambda grant: started.append(key) or ok()

    tasks = [
        Task("b metadata", "Metadata", note("b metadata"), priority=(1, 1), group="b"),
        Task("a metadata", "Metadata", note("a metadata"), priority=(1, 0), group="a"),
        Task("b segmentation", "Segmentation", note("b segmentation"), slots="gpu", priority=(0, 1)),
        Task("a segmentation", "Segmentation", note("a segmentation"), slots="gpu", priority=(0, 0)),
    ]
    AdaptivePool(budget=1, slots={"gpu": ["gpu:0"]}).run(tasks)
    assert started == ["a segmentation", "b segmentation", "a metadata", "b metadata"]


@pytest.fixture
def clock(monkeypatch):
    """The pool's clock: it stands still until a test sets its `now`, in seconds."""
    stopped = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(adaptive_pool, "time", SimpleNamespace(monotonic=lambda: stopped.now))
    return stopped


def test_time_in_the_queue_does_not_count(clock):
    """Each of three tasks takes 7 s and is shown then; the last one waits 14 s."""
    shown = []

    def work(grant):
        before = len(shown)
        assert eventually(lambda: len(shown) > before)  # the pool has noted the start
        clock.now += 7.0
        assert eventually(lambda: max(shown[before:], default=0.0) >= 7.0)
        return ok()

    def show(view):
        shown.extend(took for _, _, took in view.running)

    outcomes = AdaptivePool(budget=1, show=show).run([Task(f"{number}", "Work", work) for number in range(3)])
    assert {outcome.status for outcome in outcomes.values()} == {"ok"}
    assert max(shown) == 7.0


def test_a_quiet_pool_says_that_it_lives_and_who_is_slow(caplog, clock):
    def wait_for(text, times):
        return eventually(lambda: caplog.text.count(text) == times)

    def hang(grant):
        assert wait_for("DVH: 1/2 (50%)", 1)
        clock.now += adaptive_pool.SLOW_AFTER_S + 1
        assert wait_for("Still working, 1/2 done: b dvh (301 s)", 1)
        clock.now += adaptive_pool.HEARTBEAT_S + 1
        assert wait_for("Still working, 1/2 done: b dvh (362 s)", 1)
        return ok()

    tasks = [Task("a dvh", "DVH", lambda grant: ok()), Task("b dvh", "DVH", hang)]
    with caplog.at_level(logging.INFO):
        outcomes = AdaptivePool(budget=2).run(tasks)
    assert outcomes["b dvh"].status == "ok"
    assert caplog.text.count("b dvh is slow: 301 s so far") == caplog.text.count("is slow: ") == 1


def test_other_failures_are_not_tried_again():
    tries = []

    def work(grant):
        tries.append(grant)
        return failed("no such file")

    AdaptivePool(budget=8).run([Task("a", "A", work)])
    assert len(tries) == 1


def test_cancelling_starts_nothing_more():
    cancelled = threading.Event()
    tasks = [Task("a", "A", lambda grant: cancelled.set() or ok()), Task("b", "A", lambda grant: ok(), needs=("a",))]
    outcomes = AdaptivePool(budget=1, cancelled=cancelled).run(tasks)
    assert outcomes["a"].status == "ok"
    assert outcomes["b"].status == "failed"


@pytest.mark.parametrize(
    "tasks",
    [
        [Task("a", "A", lambda grant: ok()), Task("a", "A", lambda grant: ok())],
        [Task("a", "A", lambda grant: ok(), needs=("b",)), Task("b", "A", lambda grant: ok(), needs=("a",))],
        [Task("a", "A", lambda grant: ok(), needs=("z",))],
    ],
)
def test_impossible_graphs_are_refused(tasks):
    with pytest.raises(ValueError, match=r"same key|need each other|not there"):
        AdaptivePool(budget=1).run(tasks)


def test_one_child_of_six_without_gpu_memory_halves_the_pool_which_recovers(tmp_path, caplog):
    """Six real children segment on one GPU slot while others compute; the third runs out of GPU memory once."""
    spans, out_of_memory = [], threading.Event()

    def segment(number):
        def work(grant):
            begin = time.monotonic()
            child = WorkerProcess(
                "answering_child", log_file=tmp_path / f"{number}.log", environment={"PYTHONPATH": str(HERE)}
            )
            try:
                if number == 2 and not out_of_memory.is_set():
                    out_of_memory.set()
                    child.call({"stderr": "torch.OutOfMemoryError: CUDA out of memory", "exit": 1})
                child.call({"sleep": 0.05})
            except WorkerError as error:
                return failed(str(error), memory_pressure=error.memory_pressure)
            finally:
                child.close()
                spans.append((begin, time.monotonic(), grant.device))
            return ok()

        return work

    tasks = [
        *(Task(f"course{n} segmentation", "Segmentation", segment(n), slots="segmentation") for n in range(6)),
        *(
            Task(f"course{n} dvh", "DVH", lambda grant: time.sleep(0.02) or ok(), needs=(f"course{n} segmentation",))
            for n in range(6)
        ),
    ]
    with caplog.at_level(logging.INFO):
        outcomes = AdaptivePool(budget=4, slots={"segmentation": ("gpu:0",)}).run(tasks)

    assert {outcome.status for outcome in outcomes.values()} == {"ok"}
    assert "workers 4 -> 2" in caplog.text
    assert "workers 3 -> 4" in caplog.text
    assert len(spans) == 7
    spans.sort()
    assert all(end <= next_begin for (_, end, _), (next_begin, _, _) in itertools.pairwise(spans))
    assert {device for _, _, device in spans} == {"gpu:0"}
    assert "Segmentation: 6/6 (100%)" in caplog.text


class AtWork:
    """Work that counts how many of it are done at once, and how many were at most; all wait until `expected` are."""

    def __init__(self, expected: int = 1) -> None:
        self.lock, self.count, self.peak = threading.Lock(), 0, 0
        self.expected, self.met = expected, threading.Event()

    def __call__(self, grant):
        with self.lock:
            self.count += 1
            self.peak = max(self.peak, self.count)
            if self.peak >= self.expected:
                self.met.set()
        self.met.wait(LONG_S)
        time.sleep(0.05)  # a chance for one too many
        with self.lock:
            self.count -= 1
        return ok()


@pytest.mark.parametrize(("needed", "peak"), [(1, 4), (25, 4), (33, 3), (50, 2), (51, 1), (1000, 1)])
def test_tasks_start_only_where_their_memory_is_free_or_nothing_else_runs(needed, peak):
    work = AtWork(expected=peak)
    pool = AdaptivePool(budget=4, free_memory=lambda: 100)
    outcomes = pool.run([Task(f"{number}", "Work", work, memory_bytes=needed) for number in range(6)])
    assert {outcome.status for outcome in outcomes.values()} == {"ok"}
    assert work.peak == peak


def test_a_shared_gpu_takes_as_many_tasks_as_its_memory_holds():
    work = AtWork()
    pool = AdaptivePool(
        budget=4,
        slots={"gpu": ["gpu:0"] * 3},
        free_memory=lambda: 10**12,
        free_gpu_memory=lambda device: 10 - 6 * work.count,
    )
    pool.run([Task(f"{number}", "Work", work, slots="gpu", gpu_memory_bytes=6) for number in range(4)])
    assert work.peak == 1
