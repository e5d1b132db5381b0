"""The profile zwanenburg: states, estimated noise, rotation and shift, supervoxel contours, and the stage."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtpipeline.config import ConfigurationError, SegmentationPerturbationSection, load_configuration
from rtpipeline.course import CourseFiles
from rtpipeline.demo.settings import PARAMETERS
from rtpipeline.imaging.grid import Grid, Volume
from rtpipeline.imaging.mask import Mask
from rtpipeline.radiomics_robustness import course as stage
from rtpipeline.radiomics_robustness.chain import ChainState, chain_states
from rtpipeline.radiomics_robustness.lattice import Lattice, resampled_image, resampled_mask
from rtpipeline.radiomics_robustness.noise import COIF1_HIGH_PASS, estimated_noise
from rtpipeline.radiomics_robustness.supervoxels import chosen, redrawn, supervoxels
from rtpipeline.tables.parquet import read_parquet

PERTURBATION = "radiomics_robustness.segmentation_perturbation"


# States


def states(**keys):
    return chain_states(SegmentationPerturbationSection(profile="zwanenburg", **keys))


def test_the_profile_has_72_states_and_the_unperturbed_one():
    identifiers = [state.perturbation_id for state in states()]
    assert len(identifiers) == len(set(identifiers)) == 2 * 3 * 2 * 3 * 2
    assert "ntcv_v0" in identifiers
    assert ChainState(1, -6.0, 0.5, 0.15, 1).perturbation_id == "ntcv_e1_r-6_s0.5_k1_v+15"


def test_a_key_that_is_set_goes_before_the_profile():
    assert len(states(rotation_angles_deg=(0,), n_supervoxel_realizations=3)) == 2 * 1 * 2 * 3 * 4
    assert len(states(n_estimated_noise_realizations=0, grid_shifts_voxels=(0,), small_volume_changes=(0,))) == 6


@pytest.mark.parametrize(
    ("profile", "key", "value"),
    [("zwanenburg", "noise_levels", [0, 10]), ("standard", "rotation_angles_deg", [0, 5])],
)
def test_a_key_of_the_other_kind_of_profile_is_refused(profile, key, value):
    with pytest.raises(ConfigurationError, match=f"{key}: no axis of the profile {profile}"):
        load_configuration(overrides={f"{PERTURBATION}.profile": profile, f"{PERTURBATION}.{key}": value})


# Noise


def test_the_high_pass_filter_is_the_coiflet_of_order_1():
    # Unit norm, orthogonal to its shifts by two, and two vanishing moments: blind to constants and slopes.
    steps = np.arange(6)
    assert np.sum(COIF1_HIGH_PASS**2) == pytest.approx(1, abs=1e-14)
    assert COIF1_HIGH_PASS[2:] @ COIF1_HIGH_PASS[:-2] == pytest.approx(0, abs=1e-14)
    assert COIF1_HIGH_PASS.sum() == pytest.approx(0, abs=1e-14)
    assert COIF1_HIGH_PASS @ steps == pytest.approx(0, abs=1e-13)


def noisy(sigma: float) -> np.ndarray:
    z, y, x = np.indices((12, 80, 80)).astype(float)
    smooth = 100 + 3 * x - 2 * y + 40 * np.sin(x / 15) * np.cos(y / 12) + 5 * z
    return smooth + np.random.default_rng(5).normal(0, sigma, smooth.shape)


@pytest.mark.parametrize("sigma", [0.5, 7.0, 40.0])
def test_the_estimate_is_the_noise_that_was_added(sigma):
    values = noisy(sigma)
    volume = Volume(Grid.uniform((0, 0, 0), (1, 1, 3), (80, 80, 12)), values)
    # 12 x 75 x 75 correlated coefficients: the median is good to about one per cent.
    assert estimated_noise(volume) == pytest.approx(sigma, rel=0.03)
    values[:, :, :45] = -1024
    assert estimated_noise(volume) == pytest.approx(sigma, rel=0.04), "filling must not count as without noise"


def test_an_image_of_one_value_has_no_noise():
    assert estimated_noise(Volume(Grid.uniform((0, 0, 0), (1, 1, 1), (20, 20, 2)), np.full((2, 20, 20), -1000.0))) == 0


# Rotation and shift

OBLIQUE = np.array([[0.6, -0.8, 0.0], [0.8, 0.6, 0.0], [0.0, 0.0, 1.0]]) @ np.array(
    [[1.0, 0.0, 0.0], [0.0, math.cos(0.3), -math.sin(0.3)], [0.0, math.sin(0.3), math.cos(0.3)]]
)


def gradient(grid: Grid) -> Volume:
    index = np.stack(np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij")[::-1], axis=-1)
    return Volume(grid, (grid.index_to_world(index.astype(float)) @ (2.0, -3.0, 5.0) + 11.0).astype(np.float32))


@pytest.mark.parametrize("direction", [np.eye(3), np.diag([1.0, -1.0, -1.0]), OBLIQUE])
@pytest.mark.parametrize(("angle", "shift"), [(0.0, 0.0), (0.0, 0.5), (-6.0, 0.25), (90.0, 0.0), (13.0, 0.75)])
@pytest.mark.parametrize("interpolator", ["sitkLinear", "sitkBSpline"])
def test_a_linear_gradient_is_resampled_exactly(direction, angle, shift, interpolator):
    """Both interpolations reproduce linear functions, so every voxel has the value of its own place."""
    image = gradient(Grid.uniform((-20, 30, -50), (0.9, 0.9, 3.0), (90, 80, 60), direction))
    centre = image.grid.index_to_world(np.array([45.0, 40.0, 30.0]))
    lattice = Lattice.of(image.grid, np.array([1.0, 1.0, 1.0])).turned(angle, shift, centre)
    core = Mask(image.grid.crop(slice(28, 32), slice(38, 42), slice(43, 47)), np.ones((4, 4, 4), bool))
    grid = lattice.box(core, 4.0)

    resampled = resampled_image(image, grid, interpolator)

    np.testing.assert_allclose(resampled.values, gradient(grid).values, atol=2e-3)


def test_the_centre_stays_and_the_rest_turns_about_the_normal():
    image = Grid.uniform((0, 0, 0), (1, 1, 1), (20, 20, 20))
    centre = np.array([10.0, 10.0, 10.0])
    lattice = Lattice.of(image, np.array([1.0, 1.0, 1.0]))
    turned = lattice.turned(90.0, 0.0, centre)
    # A quarter turn counter-clockwise seen against the normal takes +x to +y.
    np.testing.assert_allclose(turned.direction[:, 0], (0, 1, 0), atol=1e-12)
    ten_right = lattice.origin_mm + lattice.direction @ (20.0, 10.0, 10.0)
    moved = turned.origin_mm + turned.direction @ (20.0, 10.0, 10.0)
    np.testing.assert_allclose(ten_right, (20, 10, 10))
    np.testing.assert_allclose(moved, (10, 20, 10), atol=1e-12)
    np.testing.assert_allclose(lattice.turned(0.0, 0.5, centre).origin_mm, (0.5, 0.5, 0.5))


def test_the_lattice_begins_at_the_corner_of_the_image_as_the_extraction_has_it():
    # First voxel of 3 mm from -1.5 mm; so the first of 1 mm is centred at -1.0 mm.
    np.testing.assert_allclose(
        Lattice.of(Grid.uniform((0, 0, 0), (3, 3, 3), (9, 9, 9)), np.ones(3)).origin_mm, (-1, -1, -1)
    )


@given(st.floats(-45, 45), st.floats(0, 1))
def test_the_mask_stays_on_the_anatomy(angle, shift):
    image = Grid.uniform((0, 0, 0), (1.5, 1.5, 3.0), (40, 40, 20))
    z, y, x = np.indices(image.shape)
    mask = Mask.cropped(image, ((x - 20) * 1.5) ** 2 + ((y - 18) * 1.5 * 1.4) ** 2 + ((z - 10) * 3.0) ** 2 < 15**2)
    lattice = Lattice.of(image, np.ones(3)).turned(angle, shift, mask.centroid_mm)

    moved = resampled_mask(mask, image, lattice.box(mask, 2.0))

    # To the nearest voxel: a tie goes one way on both sides of the structure, so up to half a voxel of the lattice.
    np.testing.assert_allclose(moved.centroid_mm, mask.centroid_mm, atol=0.55)
    assert moved.volume_cm3 == pytest.approx(mask.volume_cm3, rel=0.05)
    edges = moved.values.copy()
    edges[1:-1, 1:-1, 1:-1] = False
    assert not edges.any(), "the box must hold the mask with its margin"


# Supervoxels


def test_supervoxels_are_chosen_by_their_overlap():
    overlap = np.array([0.0, 0.19, 0.2, 0.5, 0.75, 0.89, 0.9, 1.0])
    random = np.random.default_rng(3)
    share = np.mean([chosen(overlap, random) for _ in range(4000)], axis=0)
    assert (share[:2] == 0).all()
    assert (share[6:] == 1).all()
    # Five standard deviations of a binomial share of 4000 draws are at most 0.04.
    np.testing.assert_allclose(share[2:6], overlap[2:6], atol=0.04)


def test_something_is_always_left():
    assert chosen(np.array([0.0, 0.05, 0.1]), np.random.default_rng(1)).tolist() == [False, False, True]


def test_draws_of_a_supervoxel_do_not_depend_on_the_others():
    one = chosen(np.array([0.5] * 40), np.random.default_rng(9))
    other = chosen(np.array([0.5] * 20 + [1.0] * 20), np.random.default_rng(9))
    assert one[1:20].tolist() == other[1:20].tolist(), "the first is the largest of the one, and always in"
    assert 0 < one.sum() < 40


def test_a_redrawn_structure_is_made_of_whole_supervoxels():
    labels = np.kron(np.arange(1, 28).reshape(3, 3, 3), np.ones((6, 6, 6), int))
    mask = np.zeros(labels.shape, bool)
    mask[:6, :6, :9] = True  # all of the first cube, half of the second
    seen = set()
    for seed in range(20):
        drawn = redrawn(labels, mask, np.random.default_rng(seed))
        assert drawn[labels == 1].all()
        assert not drawn[labels > 2].any()
        assert np.unique(drawn[labels == 2]).size == 1
        seen.add(bool(drawn[labels == 2].any()))
    assert seen == {True, False}


def test_supervoxels_keep_to_edges():
    grid = Grid.uniform((0, 0, 0), (1, 1, 1), (48, 48, 24))
    values = np.full(grid.shape, -100.0)
    values[:, :, 21:] = 60.0
    inside = np.zeros(grid.shape, bool)
    inside[6:18, 12:36, 15:30] = True

    labels = supervoxels(Volume(grid, values), Mask(grid, inside))

    assert labels.min() == 1
    assert labels.max() == pytest.approx(48 * 48 * 24 / 500, rel=0.35)
    across = sum(len(np.unique(values[labels == one])) > 1 for one in range(1, labels.max() + 1))
    # The edge is smoothed by one voxel before clustering, so a supervoxel may take the voxel beside it.
    mixed = [np.mean(values[labels == one] > 0) for one in range(1, labels.max() + 1)]
    assert sum(0.15 < share < 0.85 for share in mixed) == 0, across


# The stage


@pytest.mark.radiomics_environment
def test_the_stage_on_a_demo_course(demo_course, resources):
    def run(**keys):
        overrides = {
            "radiomics.params_file": PARAMETERS / "ct.yaml",
            f"{PERTURBATION}.apply_to_structures": ["GTV"],
            f"{PERTURBATION}.small_volume_changes": [0.0, 0.15],
        }
        given_keys = {f"{PERTURBATION}.{name}": value for name, value in keys.items()}
        assert stage.run(course, load_configuration(overrides=overrides | given_keys), resources).status == "ok"
        return CourseFiles(resources.staging).radiomics_robustness

    course = demo_course("DEMO-003")
    plain = {
        (row["perturbation_id"], row["feature_name"]): row["value"]
        for row in read_parquet(run(profile="volume")).to_pylist()
    }
    chain = {"profile": "zwanenburg", "rotation_angles_deg": [0, 10]}
    first = run(**chain).read_bytes()
    rows = read_parquet(run(**chain)).to_pylist()
    assert CourseFiles(resources.staging).radiomics_robustness.read_bytes() == first, "same input, same bytes"

    assert {row["profile"] for row in rows} == {"zwanenburg"}
    assert {row["seed"] for row in rows} == {42}
    assert len({row["perturbation_id"] for row in rows}) == 2 * 2 * 2 * 2 * 2
    values = {(row["perturbation_id"], row["feature_name"]): row["value"] for row in rows}
    unfiltered = [name for state, name in plain if state == "ntcv_v0" and name.startswith("original_")]
    assert len(unfiltered) > 20
    for name in unfiltered:
        assert values["ntcv_v0", name] == pytest.approx(plain["ntcv_v0", name], rel=1e-4, abs=1e-6), name
    levels = {row["noise_hu"] for row in rows if row["noise_realisation"] == 1}
    assert len(levels) == 1
    assert 1.0 < levels.pop() < 100.0
    counts = {row["perturbation_id"]: row["voxel_count"] for row in rows}
    assert counts["ntcv_v+15"] == math.floor(1.15 * counts["ntcv_v0"] + 0.5)
    # Some 300 voxels of 3 mm: a turned lattice meets the edge elsewhere.
    assert counts["ntcv_r10_v0"] == pytest.approx(counts["ntcv_v0"], rel=0.1)
    mean = "original_firstorder_Mean"
    different = ("ntcv_e1_v0", "ntcv_r10_v0", "ntcv_s0.25_v0", "ntcv_k1_v0", "ntcv_r10_s0.25_v0")
    assert len({values[state, mean] for state in different} | {values["ntcv_v0", mean]}) == 6
