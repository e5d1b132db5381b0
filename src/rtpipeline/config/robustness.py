"""The schema of `radiomics_robustness`: what is perturbed, what is computed of it, and what counts as robust."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AliasChoices, Field, model_validator

from rtpipeline.config.section import Section
from rtpipeline.config.values import CountOrZero, Fraction, Integer, NotNegative, Number, OneOrMany, Texts


class SegmentationPerturbationSection(Section):
    """The axes of perturbation: noise, translation, contour, volume. A key that is set overrides the profile's."""

    profile: Annotated[
        Literal["volume", "mild", "standard", "aggressive", "zwanenburg"],
        Field(validation_alias=AliasChoices("profile", "intensity")),
    ] = "volume"
    """`volume` changes volumes only; `mild`, `standard`, `aggressive` have 12, 81, 315 states (older name of the key:
    `intensity`). `zwanenburg` has 72: rotation, shift below a voxel, estimated noise, volume, supervoxel contours."""
    small_volume_changes: Annotated[tuple[Number, ...], OneOrMany] = (-0.15, 0.0, 0.15)
    """Relative changes of volume."""
    large_volume_changes: Annotated[tuple[Number, ...], OneOrMany] | None = None
    """Larger changes of volume of the profile `aggressive`; null: the profile's."""
    max_translation_mm: NotNegative | None = None
    """Largest translation in millimetres; null: the profile's."""
    n_random_contour_realizations: CountOrZero | None = None
    """Randomised contours; null: the profile's."""
    contour_randomization_mm: NotNegative | None = None
    """Size of the contour randomisation in millimetres; null: half of the translation."""
    noise_levels: Annotated[tuple[NotNegative, ...], OneOrMany] | None = None
    """Standard deviations of the added Gaussian noise in the image's unit (HU for CT); null: the profile's."""
    rotation_angles_deg: Annotated[tuple[Number, ...], OneOrMany] | None = None
    """`zwanenburg`: rotations in the image's plane in degrees, with 0; null: 0, -6, 6."""
    grid_shifts_voxels: Annotated[tuple[Fraction, ...], OneOrMany] | None = None
    """`zwanenburg`: shifts of the resampled grid in its voxels, with 0; null: 0, 0.25."""
    n_estimated_noise_realizations: CountOrZero | None = None
    """`zwanenburg`: draws of noise as strong as the image's own, beside the image without; null: 1."""
    n_supervoxel_realizations: CountOrZero | None = None
    """`zwanenburg`: contours drawn at random along supervoxels, beside the contour as drawn; null: 1."""
    apply_to_structures: Texts | None = None
    """Patterns of structure names; null: `structures.robustness.include`."""

    @model_validator(mode="after")
    def _keys_fit_the_profile(self) -> SegmentationPerturbationSection:
        """A key of the other kind of profile would have no effect."""
        chain = (
            "rotation_angles_deg",
            "grid_shifts_voxels",
            "n_estimated_noise_realizations",
            "n_supervoxel_realizations",
        )
        grid = (
            "large_volume_changes",
            "max_translation_mm",
            "n_random_contour_realizations",
            "contour_randomization_mm",
            "noise_levels",
        )
        foreign = grid if self.profile == "zwanenburg" else chain
        if given := [name for name in foreign if getattr(self, name) is not None]:
            raise ValueError(f"{', '.join(given)}: no axis of the profile {self.profile}")
        return self


class IccSection(Section):
    """Intraclass correlation."""

    implementation: Literal["vectorised", "pingouin"] = "vectorised"
    """`vectorised` computes all features at once; `pingouin` one by one with that library."""
    icc_type: Literal["ICC1", "ICC2", "ICC3"] = "ICC3"
    """The form of the coefficient, after Shrout and Fleiss, for single ratings."""
    ci: bool = True
    """Confidence intervals; features are then judged by the lower bound."""


class EnabledSection(Section):
    """A switch."""

    enabled: bool = True
    """Compute it."""


class RobustnessMetricsSection(Section):
    """What is computed over the perturbation states."""

    icc: IccSection = IccSection()
    cov: EnabledSection = EnabledSection()
    """Coefficient of variation."""
    qcd: EnabledSection = EnabledSection()
    """Quartile coefficient of dispersion."""


class IccThresholdSection(Section):
    """Bounds of the intraclass correlation (its lower confidence bound, where there is one)."""

    robust: Number = 0.90
    """From here on robust."""
    acceptable: Number = 0.75
    """From here on acceptable."""


class CovThresholdSection(Section):
    """Bounds of the coefficient of variation in percent."""

    robust_pct: NotNegative = 10.0
    """Up to here robust."""
    acceptable_pct: NotNegative = 20.0
    """Up to here acceptable."""


class RobustnessThresholdsSection(Section):
    """From which value on a feature is called robust or acceptable."""

    icc: IccThresholdSection = IccThresholdSection()
    cov: CovThresholdSection = CovThresholdSection()


class RobustnessSection(Section):
    """Robustness of every feature under perturbation."""

    enabled: bool = True
    """Run the stage."""
    modes: Annotated[tuple[Literal["segmentation_perturbation"], ...], OneOrMany] = ("segmentation_perturbation",)
    """What is perturbed."""
    base_seed: Integer = 42
    """Seed of all random draws."""
    segmentation_perturbation: SegmentationPerturbationSection = SegmentationPerturbationSection()
    metrics: RobustnessMetricsSection = RobustnessMetricsSection()
    thresholds: RobustnessThresholdsSection = RobustnessThresholdsSection()
