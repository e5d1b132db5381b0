"""Case metadata: patient, plan, prescription, delivery, dose, CT and structures of a course."""

from rtpipeline.metadata.stage import run

__all__ = ["run"]
