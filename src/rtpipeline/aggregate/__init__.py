"""The cohort's tables: the courses' put together, a column dictionary, and one table to start an analysis from."""

from rtpipeline.aggregate.results import SOURCES, aggregate

__all__ = ["SOURCES", "aggregate"]
