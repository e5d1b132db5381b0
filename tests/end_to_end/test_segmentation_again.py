"""Segmentation killed in the middle, run again, and run again with another option."""

import json
import signal
import subprocess

import psutil
import pytest
import yaml

from end_to_end.runs import RTPIPELINE, rtpipeline
from rtpipeline.course import CohortFiles
from rtpipeline.demo.cohort import write_demo_cohort
from waiting import all_end, command_line, eventually

pytestmark = pytest.mark.end_to_end  # starts TotalSegmentator several times

MODULE = "rtpipeline.inference.totalsegmentator"


def test_a_killed_run_leaves_no_process_and_no_half_result_and_the_next_one_completes(tmp_path, tiny_weights):
    write_demo_cohort(tmp_path / "dicom")
    config = tmp_path / "config.yaml"
    section = {"device": "cpu", "fast": True, "weights": str(tiny_weights)}
    config.write_text(yaml.safe_dump({"segmentation": section}))
    command = ["run", "--dicom-root", tmp_path / "dicom", "--outdir", tmp_path / "out", "--config", config]
    command += ["--stage", "segmentation", "--course-filter", "DEMO-001"]

    with (tmp_path / "log").open("w") as log:
        first = subprocess.Popen([str(RTPIPELINE), *map(str, command)], stdout=log, stderr=log)
        children = _wait_for_the_model(first.pid)
        first.send_signal(signal.SIGKILL)
        first.wait()
    assert all_end((child.pid for child in children), within_s=20)

    second = rtpipeline(*command)
    assert second.returncode == 0, second.stdout
    (course,) = [
        course
        for course in CohortFiles(tmp_path / "out").manifest_courses()
        if course.description.patient == "DEMO-001"
    ]
    made = {file: file.read_bytes() for file in sorted(course.files.totalsegmentator.iterdir())}
    keys = [image.key for image in course.description.images if image.modality in ("CT", "MR")]
    assert len(made) == 2 * len(keys)
    assert not [path for path in course.files.folder.iterdir() if path.name.startswith((".staging", ".scratch"))]
    assert _inferred(course) == len(keys)

    started = json.loads(course.files.state("segmentation").read_text())["started"]
    third = rtpipeline(*command)
    assert third.returncode == 0, third.stdout
    assert json.loads(course.files.state("segmentation").read_text())["started"] == started

    section["postprocessing"] = {"keep_largest_component": ["pulmonary_vein"]}  # a structure of the task total alone
    config.write_text(yaml.safe_dump({"segmentation": section}))
    fourth = rtpipeline(*command)
    assert fourth.returncode == 0, fourth.stdout
    assert _inferred(course) == 1
    for file, content in made.items():
        if file.name.startswith("MR"):
            assert file.read_bytes() == content


def _wait_for_the_model(pid: int) -> list[psutil.Process]:
    """All processes below `pid` as soon as TotalSegmentator is at work on an image."""
    below: list[psutil.Process] = []

    def at_work() -> bool:
        below[:] = psutil.Process(pid).children(recursive=True)
        return any(MODULE in command_line(process) and process.cpu_times().user > 2 for process in below)

    assert eventually(at_work, within_s=600), "TotalSegmentator was not started"
    return below


def _inferred(course) -> int:
    """How many inferences the last run of the stage made."""
    inferences = json.loads(course.files.state("segmentation").read_text())["details"]["inferences"]
    return sum("earlier_result" not in result for result in inferences.values())
