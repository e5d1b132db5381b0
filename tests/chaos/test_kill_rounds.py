"""A few rounds of what `kill_rounds.py` does in numbers."""

from __future__ import annotations

import pytest

from chaos.kill_rounds import rounds


# The cohort must be run from the start several times: no shorter run is killed at moments that matter.
@pytest.mark.end_to_end
@pytest.mark.radiomics_environment
def test_killed_runs_end_with_the_tables_of_an_undisturbed_one(tmp_path):
    assert rounds(2, tmp_path, seed=1) == []
