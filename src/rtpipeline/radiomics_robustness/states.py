"""Which perturbation states there are: the Cartesian grid of noise, translation, contour and volume (N, T, C, V)."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from rtpipeline.config import SegmentationPerturbationSection

Translation = tuple[float, float, float]

SMALL_VOLUME_CHANGES = (-0.15, 0.0, 0.15)
"""The default of the configuration."""
LARGE_VOLUME_CHANGES = (-0.3, 0.0, 0.3)
MAX_TRANSLATION_MM = 4.0
NO_TRANSLATION: Translation = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class State:
    """One combination of the four axes. The image is N applied to the image, the mask V(C(T(mask))).

    Attributes:
        noise: standard deviation of the added Gaussian noise, in the image's unit; 0 is no noise.
        translation_mm: requested shift of the mask (x, y, z) in patient coordinates.
        contour: number of the random contour realisation; 0 is the contour as drawn.
        volume_change: relative change of the number of voxels.
    """

    noise: float
    translation_mm: Translation
    contour: int
    volume_change: float

    @property
    def perturbation_id(self) -> str:
        """For example `ntcv_n10_t0_0_-4_c1_v+15`; what is not perturbed is left out, but for `v0`."""
        noise = f"_n{self.noise:g}" if self.noise else ""
        shift = "_t" + "_".join(f"{value:g}" for value in self.translation_mm) if any(self.translation_mm) else ""
        contour = f"_c{self.contour}" if self.contour else ""
        return f"ntcv{noise}{shift}{contour}_v{percent(self.volume_change)}"


@dataclass(frozen=True)
class Axes:
    """The values on each axis of a grid.

    Attributes:
        noise_levels: standard deviations; 0 is no noise.
        translations_mm: shifts (x, y, z), the first of them none.
        contour_realisations: number of random contours beside the drawn one.
        contour_magnitude_mm: the largest offset of a random contour.
        volume_changes: relative changes of volume.
    """

    noise_levels: tuple[float, ...]
    translations_mm: tuple[Translation, ...]
    contour_realisations: int
    contour_magnitude_mm: float
    volume_changes: tuple[float, ...]

    def states(self) -> tuple[State, ...]:
        """Every combination; noise varies slowest, volume fastest.

        Raises:
            ValueError: two states have one identifier (a value is on an axis twice).
        """
        contours = range(self.contour_realisations + 1)
        grid = itertools.product(self.noise_levels, self.translations_mm, contours, self.volume_changes)
        states = tuple(State(*values) for values in grid)
        refuse_repeated(state.perturbation_id for state in states)
        return states


def refuse_repeated(identifiers: Iterable[str]) -> None:
    """Raise ValueError where two states have one identifier."""
    repeated = sorted(name for name, count in Counter(identifiers).items() if count > 1)
    if repeated:
        raise ValueError(f"these perturbation states are configured more than once: {', '.join(repeated)}")


def axes_of(section: SegmentationPerturbationSection) -> Axes:
    """The axes of the configured profile; a key that is set goes before the profile's.

    `volume` has the small volume changes only. `mild`, `standard` and `aggressive` are grids of 12, 81 and 315 states:
    `mild` without noise, with one random contour, and without growth unless other volume changes than the default are
    set; `aggressive` with the large volume changes too, and translations along all three patient axes instead of the
    longitudinal one.
    """
    profile = section.profile
    perturbs = profile != "volume"
    noise = section.noise_levels
    if noise is None:
        noise = (0.0, 10.0, 20.0) if profile in ("standard", "aggressive") else (0.0,)
    translation_mm = section.max_translation_mm
    if translation_mm is None:
        translation_mm = MAX_TRANSLATION_MM if perturbs else 0.0
    realisations = section.n_random_contour_realizations
    if realisations is None:
        realisations = {"volume": 0, "mild": 1}.get(profile, 2)
    return Axes(
        noise_levels=noise,
        translations_mm=_translations(translation_mm, all_axes=profile == "aggressive"),
        contour_realisations=realisations,
        contour_magnitude_mm=section.contour_randomization_mm or (translation_mm or MAX_TRANSLATION_MM) / 2,
        volume_changes=_volume_changes(section),
    )


def _translations(distance_mm: float, *, all_axes: bool) -> tuple[Translation, ...]:
    if distance_mm == 0:
        return (NO_TRANSLATION,)
    steps: list[Translation] = [NO_TRANSLATION]
    for axis in (0, 1, 2) if all_axes else (2,):
        for sign in (1.0, -1.0):
            x, y, z = (sign * distance_mm if axis == own else 0.0 for own in range(3))
            steps.append((x, y, z))
    return tuple(steps)


def _volume_changes(section: SegmentationPerturbationSection) -> tuple[float, ...]:
    small = section.small_volume_changes
    if section.profile == "mild" and small == SMALL_VOLUME_CHANGES:
        small = SMALL_VOLUME_CHANGES[:2]
    if section.profile != "aggressive":
        return small
    large = LARGE_VOLUME_CHANGES if section.large_volume_changes is None else section.large_volume_changes
    return tuple(dict.fromkeys((*large, *small)))


def percent(change: float) -> str:
    """`0`, `+15`, `-05`, or `+12.5`."""
    percent = round(change * 100.0, 6)
    if percent == 0:
        return "0"
    return f"{percent:+03.0f}" if percent == int(percent) else f"{percent:+g}"
