"""One typed schema for the whole configuration: defaults < YAML < `RTPIPELINE_*` variables < flags the user typed."""

from rtpipeline.config.loading import ConfigurationError, environment_keys, keys, load_configuration, typed_value
from rtpipeline.config.robustness import SegmentationPerturbationSection
from rtpipeline.config.schema import (
    AnalysisSection,
    Configuration,
    CroppingSection,
    DvhSection,
    OrganizeSection,
    PostprocessingSection,
    RadiomicsSection,
    SegmentationSection,
    SelectionSection,
)
from rtpipeline.config.values import SuvVariant

__all__ = [
    "AnalysisSection",
    "Configuration",
    "ConfigurationError",
    "CroppingSection",
    "DvhSection",
    "OrganizeSection",
    "PostprocessingSection",
    "RadiomicsSection",
    "SegmentationPerturbationSection",
    "SegmentationSection",
    "SelectionSection",
    "SuvVariant",
    "environment_keys",
    "keys",
    "load_configuration",
    "typed_value",
]
