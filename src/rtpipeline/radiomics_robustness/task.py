"""What the stage does with one structure in one perturbation state."""

from __future__ import annotations

from dataclasses import dataclass

from rtpipeline.radiomics_parallel import ExtractionJob

Row = dict[str, object]

NO_VOXEL = "the structure has no voxel on the planning CT"


@dataclass(frozen=True)
class Task:
    """One structure in one state: its ledger row without the result, and its job where there is a mask."""

    row: Row
    job: ExtractionJob | None
