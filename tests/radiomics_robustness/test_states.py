import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtpipeline.config import SegmentationPerturbationSection
from rtpipeline.radiomics_robustness.states import SMALL_VOLUME_CHANGES, State, axes_of


def states(**keys):
    return axes_of(SegmentationPerturbationSection(**keys)).states()


@pytest.mark.parametrize(("profile", "count"), [("volume", 3), ("mild", 12), ("standard", 81), ("aggressive", 315)])
def test_profiles_have_the_published_number_of_states(profile: str, count: int):
    grid = states(profile=profile)
    assert len(grid) == count
    assert len({state.perturbation_id for state in grid}) == count


@pytest.mark.parametrize("profile", ["volume", "mild", "standard", "aggressive"])
def test_the_unperturbed_state_is_in_every_profile(profile: str):
    unperturbed = State(0.0, (0.0, 0.0, 0.0), 0, 0.0)
    assert unperturbed.perturbation_id == "ntcv_v0"
    assert unperturbed in states(profile=profile)


def test_identifiers():
    assert [s.perturbation_id for s in states(profile="volume")] == ["ntcv_v-15", "ntcv_v0", "ntcv_v+15"]
    identifiers = {s.perturbation_id for s in states(profile="aggressive")}
    assert {"ntcv_n20_t-4_0_0_c2_v-30", "ntcv_t0_0_4_c1_v+15", "ntcv_n10_v0", "ntcv_c2_v+30"} <= identifiers
    assert State(10.2, (0.0, 2.5, 0.0), 1, 0.05).perturbation_id == "ntcv_n10.2_t0_2.5_0_c1_v+05"
    assert State(0.0, (0.0, 0.0, 0.0), 0, 0.29).perturbation_id == "ntcv_v+29"
    assert State(0.0, (0.0, 0.0, 0.0), 0, -0.125).perturbation_id == "ntcv_v-12.5"


def test_standard_translates_along_z_and_aggressive_along_all_axes():
    assert axes_of(SegmentationPerturbationSection(profile="standard")).translations_mm == (
        (0.0, 0.0, 0.0),
        (0.0, 0.0, 4.0),
        (0.0, 0.0, -4.0),
    )
    assert len(axes_of(SegmentationPerturbationSection(profile="aggressive")).translations_mm) == 7


def test_a_key_that_is_set_goes_before_the_profile():
    assert len(states(profile="mild", noise_levels=(0, 5, 10))) == 36
    assert len(states(profile="mild", small_volume_changes=(-0.1, 0, 0.1))) == 18
    assert len(states(profile="standard", max_translation_mm=0, n_random_contour_realizations=0)) == 9
    assert len(states(noise_levels=(0, 10), max_translation_mm=3, n_random_contour_realizations=1)) == 36


def test_contour_magnitude_is_half_of_the_translation_unless_it_is_set():
    def magnitude(**keys):
        return axes_of(SegmentationPerturbationSection(**keys)).contour_magnitude_mm

    assert magnitude(profile="standard") == 2.0
    assert magnitude(profile="standard", max_translation_mm=6) == 3.0
    assert magnitude(profile="standard", contour_randomization_mm=1.5) == 1.5
    assert magnitude(n_random_contour_realizations=2) == 2.0


def test_a_value_that_is_given_twice_is_refused():
    with pytest.raises(ValueError, match="ntcv_n10_v0"):
        states(noise_levels=(10, 10.0))


def test_default_of_the_configuration():
    assert SegmentationPerturbationSection().small_volume_changes == SMALL_VOLUME_CHANGES


@given(
    st.lists(st.integers(0, 400).map(lambda v: v / 10), min_size=1, max_size=4, unique=True),
    st.lists(st.integers(-999, 999).map(lambda v: v / 1000), min_size=1, max_size=5, unique=True),
    st.integers(0, 3),
    st.integers(0, 80).map(lambda v: v / 10),
)
def test_no_two_states_share_an_identifier(noise, volumes, contours, translation):
    grid = states(
        noise_levels=noise,
        small_volume_changes=volumes,
        n_random_contour_realizations=contours,
        max_translation_mm=translation,
    )
    expected = len(noise) * len(volumes) * (contours + 1) * (3 if translation else 1)
    assert len({state.perturbation_id for state in grid}) == len(grid) == expected
