import logging
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

from rtpipeline.scheduling.children import ChildProcesses
from rtpipeline.scheduling.thread_caps import THREAD_VARIABLES, thread_environment
from rtpipeline.scheduling.worker_process import (
    WorkerDiedError,
    WorkerProcess,
    WorkerRequestError,
    WorkerTimeoutError,
)
from waiting import LONG_S, all_end

HERE = Path(__file__).parent


@pytest.fixture
def start(tmp_path):
    children = []

    def start_child():
        child = WorkerProcess("answering_child", log_file=tmp_path / "child.log", environment={"PYTHONPATH": str(HERE)})
        children.append(child)
        return child

    yield start_child
    for child in children:
        child.close()


def test_a_request_is_answered(start):
    assert start().call({"number": 1.5, "text": "ü"})["echo"] == {"number": 1.5, "text": "ü"}


def test_what_the_child_prints_goes_to_its_log_and_not_between_the_frames(start):
    child = start()
    assert child.call({"print": "from Python"})["echo"] == {"print": "from Python"}
    assert "from Python" in child.log_tail()


def test_an_exception_in_the_child_fails_that_request_alone(start):
    child = start()
    with pytest.raises(WorkerRequestError, match="ValueError: wrong"):
        child.call({"raise": "wrong"})
    assert child.call({"again": 1})["echo"] == {"again": 1}


def test_requests_answered_by_futures_overlap(start):
    """None of four is answered before all four are at work."""
    child = start()
    futures = [child.submit({"meet": LONG_S}) for _ in range(4)]
    assert sorted(future.result(LONG_S)["met"] for future in futures) == [0, 1, 2, 3]


def test_death_fails_every_open_request_with_code_and_last_line(start):
    child = start()
    with pytest.raises(WorkerDiedError, match=r"exit code 3.*no more disk") as died:
        child.call({"stderr": "no more disk", "exit": 3})
    assert not died.value.memory_pressure
    assert not child.alive
    with pytest.raises(WorkerDiedError):
        child.call({})


@pytest.mark.parametrize("request_", [{"stderr": "CUDA out of memory", "exit": 1}, {"exit": 137}])
def test_death_for_memory_is_seen(start, request_):
    with pytest.raises(WorkerDiedError) as died:
        start().call(request_)
    assert died.value.memory_pressure


def test_a_child_killed_by_signal_9_is_memory_pressure(start):
    child = start()
    future = child.submit({"sleep": 600})
    psutil.Process(child.pid).send_signal(signal.SIGKILL)
    with pytest.raises(WorkerDiedError) as died:
        future.result(LONG_S)
    assert died.value.memory_pressure


def test_a_child_that_takes_too_long_is_killed_with_its_children(start):
    child = start()
    grandchild = child.call({"grandchild": True})["pid"]
    with pytest.raises(WorkerTimeoutError):
        child.call({"sleep": 600}, timeout_s=0.5)
    assert all_end([child.pid, grandchild])


def test_the_child_and_its_children_end_when_the_parent_is_killed(tmp_path):
    parent = textwrap.dedent(f"""
        from pathlib import Path
        from rtpipeline.scheduling.worker_process import WorkerProcess
        child = WorkerProcess("answering_child", log_file=Path({str(tmp_path / "log")!r}),
                              environment={{"PYTHONPATH": {str(HERE)!r}}})
        print(child.pid, child.call({{"grandchild": True}})["pid"], flush=True)
        child.call({{"sleep": 600}})
    """)
    process = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    child, grandchild = map(int, process.stdout.readline().split())
    process.kill()
    process.wait()
    process.stdout.close()
    assert all_end([child, grandchild])


def test_the_childs_log_lines_reach_the_parents_logger(tmp_path, caplog):
    code = "import logging\nfrom rtpipeline.scheduling.worker_process import serve\n"
    code += "def handle(request):\n    logging.getLogger('x').info('half done')\n    return {}\n"
    (tmp_path / "logging_child.py").write_text(code + "serve(handle)\n")
    child = WorkerProcess(
        "logging_child",
        log_file=tmp_path / "log",
        environment={"PYTHONPATH": str(tmp_path)},
        logger=logging.getLogger("t"),
    )
    with caplog.at_level(logging.INFO):
        child.call({})
    child.close()
    assert "logging_child: half done" in caplog.text


def test_thread_limits_are_in_the_childs_environment_and_not_in_ours(tmp_path):
    before = dict(os.environ)
    environment = {**thread_environment(2), "PYTHONPATH": str(HERE)}
    child = WorkerProcess("answering_child", log_file=tmp_path / "child.log", environment=environment)
    try:
        assert child.call({"variables": THREAD_VARIABLES}) == dict.fromkeys(THREAD_VARIABLES, "2")
    finally:
        child.close()
    assert dict(os.environ) == before


def test_a_borrowed_child_stays_warm_and_a_dead_one_is_replaced(start):
    children = ChildProcesses()
    with children.borrow("echo", start) as child:
        first = child.pid
    with children.borrow("echo", start) as child:
        assert child.pid == first
        child.kill()
    with children.borrow("echo", start) as child:
        assert child.pid != first
    children.close()


def test_two_borrowers_at_once_get_different_children(start):
    children = ChildProcesses()
    with children.borrow("echo", start) as one, children.borrow("echo", start) as two:
        assert one.pid != two.pid
    children.close()
