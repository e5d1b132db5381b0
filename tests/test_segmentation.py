"""Segmentation with the real TotalSegmentator on networks of a few kilobytes.

What must hold of segmentations and everything made from them, and where it is tested:

- One inference per task and image; nothing is inferred again while image, options, weights and versions are the same; a
  changed option runs its own task alone: here, and killed and resumed for real in end_to_end/test_segmentation_again.
- A model that is gated or fails leaves the earlier and the other results alone: here and in test_custom_models.
- Options go only to tasks that take them, splitting only to images that are long enough: inference/test_tasks, here.
- No voxel is wrong in any patient position: here, test_custom_models, dicom/test_rtstruct, test_anatomical_cropping.
- Segmentations without, with another or with a damaged label map are not taken for results: here, structures/test_load.
- Weights are looked for where TotalSegmentator looks; missing ones are said before all else: inference/test_tasks.
- Device, threads and process counts reach the model, a time limit ends all of its processes: here.
- Which weights a configuration needs, for all who ask: pipeline/test_missing_weights; settings of each process, which
  report nothing: inference/test_children; nothing of a failed stage is published: pipeline/test_kept.
- Folds, labels, archives, tasks as models, and what custom models do not support: inference/test_model_folders,
  inference/test_archives; device, threads and time limits of custom models, one result per model: test_custom_models.
- Manual contours byte by byte, one table of priorities, ROI numbers, structure sets in every patient position:
  test_auto_rtstruct; made again exactly when an input changed, a truncated one too: pipeline/test_resume.
- Cropping cuts originals, never what was cut, at the outermost landmark of the largest part: test_anatomical_cropping.
- Partial sources are said down the line, margins differ by side, later entries are found: test_custom_structures.
- Contours and voxels are the same structure, holes and single voxels too: imaging/test_polygons, dicom/test_rtstruct.
- Writing is atomic, also when it is killed: test_atomic, chaos/test_kill_rounds.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from painted_course import LABELS, Phantom, configuration, make_course, phantom, publish, resources
from rtpipeline import auto_rtstruct, segmentation
from rtpipeline.config import SegmentationSection
from rtpipeline.course import Course, CourseFiles
from rtpipeline.demo.phantom_codes import ORGAN_HU
from rtpipeline.demo.tiny_weights import write_tiny_weights
from rtpipeline.dicom.image_series import load_image
from rtpipeline.dicom.rtstruct import read_structure_set
from rtpipeline.imaging.contours import rasterise
from rtpipeline.imaging.grid import Grid, Volume
from rtpipeline.imaging.nifti import read_nifti, write_nifti
from rtpipeline.inference import label_volumes
from rtpipeline.inference.label_volumes import write_binary_masks
from rtpipeline.inference.task_inference import attempts
from rtpipeline.inference.tasks import options
from rtpipeline.outcome import Outcome, StageError
from rtpipeline.scheduling.children import ChildProcesses
from waiting import LONG_S, all_end, command_line, eventually


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    write_tiny_weights(folder)
    return folder


NOTED = """
import json, os, sys

def note(*entry):
    with open(os.environ["NOTED_PROGRAMS"], "a") as file:
        file.write(json.dumps(entry) + "\\n")

def hook(event, arguments):
    if event in ("os.fork", "subprocess.Popen"):
        note(os.getpid(), 0, f"{event} {arguments[1:2]}")

note(os.getppid(), os.getpid(), " ".join(sys.orig_argv))
sys.addaudithook(hook)
"""


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where every Python program that is started below this process notes its parent, itself and its words.

    What it forks, or starts and is not Python, it notes as its child 0.
    """
    folder = tmp_path_factory.mktemp("noted")
    (folder / "sitecustomize.py").write_text(NOTED)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
        patch.setenv("NOTED_PROGRAMS", str(folder / "programs"))
        yield folder / "programs"


@pytest.fixture(scope="module")
def warm(record: Path) -> Iterator[ChildProcesses]:
    """Child processes that all tests of this module share."""
    children = ChildProcesses()
    yield children
    children.close()


