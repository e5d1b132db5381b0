"""What the stage asks of the extraction, without asking it."""

import pytest

from rtpipeline.config import SegmentationPerturbationSection, load_configuration
from rtpipeline.dicom.image_series import load_image
from rtpipeline.radiomics_robustness.chain import chain_states
from rtpipeline.radiomics_robustness.chain_tasks import chain_tasks
from rtpipeline.radiomics_robustness.grid_tasks import grid_tasks
from rtpipeline.radiomics_robustness.states import axes_of
from rtpipeline.structures import course_structures

PARAMETERS = {"setting": {"padDistance": 5, "resampledPixelSpacing": [2, 2, 2]}}


@pytest.fixture
def drawn(demo_course):
    """A course, its planning CT, and its GTV."""
    course = demo_course("DEMO-003")
    image = load_image(course.path(course.description.planning_ct.folder))
    structures = course_structures(course, load_configuration())
    return course, image, [one for one in structures if one.roi_name == "GTV"]


def test_a_job_of_a_grid_is_as_large_as_its_structure_in_cm3(drawn, resources):
    course, image, structures = drawn
    configuration = load_configuration()
    axes = axes_of(configuration.radiomics_robustness.segmentation_perturbation)
    tasks = list(grid_tasks(course, configuration, resources, image, structures, axes, PARAMETERS))
    volume_cm3 = structures[0].mask(image.grid).volume_cm3
    sizes = {task.row["volume_change"]: task.job.size for task in tasks}
    assert sizes == pytest.approx({change: volume_cm3 * (1 + change) for change in (-0.15, 0.0, 0.15)}, rel=0.01)


def test_a_job_of_a_chain_is_as_large_as_its_structure_in_cm3(drawn, resources):
    """Of other voxels than the image's, and the same volume."""
    course, image, structures = drawn
    keys = {"n_estimated_noise_realizations": 0, "rotation_angles_deg": (0,), "n_supervoxel_realizations": 0}
    section = SegmentationPerturbationSection(profile="zwanenburg", **keys)
    tasks = list(chain_tasks(course, image, structures, chain_states(section), PARAMETERS, 42, resources.scratch))
    volume_cm3 = structures[0].mask(image.grid).volume_cm3
    for task in tasks:
        assert task.job.size == pytest.approx(volume_cm3 * (1 + task.row["volume_change"]), rel=0.05)
