"""The perturbation states of the configured profile."""

from __future__ import annotations

from collections.abc import Sequence

from rtpipeline.config import SegmentationPerturbationSection
from rtpipeline.radiomics_robustness.chain import ChainState, chain_states
from rtpipeline.radiomics_robustness.states import State, axes_of

CHAIN_PROFILE = "zwanenburg"


def profile_states(section: SegmentationPerturbationSection) -> Sequence[State] | Sequence[ChainState]:
    """The states of the profile, those of `zwanenburg` as `ChainState`.

    Raises:
        ValueError: two states have one identifier (a value is on an axis twice).
    """
    return chain_states(section) if section.profile == CHAIN_PROFILE else axes_of(section).states()