def _segment(course: Course, weights: Path, children: ChildProcesses, forced: bool = False, **options: Any) -> Outcome:
    section = {"fast": True, "device": "cpu", "weights": weights, **options}
    given = resources(course.files.folder, children, forced=forced, staging=course.files.folder / "staging")
    outcome = segmentation.run(course, configuration(segmentation=section), given)
    publish(given.staging, course.files.folder)
    return outcome


def _labels(course: Course, key: str = "CT", task: str = "total") -> np.ndarray:
    return read_nifti(course.files.segmentation(key, task)).values


@pytest.mark.parametrize("position", ["HFS", "HFP", "FFS", "FFP", "HFDL", "oblique"])
def test_no_voxel_is_wrong_in_any_patient_position(
    tmp_path: Path, weights: Path, warm: ChildProcesses, position: str
) -> None:
    painted = phantom(position)
    course = make_course(tmp_path, painted)
    outcome = _segment(course, weights, warm)
    assert outcome.status == "ok", outcome.reason
    assert int(np.count_nonzero(_labels(course) != painted.organs)) == 0
    image, segmented = load_image(course.path("DICOM/CT")), read_nifti(course.files.segmentation("CT", "total"))
    assert segmented.grid.same_as(image.grid)
    assert segmented.values.dtype == np.uint8
    nifti = read_nifti(course.files.image_nifti("CT"))
    assert nifti.values.dtype == np.int16
    np.testing.assert_array_equal(nifti.values, image.values)
    drawn = auto_rtstruct.run(course, configuration(), resources(course.files.folder, warm))
    assert drawn.status == "ok", drawn.reason
    rois = read_structure_set(course.files.automatic_structure_set).rois
    assert sorted(roi.name for roi in rois) == sorted(ORGAN_HU)
    for roi in rois:
        drawn_voxels = rasterise(roi.contours, image.grid).on(image.grid)
        assert int(np.count_nonzero(drawn_voxels != (painted.organs == LABELS[roi.name]))) == 0


def test_the_label_map_names_and_counts_every_structure(tmp_path: Path, weights: Path, warm: ChildProcesses) -> None:
    painted = phantom()
    course = make_course(tmp_path, painted)
    outcome = _segment(course, weights, warm)
    label_map = json.loads(CourseFiles.label_map(course.files.segmentation("CT", "total")).read_text())
    assert len(label_map["labels"]) == 117
    for name in ORGAN_HU:
        assert label_map["labels"][str(LABELS[name])] == name
        assert label_map["voxel_counts"][str(LABELS[name])] == np.count_nonzero(painted.organs == LABELS[name])
    assert sum(label_map["voxel_counts"].values()) == np.count_nonzero(painted.organs)
    assert label_map["options"] == {
        "fast": True,
        "roi_subset": [],
        "body_only": False,
        "force_split": False,
    }
    assert set(label_map["versions"]) == {"TotalSegmentator", "nnunetv2", "torch"}
    assert outcome.details["inferences"]["total on CT"]["structures"] == len(ORGAN_HU)
    assert not list((tmp_path / "scratch").glob("*.nii*"))


def test_a_split_volume_has_the_same_labels(tmp_path: Path, weights: Path, warm: ChildProcesses) -> None:
    painted = phantom(planes=62)
    course = make_course(tmp_path, painted)
    assert _segment(course, weights, warm, force_split=True).status == "ok"
    label_map = json.loads(CourseFiles.label_map(course.files.segmentation("CT", "total")).read_text())
    assert label_map["options"]["force_split"] is True
    np.testing.assert_array_equal(_labels(course), painted.organs)


def test_mr_is_segmented_in_its_own_geometry_beside_the_ct(tmp_path: Path, weights: Path, warm: ChildProcesses) -> None:
    from totalsegmentator.map_to_binary import class_map

    ct, mr = phantom("HFS"), phantom("FFS", planes=30)
    course = make_course(tmp_path, ct, mr)
    outcome = _segment(course, weights, warm)
    assert sorted(outcome.details["inferences"]) == ["total on CT", "total_mr on MR_1a2b3c4d"]
    labels = {name: label for label, name in class_map["total_mr"].items()}
    expected = np.zeros_like(mr.organs)
    for name in ORGAN_HU:
        if name in labels:
            expected[mr.organs == LABELS[name]] = labels[name]
    assert expected.any()
    np.testing.assert_array_equal(_labels(course, "MR_1a2b3c4d", "total_mr"), expected)
    np.testing.assert_array_equal(_labels(course), ct.organs)


