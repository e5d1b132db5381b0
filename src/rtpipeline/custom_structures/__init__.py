"""Structures that the user builds from others: unions, intersections, differences, margins."""

from rtpipeline.custom_structures.evaluation import CustomResult, evaluate
from rtpipeline.custom_structures.grammar import (
    CustomStructure,
    CustomStructures,
    expression_text,
    load_custom_structures,
)
from rtpipeline.custom_structures.templates import Configured, configured_structures, is_configured

__all__ = [
    "Configured",
    "CustomResult",
    "CustomStructure",
    "CustomStructures",
    "configured_structures",
    "evaluate",
    "expression_text",
    "is_configured",
    "load_custom_structures",
]
