import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rtpipeline.imaging.grid import Grid, Volume
from rtpipeline.imaging.mask import Mask
from rtpipeline.imaging.surface import surface_distance
from rtpipeline.radiomics_robustness.contour import ContourOffset
from rtpipeline.radiomics_robustness.noise import with_noise
from rtpipeline.radiomics_robustness.region import Region
from rtpipeline.radiomics_robustness.seeds import random_for
from rtpipeline.radiomics_robustness.translation import voxel_shift
from rtpipeline.radiomics_robustness.volume import target_voxels, with_volume_change

THICK = (5.0, 1.0, 1.0)
spacings = st.tuples(*[st.sampled_from([0.75, 0.977, 1.0, 2.5, 3.0, 5.0])] * 3)
masks = arrays(bool, st.tuples(*[st.integers(2, 7)] * 3)).filter(lambda values: values.any())


def region(values, spacing=(1.0, 1.0, 1.0)) -> Region:
    return Region(np.asarray(values, bool), (0, 0, 0), spacing)


def ball(radius_mm: float, spacing: tuple[float, float, float], size: int = 41) -> Region:
    z, y, x = ((np.arange(size) - size // 2) * step for step in spacing)
    squared = z[:, None, None] ** 2 + y[None, :, None] ** 2 + x[None, None, :] ** 2
    return region(squared <= radius_mm**2, spacing)


def on(shape: tuple[int, ...], part: Region) -> np.ndarray:
    """The region as an array that begins at the image's first voxel."""
    values = np.zeros(shape, bool)
    own = part.trimmed()
    values[tuple(slice(first, first + size) for first, size in zip(own.first, own.values.shape, strict=True))] = (
        own.values
    )
    return values


def surface_points(values: np.ndarray) -> np.ndarray:
    """Continuous indices midway between face neighbours of which one is inside."""
    points = []
    for axis in range(3):
        pairs = np.argwhere(np.diff(values, axis=axis)).astype(float)
        pairs[:, axis] += 0.5
        points.append(pairs)
    return np.concatenate(points)


class TestDistance:
    @settings(max_examples=60, deadline=None)
    @given(masks, spacings, st.floats(0.3, 12.0))
    def test_equals_the_distance_from_the_nearest_surface_point(self, values, spacing, limit):
        values = np.pad(values, 1)
        distance = surface_distance(values, spacing, limit)
        points = surface_points(values)
        for index in np.ndindex(values.shape):
            expected = np.linalg.norm((points - np.array(index)) * spacing, axis=1).min()
            if abs(expected - limit) < 1e-5:
                continue
            assert distance[index] == (pytest.approx(expected, abs=1e-6) if expected < limit else np.inf)


class TestTranslation:
    @pytest.mark.parametrize(
        ("thickness", "applied"), [(1.0, 4.0), (2.0, 4.0), (3.0, 3.0), (5.0, 5.0), (8.0, 8.0), (8.1, 0.0)]
    )
    def test_what_is_applied_is_the_nearest_whole_voxel(self, thickness: float, applied: float):
        grid = Grid.uniform((0, 0, 0), (1, 1, thickness), (10, 10, 10))
        assert voxel_shift((0.0, 0.0, 4.0), grid).applied_mm == pytest.approx((0.0, 0.0, applied))
        assert voxel_shift((0.0, 0.0, -4.0), grid).applied_mm == pytest.approx((0.0, 0.0, -applied))
        assert voxel_shift((0.0, 0.0, 4.0), grid).is_none == (applied == 0.0)

    @settings(max_examples=50, deadline=None)
    @given(
        st.tuples(*[st.floats(-9, 9)] * 3),
        st.tuples(*[st.sampled_from([0.977, 1.0, 2.5, 3.0])] * 3),
        st.sampled_from([(1, 1), (-1, 1), (1, -1), (-1, -1)]),
        st.floats(0, 360),
    )
    def test_the_centroid_moves_by_what_is_reported(self, requested, spacing, signs, angle):
        """On grids of every patient position, and oblique ones."""
        cosine, sine = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        direction = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1.0]]) * np.array([*signs, 1])
        direction[:, 2] = np.cross(direction[:, 0], direction[:, 1])
        grid = Grid.uniform((-40.0, 10.0, 5.0), spacing, (40, 40, 40), direction)
        values = np.zeros(grid.shape, bool)
        values[15:20, 16:24, 14:19] = True
        values[16, 16, 14] = False
        mask = Mask.cropped(grid, values)
        shift = voxel_shift(requested, grid)
        moved = shift.apply(Region.of(mask, grid))
        after = Mask(grid, on(grid.shape, moved))
        np.testing.assert_allclose(after.centroid_mm - mask.centroid_mm, shift.applied_mm, atol=1e-5)
        along = (np.array(shift.applied_mm) - np.array(requested)) @ direction
        assert np.all(np.abs(along) <= np.array(spacing) / 2 + 1e-5)

    def test_leaving_the_image_is_seen(self):
        part = region(np.ones((3, 3, 3)))
        assert part.is_within((3, 3, 3))
        assert not part.moved((1, 0, 0)).is_within((3, 3, 3))
        assert not part.moved((0, -1, 0)).is_within((3, 3, 3))
        assert part.moved((1, 0, 0)).is_within((4, 3, 3))