def test_mr_alone_is_segmented_unless_it_is_switched_off(tmp_path: Path, weights: Path, warm: ChildProcesses) -> None:
    course = make_course(tmp_path, None, phantom(planes=30))
    assert _segment(course, weights, warm, mr=False).status == "skipped"
    assert _segment(course, weights, warm).status == "ok"
    assert course.files.segmentation("MR_1a2b3c4d", "total_mr").is_file()


def test_functional_mr_is_left_out(tmp_path: Path, weights: Path) -> None:
    course = make_course(tmp_path, None, phantom(planes=8))
    images = tuple(one.model_copy(update={"series_class": "functional_mr"}) for one in course.description.images)
    course = Course(course.files, course.description.model_copy(update={"images": images}))
    outcome = _segment(course, weights, ChildProcesses())
    assert outcome.status == "skipped"
    assert not course.files.nifti.exists()


def test_mr_of_the_same_frame_is_carried_onto_the_ct_and_otherwise_the_reason_is_said(
    tmp_path: Path, weights: Path, warm: ChildProcesses
) -> None:
    ct, mr = phantom("HFS", planes=20), phantom("HFS", planes=20)
    course = make_course(tmp_path, ct, mr)
    outcome = _segment(course, weights, warm)
    said = outcome.details["carried_onto_the_planning_ct"]
    assert said == {"total_mr on MR_1a2b3c4d": "not carried: the planning CT names no frame of reference"}
    assert not course.files.carried_segmentation("MR_1a2b3c4d", "total_mr").exists()
    images = tuple(one.model_copy(update={"frame_of_reference_uid": "1.2.3"}) for one in course.description.images)
    course = Course(course.files, course.description.model_copy(update={"images": images}))
    outcome = _segment(course, weights, warm)
    assert len(_earlier(outcome)) == 2
    assert "same frame of reference" in outcome.details["carried_onto_the_planning_ct"]["total_mr on MR_1a2b3c4d"]
    np.testing.assert_array_equal(
        read_nifti(course.files.carried_segmentation("MR_1a2b3c4d", "total_mr")).values,
        _labels(course, "MR_1a2b3c4d", "total_mr"),
    )


def test_a_warm_child_gives_the_bytes_of_a_fresh_one(tmp_path: Path, weights: Path, warm: ChildProcesses) -> None:
    painted = phantom(planes=20)
    first, second = make_course(tmp_path / "first", painted), make_course(tmp_path / "second", painted)
    _segment(first, weights, warm)
    children = ChildProcesses()
    _segment(second, weights, children)
    children.close()
    for name in ("segmentation", "map"):
        files = [course.files.segmentation("CT", "total") for course in (first, second)]
        if name == "map":
            files = [CourseFiles.label_map(file) for file in files]
        assert files[0].read_bytes() == files[1].read_bytes()


def test_no_process_is_started_where_the_counts_are_one(
    tmp_path: Path, weights: Path, warm: ChildProcesses, record: Path
) -> None:
    outcomes: list[Outcome] = []
    course = make_course(tmp_path, phantom(planes=62))
    started = _started_by(lambda: outcomes.append(_segment(course, weights, warm)), record)
    assert [outcome.reason for outcome in outcomes] == [""]
    itself_and_by_imports = ("rtpipeline.inference.totalsegmentator", "hostname", "resource_tracker")
    assert [words for words in started if not any(word in words for word in itself_and_by_imports)] == []


