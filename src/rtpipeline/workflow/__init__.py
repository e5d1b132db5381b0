"""The packaged Snakefile: the same stages as `rtpipeline run`, started by Snakemake, on one machine or on a cluster."""

from pathlib import Path

SNAKEFILE = Path(__file__).parent / "Snakefile"
PROFILES = Path(__file__).parent / "profiles"

__all__ = ["PROFILES", "SNAKEFILE"]
