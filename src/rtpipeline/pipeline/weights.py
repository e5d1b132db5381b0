"""Which weights of TotalSegmentator a configuration needs: one list for all who fetch them and look for them."""

from __future__ import annotations

from rtpipeline import custom_models, segmentation
from rtpipeline.config import Configuration
from rtpipeline.inference.tasks import NeededTask


def needed_tasks(configuration: Configuration) -> list[NeededTask]:
    """The tasks of TotalSegmentator that the enabled stages run, with the folders of their weights.

    Raises:
        StageError: the configuration names a task, a folder of models or a model that does not exist.
    """
    tasks: list[NeededTask] = []
    if configuration.segmentation.enabled:
        tasks += segmentation.needed_tasks(configuration)
    if configuration.custom_models.enabled:
        tasks += custom_models.tasks_of_models(configuration)
    return tasks