@pytest.mark.end_to_end
def test_more_processes_reach_nnunet_and_give_the_same_labels(
    tmp_path: Path, weights: Path, warm: ChildProcesses, record: Path
) -> None:
    painted = phantom(planes=62)  # high enough to be split into three parts, which are prepared beside each other
    course = make_course(tmp_path, painted)
    outcomes: list[Outcome] = []
    options = {"num_proc_preprocessing": 2, "num_proc_export": 2}
    started = _started_by(lambda: outcomes.append(_segment(course, weights, warm, **options)), record)
    assert [outcome.reason for outcome in outcomes] == [""]
    preparing, exporting = 2, 2
    managers = 1 + preparing
    assert len([words for words in started if "spawn_main" in words]) == managers + preparing + exporting
    np.testing.assert_array_equal(_labels(course), painted.organs)


@pytest.mark.parametrize("count", [1, 2])
def test_the_count_of_resampling_reaches_totalsegmentator(
    tmp_path: Path, weights: Path, warm: ChildProcesses, record: Path, count: int
) -> None:
    course = make_course(tmp_path, phantom(planes=20, spacing_mm=2.0))
    outcomes: list[Outcome] = []
    started = _started_by(lambda: outcomes.append(_segment(course, weights, warm, nr_threads_resample=count)), record)
    assert [outcome.status for outcome in outcomes] == ["ok"]
    assert len([words for words in started if "LokyProcess" in words]) == (0 if count == 1 else count)


def test_the_count_of_saving_is_that_of_the_threads_that_save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grid = phantom().grid
    file = tmp_path / "labels.nii.gz"
    labels = np.arange(np.prod(grid.shape)).reshape(grid.shape) % 30
    write_nifti(file, Volume(grid, labels.astype(np.uint8)))
    names = {str(label): f"structure {label}" for label in range(1, 30)}
    label_map = {"labels": names, "voxel_counts": dict.fromkeys(names, 1)}
    CourseFiles.label_map(file).write_text(json.dumps(label_map))
    saving: set[str] = set()
    started, three_at_once = itertools.count(), threading.Barrier(3)

    def write_noted(path: Path, volume: Volume) -> None:
        saving.add(threading.current_thread().name)
        if next(started) < 3:
            three_at_once.wait(LONG_S)
        write_nifti(path, volume)

    monkeypatch.setattr(label_volumes, "write_nifti", write_noted)
    write_binary_masks(file, tmp_path / "masks", ["*"], 3)
    assert len(saving) == 3
    assert len(list((tmp_path / "masks").iterdir())) == 29


def _started_by(work: Callable[[], object], record: Path) -> list[str]:
    """Words of the programs that TotalSegmentator started while `work` ran, and of itself if it was started then."""
    before = len(_records(record))
    work()
    programs = _records(record)
    own = {pid for parent, pid, _ in programs if parent == os.getpid()}
    return [words for parent, _, words in programs[before:] if parent in {os.getpid(), *own}]


def _records(record: Path) -> list[tuple[int, int, str]]:
    return [tuple(json.loads(line)) for line in record.read_text().splitlines()] if record.exists() else []


def test_missing_weights_are_one_clear_message_and_nothing_is_started(tmp_path: Path) -> None:
    course = make_course(tmp_path, phantom(planes=8))
    children = ChildProcesses()
    outcome = _segment(course, tmp_path / "nowhere", children)
    assert outcome.status == "failed"
    assert not outcome.memory_pressure
    for word in ("total (fast)", "297", str(tmp_path / "nowhere"), "rtpipeline weights", "segmentation.weights"):
        assert word in outcome.reason
    assert not course.files.nifti.exists()
    section = {"weights": tmp_path / "nowhere", "fast": True, "mr": False}
    assert _missing(section)[0] == outcome.reason


def _missing(section: dict[str, Any]) -> list[str]:
    needed = segmentation.needed_tasks(configuration(segmentation=section))
    return [task.message for task in needed if task.missing]


def test_weights_that_are_there_are_not_missing(tmp_path: Path, weights: Path) -> None:
    section = {"weights": weights, "fast": True}
    assert _missing(section) == []
    folders = segmentation.weight_folders(configuration(segmentation=section))
    assert [folder.name[:10] for folder in folders] == ["Dataset297", "Dataset300", "Dataset852"]
    (full,) = _missing({"weights": weights})
    assert "task total_mr (datasets 850, 851)" in full
    assert "without which MR series are not segmented" in full
    shutil.copytree(weights, tmp_path / "weights", ignore=shutil.ignore_patterns("Dataset300*"))
    (body,) = _missing({"weights": tmp_path / "weights", "fast": True})
    assert "task body (fast) (datasets 300)" in body
    assert "without which cone-beam CTs are segmented in the whole image" in body


