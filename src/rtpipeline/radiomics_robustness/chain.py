"""Which states the profile `zwanenburg` has: noise, rotation, sub-voxel shift, volume and supervoxel contour."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from rtpipeline.config import SegmentationPerturbationSection
from rtpipeline.radiomics_robustness.states import percent, refuse_repeated

ROTATIONS_DEG = (0.0, -6.0, 6.0)
GRID_SHIFTS = (0.0, 0.25)
"""Not half a voxel: where both grids are equally fine, the mask, which knows no parts of a voxel, would follow by a
whole half of one, to a side that rounding decides."""


@dataclass(frozen=True)
class ChainState:
    """One combination. Noise is added to the image, image and mask are rotated, shifted and resampled in one step, then
    the mask's volume is changed, and then its contour is drawn again along supervoxels.

    Attributes:
        noise_draw: number of the draw of noise of the estimated level; 0 is no added noise.
        rotation_deg: in the image's plane, about the structure's centre.
        shift_voxels: of the resampled lattice along all of its axes, in its voxels.
        volume_change: relative change of the number of voxels.
        contour: number of the random supervoxel contour; 0 is the contour as it is.
    """

    noise_draw: int
    rotation_deg: float
    shift_voxels: float
    volume_change: float
    contour: int

    @property
    def perturbation_id(self) -> str:
        """For example `ntcv_e1_r-6_s0.25_k1_v+15`; what is not perturbed is left out, but for `v0`."""
        noise = f"_e{self.noise_draw}" if self.noise_draw else ""
        rotation = f"_r{self.rotation_deg:g}" if self.rotation_deg else ""
        shift = f"_s{self.shift_voxels:g}" if self.shift_voxels else ""
        contour = f"_k{self.contour}" if self.contour else ""
        return f"ntcv{noise}{rotation}{shift}{contour}_v{percent(self.volume_change)}"


def chain_states(section: SegmentationPerturbationSection) -> tuple[ChainState, ...]:
    """Every combination; noise varies slowest, contour fastest.

    Raises:
        ValueError: two states have one identifier (a value is on an axis twice).
    """
    rotations = ROTATIONS_DEG if section.rotation_angles_deg is None else section.rotation_angles_deg
    shifts = GRID_SHIFTS if section.grid_shifts_voxels is None else section.grid_shifts_voxels
    draws = 1 if section.n_estimated_noise_realizations is None else section.n_estimated_noise_realizations
    contours = 1 if section.n_supervoxel_realizations is None else section.n_supervoxel_realizations
    axes = (range(draws + 1), rotations, shifts, section.small_volume_changes, range(contours + 1))
    states = tuple(ChainState(*values) for values in itertools.product(*axes))
    refuse_repeated(state.perturbation_id for state in states)
    return states