class TestContour:
    @pytest.mark.parametrize("offset", [-2.0, 2.0])
    def test_two_millimetres_never_cross_a_five_millimetre_slice(self, offset: float):
        values = np.zeros((9, 30, 30), bool)
        values[3:6, 9:21, 9:21] = True
        after = on(values.shape, ContourOffset(offset).apply(region(values, THICK)))
        assert np.flatnonzero(after.any(axis=(1, 2))).tolist() == [3, 4, 5]

    def test_inwards_takes_two_voxels_of_one_millimetre_from_every_side(self):
        values = np.zeros((9, 30, 30), bool)
        values[3:6, 9:21, 9:21] = True
        after = on(values.shape, ContourOffset(-2.0).apply(region(values, THICK)))
        expected = np.zeros_like(values)
        expected[3:6, 11:19, 11:19] = True
        np.testing.assert_array_equal(after, expected)

    def test_three_millimetres_cross_half_of_a_five_millimetre_slice(self):
        values = np.zeros((9, 30, 30), bool)
        values[3:6, 9:21, 9:21] = True
        inwards = on(values.shape, ContourOffset(-3.0).apply(region(values, THICK)))
        assert np.flatnonzero(inwards.any(axis=(1, 2))).tolist() == [4]
        outwards = on(values.shape, ContourOffset(3.0).apply(region(values, THICK)))
        assert np.flatnonzero(outwards.any(axis=(1, 2))).tolist() == [2, 3, 4, 5, 6]

    @pytest.mark.parametrize("offset", [-2.0, -1.0, 1.0, 2.0])
    @pytest.mark.parametrize("spacing", [(0.5, 0.5, 0.5), (1.0, 0.5, 0.75)])
    def test_a_ball_becomes_the_ball_of_the_other_radius(self, offset: float, spacing):
        """4/3 pi (r + d)^3, to a quarter of a voxel in the radius."""
        before = ball(8.0, spacing, size=49)
        after = ContourOffset(offset).apply(before)
        volume = after.voxel_count * np.prod(spacing)
        assert (volume * 3 / (4 * np.pi)) ** (1 / 3) == pytest.approx(8.0 + offset, abs=0.25 * max(spacing))

    @settings(max_examples=40, deadline=None)
    @given(masks, spacings, st.floats(0.1, 4.0))
    def test_inside_and_outside_are_ordered(self, values, spacing, distance):
        before = region(np.pad(values, 3), spacing)
        shape = tuple(size + 40 for size in before.values.shape)
        shifted = before.moved((20, 20, 20))
        original = on(shape, shifted)
        larger = on(shape, ContourOffset(distance).apply(shifted))
        smaller_region = ContourOffset(-distance).apply(shifted)
        smaller = on(shape, smaller_region) if smaller_region.voxel_count else np.zeros(shape, bool)
        assert np.all(smaller <= original)
        assert np.all(original <= larger)

    def test_draws_lie_between_half_and_all_of_the_magnitude_on_both_sides(self):
        draws = [ContourOffset.draw(2.0, random_for(42, "patient", str(n))).offset_mm for n in range(400)]
        assert all(1.0 <= abs(offset) <= 2.0 for offset in draws)
        assert 150 < sum(offset < 0 for offset in draws) < 250
        assert np.mean(np.abs(draws)) == pytest.approx(1.5, abs=0.05)