def test_where_the_weights_are_gone_what_was_segmented_before_stays(
    tmp_path: Path, weights: Path, warm: ChildProcesses, caplog: pytest.LogCaptureFixture
) -> None:
    course = make_course(tmp_path, phantom(planes=20), ct_class="cone_beam_ct")
    _segment(course, weights, warm)
    made = course.files.segmentation("CT", "total").read_bytes()
    kept = _segment(course, tmp_path / "nowhere", warm)
    assert (kept.status, _earlier(kept)) == ("ok", {"total on CT"})
    assert course.files.segmentation("CT", "total").read_bytes() == made
    assert "the earlier result of total on CT stays" in caplog.text
    changed = _segment(course, tmp_path / "nowhere", warm, roi_subset=["liver"])
    assert changed.status == "failed"
    assert "are not in" in changed.reason


def test_an_unknown_task_is_refused_with_the_names_of_the_known_ones(tmp_path: Path) -> None:
    settings = configuration(segmentation={"extra_models": ["lung_vessel"]})
    with pytest.raises(StageError, match=r"no task lung_vessel;.*lung_vessels"):
        segmentation.needed_tasks(settings)


def test_missing_extra_weights_leave_the_rest(tmp_path: Path, weights: Path, warm: ChildProcesses) -> None:
    course = make_course(tmp_path, phantom(planes=20))
    outcome = _segment(course, weights, warm, extra_models=["lung_nodules"])
    assert outcome.status == "partial"
    assert "913" in outcome.reason
    made = course.files.segmentation("CT", "total").read_bytes()
    again = _segment(course, weights, warm, extra_models=["lung_nodules"])
    assert _earlier(again) == {"total on CT"}
    assert course.files.segmentation("CT", "total").read_bytes() == made


def test_damaged_weights_are_named(tmp_path: Path, weights: Path) -> None:
    damaged = tmp_path / "weights"
    shutil.copytree(weights, damaged)
    (checkpoint,) = damaged.glob("Dataset297*/*/fold_0/checkpoint_final.pth")
    checkpoint.write_bytes(checkpoint.read_bytes()[:4000])
    course = make_course(tmp_path / "course", phantom(planes=20))
    children = ChildProcesses()
    outcome = _segment(course, damaged, children)
    children.close()
    assert outcome.status == "failed"
    assert not outcome.memory_pressure
    assert "Dataset297" in outcome.reason
    assert "cannot be loaded" in outcome.reason


def test_a_killed_child_is_memory_pressure_and_the_next_course_gets_a_new_one(tmp_path: Path, weights: Path) -> None:
    painted = phantom(planes=20)
    course = make_course(tmp_path, painted)
    children = ChildProcesses()
    killer = _killer()
    outcome = _segment(course, weights, children)
    killer.join()
    assert outcome.status == "failed"
    assert outcome.memory_pressure
    assert not course.files.segmentation("CT", "total").exists()
    assert _segment(course, weights, children).status == "ok"
    np.testing.assert_array_equal(_labels(course), painted.organs)
    children.close()


def _killer() -> threading.Thread:
    """Sends SIGKILL to the next TotalSegmentator child of this process, as the kernel does when memory runs out."""
    known = {process.pid for process in psutil.Process().children()}
    new: list[psutil.Process] = []

    def appeared() -> bool:
        children = [process for process in psutil.Process().children() if process.pid not in known]
        new[:] = [process for process in children if "rtpipeline.inference.totalsegmentator" in command_line(process)]
        return bool(new)

    def kill() -> None:
        assert eventually(appeared)
        new[0].kill()

    thread = threading.Thread(target=kill)
    thread.start()
    return thread


