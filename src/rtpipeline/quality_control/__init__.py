"""Quality control: whether the objects of a course are complete, belong together and give plausible numbers."""

from rtpipeline.quality_control.stage import run

__all__ = ["run"]
