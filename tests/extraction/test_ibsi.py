"""Features against the consensus values of the Image Biomarker Standardisation Initiative, and the page about them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ibsi_page import REASONS, Row, chest_rows, page, phantom_rows
from ibsi_reference import FEATURES, WITHOUT_COUNTERPART, Reference, chest, digital_phantom, interpolated

PAGE = Path(__file__).parents[2] / "docs" / "ibsi.md"


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    return phantom_rows(tmp_path_factory.mktemp("phantom"))


def test_the_phantom_is_the_published_one() -> None:
    # The manual: 74 voxels in the region; 50 of level 1, 1 of level 3, 16 of level 4, 7 of level 6.
    volume, mask = digital_phantom()

    levels, counts = np.unique(volume.values[mask.values], return_counts=True)
    assert dict(zip(levels.tolist(), counts.tolist(), strict=True)) == {1: 50, 3: 1, 4: 16, 6: 7}


@pytest.mark.radiomics_environment
def test_features_of_the_digital_phantom(phantom: list[Row]) -> None:
    deviating = {row.feature: row.reason for row in phantom if not row.reference.agrees(row.value)}

    assert deviating == {
        "firstorder_Kurtosis": "kurtosis",
        "shape_MinorAxisLength": "axes",
        "shape_LeastAxisLength": "axes",
    }
    assert len(phantom) == len(FEATURES) == 102


def test_every_feature_has_a_counterpart_or_a_word_why_not() -> None:
    # 14 of shape and 93 of one image.
    assert len(FEATURES) + len(WITHOUT_COUNTERPART) == 14 + 93
    codes = [code for _, code in FEATURES.values()]
    assert len(set(codes)) == len(codes)
    assert set(REASONS) == {"kurtosis", "axes", "grey levels"}


@pytest.mark.parametrize(
    ("value", "agrees"), [(2.149, True), (2.154, True), (2.156, False), (2.144, False), (2.145001, True)]
)
def test_three_digits_are_compared(value: float, agrees: bool) -> None:
    assert Reference(2.15, 0.0).agrees(value) is agrees


@pytest.mark.real_data
def test_the_chest_is_processed_as_the_consensus_was(test_data: Path) -> None:
    # Diagnostic values of the consensus: 125256 voxels; 45985 +- 100 voxels of mean -48.9 after interpolation.
    image, mask = chest(test_data / "IBSI-1")
    volume, region = interpolated(image, mask)

    assert mask.voxel_count == 125256
    assert volume.grid.shape == (90, 99, 100)
    assert region.voxel_count == 45985
    assert volume.values[region.on(volume.grid)].mean() == pytest.approx(-48.9, abs=0.1)


@pytest.mark.real_data
@pytest.mark.radiomics_environment
def test_the_page_is_in_step(test_data: Path, phantom: list[Row], tmp_path: Path) -> None:
    """Write it again with `python -m nox -s bench -- ibsi`."""
    chest_ct = chest_rows(test_data / "IBSI-1", tmp_path)

    assert [row.feature for rows in chest_ct.values() for row in rows if not row.explained] == []
    assert PAGE.read_text(encoding="utf-8") == page(phantom, chest_ct)