def test_a_time_limit_kills_the_child_with_its_children(tmp_path: Path, weights: Path) -> None:
    course = make_course(tmp_path, phantom(planes=20))
    children = ChildProcesses()
    before = {process.pid for process in psutil.Process().children(recursive=True)}
    outcome = _segment(course, weights, children, timeout_s=1.0)
    assert outcome.status == "failed"
    assert "within 1 s" in outcome.reason
    assert not outcome.memory_pressure
    assert all_end({process.pid for process in psutil.Process().children(recursive=True)} - before)
    children.close()


def test_planes_that_are_not_equally_spaced_are_refused(tmp_path: Path, weights: Path, warm: ChildProcesses) -> None:
    painted = phantom(planes=20)
    grid = painted.grid
    offsets = np.delete(grid.plane_offsets_mm, 9)
    gappy = Grid(grid.origin_mm, grid.direction, grid.pixel_spacing_mm, offsets, grid.columns, grid.rows, 3.0)
    holed = Phantom(gappy, np.delete(painted.hu, 9, axis=0), np.delete(painted.organs, 9, axis=0))
    course = make_course(tmp_path, holed, mr=phantom(planes=20))
    outcome = _segment(course, weights, warm)
    assert outcome.status == "partial"
    assert "not equally spaced" in outcome.reason
    assert course.files.segmentation("MR_1a2b3c4d", "total_mr").is_file()


@pytest.mark.parametrize(("planes", "spacing_mm"), [(1, 3.0), (4, 10.0), (6, 3.0)])
def test_too_few_planes_are_not_segmented(
    tmp_path: Path, weights: Path, warm: ChildProcesses, planes: int, spacing_mm: float
) -> None:
    course = make_course(tmp_path, _slab(planes, spacing_mm))
    outcome = _segment(course, weights, warm)
    assert outcome.status == "skipped"
    assert f"{planes} plane" in outcome.reason
    assert not course.files.totalsegmentator.exists()
    assert not course.files.image_nifti("CT").exists()


def _slab(planes: int, spacing_mm: float) -> Phantom:
    """The middle planes of a phantom, at another distance."""
    painted = phantom(planes=40)
    grid = painted.grid
    offsets = np.arange(planes) * spacing_mm
    thin = Grid(grid.origin_mm, grid.direction, grid.pixel_spacing_mm, offsets, grid.columns, grid.rows, spacing_mm)
    part = slice(18, 18 + planes)
    return Phantom(thin, painted.hu[part], painted.organs[part])


def test_an_image_that_is_too_low_leaves_the_others(tmp_path: Path, weights: Path, warm: ChildProcesses) -> None:
    course = make_course(tmp_path, _slab(1, 3.0), mr=phantom(planes=20))
    outcome = _segment(course, weights, warm)
    assert outcome.status == "partial"
    assert "CT is not segmented: it has 1 plane of" in outcome.reason
    assert course.files.segmentation("MR_1a2b3c4d", "total_mr").is_file()


def test_the_same_again_is_not_inferred_again_and_a_changed_option_only_its_own_task(
    tmp_path: Path, weights: Path, warm: ChildProcesses
) -> None:
    course = make_course(tmp_path, phantom(), mr=phantom(planes=20))
    export = {file: file.read_bytes() for file in sorted(course.files.dicom.rglob("*")) if file.is_file()}
    first = _segment(course, weights, warm)
    assert not _earlier(first)
    assert {file: file.read_bytes() for file in sorted(course.files.dicom.rglob("*")) if file.is_file()} == export
    made = {file: file.read_bytes() for file in sorted(course.files.totalsegmentator.glob("*"))}
    assert len(made) == 4
    again = _segment(course, weights, warm)
    assert _earlier(again) == {"total on CT", "total_mr on MR_1a2b3c4d"}
    assert {file: file.read_bytes() for file in sorted(course.files.totalsegmentator.glob("*"))} == made
    subset = _segment(course, weights, warm, roi_subset=["skull"])  # total_mr has no skull
    assert _earlier(subset) == set()
    assert list(subset.details["inferences"]) == ["total on CT"]
    changed = _segment(course, weights, warm, postprocessing={"keep_largest_component": ["pulmonary_vein"]})
    assert _earlier(changed) == {"total_mr on MR_1a2b3c4d"}  # only the task total has a pulmonary vein
    assert not _earlier(_segment(course, weights, warm, forced=True))