class TestVolume:
    @settings(max_examples=60, deadline=None)
    @given(masks, spacings, st.sampled_from([-0.3, -0.15, 0.0, 0.15, 0.3, 1.0]))
    def test_the_count_is_exact_on_anisotropic_grids(self, values, spacing, change):
        before = region(values, spacing)
        wanted = target_voxels(before.voxel_count, change)
        if wanted < 1:
            with pytest.raises(ValueError, match="leaves none"):
                with_volume_change(before, change)
            return
        after = with_volume_change(before, change)
        assert after.voxel_count == wanted

    def test_target_is_rounded_half_up_without_float_error(self):
        assert target_voxels(100, 0.15) == 115
        assert target_voxels(10, 0.15) == 12
        assert target_voxels(10, -0.15) == 9
        assert target_voxels(1000, 0.29) == 1290

    def test_thick_slices_are_added_last(self):
        values = np.zeros((7, 40, 40), bool)
        values[2:5, 10:30, 10:30] = True
        after = on(values.shape, with_volume_change(region(values, THICK), 0.15))
        assert np.flatnonzero(after.any(axis=(1, 2))).tolist() == [2, 3, 4]

    def test_ties_go_to_the_lowest_index(self):
        values = np.zeros((1, 1, 7), bool)
        values[0, 0, 2:5] = True
        after = on((1, 1, 7), with_volume_change(Region(values, (0, 0, 0), (9.0, 9.0, 1.0)), 1 / 3))
        assert np.flatnonzero(after).tolist() == [1, 2, 3, 4]

    @settings(max_examples=30, deadline=None)
    @given(masks, spacings, st.sampled_from([-0.3, 0.15, 0.3]), st.sampled_from([-1.7, 0.0, 1.7]))
    def test_the_box_does_not_matter(self, values, spacing, change, offset):
        """The same voxels as when everything is computed in one large volume, with distances up to a metre."""
        large = np.pad(values, 30)
        source = region(large, spacing)
        part = ContourOffset(offset).apply(source) if offset else source
        if part.voxel_count == 0 or target_voxels(part.voxel_count, change) < 1:
            return
        start = on(large.shape, part)
        after = on(large.shape, with_volume_change(part, change))
        wanted = target_voxels(part.voxel_count, change)
        grows = wanted > part.voxel_count
        distance = surface_distance(start, spacing, 1000.0)
        distance[start == grows] = np.inf
        expected = start.copy().ravel()
        expected[np.argsort(distance.ravel(), kind="stable")[: abs(wanted - part.voxel_count)]] = grows
        np.testing.assert_array_equal(after.ravel(), expected)


class TestNoise:
    def volume(self, dtype=np.int16) -> Volume:
        grid = Grid.uniform((0, 0, 0), (1, 1, 3), (64, 64, 30))
        return Volume(grid, np.full(grid.shape, 40, dtype))

    def test_level_zero_is_the_image_as_float(self):
        quiet = with_noise(self.volume(), 0.0, random_for(1, "x"))
        assert quiet.values.dtype == np.float32
        np.testing.assert_array_equal(quiet.values, 40.0)

    def test_standard_deviation_and_mean(self):
        values = with_noise(self.volume(), 10.0, random_for(1, "x")).values
        assert values.dtype == np.float32
        count = values.size
        assert values.mean() == pytest.approx(40.0, abs=4 * 10.0 / np.sqrt(count))
        assert values.std() == pytest.approx(10.0, rel=4 / np.sqrt(2 * count))


class TestSeeds:
    def test_same_parts_same_numbers(self):
        assert random_for(42, "a", "b").random() == random_for(42, "a", "b").random()

    def test_known_value(self):
        """Fixed for good: a change would change every published draw."""
        assert random_for(42, "patient", "course").integers(0, 2**32) == 2383689883

    def test_every_part_and_the_base_seed_matter(self):
        draws = [
            random_for(42, "a", "b").random(),
            random_for(43, "a", "b").random(),
            random_for(42, "ab").random(),
            random_for(42, "b", "a").random(),
            random_for(42, "a", "b", "").random(),
        ]
        assert len(set(draws)) == len(draws)