def _earlier(outcome: Outcome) -> set[str]:
    """The tasks whose earlier result was used."""
    return {name for name, result in outcome.details["inferences"].items() if result.get("earlier_result")}


@pytest.mark.parametrize("what", ["labels", "map", "versions", "weights", "image"])
def test_an_earlier_result_that_is_not_what_it_was_is_made_again(
    tmp_path: Path, weights: Path, warm: ChildProcesses, what: str
) -> None:
    painted = phantom(planes=20)
    course = make_course(tmp_path / "course", painted)
    own = tmp_path / "weights"
    shutil.copytree(weights, own)
    _segment(course, own, warm)
    stored = course.files.segmentation("CT", "total")
    before = stored.read_bytes()
    if what == "labels":
        stored.write_bytes(before[:-20])
    elif what == "map":
        CourseFiles.label_map(stored).write_text('{"labels":')
    elif what == "versions":
        label_map = json.loads(CourseFiles.label_map(stored).read_text())
        label_map["versions"]["TotalSegmentator"] = "1.0"
        CourseFiles.label_map(stored).write_text(json.dumps(label_map))
    elif what == "weights":
        (dataset,) = own.glob("Dataset297*/*/dataset.json")
        dataset.write_text(dataset.read_text() + " ")
    else:
        painted.hu[0, 0, 0] = -900.0
        make_course(tmp_path / "course", painted)
    outcome = _segment(course, own, warm)
    assert outcome.status == "ok", outcome.reason
    assert not _earlier(outcome)
    np.testing.assert_array_equal(_labels(course), painted.organs)


def test_a_subset_of_structures_is_checked_and_honoured(tmp_path: Path, weights: Path, warm: ChildProcesses) -> None:
    with pytest.raises(StageError, match="no task has livr"):
        segmentation.needed_tasks(configuration(segmentation={"roi_subset": ["livr"]}))
    painted = phantom()
    course = make_course(tmp_path, painted)
    outcome = _segment(course, weights, warm, roi_subset=["liver", "heart"])
    assert outcome.status == "ok", outcome.reason
    wanted = np.isin(painted.organs, [LABELS["liver"], LABELS["heart"]])
    np.testing.assert_array_equal(_labels(course), np.where(wanted, painted.organs, 0))


def test_a_cone_beam_ct_is_segmented_in_the_body_alone(
    tmp_path: Path, weights: Path, warm: ChildProcesses, caplog: pytest.LogCaptureFixture
) -> None:
    painted = phantom()
    course = make_course(tmp_path, painted, ct_class="cone_beam_ct")
    outcome = _segment(course, weights, warm)
    assert outcome.status == "ok", outcome.reason
    label_map = json.loads(CourseFiles.label_map(course.files.segmentation("CT", "total")).read_text())
    assert label_map["options"]["body_only"] is True
    np.testing.assert_array_equal(_labels(course), painted.organs)
    assert "datasets 300" not in caplog.text
    without = tmp_path / "weights"
    shutil.copytree(weights, without, ignore=shutil.ignore_patterns("Dataset300*"))
    assert _segment(course, without, warm).status == "ok"
    assert "datasets 300" in caplog.text
    label_map = json.loads(CourseFiles.label_map(course.files.segmentation("CT", "total")).read_text())
    assert label_map["options"]["body_only"] is False


def test_binary_masks_are_written_where_they_are_asked_for(tmp_path: Path, weights: Path, warm: ChildProcesses) -> None:
    painted = phantom()
    course = make_course(tmp_path, painted)
    _segment(course, weights, warm)
    assert not course.files.binary_masks("CT", "total").exists()
    _segment(course, weights, warm, binary_masks=["Femur_*", "skull"])
    folder = course.files.binary_masks("CT", "total")
    assert sorted(file.name for file in folder.iterdir()) == ["femur_left.nii.gz", "femur_right.nii.gz"]
    np.testing.assert_array_equal(
        read_nifti(folder / "femur_left.nii.gz").values != 0, painted.organs == LABELS["femur_left"]
    )


def test_what_the_ct_shows_is_written_down(tmp_path: Path, weights: Path, warm: ChildProcesses) -> None:
    course = make_course(tmp_path, phantom())
    _segment(course, weights, warm)
    found = json.loads(course.files.body_regions.read_text())
    assert found["regions"]["HEAD_NECK"]["vertebrae"] == ["vertebrae_C7"]
    assert found["regions"]["ABDOMEN"]["vertebrae"] == ["vertebrae_L1", "vertebrae_L5"]
    assert found["regions"]["THORAX"]["confidence"] == pytest.approx(0.7 / 3, abs=1e-3)
    assert found["regions_present"] == ["HEAD_NECK", "ABDOMEN", "PELVIS"]  # the bladder has more than 10 cm3
    assert (found["contrast_phase"], found["modality"]) == ("unknown", "ct")  # nothing in it takes up contrast agent


def test_configured_postprocessing_reaches_the_labels(tmp_path: Path, weights: Path, warm: ChildProcesses) -> None:
    painted = phantom()
    painted.hu[2:4, 20:22, 30:32] = ORGAN_HU["liver"]
    course = make_course(tmp_path, painted)
    _segment(course, weights, warm)
    assert np.count_nonzero(_labels(course)[2:4, 20:22, 30:32] == LABELS["liver"]) == 8
    _segment(course, weights, warm, postprocessing={"keep_largest_component": ["LIVER"]})
    expected = painted.organs.copy()
    expected[2:4, 20:22, 30:32] = 0
    np.testing.assert_array_equal(_labels(course), expected)


def test_after_memory_ran_out_the_volume_is_segmented_in_parts(tmp_path: Path, weights: Path) -> None:
    painted = phantom(planes=62)
    course = make_course(tmp_path, painted)
    children = ChildProcesses()
    killer = _killer()
    outcome = _segment(course, weights, children, force_split=False)
    killer.join()
    children.close()
    assert outcome.status == "ok", outcome.reason
    assert outcome.details["inferences"]["total on CT"]["out_of_memory_on"] == ["cpu"]
    np.testing.assert_array_equal(_labels(course), painted.organs)


def test_each_attempt_needs_less_memory_than_the_one_before() -> None:
    tall, flat = phantom(planes=62).grid, phantom(planes=20).grid
    section = configuration(segmentation={"allow_cpu_fallback": True}).segmentation
    task = options("total", fast=True)

    def ways(grid: Grid, split: bool, section: SegmentationSection, device: str) -> list[tuple[bool, str]]:
        tried = attempts(task, split, grid, section, device)
        return [(attempt["force_split"], attempt["device"]) for attempt in tried]

    assert ways(tall, False, section, "gpu:1") == [(False, "gpu:1"), (True, "gpu:1"), (True, "cpu")]
    assert ways(tall, True, section, "gpu:0") == [(True, "gpu:0"), (True, "cpu")]
    assert ways(flat, False, section, "gpu:0") == [(False, "gpu:0"), (False, "cpu")]
    assert ways(flat, False, section, "cpu") == [(False, "cpu")]
    assert ways(tall, True, configuration().segmentation, "gpu:0") == [(True, "gpu:0")]


def test_a_course_without_ct_and_mr_is_skipped(tmp_path: Path, weights: Path, warm: ChildProcesses) -> None:
    outcome = _segment(make_course(tmp_path, None), weights, warm)
    assert outcome.status == "skipped"
    assert "no planning CT" in outcome.reason


def test_a_device_that_is_not_there_is_refused(tmp_path: Path, weights: Path) -> None:
    import torch

    device = f"gpu:{torch.cuda.device_count()}"
    course = make_course(tmp_path, phantom(planes=8))
    children = ChildProcesses()
    settings = configuration(segmentation={"fast": True, "weights": weights})
    outcome = segmentation.run(course, settings, resources(tmp_path, children, device=device))
    children.close()
    assert outcome.status == "failed"
    assert f"{device} is not usable" in outcome.reason
